"""The memory map of what tenants own: its readers in other processes, and what may happen to them."""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import lmdb
import pytest
from signalbox.store.directory import Batch, DirectoryReader, DirectoryWriter
from signalbox.store.mapfile import DirectoryError, State
from signalbox.store.mapplace import BusyError, condemn, is_written
from signalbox.store.page import LAST
from structlog.testing import capture_logs
from support.directories import batch_of, digits, number, wrong
from support.map_content import FLOW, FRONT, SPAM

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def write(path: Path, revision: int, numbers: int = 0) -> None:
    """Write in another process: one can't open a file twice."""
    command = [sys.executable, "-m", "support.directories", "once", str(path), str(revision), str(numbers)]
    subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True, timeout=60)


def empty(path: Path, *, remove: bool = False) -> None:
    path.parent.mkdir(exist_ok=True)
    path.touch()
    if remove:
        path.unlink()


def content(path: Path) -> bytes:
    return path.read_bytes()


def damage(path: Path, how: str) -> bytes:
    """What the file has then."""
    whole = path.read_bytes()
    match how:
        case "another file":
            path.write_bytes(b"SBXRULES" + whole)
        case "cut off":
            path.write_bytes(whole[:-4096])
        case "empty":
            path.write_bytes(whole[:100])
        case "condemned":
            condemn(path, DirectoryError("number 400 can't be read"))
    return path.read_bytes()


@contextmanager
def process(what: str, path: Path, **options: object) -> Iterator[subprocess.Popen[str]]:
    """A process that does something to the file; killed at the end."""
    running = subprocess.Popen(
        [sys.executable, "-m", "support.directories", what, str(path)],
        env=ENVIRONMENT,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options,
    )  # type: ignore[call-overload]  # fmt: skip
    try:
        yield running
    finally:
        running.kill()
        running.communicate()


class TestReaders:
    async def test_a_reader_sees_whole_states_only_and_what_it_holds_does_not_change(self, path: Path) -> None:
        with process("write", path) as writing:
            for _ in range(3):
                writing.stdout.readline()  # type: ignore[union-attr]
            with process("read", path) as reading, process("hold", path) as holding:
                held = int(holding.stdout.readline())  # type: ignore[union-attr]
                revision = held
                while revision < held + 100:
                    revision = int(writing.stdout.readline())  # type: ignore[union-attr]
                seen, *found = reading.communicate("")[0].split(None, 1)
                assert (found, int(seen) > 1) == ([], True)
                _, renewed, now, *found = holding.communicate("")[0].split(None, 3)
                assert (renewed, int(now) > held, found) == ("True", True, [])

    async def test_a_reader_waits_for_a_file_with_a_state(self, path: Path) -> None:
        reader = DirectoryReader(path)
        assert not reader.pin()
        assert reader.view is None
        empty(path)
        assert not reader.pin()
        empty(path, remove=True)
        writer = DirectoryWriter(path)
        await writer.write(batch_of(1))
        writer.close()
        assert not reader.pin()
        assert reader.view is None

    async def test_a_reader_does_not_take_up_what_is_past_its_limit(self, path: Path) -> None:
        reader = DirectoryReader(path)
        write(path, 5)
        assert not reader.pin(most=4)
        assert reader.view is None
        assert reader.pin(most=5)
        assert reader.view is not None
        write(path, 6)
        assert not reader.pin(most=5)
        assert not reader.pin(least=7)
        assert wrong(reader.view) == ""
        assert reader.pin(least=6)
        assert wrong(reader.view) == ""
        reader.close()
        assert reader.view is None

    async def test_a_reader_follows_to_a_file_that_was_made_anew(self, path: Path) -> None:
        write(path, 5)
        reader = DirectoryReader(path)
        assert reader.pin()
        assert reader.view is not None
        with capture_logs():
            condemn(path, DirectoryError("for the test"))
        write(path, 0)
        assert not reader.pin()
        assert wrong(reader.view) == ""
        write(path, 5)
        assert reader.pin()
        assert reader.view.state.revision == 5
        assert wrong(reader.view) == ""
        reader.close()

    async def test_a_reader_follows_a_file_that_grows(self, path: Path) -> None:
        reader = DirectoryReader(path)
        for revision in range(1, 5):
            write(path, revision, revision * 20_000)
            assert reader.pin()
            assert reader.view is not None
            assert reader.view.numbers == revision * 20_000
        reader.close()

    async def test_space_that_a_killed_reader_held_is_used_again(self, path: Path) -> None:
        write(path, 1)
        with process("hold", path) as holding:
            holding.stdout.readline()  # type: ignore[union-attr]
        writer = DirectoryWriter(path)
        for revision in range(2, 12):
            await writer.write(batch_of(revision), revision)
            writer.pin()
        size = writer.size()
        for revision in range(12, 62):
            await writer.write(batch_of(revision), revision)
            writer.pin()
        assert writer.size() < 1.5 * size
        writer.close()

    async def test_there_is_one_writer(self, path: Path) -> None:
        with process("write", path) as writing:
            writing.stdout.readline()  # type: ignore[union-attr]
            with pytest.raises(BusyError):
                DirectoryWriter(path)
            assert is_written(path)
        assert not is_written(path)
        DirectoryWriter(path).close()

    def test_nobody_writes_a_file_that_is_not_there(self, path: Path) -> None:
        assert not is_written(path)


class TestAccidents:
    def test_a_writer_killed_at_any_instant_leaves_a_whole_file(self, path: Path) -> None:
        reached = -1
        for _ in range(12):
            with process("write", path) as writing:
                found, *problem = writing.stdout.readline().split(None, 1)  # type: ignore[union-attr]
                assert problem == []
                assert int(found) >= reached, "what was committed has been lost"
                time.sleep(random.uniform(0, 0.15))
                writing.kill()
                told = writing.communicate()[0].split()
                reached = int(told[-1]) if told else int(found)
        assert reached > 10

    async def test_a_disk_that_is_full_is_told_and_the_file_stays_as_it_was(self, path: Path) -> None:
        writer = DirectoryWriter(path)
        await writer.write(batch_of(1), 1)
        writer.pin()
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (writer.size(), limit[1]))
        try:
            with pytest.raises(DirectoryError, match="can't be written"):
                await writer.write(Batch({digits(n): number(n) for n in range(10_000)}), 2)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        assert not writer.pin()
        assert wrong(writer.view) == ""
        await writer.write(batch_of(3), 3)
        writer.pin()
        assert wrong(writer.view) == ""
        writer.close()

    async def test_a_file_whose_disk_failed_at_the_wrong_moment_is_opened_anew(
        self, writer: DirectoryWriter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await writer.write(batch_of(1), 1)

        def panic(*given: object) -> None:
            raise lmdb.PanicError("mdb_txn_begin")

        with monkeypatch.context() as patch:
            patch.setattr(writer, "_write", panic)
            with pytest.raises(DirectoryError, match="can't be written"):
                await writer.write(batch_of(2), 2)
        assert wrong(writer.view) == ""
        await writer.write(batch_of(3), 3)
        writer.pin()
        assert wrong(writer.view) == ""

    @pytest.mark.parametrize("how", ["another file", "cut off", "empty", "another form", "condemned"])
    async def test_a_file_that_cannot_be_used_is_set_aside(self, path: Path, how: str) -> None:
        writer = DirectoryWriter(path)
        await writer.write(batch_of(1), 1)
        if how == "another form":
            with writer._tables.env.begin(write=True) as txn:
                txn.put(b"format", b"signalbox directory 0.9", db=writer._tables.meta)
        writer.close()
        damaged = damage(path, how)
        if how != "condemned":
            reader = DirectoryReader(path)
            assert not reader.pin()
        with capture_logs() as logs:
            writer = DirectoryWriter(path)
        assert [(log["event"], log["log_level"]) for log in logs] == [("directory_set_aside", "error")]
        assert content(path.with_name("rules.map-damaged")) == damaged
        assert writer.view.state == State()
        await writer.write(batch_of(2), 2)
        writer.close()
        with capture_logs() as logs:
            writer = DirectoryWriter(path)
        assert logs == []
        assert wrong(writer.view) == ""
        writer.close()

    async def test_a_file_that_cannot_be_read_is_told(
        self, writer: DirectoryWriter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await writer.write(FRONT, 1)
        writer.pin()
        with writer._tables.env.begin() as other:
            monkeypatch.setattr(writer.view, "_txn", other)
        with pytest.raises(DirectoryError, match="main can't be read"):
            writer.view.object(FLOW)

    async def test_a_record_that_cannot_be_read_is_told(self, writer: DirectoryWriter) -> None:
        await writer.write(FRONT, 1)
        with writer._tables.env.begin(write=True) as txn:
            for table in (writer._tables.numbers, writer._tables.lines, writer._tables.lists, writer._tables.pages):
                with txn.cursor(table) as cursor:
                    cursor.first()
                    txn.put(cursor.key(), b"\x40", db=table)
        await writer.write(Batch(), 2)
        writer.pin()
        with pytest.raises(DirectoryError, match="number 4000000001 can't be read"):
            writer.view.number(digits(1))
        with pytest.raises(DirectoryError, match="spam/007 can't be read"):
            writer.view.screening_page(SPAM)
        with pytest.raises(DirectoryError, match="page rules/lines/acme/"):
            writer.view.page("rules/lines/acme/" + LAST)
        with pytest.raises(DirectoryError, match="pages of rules"):
            writer.view.pages("rules/", "", 1)

    def test_a_place_where_no_file_can_be_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(DirectoryError, match="can't be made"):
            DirectoryWriter(tmp_path / "file" / "rules.map")
        (tmp_path / "rules.map").mkdir()
        with pytest.raises(DirectoryError, match="can't be made"):
            DirectoryWriter(tmp_path / "rules.map")

    def test_what_cannot_be_condemned_is_told(self, tmp_path: Path) -> None:
        with capture_logs() as logs:
            condemn(tmp_path / "none" / "rules.map", DirectoryError("damaged"))
        assert [log["event"] for log in logs] == ["directory_damaged", "directory_not_condemned"]
