"""The sidecar dies under load: events wait for it on disk, running calls do not notice, new ones get 503."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from support import load
from support.site import eventually, kinds
from support.wire import connect

if TYPE_CHECKING:
    from signalbox.api.events.v1 import events_pb2

TAKES_503 = Path(__file__).parent / "uac_takes_503.xml"
RATE = 200
DEAD_S = 10
BEFORE_S = 1.5
AFTER_S = 4
SECONDS = BEFORE_S + DEAD_S + AFTER_S
HOLD_MS = 1000
ON_THE_WAY_S = 0.5
"""A call asked this long before the death may have lost its answer to it: longest time for a decision."""
ANSWERED = {"asked": 1, "decided": 1, "line_tried": 1, "ringing": 1, "answered": 1, "hung_up": 1}
REFUSED = {"asked": 1, "failed": 1}


async def test_no_event_is_lost(site, tmp_path, phone, line):
    caller, hanging_up = await phone(), await phone()
    number = site.number([line.address], anchored=True)
    running = await connect(caller, line, number)
    ending = await connect(hanging_up, line, number)
    for each in (running, ending):
        await site.events_until(each.call.call_id, "answered")
    before = {event.call_id for event in site.all_events()}
    async with load.calls(
        site, tmp_path, rate=RATE, seconds=SECONDS, proxies=[1], scenario=TAKES_503, hold_ms=HOLD_MS
    ) as calls:
        await asyncio.sleep(BEFORE_S)
        with site.killed("edge-1"):
            dead = time.time()
            await running.reinvite()
            assert await running.both_hear()
            await ending.hang_up()
            await refused(caller)
            await asyncio.sleep(dead + DEAD_S - time.time() - 1)
            await refused(caller)
            await running.reinvite()
            assert await running.both_hear()
            await asyncio.sleep(dead + DEAD_S - time.time())
            back = time.time()
        total = await calls
    assert total.successful == total.calls == round(RATE * SECONDS), str(total)

    found = await all_events(site, total.calls + 2, before)  # and the calls that were refused one by one
    assert_whole(found, dead, back)
    sequences = [event.sequence for event in site.all_events() if event.proxy == "edge-1"]
    assert sorted(sequences) == list(range(1, len(sequences) + 1))
    assert kinds(site.events(ending.call.call_id))[-1] == "hung_up"
    await running.hang_up()


async def all_events(site, calls, before):
    """The events of each call that is not one of those before, once so many calls are over."""
    found: dict[str, list[events_pb2.CallEvent]] = {}

    def over() -> bool:
        found.clear()
        for event in site.all_events():
            if event.call_id not in before:
                found.setdefault(event.call_id, []).append(event)
        return sum(not {"failed", "hung_up"}.isdisjoint(kinds(events)) for events in found.values()) >= calls

    await eventually(over, f"{calls} calls over", lambda: f"{len(found)} calls", within=10)
    assert len(found) == calls
    return found


def assert_whole(found, dead, back):
    """Every call has all of its events, each once; answered or refused as the sidecar lived when it was asked."""
    answered = {call_id: at(events) for call_id, events in found.items() if "answered" in kinds(events)}
    for call_id, events in found.items():
        assert Counter(kinds(events)) == (ANSWERED if call_id in answered else REFUSED), events
    refused = [events for call_id, events in found.items() if call_id not in answered]
    assert {event.failed.code for events in refused for event in events if event.HasField("failed")} == {503}
    meanwhile = [at(events)["asked"] for events in found.values() if dead <= at(events)["asked"] <= back]
    ended = [times for times in answered.values() if times["answered"] < dead <= times["hung_up"] <= back]
    print(
        f"{len(answered)} calls answered, {len(refused)} got 503; "
        f"{len(meanwhile)} began and {len(ended)} ended by BYE while the sidecar was dead"
    )
    assert not [times for times in answered.values() if dead <= times["asked"] <= back]
    assert all(at(events)["asked"] > dead - ON_THE_WAY_S for events in refused)
    assert len(meanwhile) > RATE * DEAD_S * 0.95
    assert len(ended) > RATE * HOLD_MS / 1000 * 0.75
    assert any(times["asked"] > back for times in answered.values()), "nobody is answered when the sidecar is back"


def at(events):
    """Time of each kind of event, seconds."""
    return {event.WhichOneof("event"): event.time.ToNanoseconds() / 1e9 for event in events}


async def refused(caller) -> None:
    """A new call gets 503 and Retry-After."""
    call = caller.call()
    begun = time.monotonic()
    caller.invite(call, body=caller.sdp())
    reply = await caller.expect(503)
    print(f"503 after {(reply.received_at - begun) * 1000:.0f} ms")
    assert reply.received_at - begun < 1
    assert reply.get("Retry-After")
    caller.ack_failure(call, reply)


async def test_the_sidecar_finds_its_place_again(site, caller, line):
    number = site.number([line.address])
    first = await connect(caller, line, number)
    with site.killed("edge-1"):
        await first.hang_up()
    site.cluster.wait_ready("edge-1")
    events = await site.events_until(first.call.call_id, "hung_up")
    assert kinds(events) == ["asked", "decided", "line_tried", "answered", "hung_up"]
    await (await connect(caller, line, number)).hang_up()
