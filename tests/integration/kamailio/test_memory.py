"""Malformed messages, over and over: the proxy keeps nothing of them."""

from __future__ import annotations

import asyncio

import pytest
from support.corpus import CHANGES, MESSAGES, changed, needs_corpus
from support.kamailio import Kamailio
from support.sidecar_fake import FakeSidecar, reject
from support.wait import until

ROUNDS = 100
"""Before the first look at the memory, and again before the second."""
SHARED_NOISE = 40 * ROUNDS
"""Octets of shared memory. Tables that expire and the sockets of RPC make it differ by some 2,000 at any time; a
transaction has 20,000, and what else is worth sharing, left once a round, is more than this."""
PRIVATE_NOISE = 10 * ROUNDS
"""Octets of a worker's own memory. What the last message left in buffers makes it differ by some 200; a parsed header
has 60."""


@pytest.fixture
def proxy():
    """A proxy with one worker of each kind: it gets every message, so that one round warms it up."""
    with Kamailio(udp_workers=1, tcp_workers=1, decision_workers=1) as proxy:
        yield proxy


@pytest.fixture(params=["ours", pytest.param("corpus", marks=needs_corpus)])
def messages(request):
    """Makes the messages of a round."""
    if request.param == "ours":
        return lambda caller: [changed(caller, *change).encode() for change in CHANGES]
    return lambda caller: [path.read_bytes()[:60000] for path in MESSAGES]


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_memory_does_not_grow(proxy, agent, messages, transport):
    caller = await agent(proxy)
    sidecar = await FakeSidecar(proxy, lambda question: reject(404, "Not Found")).start()
    pids = proxy.pids()
    try:
        await rounds(proxy, caller, messages, transport)
        # Once they are gone, so is what lives as long: entries of tables for 5 s.
        await until(lambda: proxy.transactions() == 0, timeout_s=15)
        shared, private = used(proxy)
        await rounds(proxy, caller, messages, transport)
        await until(lambda: proxy.transactions() == 0, timeout_s=15)
        await until(lambda: used(proxy)[0] <= shared + SHARED_NOISE)
        after = used(proxy)[1]
        print(shared, used(proxy)[0], [(k, private[k], after[k]) for k in private if private[k] != after[k]])
    finally:
        sidecar.close()
    assert {name: octets for name, octets in after.items() if octets > private[name] + PRIVATE_NOISE} == {}, private
    assert proxy.pids() == pids


def used(proxy):
    """Octets in use: of the shared memory, and of each process's own."""
    private = {f"{one['entry']} {one['desc']}": one["used"] for one in proxy.rpc("pkg.stats")}
    return proxy.rpc("core.shmmem")["used"], private


async def rounds(proxy, caller, messages, transport):
    """Send all messages so many times; each has been read when the next is sent."""
    for _ in range(ROUNDS):
        for message in messages(caller):
            if transport == "tcp":
                _, writer = await asyncio.open_connection(proxy.host, proxy.port)
                writer.write(message)
                writer.close()
                await writer.wait_closed()
            else:
                caller.send(message)
                caller.send(caller.request(caller.call(), "REGISTER"))
                await caller.expect(405, method="REGISTER")
        caller.seen.clear()
        caller.inbox.clear()
    if transport == "tcp":
        await until(lambda: int(proxy.rpc("core.tcp_info")["opened_connections"]) == 0, timeout_s=15)
