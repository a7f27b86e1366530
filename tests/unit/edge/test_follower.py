"""Following the proxy's event files: every row once, whatever is renamed, removed or killed."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from signalbox.edge import follower as module
from signalbox.edge.control import Control
from signalbox.edge.follower import Follower
from signalbox.journal import Journal, read
from structlog.testing import capture_logs
from support.kamailio_fake import KamailioFake
from support.wait import until

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

MIB = 1024 * 1024


def made(tmp_path: Path) -> Follower:
    journal = Journal(tmp_path / "journal", 64 * MIB)
    journal.open()
    follower = Follower(tmp_path / "events", journal, Control(tmp_path))
    follower.recover()
    return follower


def journaled(tmp_path: Path) -> list[bytes]:
    return [row for _, row in read(tmp_path / "journal")]


def append(tmp_path: Path, name: str, text: bytes) -> None:
    (tmp_path / "events").mkdir(exist_ok=True)
    with (tmp_path / "events" / name).open("ab") as file:
        file.write(text)


def test_rows_of_all_files_are_taken_once(tmp_path: Path) -> None:
    follower = made(tmp_path)
    append(tmp_path, "events_1.log", b"a1\na2\n")
    append(tmp_path, "events_2.log", b"b1\n")
    append(tmp_path, "README", b"not a row\n")
    follower.collect()
    append(tmp_path, "events_1.log", b"a3\n")
    follower.collect()
    assert sorted(journaled(tmp_path)) == [b"a1", b"a2", b"a3", b"b1"]


def test_a_row_is_taken_when_it_is_whole(tmp_path: Path) -> None:
    follower = made(tmp_path)
    append(tmp_path, "events_1.log", b"a1\nhal")
    follower.collect()
    assert journaled(tmp_path) == [b"a1"]
    assert follower.behind_bytes == 3
    append(tmp_path, "events_1.log", b"f\n")
    follower.collect()
    assert journaled(tmp_path) == [b"a1", b"half"]
    assert follower.behind_bytes == 0


def test_a_long_backlog_is_taken_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_BYTES", 100)
    follower = made(tmp_path)
    append(tmp_path, "events_1.log", b"".join(b"row %04d\n" % number for number in range(100)))
    pieces = 1
    while follower.collect():
        pieces += 1
    assert pieces > 5
    assert journaled(tmp_path) == [b"row %04d" % number for number in range(100)]


def test_a_thread_that_still_collects_when_all_is_closed_spoils_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower = made(tmp_path)
    append(tmp_path, "events_1.log", b"a1\n")
    inside, go_on = threading.Event(), threading.Event()
    append_rows = Journal.append

    def slow(journal: Journal, *arguments: Any, **named: Any) -> None:
        inside.set()
        assert go_on.wait(5)
        append_rows(journal, *arguments, **named)

    monkeypatch.setattr(Journal, "append", slow)
    with ThreadPoolExecutor() as threads:
        collecting = threads.submit(follower.collect)
        assert inside.wait(5)
        closing = threads.submit(follower.close)
        append(tmp_path, "events_1.log", b"a2\n")
        late = threads.submit(follower.collect)
        go_on.set()
        assert not collecting.result(5)
        closing.result(5)
        late.result(5)
    append(tmp_path, "events_1.log", b"a3\n")
    assert not follower.collect(), "nothing is taken over any more"
    assert journaled(tmp_path) == [b"a1", b"a2"]


def test_a_row_that_never_ends_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_BYTES", 100)
    follower = made(tmp_path)
    append(tmp_path, "events_1.log", b"x" * 150 + b"\nnext\n")
    with capture_logs() as logs:
        while follower.collect():
            pass
        follower.collect()
    assert journaled(tmp_path) == [b"x" * 100, b"x" * 50, b"next"]
    assert logs[0]["event"] == "event_row_too_long"


def test_a_file_cut_by_somebody_is_read_again_from_its_begin(tmp_path: Path) -> None:
    follower = made(tmp_path)
    append(tmp_path, "events_1.log", b"a1\na2\n")
    follower.collect()
    (tmp_path / "events" / "events_1.log").write_bytes(b"n\n")
    with capture_logs() as logs:
        follower.collect()
    assert journaled(tmp_path) == [b"a1", b"a2", b"n"]
    assert [entry["event"] for entry in logs] == ["event_file_shrank"]


def test_a_removal_that_was_begun_is_finished_and_its_inode_forgotten(tmp_path: Path) -> None:
    follower = made(tmp_path)
    append(tmp_path, "events_1.log", b"a1\n")
    follower.collect()
    path = tmp_path / "events" / "events_1.log"
    path.rename(path.with_name("events_1.log.1-1.aside.done"))
    again = made(tmp_path)
    assert again._journal.positions == {}
    assert list((tmp_path / "events").iterdir()) == []
    assert journaled(tmp_path) == [b"a1"]


async def test_consumed_files_are_put_aside_and_removed_once_nobody_writes_to_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"ROTATE_BYTES": 1000, "ROTATE_CHECK_S": 0.05, "GRACE_S": 0.1, "ROTATE_PAUSE_S": 0.05}.items():
        monkeypatch.setattr(module, name, value)
    kamailio = KamailioFake(tmp_path)
    kamailio.start()
    follower = made(tmp_path)
    running = asyncio.create_task(follower.run())
    written = 0
    deadline = time.monotonic() + 10
    removed = 0
    seen: set[str] = set()
    worker = (tmp_path / "events" / "events_1.log").open("ab", buffering=0)
    try:
        while removed < 3:
            assert time.monotonic() < deadline
            rotations = sum(call[0] == "flatstore.k_rotate" for call in kamailio.calls)
            for _ in range(20):
                worker.write(b"row %06d %s\n" % (written, b"x" * 100))
                written += 1
            await asyncio.sleep(0.02)
            names = {path.name for path in (tmp_path / "events").iterdir()}
            if rotations % 2 == 0 and rotations and "events_1.log" not in names:
                # As the proxy does: the old file is used until the first row after it was told.
                worker.close()
                worker = (tmp_path / "events" / "events_1.log").open("ab", buffering=0)
            removed += len(seen - names)
            seen = {name for name in names if name.endswith(".aside")}
    finally:
        worker.close()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        kamailio.stop()
        follower._control.close()
    while follower.collect():
        pass
    assert journaled(tmp_path) == [b"row %06d %s" % (number, b"x" * 100) for number in range(written)]


async def test_without_the_proxy_files_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROTATE_BYTES", 10)
    follower = made(tmp_path)
    append(tmp_path, "events_1.log", b"a row of some length\n")
    follower.collect()
    with capture_logs() as logs:
        running = asyncio.create_task(follower.run())
        await until(lambda: any(entry["event"] == "event_files_not_rotated" for entry in logs))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    follower._control.close()
    assert len(list((tmp_path / "events").iterdir())) == 1
    assert journaled(tmp_path) == [b"a row of some length"]


async def test_a_disk_error_is_told_and_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    follower = made(tmp_path)
    append(tmp_path, "events_1.log", b"a1\n")
    real_append = follower._journal.append
    failures = [OSError(28, "No space left on device"), OSError(5, "Input/output error")]

    def fails_twice(*arguments: object, **named: object) -> None:
        if failures:
            raise failures.pop()
        real_append(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(follower._journal, "append", fails_twice)
    with capture_logs() as logs:
        running = asyncio.create_task(follower.run())
        await until(lambda: bool(journaled(tmp_path)))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    follower._control.close()
    assert journaled(tmp_path) == [b"a1"]
    assert [entry["event"] for entry in logs].count("events_not_taken") == 2


_VICTIM = """
import sys, time
from pathlib import Path
import structlog
from signalbox import journal
from signalbox.edge import follower as module
from signalbox.edge.control import Control
structlog.configure(logger_factory=structlog.WriteLoggerFactory(file=sys.stderr))
root = Path(sys.argv[1])
journal.SEGMENT_BYTES = 20_000
module.CHUNK_BYTES = 3_000
module.ROTATE_BYTES = 10_000
module.GRACE_S = 0.03
writer = journal.Journal(root / "journal", 64 << 20)
writer.open()
follower = module.Follower(root / "events", writer, None)
follower.recover()
print("up", flush=True)
while True:
    follower.collect()
    if follower._put_aside():
        # The writer in the test opens its file for each row: whoever renamed it has told it.
        now = time.monotonic() + module.GRACE_S
        for path, inode, _ in follower._files():
            if path.name.endswith(".aside"):
                follower._removable.setdefault(inode, now)
    follower._remove()
"""


def test_no_row_is_lost_or_doubled_by_kill_9_at_any_instant(tmp_path: Path) -> None:
    """Two writers append while the follower is killed and started again, 25 times at random instants."""
    (tmp_path / "events").mkdir()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    written = [0, 0]
    random_source = random.Random(4)

    def write_some() -> None:
        for worker in (0, 1):
            for _ in range(random_source.randrange(1, 60)):
                # A worker opens by name and writes a row in one piece, as Kamailio does after a rotation.
                append(tmp_path, f"events_{worker}.log", b"%d %07d %s\n" % (worker, written[worker], b"x" * 40))
                written[worker] += 1

    for _ in range(25):
        victim = subprocess.Popen(
            [sys.executable, "-c", _VICTIM, str(tmp_path)], env=environment, stdout=subprocess.PIPE
        )
        assert victim.stdout is not None
        with victim, victim.stdout:
            assert victim.stdout.readline() == b"up\n"
            end = time.monotonic() + random_source.uniform(0.0, 0.15)
            while time.monotonic() < end:
                write_some()
            victim.send_signal(signal.SIGKILL)
            victim.wait()
        write_some()
    last = made(tmp_path)
    while last.collect():
        pass
    found = list(read(tmp_path / "journal"))
    assert [sequence for sequence, _ in found] == list(range(1, sum(written) + 1))
    for worker in (0, 1):
        numbers = [int(row.split()[1]) for _, row in found if row.startswith(b"%d " % worker)]
        assert numbers == list(range(written[worker]))
    assert len(list((tmp_path / "journal").glob("*.log"))) > 3, "segments changed under fire too"
