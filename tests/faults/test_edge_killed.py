"""The sidecar dies under load: events wait for it on disk, running calls do not notice, new ones get 503."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path

from support import load
from support.site import eventually, kinds
from support.wire import connect

TAKES_503 = Path(__file__).parent / "uac_takes_503.xml"
RATE = 200
SECONDS = 6
DEAD_S = 3


async def test_no_event_is_lost(site, tmp_path, caller, line):
    running = await connect(caller, line, site.number([line.address], anchored=True))
    await site.events_until(running.call.call_id, "answered")
    before = {event.call_id for event in site.all_events()}
    async with load.calls(
        site, tmp_path, rate=RATE, seconds=SECONDS, proxies=[1], scenario=TAKES_503, hold_ms=1000
    ) as calls:
        await asyncio.sleep(1)
        with site.killed("edge-1"):
            await running.reinvite()
            assert await running.both_hear()
            await refused(caller)
            await asyncio.sleep(DEAD_S)
        total = await calls
    assert total.successful == total.calls == RATE * SECONDS, str(total)

    expected = total.calls + 1  # and the call that was refused above
    events: dict[str, Counter[str]] = {}

    def all_over() -> bool:
        events.clear()
        for event in site.all_events():
            if event.call_id not in before:
                events.setdefault(event.call_id, Counter())[event.WhichOneof("event")] += 1
        return sum(counts["failed"] + counts["hung_up"] for counts in events.values()) >= expected

    await eventually(all_over, f"{expected} calls over", lambda: f"{len(events)} calls", within=20)
    assert len(events) == expected
    for counts in events.values():
        assert counts["asked"] == counts["failed"] + counts["answered"] == 1, counts
        assert counts["hung_up"] == counts["answered"], counts
    failed = sum(counts["failed"] for counts in events.values())
    print(f"{expected - failed} calls answered, {failed} got 503")
    assert failed > RATE * DEAD_S * 0.5
    assert expected - failed > RATE
    sequences = [event.sequence for event in site.all_events() if event.proxy == "edge-1"]
    assert sorted(sequences) == list(range(1, len(sequences) + 1))
    await running.hang_up()


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
