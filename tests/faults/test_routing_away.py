"""No routing service answers: dead or silent."""

from __future__ import annotations

import time

import pytest
from signalbox.api.events.v1 import events_pb2
from support.site import eventually
from support.wire import connect

REPLICAS = ("routing-1", "routing-2")
AT_MOST_S = 1.0
"""500 ms are promised; machines that run tests are slow."""


@pytest.fixture
async def caller(phone):
    """Through the second proxy: a sidecar answers for silent replicas after 350 ms, and the first proxy
    waits 100 ms longer at most, which is too little on a slow machine."""
    return await phone(proxy=2)


@pytest.mark.parametrize("how", ["killed", "paused"])
async def test_known_numbers_are_routed_as_before_and_others_get_503(site, caller, line, how):
    running = await connect(caller, line, site.number([line.address], anchored=True))
    known, new = site.number([line.address]), site.number([line.address])
    await (await connect(caller, line, known)).hang_up()
    with getattr(site, how)(*REPLICAS):
        call = await connect(caller, line, known)
        decided = (await site.events_until(call.call.call_id, "answered"))[1].decided
        assert (decided.action, decided.source) == ("dial", events_pb2.DECISION_SOURCE_LAST_GOOD)
        await call.hang_up()

        unknown = caller.call(new)
        begun = time.monotonic()
        caller.invite(unknown, body=caller.sdp())
        reply = await caller.expect(503)
        took = reply.received_at - begun
        print(f"503 after {took * 1000:.0f} ms")
        assert took < AT_MOST_S
        assert int(reply.get("Retry-After")) > 0
        caller.ack_failure(unknown, reply)

        await running.reinvite()
        assert await running.both_hear()
        await running.hang_up()

    async def routed() -> bool:
        again = caller.call(new)
        caller.invite(again, body=caller.sdp())
        await caller.expect(100)
        # Asked while replicas come back it may have no answer in time.
        events = await site.events_until(again.call_id, "decided", "failed")
        return any(event.decided.source == events_pb2.DECISION_SOURCE_ROUTING for event in events)

    begun = time.monotonic()
    while not await routed():
        assert time.monotonic() - begun < 15, "routing is back, and nobody asks it"


async def test_the_sidecar_says_that_it_has_nobody_to_ask(site):
    with site.killed(*REPLICAS):
        await eventually(lambda: site.cluster.facts("edge-1").get("ready") is False, "the sidecar is not ready")
        assert set(site.cluster.facts("edge-1")["replicas"].values()) == {"connecting"}
