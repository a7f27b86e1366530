"""Which calls are to be recorded arrives at a recorder at least once, in order, whatever dies in between."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import grpc
import pytest
from signalbox import promises as module
from signalbox.api.recording.v1.recording_pb2 import CallFacts, Promise
from signalbox.bookmark import Bookmark
from signalbox.errors import ConfigurationError
from signalbox.journal import read
from signalbox.promises import Promises, collect
from signalbox.settings import ClientTlsSettings
from structlog.testing import capture_logs
from support.journaled import Journaled, answered, failed, hung_up, row
from support.promises_fake import RecorderFake
from support.wait import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

CALLER = base64.b64encode(b"13800001234").decode()


def promised(call: int) -> bytes:
    return row(call, f"S line-a 7 acme 4001234567 a b 192.0.2.9:4000 - {CALLER}")


@pytest.fixture
def journaled(tmp_path: Path) -> Journaled:
    return Journaled(tmp_path)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """No long pauses."""
    monkeypatch.setattr(module, "INTERVAL_S", 0.02)
    monkeypatch.setattr(module, "RETRY_MIN_S", 0.02)
    monkeypatch.setattr(module, "RETRY_MAX_S", 0.05)


@asynccontextmanager
async def telling(journaled: Journaled, *recorders: str) -> AsyncIterator[Promises]:
    """Promises of the journal on their way to these recorders."""
    bookmark = Bookmark(journaled.journal, journaled.file)
    bookmark.open()
    promises = Promises(bookmark, "edge-9", recorders, ClientTlsSettings())
    task = asyncio.create_task(promises.run())
    try:
        yield promises
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_promises_are_told_with_all_that_is_known_and_nothing_else_is(journaled: Journaled) -> None:
    async with RecorderFake() as recorder, telling(journaled, recorder.address) as promises:
        journaled.append(row(1, "R line-a 180"), promised(1), answered(1), failed(2), hung_up(1))
        await until(lambda: promises.behind == 0)
    facts = CallFacts(
        call_id="call-1", tenant="acme", number="4001234567", caller="13800001234", line="line-a", media_node=7,
        caller_tag="a", line_tag="b", caller_media="192.0.2.9:4000",
    )  # fmt: skip
    facts.answer_time.FromMilliseconds(1795318705386)
    assert recorder.promises == [Promise(proxy="edge-9", sequence=2, facts=facts)]
    assert promises.told == 1


async def test_without_recorders_nothing_is_kept_for_later(journaled: Journaled) -> None:
    async with telling(journaled) as promises:
        journaled.append(promised(1), promised(2))
        await until(lambda: promises.behind == 0)
    async with RecorderFake() as recorder, telling(journaled, recorder.address):
        journaled.append(promised(3))
        await until(lambda: bool(recorder.promises))
        assert recorder.sequences == [3]


async def test_what_was_not_told_before_a_crash_is_told_after_it(journaled: Journaled) -> None:
    async with RecorderFake() as recorder:
        async with telling(journaled, recorder.address) as promises:
            journaled.append(promised(1))
            await until(lambda: promises.behind == 0)
            recorder.status = grpc.StatusCode.UNAVAILABLE
            journaled.append(promised(2), promised(3))
            await until(lambda: promises._delayed)
        recorder.status = None
        async with telling(journaled, recorder.address) as promises:
            await until(lambda: promises.behind == 0)
        assert recorder.sequences == [1, 2, 3]


@pytest.mark.parametrize("status", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.PERMISSION_DENIED])
async def test_another_recorder_takes_what_one_does_not_and_it_is_told_once(
    journaled: Journaled, status: grpc.StatusCode
) -> None:
    async with RecorderFake() as one, RecorderFake() as two:
        with capture_logs() as logs:
            one.status = two.status = status
            async with telling(journaled, one.address, two.address) as promises:
                journaled.append(*(promised(n) for n in range(20)))
                await until(lambda: promises._delayed)
                two.status = None
                await until(lambda: promises.behind == 0)
        assert (one.sequences, two.sequences) == ([], [*range(1, 21)])
        told = [entry["event"] for entry in logs if entry["event"].startswith("promises")]
        assert told == ["promises_delayed", "promises_go_on"]


async def test_a_recorder_that_was_away_gets_the_rest_when_it_is_back(journaled: Journaled) -> None:
    async with RecorderFake() as recorder, telling(journaled, recorder.address) as promises:
        journaled.append(promised(1))
        await until(lambda: promises.behind == 0)
        await recorder.stop()
        journaled.append(promised(2))
        await until(lambda: promises._delayed)
        journaled.append(promised(3))
        await recorder.start()
        await until(lambda: promises.behind == 0)
        assert recorder.sequences == [1, 2, 3]


async def test_a_promise_that_is_refused_for_good_holds_up_no_other(journaled: Journaled) -> None:
    async with RecorderFake() as recorder:
        recorder.refused = {"call-70", "call-71", "call-3"}
        with capture_logs() as logs:
            async with telling(journaled, recorder.address) as promises:
                journaled.append(*(promised(n) for n in range(100)))
                await until(lambda: promises.behind == 0)
                journaled.append(promised(100))
                await until(lambda: promises.behind == 0)
        assert [one.facts.call_id for one in recorder.promises] == [
            f"call-{n}" for n in range(101) if n not in (3, 70, 71)
        ]
        errors = [(entry["event"], entry["call_id"]) for entry in logs if entry["log_level"] == "error"]
        assert errors == [("promise_given_up", f"call-{n}") for n in (3, 70, 71)]
        assert promises.given_up == 3


async def test_a_damaged_row_is_passed_over(journaled: Journaled) -> None:
    with capture_logs() as logs:
        journaled.append(b"no row", promised(1), row(2, "S line-a x acme"), b"|||\xff||S |1|1|call|", promised(3))
        batch = collect(read(journaled.directory), "edge-9")
    assert ([one.sequence for one in batch.promises], batch.sequence) == ([2, 5], 5)
    assert [(entry["event"], entry["sequence"]) for entry in logs] == [("promise_unreadable", n) for n in (3, 4)]


async def test_a_long_backlog_goes_in_messages_of_bounded_size(
    journaled: Journaled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PROMISES", 10)
    monkeypatch.setattr(module, "ROWS", 35)
    async with RecorderFake() as recorder, telling(journaled, recorder.address) as promises:
        journaled.append(*(promised(n) for n in range(25)), *(answered(n) for n in range(100)), promised(7))
        await until(lambda: promises.behind == 0)
        assert recorder.messages == [10, 10, 5, 1]


async def test_a_disk_that_fails_is_told_and_tried_again(journaled: Journaled, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Bookmark, limit: int) -> list[tuple[int, bytes]]:
        raise OSError("I/O error")

    async with RecorderFake() as recorder:
        with capture_logs() as logs, monkeypatch.context() as patched:
            patched.setattr(Bookmark, "rows", broken)
            async with telling(journaled, recorder.address) as promises:
                journaled.append(promised(1))
                await until(lambda: any(entry["event"] == "promises_not_told" for entry in logs))
                patched.undo()
                await until(lambda: promises.behind == 0)
        assert recorder.sequences == [1]


async def test_certificates_that_cannot_be_read_are_found_at_the_start(journaled: Journaled, tmp_path: Path) -> None:
    tls = ClientTlsSettings(ca_file=tmp_path / "none")
    with pytest.raises(ConfigurationError):
        Promises(Bookmark(journaled.journal, journaled.file), "edge-9", ["127.0.0.1:1"], tls)


async def test_a_certificate_that_is_gone_for_a_moment_delays_only(
    journaled: Journaled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with RecorderFake() as recorder:
        real, gone = module.rpc.channel, [True, True]

        def channel(replicas: str, tls: ClientTlsSettings) -> grpc.aio.Channel:
            if gone:
                gone.pop()
                raise ConfigurationError("tls: no such file")
            return real(replicas, tls)

        monkeypatch.setattr(module.rpc, "channel", channel)
        async with telling(journaled, recorder.address) as promises:
            journaled.append(promised(1))
            await until(lambda: promises.behind == 0)
        assert (recorder.sequences, gone) == ([1], [])


PROGRAM = """
import asyncio, sys
from pathlib import Path
from signalbox import promises
from signalbox.bookmark import Bookmark
from signalbox.journal import Journal
from signalbox.settings import ClientTlsSettings

async def main():
    journal = Journal(Path(sys.argv[1]), 64 * 1024 * 1024)
    journal.open()
    bookmark = Bookmark(journal, Path(sys.argv[2]))
    bookmark.open()
    promises.INTERVAL_S = 0.01
    promises.PROMISES = 7
    await promises.Promises(bookmark, "edge-9", [sys.argv[3]], ClientTlsSettings()).run()

asyncio.run(main())
"""
CALLS = 600


async def test_nothing_is_lost_when_the_process_is_killed(journaled: Journaled) -> None:
    Bookmark(journaled.journal, journaled.file).open()
    journaled.append(*(promised(n) for n in range(CALLS)))
    journaled.journal.close()
    async with RecorderFake() as recorder:
        for wanted in (CALLS // 2, CALLS):
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", PROGRAM, str(journaled.directory), str(journaled.file), recorder.address
            )
            try:
                await until(lambda wanted=wanted: wanted in recorder.sequences, timeout_s=60)
            finally:
                os.kill(process.pid, signal.SIGKILL)
                await process.wait()
    # In order; what was under way when it was killed comes twice.
    assert list(dict.fromkeys(recorder.sequences)) == [*range(1, CALLS + 1)]
    assert len(recorder.sequences) - CALLS <= 7
