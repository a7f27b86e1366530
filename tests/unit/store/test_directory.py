"""The memory map of what tenants own: its writer, its readers in other processes, and what may happen to them."""

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
from signalbox.store import mapfile
from signalbox.store.directory import Batch, DirectoryReader, DirectoryWriter, StartOverError
from signalbox.store.mapfile import DirectoryError, State, digest_after
from signalbox.store.mapplace import BusyError, condemn, is_written
from signalbox.store.page import LAST
from structlog.testing import capture_logs
from support.directories import batch_of, digits, line, number, page, wrong

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
SMALL = 1 << 16
FLOW = "rules/flows/acme/main"
SPAM = "rules/listpages/acme/spam/007"
FRONT = Batch(
    {digits(1): number(1)}, {("acme", "front"): line("front")}, {"rules/lines/acme/" + LAST: 5},
    {FLOW: b"stored", "rules/lists/acme/spam": b""}, {SPAM: page(100, 1_000)},
)  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "routing" / "rules.map"


@pytest.fixture
def writer(path: Path) -> Iterator[DirectoryWriter]:
    writer = DirectoryWriter(path)
    yield writer
    writer.close()


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


class TestWriting:
    async def test_what_is_written_is_found_once_it_is_taken_up(self, writer: DirectoryWriter) -> None:
        await writer.write(FRONT, 7, 1000.5)
        assert writer.view.number(digits(1)) is None
        assert writer.pin()
        assert not writer.pin()
        view = writer.view
        assert (view.number(digits(1)), view.line("acme", "front")) == (number(1), line("front"))
        assert (view.object(FLOW), view.object("rules/lists/acme/spam")) == (b"stored", b"")
        found = view.screening_page(SPAM)
        assert found is not None
        assert (set(found.entries()), found.texts) == (set(page(100, 1_000).entries()), {"x"})
        assert (view.numbers, view.lines, view.page("rules/lines/acme/" + LAST)) == (1, 1, 5)
        assert view.state == State(7, digest_after(0, "rules/lines/acme/" + LAST, 0, 5), 1000.5)

    async def test_what_is_gone_is_found_no_more(self, writer: DirectoryWriter) -> None:
        await writer.write(FRONT, 7)
        gone = Batch({digits(1): None, digits(2): None}, {("acme", "front"): None, ("x", "y"): None})
        gone.objects = {FLOW: None, "rules/flows/acme/none": None}
        gone.lists = {SPAM: None, "rules/listpages/acme/none/001": None}
        gone.pages = {"rules/lines/acme/" + LAST: 0, "rules/numbers/00/" + LAST: 0}
        await writer.write(gone, 8)
        writer.pin()
        assert (writer.view.numbers, writer.view.lines, writer.view.state.digest) == (0, 0, 0)
        assert writer.view.number(digits(1)) is writer.view.line("acme", "front") is None
        assert writer.view.object(FLOW) is writer.view.screening_page(SPAM) is None
        assert writer.view.page("rules/lines/acme/" + LAST) == 0

    async def test_objects_of_tenants_are_not_mistaken_for_each_other(self, writer: DirectoryWriter) -> None:
        lines = {(f"t{n}", f"l{n % 3}"): line(f"l{n % 3}", f"t{n}", calls=n) for n in range(300)}
        await writer.write(Batch(lines=dict(lines)), 1)
        writer.pin()
        for (tenant, id), expected in lines.items():
            assert writer.view.line(tenant, id) == expected
        assert writer.view.line("t1", "l2") is writer.view.line("t", "l0") is writer.view.line("", "l0") is None

    async def test_more_tenants_than_are_remembered(
        self, writer: DirectoryWriter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(mapfile, "KNOWN", 5)
        numbers = {digits(n): number(n, f"t{n % 20}") for n in range(60)}
        lines = {(f"t{n}", "front"): line("front", f"t{n}", calls=n) for n in range(20)}
        await writer.write(Batch({**numbers}, {**lines}), 1)
        writer.pin()
        for _ in range(2):
            assert {key: writer.view.number(key) for key in numbers} == numbers
            assert {key: writer.view.line(*key) for key in lines} == lines
        assert len(writer.view.tables.known_words) <= 5
        assert len(writer.view.tables.known_texts) <= 5

    async def test_a_word_that_was_never_committed_is_nobodys(self, writer: DirectoryWriter) -> None:
        await writer.write(Batch(lines={("gone", "front"): line("front", "gone")}), commit=False)
        assert writer.view.line("gone", "front") is None
        await writer.roll_back()
        await writer.write(Batch(lines={("acme", "front"): line("front")}), 1)
        writer.pin()
        assert writer.view.line("gone", "front") is None
        assert writer.view.line("acme", "front") == line("front")

    @pytest.mark.parametrize("text", ["", "4a", "+86400", "٤٠٠", "4" * 400, "\0"])
    async def test_what_can_be_no_number_or_id_is_not_found(self, writer: DirectoryWriter, text: str) -> None:
        await writer.write(FRONT, 1)
        writer.pin()
        assert writer.view.number(text) is writer.view.line("acme", text) is writer.view.line(text, "front") is None

    async def test_batches_may_wait_for_each_other(self, writer: DirectoryWriter) -> None:
        await writer.write(batch_of(1), commit=False)
        assert not writer.pin()
        await writer.write(batch_of(2), 2)
        writer.pin()
        assert wrong(writer.view) == ""

    async def test_what_was_not_committed_is_gone_with_its_writer(self, path: Path) -> None:
        writer = DirectoryWriter(path)
        await writer.write(batch_of(1), 1)
        await writer.write(batch_of(2), 2, commit=False)
        writer.close()
        writer = DirectoryWriter(path)
        assert wrong(writer.view) == ""
        assert writer.view.state.revision == 1
        writer.close()

    async def test_the_file_grows(self, path: Path) -> None:
        writer = DirectoryWriter(path, map_size=SMALL)
        with capture_logs() as logs:
            for revision in range(1, 9):
                await writer.write(batch_of(revision), revision)
            writer.pin()
        assert {log["event"] for log in logs} == {"directory_grows"}
        assert wrong(writer.view) == ""
        writer.close()

    async def test_a_file_that_grows_is_looked_at_as_before(self, path: Path) -> None:
        writer = DirectoryWriter(path, map_size=SMALL)
        await writer.write(batch_of(1), 1)
        writer.pin()
        view = writer.view
        assert wrong(view) == ""
        with capture_logs() as logs:
            await writer.write(Batch({digits(n): number(n) for n in range(20_000)}), 2)
        assert {log["event"] for log in logs} == {"directory_grows"}
        assert wrong(view) == ""
        assert writer.pin()
        assert writer.view.numbers == 20_000
        writer.close()

    async def test_who_wrote_without_committing_begins_again_when_the_file_grows(self, path: Path) -> None:
        writer = DirectoryWriter(path, map_size=SMALL)
        await writer.write(batch_of(1), commit=False)
        with pytest.raises(StartOverError):
            await writer.write(Batch({digits(n): number(n) for n in range(20_000)}), commit=False)
        await writer.write(batch_of(3), 3)
        writer.pin()
        assert wrong(writer.view) == ""
        writer.close()

    async def test_ids_of_any_form_do_not_stop_a_batch(self, writer: DirectoryWriter) -> None:
        odd = Batch({digits(1): number(1, line="Front Desk"), "12a": None}, {("acme", "Fröhlich"): line("Fröhlich")})
        odd.numbers[digits(2)] = number(2, tenant="x" * 1000)
        long = "rules/flows/acme/" + "x" * 500
        odd.objects, odd.lists, odd.pages = {long: b"", FLOW: b"stored"}, {long: page(0, 1)}, {long: 2, FLOW: 2}
        with capture_logs() as logs:
            await writer.write(odd, 2)
        writer.pin()
        assert writer.view.object(long) is writer.view.screening_page(long) is None
        assert (writer.view.object(FLOW), writer.view.page(FLOW)) == (b"stored", 2)
        assert writer.view.state.digest == digest_after(0, FLOW, 0, 2)
        assert writer.view.number(digits(1)) == number(1, line="Front Desk")
        assert (writer.view.numbers, writer.view.lines) == (1, 0)
        assert [log["event"] for log in logs] == ["directory_record_refused"] * 6


class TestLooking:
    async def test_pages_are_told_in_order(self, writer: DirectoryWriter) -> None:
        pages = {f"rules/numbers/{n % 3:02d}/{n}": n for n in range(1, 40)}
        await writer.write(Batch(pages={**pages, "rules/lines/acme/" + LAST: 5}), 1)
        writer.pin()
        found: list[tuple[str, int]] = []
        while page := writer.view.pages("rules/numbers/", found[-1][0] if found else "", 7):
            found += page
        assert found == sorted(pages.items())
        assert writer.view.pages("rules/lines/", "", 7) == [("rules/lines/acme/" + LAST, 5)]

    async def test_the_page_before(self, writer: DirectoryWriter) -> None:
        assert writer.view.page_before("rules/numbers/00/") == ""
        await writer.write(Batch(pages={"a/b": 1, "a/d": 1}), 1)
        writer.pin()
        assert [writer.view.page_before(key) for key in ("a/b", "a/c", "a/d", "a/e")] == ["", "a/b", "a/b", "a/d"]

    async def test_the_keys_that_lie_in_a_page(self, writer: DirectoryWriter) -> None:
        numbers = [f"4000{n:04d}17" for n in range(20)] + ["400000018", "400000016", "99917"]
        lines = [f"line-{n:02d}" for n in range(20)]
        await writer.write(
            Batch(
                dict.fromkeys(numbers) | {n: number(0) for n in numbers},
                {(t, id): line(id, t) for id in lines for t in ("acme", "other")},
            ),
            1,
        )
        writer.pin()
        view, prefix = writer.view, "rules/numbers/17/"
        own = [prefix + number for number in sorted(numbers) if number.endswith("17")]
        assert view.keys(prefix, prefix + LAST) == own
        assert view.keys(own[4], own[9]) == own[5:10]
        assert view.keys(own[4], prefix + LAST) == own[5:]
        assert view.keys(prefix + "4000", own[2] + "0") == own[:3]
        assert view.keys(own[-1], prefix + LAST) == view.keys("rules/numbers/77/", "rules/numbers/77/" + LAST) == []
        prefix = "rules/lines/acme/"
        assert view.keys(prefix, prefix + LAST) == [prefix + id for id in lines]
        assert view.keys(prefix + "line-03", prefix + "line-05x") == [prefix + "line-04", prefix + "line-05"]
        assert view.keys("rules/lines/none/", "rules/lines/none/" + LAST) == []
        with pytest.raises(ValueError, match="no id"):
            view.keys(prefix, prefix + "Ö")


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
