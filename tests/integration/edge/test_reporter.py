"""What became of calls arrives at a routing replica at least once, whatever dies in between."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import grpc
import pytest
from signalbox.api.routing.v1.routing_pb2 import CallReport
from signalbox.bookmark import Bookmark
from signalbox.edge import reporter as module
from signalbox.edge import telling
from signalbox.edge.reporter import collect
from signalbox.journal import read
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
    async with RoutingFake() as fake, journaled.reporting(fake.address) as reported:
        journaled.append(row(1, "R line-a 180"), answered(1), row(2, "L line-a 486 QnVzeQ=="), failed(2), hung_up(1))
        await until(lambda: reported.sequence == 5)
        assert fake.reports == [CallReport(call_id="call-1", answered="line-a"), ended(2), ended(1)]


async def test_without_a_position_it_begins_with_what_comes(journaled: Journaled) -> None:
    journaled.append(failed(1))
    async with RoutingFake() as fake, journaled.reporting(fake.address) as reported:
        journaled.append(failed(2))
        await until(lambda: reported.sequence == 2)
        assert fake.reports == [ended(2)]


async def test_what_was_not_reported_before_a_crash_is_reported_after_it(journaled: Journaled) -> None:
    async with RoutingFake() as fake:
        async with journaled.reporting(fake.address) as reported:
            journaled.append(failed(1))
            await until(lambda: reported.sequence == 1)
            fake.report_status = grpc.StatusCode.UNAVAILABLE
            journaled.append(failed(2), failed(3))
            await asyncio.sleep(module.INTERVAL_S * 2)
        fake.report_status = None
        async with journaled.reporting(fake.address) as reported:
            await until(lambda: reported.sequence == 3)
        assert fake.reports == [ended(1), ended(2), ended(3)]


async def test_another_replica_takes_what_one_cannot_and_it_is_told_once(journaled: Journaled) -> None:
    async with RoutingFake() as one, RoutingFake() as two, journaled.reporting(one.address, two.address) as reported:
        with capture_logs() as logs:
            one.report_status = two.report_status = grpc.StatusCode.UNAVAILABLE
            for call in range(20):
                journaled.append(failed(call))
            await asyncio.sleep(telling.RETRY_S * 4)
            assert (reported.sequence, one.reports, two.reports) == (0, [], [])
            two.report_status = None
            await until(lambda: reported.sequence == 20)
        assert [report.call_id for report in two.reports] == [f"call-{call}" for call in range(20)]
        told = [entry["event"] for entry in logs if entry["event"].startswith("reports")]
        assert told == ["reports_delayed", "reports_go_on"]


async def test_a_replica_that_dies_and_comes_back_gets_the_rest(journaled: Journaled) -> None:
    async with RoutingFake() as fake, journaled.reporting(fake.address) as reported:
        for call in range(30):
            journaled.append(failed(call), hung_up(1000 + call))
            if call == 10:
                await until(lambda: reported.sequence == 22)
                await fake.stop()
            if call == 20:
                await fake.start()
            await asyncio.sleep(0.01)
        await until(lambda: reported.sequence == 60)
        assert {report.call_id for report in fake.reports} == {f"call-{n}" for n in [*range(30), *range(1000, 1030)]}


async def test_a_report_that_is_refused_for_good_holds_up_no_other(journaled: Journaled) -> None:
    async with RoutingFake() as fake:
        fake.refused_calls = {"call-70"}
        with capture_logs() as logs:
            async with journaled.reporting(fake.address) as reported:
                journaled.append(*(failed(n) for n in range(100)))
                await until(lambda: reported.sequence == 100)
                journaled.append(failed(100))
                await until(lambda: reported.sequence == 101)
        assert fake.reports == [ended(n) for n in range(101) if n != 70]
        errors = [(entry["event"], entry["call_id"]) for entry in logs if entry["log_level"] == "error"]
        assert errors == [("report_given_up", "call-70")]
        assert journaled.given_up == 1


async def test_a_damaged_row_is_passed_over(journaled: Journaled) -> None:
    with capture_logs() as logs:
        journaled.append(b"no row", failed(1), row(2, "OK", "2x0"), b"|||\xff|200|OK|1|1|call|", hung_up(3))
        batch = collect(read(journaled.directory))
    assert (batch.reports, batch.sequence) == ([ended(1), ended(3)], 5)
    assert [(entry["event"], entry["sequence"]) for entry in logs] == [("event_not_reported", n) for n in (3, 4)]


def test_a_call_that_a_worker_answers_has_no_line_until_the_worker_tells_one() -> None:
    (report,) = collect([(1, row(1, "OK", "200", "ivr-1 0 w"))]).reports
    assert report == CallReport(call_id="call-1", answered="")
    assert report.HasField("answered")


def test_nothing_is_told_of_a_line_that_a_worker_calls() -> None:
    rows = [(1, row(1, "OK", "200", "a 0")), (2, row(2, "H caller "))]
    legs = [(sequence, re.sub(rb"\|call-(\d)\|", rb"|call-\1L|", text)) for sequence, text in rows]
    assert [report.call_id for report in collect(rows).reports] == ["call-1", "call-2"]
    batch = collect(legs)
    assert not batch.reports
    assert batch.sequence == 2


def test_what_a_line_says_need_not_be_utf_8() -> None:
    said = answered(1).replace(b"|OK|", "|好|".encode("gbk"))
    assert b"\xba\xc3" in said
    assert collect([(1, said)]).reports == [CallReport(call_id="call-1", answered="line-a")]


async def test_a_long_backlog_goes_in_messages_of_bounded_size(
    journaled: Journaled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REPORTS", 10)
    monkeypatch.setattr(module, "ROWS", 35)
    journaled.append(*(failed(n) for n in range(25)), *(row(n, "R line-a 180") for n in range(100)), hung_up(7))
    sizes = []
    bookmark = Bookmark(journaled.journal, journaled.file)
    while bookmark.behind:
        batch = collect(bookmark.rows(module.ROWS))
        sizes.append(len(batch.reports))
        assert batch.sequence > bookmark.sequence
        await bookmark.move(batch.sequence)
    assert sizes == [10, 10, 5, 0, 0, 1]


async def test_events_that_were_given_up_leave_a_gap_and_no_halt(journaled: Journaled) -> None:
    for call in range(3):
        journaled.append(failed(call))
        journaled.journal._begin_segment()
    next(journaled.directory.glob("*1.log")).unlink()
    assert collect(read(journaled.directory)).reports == [ended(1), ended(2)]
