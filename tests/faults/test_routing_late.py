"""One of two replicas is late, or dies, under load: nobody notices."""

from __future__ import annotations

import asyncio

from signalbox.api.events.v1 import events_pb2
from support import load
from support.site import LINE_HOST, eventually
from support.wire import connect

HEDGED_WITHIN_MS = 250
"""A second replica is asked after 40 ms; machines that run tests are slow."""
CALLS = 24


async def test_a_second_replica_answers_and_the_late_answer_goes_to_no_other_call(site, phone):
    caller = await phone()
    lines = [await phone(LINE_HOST) for _ in range(4)]
    numbers = [site.number([line.address]) for line in lines]
    before = {name: edge(site, name) for name in ("hedges", "hedge_wins", "late_answers")}
    calls = []
    # Shorter than the sidecar's health check, which would end the stream and the late answers with it.
    with site.paused("routing-1"):
        for n in range(CALLS):
            calls.append(await connect(caller, lines[n % 4], numbers[n % 4]))
            await calls[-1].hang_up()
    await eventually(lambda: edge(site, "late_answers") > before["late_answers"], "late answers dropped")
    assert edge(site, "hedges") > before["hedges"]
    assert edge(site, "hedge_wins") > before["hedge_wins"]
    took = []
    for n, connected in enumerate(calls):
        events = await site.events_until(connected.call.call_id, "hung_up")
        decided = next(event.decided for event in events if event.HasField("decided"))
        assert (decided.source, decided.number) == (events_pb2.DECISION_SOURCE_ROUTING, numbers[n % 4])
        took.append(decided.took_ms)
    print(f"decisions took {sorted(took)} ms")
    assert sorted(took)[-2] < HEDGED_WITHIN_MS
    for line, number in zip(lines, numbers, strict=True):
        assert {message.uri for message in line.seen if message.first.startswith("INVITE")} == {
            f"sip:line-{number}-1@{line.address}"
        }


async def test_a_replica_paused_under_load_fails_no_call(site, tmp_path):
    async with load.calls(site, tmp_path, rate=60, seconds=4) as calls:
        await asyncio.sleep(1)
        with site.paused("routing-2"):
            await asyncio.sleep(2)
        total = await calls
    assert total.failed == 0, str(total)
    assert total.successful == total.calls == 240


async def test_a_replica_killed_under_load_fails_no_call(site, tmp_path):
    async with load.calls(site, tmp_path, rate=100, seconds=5) as calls:
        await asyncio.sleep(1.5)
        with site.killed("routing-1"):
            await asyncio.sleep(1.5)
        total = await calls
    assert total.failed == 0, str(total)
    assert total.successful == total.calls == 500


def edge(site, name: str) -> float:
    """A counter of the first proxy's sidecar."""
    return site.metric("edge-1", f"signalbox_edge_{name}_total")
