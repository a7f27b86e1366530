"""The journal of a worker's events."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry
from signalbox import eventrow, promises
from signalbox.api.events.v1 import events_pb2
from signalbox.api.recording.v1 import recording_pb2
from signalbox.api.types.v1 import recordings_pb2
from signalbox.errors import ConfigurationError
from signalbox.ivr import trace as module
from signalbox.ivr.metrics import IvrMetrics
from signalbox.ivr.trace import Trace
from signalbox.journal import read
from structlog.testing import capture_logs
from support.stores import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

MIB = 1024 * 1024


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def trace(tmp_path: Path, registry: CollectorRegistry) -> Trace:
    return Trace(tmp_path / "ivr", 8 * MIB, IvrMetrics(registry))


@asynccontextmanager
async def running(trace: Trace) -> AsyncIterator[None]:
    trace.open()
    task = asyncio.create_task(trace.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        await trace.close()


def step(call_id: str, outcome: str = "digits") -> events_pb2.CallEvent:
    return events_pb2.CallEvent(
        call_id=call_id, flow_step=events_pb2.FlowStep(node="ask", kind="menu", outcome=outcome, took_ms=1500)
    )


def kept(trace: Trace) -> list[events_pb2.CallEvent]:
    return [eventrow.parse(row.decode()) for _, row in read(trace.journal._directory)]


async def test_events_are_kept_in_order_each_with_its_time_and_counted(
    trace: Trace, registry: CollectorRegistry
) -> None:
    async with running(trace):
        trace.tell(step("call-1"))
        trace.tell(step("call-1", ""))
        await until(lambda: len(kept(trace)) == 2)
        trace.tell(events_pb2.CallEvent(call_id="call-1", flow_ended=events_pb2.FlowEnded(cause="caller")))
    events = kept(trace)
    assert [(event.call_id, event.WhichOneof("event")) for event in events] == [
        ("call-1", "flow_step"),
        ("call-1", "flow_step"),
        ("call-1", "flow_ended"),
    ]
    assert events[0].flow_step == step("call-1").flow_step
    assert all(event.time.ToSeconds() > 1_700_000_000 for event in events)
    count = registry.get_sample_value
    assert count("signalbox_ivr_steps_total", {"kind": "menu", "outcome": "digits"}) == 1
    assert count("signalbox_ivr_steps_total", {"kind": "menu", "outcome": "cut_short"}) == 1
    assert count("signalbox_ivr_step_seconds_sum", {"kind": "menu"}) == 3.0
    assert count("signalbox_ivr_flows_ended_total", {"cause": "caller"}) == 1


async def test_what_was_told_last_is_written_at_the_end_and_numbers_go_on_at_the_next_start(
    trace: Trace, tmp_path: Path
) -> None:
    trace.open()
    trace.tell(step("call-1"))
    await trace.close()
    again = Trace(tmp_path / "ivr", 8 * MIB, IvrMetrics(CollectorRegistry()))
    again.open()
    again.tell(step("call-2"))
    await again.close()
    rows = list(read(tmp_path / "ivr" / "journal"))
    assert [sequence for sequence, _ in rows] == [1, 2]


async def test_a_disk_that_stalls_holds_up_nobody_and_what_is_too_much_is_counted(
    trace: Trace, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROWS_MAX", 3)
    stalls, append = threading.Event(), trace.journal.append

    def stalled(*arguments: object) -> None:
        stalls.wait(15)
        append(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(trace.journal, "append", stalled)
    async with running(trace):
        trace.tell(step("first"))
        await until(lambda: not trace._rows)
        for number in range(5):
            trace.tell(step(f"call-{number}"))
        assert registry.get_sample_value("signalbox_ivr_events_lost_total") == 2
        stalls.set()
        await until(lambda: len(kept(trace)) == 4)
    assert [event.call_id for event in kept(trace)] == ["first", "call-0", "call-1", "call-2"]


async def test_a_disk_that_is_full_loses_nothing_once_there_is_room(
    trace: Trace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.02)
    append, failures = trace.journal.append, [OSError(28, "No space left on device")] * 3

    def failing(*arguments: object) -> None:
        if failures:
            raise failures.pop()
        append(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(trace.journal, "append", failing)
    with capture_logs() as logs:
        async with running(trace):
            trace.tell(step("call-1"))
            await until(lambda: len(failures) < 3)
            trace.tell(step("call-2"))
            await until(lambda: len(kept(trace)) == 2)
    assert [event.call_id for event in kept(trace)] == ["call-1", "call-2"]
    assert len([log for log in logs if log["event"] == "events_not_written"]) == 1


async def test_a_disk_that_fails_at_the_end_is_told_with_what_was_lost(
    trace: Trace, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*arguments: object) -> None:
        raise OSError(5, "Input/output error")

    trace.open()
    monkeypatch.setattr(trace.journal, "append", failing)
    trace.tell(step("call-1"))
    await trace.close()
    assert registry.get_sample_value("signalbox_ivr_events_lost_total") == 1


async def test_an_event_of_no_call_is_counted_as_lost(trace: Trace, registry: CollectorRegistry) -> None:
    async with running(trace):
        trace.tell(step("call|1"))
    assert kept(trace) == []
    assert registry.get_sample_value("signalbox_ivr_events_lost_total") == 1


async def test_a_promise_is_an_event_from_which_recorders_are_told(trace: Trace, registry: CollectorRegistry) -> None:
    facts = recording_pb2.CallFacts(
        call_id="call-1", tenant="acme", number="4001234567", caller="13800001234", line="desk", media_node=7,
        caller_tag="caller", line_tag="line", caller_media="192.0.2.1:4000", line_media="192.0.2.2:4000",
        recording="call-1.2", kind=recordings_pb2.RECORDING_KIND_MESSAGE,
    )  # fmt: skip
    async with running(trace):
        trace.tell(step("call-1"))
        trace.promise(recording_pb2.Promise(facts=facts))
        trace.tell(step("call-1"))
        await until(lambda: len(kept(trace)) == 3)
        (promise,) = promises.collect(trace.journal.rows(1), "ivr-1").promises
    assert (promise.proxy, promise.sequence) == ("ivr-1", 2)
    assert promise.facts.answer_time == kept(trace)[1].time
    promise.facts.ClearField("answer_time")
    assert promise.facts == facts
    assert registry.get_sample_value("signalbox_ivr_recordings_total", {"kind": "message"}) == 1
    assert registry.get_sample_value("signalbox_ivr_recordings_total", {"kind": "conversation"}) == 0


def test_all_that_a_promise_can_say_is_kept() -> None:
    said = set(recording_pb2.CallFacts.DESCRIPTOR.fields_by_name) - {"call_id", "answer_time"}
    assert said == set(events_pb2.RecordingStarted.DESCRIPTOR.fields_by_name)


async def test_two_workers_do_not_share_a_directory(trace: Trace, tmp_path: Path) -> None:
    trace.open()
    with pytest.raises(ConfigurationError, match=r"ivr\.state_dir: .*/ivr is another worker's"):
        Trace(tmp_path / "ivr", 8 * MIB, IvrMetrics(CollectorRegistry())).open()
    await trace.close()


def test_a_directory_that_cannot_be_made_is_a_wrong_setting(tmp_path: Path) -> None:
    (tmp_path / "ivr").write_text("")
    with pytest.raises(ConfigurationError, match=r"ivr\.state_dir: "):
        Trace(tmp_path / "ivr", 8 * MIB, IvrMetrics(CollectorRegistry())).open()
