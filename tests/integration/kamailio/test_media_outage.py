"""A media node dies or goes silent: no worker waits for it longer than its tight timeout; and it is back again."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time

import pytest
from support.kamailio import Kamailio
from support.rtpengine import Rtpengine
from support.sidecar_fake import FakeSidecar, branch, dial, stage
from support.sip_agent import SDP
from support.wait import until

TIMEOUT_S = 0.2
"""The tight timeout, as configured."""
SLACK_S = 0.15
"""What a busy machine may add."""
PORTS = {1: 31_000, 2: 32_000}


@pytest.fixture
def nodes(tmp_path):
    """Two rtpengines by number."""
    nodes = {n: Rtpengine(tmp_path / f"n{n}", port_min=first).start() for n, first in PORTS.items()}
    yield nodes
    for node in nodes.values():
        node.stop()


@pytest.fixture
def proxy(nodes):
    """A proxy with one SIP worker and one for decisions: whoever comes while it waits, waits too."""
    table = [(n, f"udp:{node.control}") for n, node in nodes.items()]
    with Kamailio(
        udp_workers=1, decision_workers=1, media_timeout_ms=round(TIMEOUT_S * 1000), media_nodes=table
    ) as proxy:
        yield proxy


class Steps:
    """Calls through the first node, with the second as spare; tells how long each kind of step took at most."""

    def __init__(self, proxy, agent, sidecar):
        self.proxy, self.agent, self.sidecar = proxy, agent, sidecar
        self.took = {}

    def measure(self, step, begun, message):
        """A step ends when its message arrives."""
        self.took[step] = max(self.took.get(step, 0), message.received_at - begun)

    async def ring(self):
        """A new call; the time from the decision to the INVITE."""
        caller, line = await self.agent(self.proxy), await self.agent(self.proxy)
        decided = []

        def decide(question):
            decided.append(time.monotonic())
            return dial(stage(branch(line.port)), media="anchor", n1=1, n2=2)

        self.sidecar.decide = decide
        call = caller.call()
        caller.invite(call)
        invite = await line.expect("INVITE")
        self.measure("new call", decided[0], invite)
        return caller, line, call, invite

    async def ring_first(self):
        """The same, through the first node: on a busy machine it may have failed for a moment."""
        limit = time.monotonic() + 15
        while through((rung := await self.ring())[3]) != 1:
            assert time.monotonic() < limit, "the first node is never used"
            await asyncio.sleep(0.2)
        return rung

    async def answer(self, caller, line, call, invite):
        """The line answers; the time until the caller sees it."""
        begun = time.monotonic()
        line.send(line.reply(invite, 200, body=SDP))
        answer = await caller.expect(200)
        self.measure("answer", begun, answer)
        caller.answered(call, answer)
        caller.send(caller.in_dialog(call, "ACK"))
        await line.expect("ACK")
        return caller, line, call

    async def reinvite(self, caller, line, call):
        """A re-INVITE that cannot be served; the time until it is refused."""
        begun = time.monotonic()
        caller.send(caller.in_dialog(call, "INVITE", body=SDP))
        refusal = await caller.expect(503)
        self.measure("re-INVITE", begun, refusal)
        assert refusal.get("Retry-After")
        caller.send(caller.request(call, "ACK", branch=refusal.get("Via").partition("branch=")[2]))

    async def hang_up(self, caller, line, call):
        """BYE; the time until the line sees it."""
        begun = time.monotonic()
        caller.send(caller.in_dialog(call, "BYE"))
        bye = await line.expect("BYE")
        self.measure("BYE", begun, bye)
        line.send(line.reply(bye, 200))
        await caller.expect(200, method="BYE")


@pytest.fixture
async def steps(proxy, agent):
    """Calls through the proxy."""
    sidecar = await FakeSidecar(proxy, lambda question: None).start()
    yield Steps(proxy, agent, sidecar)
    sidecar.close()


def through(message):
    """Number of the node that the SDP of a message points to."""
    port = int(re.search(r"m=audio (\d+)", message.body).group(1))
    return next((n for n, first in PORTS.items() if first <= port < first + 1000), 0)


@contextlib.asynccontextmanager
async def waits(prober):
    """Within, OPTIONS are asked every 10 ms; at the end the list has how long each waited for its reply."""
    sent, found = {}, []

    async def ask():
        while True:
            call = prober.call()
            sent[call.call_id] = time.monotonic()
            prober.send(prober.request(call, "OPTIONS"))
            await asyncio.sleep(0.01)

    asking = asyncio.create_task(ask())
    try:
        yield found
    finally:
        asking.cancel()
    await until(lambda: len(prober.seen) == len(sent))
    found += [reply.received_at - sent[reply.get("Call-ID")] for reply in prober.seen]


@pytest.mark.parametrize("silent", [True, False], ids=["silent", "killed"])
@pytest.mark.parametrize("first", ["new call", "answer", "re-INVITE", "BYE"])
async def test_no_worker_waits_longer_than_its_tight_timeout(nodes, proxy, steps, agent, first, silent):
    running = await steps.answer(*await steps.ring_first())
    ending = await steps.answer(*await steps.ring_first())
    ringing = await steps.ring_first()
    todo = {
        "new call": steps.ring,
        "answer": lambda: steps.answer(*ringing),
        "re-INVITE": lambda: steps.reinvite(*running),
        "BYE": lambda: steps.hang_up(*ending),
    }
    (nodes[1].pause if silent else nodes[1].kill)()
    steps.took.clear()
    async with waits(await agent(proxy)) as waited:
        await todo.pop(first)()
        for step in todo.values():
            await step()
        assert through((await steps.ring())[3]) == 2
    told = ", ".join(f"{step} {took * 1000:.0f} ms" for step, took in steps.took.items())
    print(f"{told}; {len(waited)} OPTIONS waited {max(waited) * 1000:.0f} ms at most")
    assert max(steps.took.values()) < TIMEOUT_S + SLACK_S
    assert max(waited) < TIMEOUT_S + SLACK_S
    if silent:
        # The one that found out did wait, or this test measures nothing.
        assert steps.took[first] > TIMEOUT_S * 0.9


async def test_a_node_that_failed_is_asked_again_by_a_call(nodes, steps):
    """Nobody tells the proxy that it is back, nor that it was away."""
    nodes[1].kill()
    assert through((await steps.ring())[3]) == 2
    nodes[1].restart()
    begun = time.monotonic()
    while through((await steps.ring())[3]) != 1:
        assert time.monotonic() - begun < 15, "the node is back, and nobody uses it"
        await asyncio.sleep(0.2)
