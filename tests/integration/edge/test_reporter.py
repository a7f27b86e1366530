"""What became of calls arrives at a routing replica at least once, whatever dies in between."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc
import pytest
from signalbox.api.routing.v1.routing_pb2 import CallReport
from signalbox.edge import reporter as module
from signalbox.edge.pool import Pool
from signalbox.edge.reporter import Reporter, collect
from signalbox.settings import EdgeSettings
from structlog.testing import capture_logs
from support.journaled import Journaled, answered, failed, hung_up, row
from support.routing_fake import RoutingFake
from support.wait import until

if TYPE_CHECKING:
    from pathlib import Path


def ended(call: int) -> CallReport:
    return CallReport(call_id=f"call-{call}", ended=True)


@pytest.fixture
def journaled(tmp_path: Path) -> Journaled:
    return Journaled(tmp_path)


async def test_answers_and_ends_are_reported_and_nothing_else(journaled: Journaled) -> None:
    async with RoutingFake() as fake, journaled.reporting(fake.address) as reporter:
        journaled.append(row(1, "R line-a 180"), answered(1), row(2, "L line-a 486 QnVzeQ=="), failed(2), hung_up(1))
        await until(lambda: reporter.sequence == 5)
        assert fake.reports == [CallReport(call_id="call-1", answered="line-a"), ended(2), ended(1)]


async def test_without_a_position_it_begins_with_what_comes(journaled: Journaled) -> None:
    journaled.append(failed(1))
    async with RoutingFake() as fake, journaled.reporting(fake.address) as reporter:
        journaled.append(failed(2))
        await until(lambda: reporter.sequence == 2)
        assert fake.reports == [ended(2)]


@pytest.mark.parametrize(("text", "events"), [("x", ["report_position_damaged"]), ("99\n", []), ("-3\n", [])])
async def test_a_position_that_cannot_be_is_set_anew(journaled: Journaled, text: str, events: list[str]) -> None:
    journaled.append(failed(1))
    journaled.file.write_text(text)
    with capture_logs() as logs:
        reporter = Reporter(journaled.journal, journaled.directory, journaled.file, Pool(EdgeSettings()))
        reporter.open()
    assert (reporter.sequence, [entry["event"] for entry in logs]) == (1, events)


async def test_what_was_not_reported_before_a_crash_is_reported_after_it(journaled: Journaled) -> None:
    async with RoutingFake() as fake:
        async with journaled.reporting(fake.address) as reporter:
            journaled.append(failed(1))
            await until(lambda: reporter.sequence == 1)
            fake.report_status = grpc.StatusCode.UNAVAILABLE
            journaled.append(failed(2), failed(3))
            await asyncio.sleep(module.INTERVAL_S * 2)
        fake.report_status = None
        async with journaled.reporting(fake.address) as reporter:
            await until(lambda: reporter.sequence == 3)
        assert fake.reports == [ended(1), ended(2), ended(3)]


async def test_another_replica_takes_what_one_cannot_and_it_is_told_once(journaled: Journaled) -> None:
    async with RoutingFake() as one, RoutingFake() as two, journaled.reporting(one.address, two.address) as reporter:
        with capture_logs() as logs:
            one.report_status = two.report_status = grpc.StatusCode.UNAVAILABLE
            for call in range(20):
                journaled.append(failed(call))
            await asyncio.sleep(module.RETRY_S * 4)
            assert (reporter.sequence, one.reports, two.reports) == (0, [], [])
            two.report_status = None
            await until(lambda: reporter.sequence == 20)
        assert [report.call_id for report in two.reports] == [f"call-{call}" for call in range(20)]
        told = [entry["event"] for entry in logs if entry["event"].startswith("reports")]
        assert told == ["reports_delayed", "reports_go_on"]


async def test_a_replica_that_dies_and_comes_back_gets_the_rest(journaled: Journaled) -> None:
    async with RoutingFake() as fake, journaled.reporting(fake.address) as reporter:
        for call in range(30):
            journaled.append(failed(call), hung_up(1000 + call))
            if call == 10:
                await until(lambda: reporter.sequence == 22)
                await fake.stop()
            if call == 20:
                await fake.start()
            await asyncio.sleep(0.01)
        await until(lambda: reporter.sequence == 60)
        assert {report.call_id for report in fake.reports} == {f"call-{n}" for n in [*range(30), *range(1000, 1030)]}


async def test_reports_that_are_refused_for_ever_hold_up_nothing(journaled: Journaled) -> None:
    async with RoutingFake() as fake, journaled.reporting(fake.address) as reporter:
        fake.report_status = grpc.StatusCode.INVALID_ARGUMENT
        with capture_logs() as logs:
            journaled.append(failed(1))
            await until(lambda: reporter.sequence == 1)
        assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["reports_refused"]
        fake.report_status = None
        journaled.append(failed(2))
        await until(lambda: reporter.sequence == 2)
        assert fake.reports == [ended(2)]


async def test_a_damaged_row_is_passed_over(journaled: Journaled) -> None:
    with capture_logs() as logs:
        journaled.append(b"no row", failed(1), row(2, "OK", "2x0"), b"|||\xff|200|OK|1|1|call|", hung_up(3))
        batch = collect(journaled.directory, 1)
    assert (batch.reports, batch.sequence) == ([ended(1), ended(3)], 5)
    assert [(entry["event"], entry["sequence"]) for entry in logs] == [("event_not_reported", n) for n in (3, 4)]


async def test_a_long_backlog_goes_in_messages_of_bounded_size(
    journaled: Journaled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REPORTS", 10)
    monkeypatch.setattr(module, "ROWS", 35)
    journaled.append(*(failed(n) for n in range(25)), *(row(n, "R line-a 180") for n in range(100)), hung_up(7))
    sizes, sequence = [], 0
    while sequence < journaled.journal.sequence:
        batch = collect(journaled.directory, sequence + 1)
        sizes.append(len(batch.reports))
        assert batch.sequence > sequence
        sequence = batch.sequence
    assert sizes == [10, 10, 5, 0, 0, 1]


async def test_events_that_were_given_up_leave_a_gap_and_no_halt(journaled: Journaled) -> None:
    for call in range(3):
        journaled.append(failed(call))
        journaled.journal._begin_segment()
    next(journaled.directory.glob("*1.log")).unlink()
    assert collect(journaled.directory, 1).reports == [ended(1), ended(2)]
