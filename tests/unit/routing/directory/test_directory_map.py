"""The memory map below what is in force: opened, exchanged, made anew, damaged, absent."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from typing import TYPE_CHECKING

import lmdb
import pytest
from signalbox.domain.directory import PlainDirectory
from signalbox.domain.flow import Flow
from signalbox.domain.numbering import Caller, CallerKind
from signalbox.domain.rules import Rules
from signalbox.domain.screening import ADDED, REMOVED, Page, page_of
from signalbox.routing.directory import LiveDirectory
from signalbox.store import keys
from signalbox.store.directory import Batch
from signalbox.store.mapfile import DirectoryError, View
from signalbox.store.mapplace import BusyError, condemn, condemned, lock
from signalbox.store.page import LAST
from structlog.testing import capture_logs
from support.directories import digits, line, number
from support.live_directory import PAGE, carry, finds, flow

if TYPE_CHECKING:
    from pathlib import Path


async def test_it_starts_with_the_map_that_is_there(live: LiveDirectory, path: Path) -> None:
    assert not live.start()
    live.reach(5)
    live.put_number(number(1))
    assert live.writer is not None
    await live.writer.write(live.batch(), 5, 1000.0)
    live.close()
    assert live.number(digits(7)) is None
    for write in (False, True):
        other = LiveDirectory(path, write=write)
        if write:
            other.open()
        assert not other.start(6)
        assert other.number(digits(1)) is None
        assert other.start()
        assert (other.revision, other.map_revision, other.map_known_at, other.numbers) == (5, 5, 1000.0, 1)
        assert other.number(digits(1)) == number(1)
        assert (other.writer is not None, other.is_written()) == (write, write)
        other.close()


async def test_what_is_in_use_stays_in_use_while_the_map_is_opened_to_be_written(
    live: LiveDirectory, path: Path
) -> None:
    live.reach(5)
    live.put_number(number(1))
    await carry(live)
    live.close()
    other = LiveDirectory(path, write=True)
    assert other.start()
    busy = lock(path)
    with pytest.raises(BusyError):
        other.open()
    assert other.number(digits(1)) == number(1)
    assert other.map_revision == 5
    os.close(busy)
    other.open()
    assert other.writer is not None
    assert other.number(digits(1)) == number(1)
    assert other.number(digits(2)) is None
    other.close()


async def test_a_map_of_another_cluster_does_not_take_the_place_of_the_one_in_use(
    live: LiveDirectory, path: Path
) -> None:
    assert live.writer is not None
    live.reach(5)
    live.put_number(number(1))
    live.writer.cluster = 1
    await carry(live)
    live.close()
    reader = LiveDirectory(path, write=False)
    assert reader.start(1, 1)
    # A process may have a file open but once; what is told here comes from another one.
    script = (
        "import asyncio, sys, pathlib\n"
        "from signalbox.store.directory import Batch, DirectoryWriter\n"
        "writer = DirectoryWriter(pathlib.Path(sys.argv[1]))\n"
        "asyncio.run(writer.write(Batch(pages={'rules/lines/acme/x': 9}), 9))\n"
        "writer.close()\n"
    )
    writing = await asyncio.create_subprocess_exec(sys.executable, "-c", script, str(path))
    assert await writing.wait() == 0
    assert not reader.start(1, 2)
    assert reader.number(digits(1)) == number(1)
    assert reader.map_revision == 5
    assert reader.start(1, 1)
    assert reader.map_revision == 9
    assert not condemned(path)
    reader.close()


async def test_after_the_disk_failed_the_map_is_looked_at_as_before(
    live: LiveDirectory, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live.reach(5)
    live.put_number(number(1))
    await carry(live)
    assert live.writer is not None

    def panic(*_: object) -> None:
        raise lmdb.PanicError("the disk failed")

    with monkeypatch.context() as patch:
        patch.setattr(live.writer, "_write", panic)
        with pytest.raises(DirectoryError, match="the disk failed"):
            await live.writer.write(live.batch(), 6)
    assert live.number(digits(1)) == number(1)
    assert live.renew()
    live.reach(6)
    live.put_number(number(2))
    await carry(live)
    assert live.number(digits(1)) == number(1)
    assert not condemned(path)


async def test_what_could_not_be_read_is_not_taken_for_absent_when_it_can(
    live: LiveDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    live.reach(5)
    item, stored = flow("main")
    live.put_owned(item, stored)
    live.put_screening_list("acme", "spam")
    live.put_number(number(1))
    await carry(live)

    def fail(*_: object) -> None:
        raise DirectoryError("it can't be read")

    with monkeypatch.context() as patch:
        patch.setattr(View, "object", fail)
        patch.setattr(View, "number", fail)
        assert live.owned(Flow, "acme", "main") is None
        assert live.screening_list("acme", "spam") is None
        rules = Rules(live)
        live.reach(6)
        rules.delete_number(digits(1))
    assert live.owned(Flow, "acme", "main") == item
    assert live.screening_list("acme", "spam") is not None
    assert live.number(digits(1)) is None, "it was deleted, though it could not be read"


async def test_a_map_that_is_made_anew_is_not_in_use_before_it_is_filled(live: LiveDirectory, path: Path) -> None:
    live.reach(5)
    live.put_number(number(1))
    await carry(live)
    live.close()
    other = LiveDirectory(path, write=True)
    assert other.start()
    condemn(path, DirectoryError("it was damaged"))
    other.open()
    assert other.map_revision == 0
    assert other.number(digits(1)) is None
    other.close()


def test_without_a_map_everything_is_held_in_memory(path: Path) -> None:
    live = LiveDirectory(path, write=False)
    assert not live.start()
    live.reach(3)
    live.put_number(number(1))
    live.put_line(line("front"))
    live.put_page(PAGE, 3)
    assert live.renew()
    assert live.number(digits(1)) == number(1)
    assert live.line("acme", "front") == line("front")
    assert (live.page(PAGE), live.numbers, live.unwritten, live.map_revision, live.map_known_at) == (3, 1, 2, 0, 0.0)
    assert live.mapped_pages("rules/", "") == []
    assert live.page_before(PAGE) == "rules/numbers/01/"
    assert live.keys("rules/numbers/01/", PAGE) == {keys.number(digits(1))}
    assert not live.shrink()
    live.close()


async def test_the_keys_of_a_page_are_those_in_force(live: LiveDirectory) -> None:
    live.reach(5)
    for n in (1, 101, 201, 2):
        live.put_number(number(n))
    for id in ("a", "b", "c"):
        live.put_line(line(id))
    live.put_page(keys.number(digits(101)), 5)
    live.put_page(PAGE, 5)
    await carry(live)
    live.reach(6)
    live.put_number(number(301))
    live.delete_number(digits(101))
    live.delete_line("acme", "b")
    live.put_line(line("d"))
    live.put_line(line("b", "other"))
    assert live.keys("rules/numbers/01/", PAGE) == {keys.number(digits(n)) for n in (1, 201, 301)}
    assert live.keys(keys.number(digits(1)), keys.number(digits(201))) == {keys.number(digits(201))}
    assert live.keys("rules/lines/acme/", "rules/lines/acme/" + LAST) == {keys.line("acme", id) for id in "acd"}
    assert live.page_before(PAGE) == keys.number(digits(101))
    assert live.page_before(keys.number(digits(101))) == "rules/numbers/01/"
    live.put_page(keys.number(digits(101)), 0)
    assert live.page_before(PAGE) == "rules/numbers/01/"
    live.put_page(keys.number(digits(201)), 6)
    assert live.page_before(PAGE) == keys.number(digits(201))


async def test_a_map_that_cannot_be_read_is_condemned_once_and_nothing_is_found_there(
    live: LiveDirectory, path: Path
) -> None:
    live.reach(5)
    live.put_number(number(1))
    live.put_line(line("front"))
    live.put_owned(*flow("main"))
    live.put_screening_list("acme", "spam")
    live.put_screening_page("acme", "spam", page_of("n100"), Page.of(["n100"]))
    live.put_page(PAGE, 5)
    await carry(live)
    assert live.writer is not None
    tables = live.writer.view.tables
    with tables.env.begin(write=True) as txn:
        for table in (tables.numbers, tables.lines, tables.objects, tables.lists, tables.pages):
            with txn.cursor(table) as cursor:
                cursor.first()
                txn.put(cursor.key(), b"\x3c", db=table)
    live.reach(6)
    await live.writer.write(Batch(), 6)
    with capture_logs() as logs:
        live.renew()
        assert live.number(digits(1)) is live.line("acme", "front") is None
        assert live.owned(Flow, "acme", "main") is None
        assert finds(live, "100") == ""
        assert live.page(PAGE) == 0
    assert [log["event"] for log in logs] == ["directory_damaged"]
    assert path.with_name("rules.map-condemned").exists()


async def test_a_map_whose_objects_cannot_be_read_is_condemned(
    live: LiveDirectory, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live.reach(5)
    live.put_owned(*flow("main"))
    await carry(live)

    def unreadable(view: View, key: str) -> bytes:
        raise DirectoryError(f"{key} can't be read")

    monkeypatch.setattr(View, "object", unreadable)
    with capture_logs() as logs:
        assert live.owned(Flow, "acme", "main") is finds(live, "100") is None
    assert [log["event"] for log in logs] == ["directory_damaged"]
    assert path.with_name("rules.map-condemned").exists()


@pytest.mark.parametrize("seed", range(5))
async def test_whatever_happens_it_is_like_dictionaries(live: LiveDirectory, seed: int) -> None:
    chance, plain = random.Random(seed), PlainDirectory()
    revision = 1
    for _ in range(400):
        revision += 1
        live.reach(revision)
        n = chance.randrange(30)
        match chance.randrange(12):
            case 0 | 1:
                item = number(n, longest_s=revision)
                live.put_number(item)
                plain.put_number(item)
            case 2:
                live.delete_number(digits(n))
                plain.delete_number(digits(n))
            case 3:
                put = line(f"line-{n}", calls=revision)
                live.put_line(put)
                plain.put_line(put)
            case 4:
                live.delete_line("acme", f"line-{n}")
                plain.delete_line("acme", f"line-{n}")
            case 5:
                live.put_page(keys.number(digits(n)), chance.choice([0, revision]))
            case 6:
                await carry(live)
            case 7:
                item, stored = flow(f"flow-{n}", revision, chance.choice(["acme", "other"]))
                live.put_owned(item, stored)
                plain.put_owned(item, stored)
            case 8:
                live.delete_owned(Flow, "acme", f"flow-{n}")
                plain.delete_owned(Flow, "acme", f"flow-{n}")
            case 9 | 10:
                id, part = f"list-{n % 3}", chance.choice([page_of("n100"), page_of("p10"), ADDED, REMOVED])
                entries = Page.of(chance.sample(["n100", "p10", "n99", "p9", "x"], chance.randrange(5)))
                if chance.randrange(3):
                    live.put_screening_page("acme", id, part, entries)
                    plain.put_screening_page("acme", id, part, entries)
                else:
                    live.delete_screening_page("acme", id, part)
                    plain.delete_screening_page("acme", id, part)
            case 11:
                for directory in (live, plain):
                    if revision % 3:
                        directory.put_screening_list("acme", f"list-{n % 3}")
                    else:
                        directory.delete_screening_list("acme", f"list-{n % 3}")
        n = chance.randrange(30)
        assert live.number(digits(n)) == plain.number(digits(n))
        assert live.line("acme", f"line-{n}") == plain.line("acme", f"line-{n}")
        assert live.numbers == plain.numbers
        for tenant in ("acme", "other"):
            assert live.owned(Flow, tenant, f"flow-{n}") == plain.owned(Flow, tenant, f"flow-{n}")
        for id in ("list-0", "list-1", "list-2"):
            for called in ("100", "101", "99", "9"):
                there = plain.screening_list("acme", id)
                caller = Caller(CallerKind.MOBILE, called)
                assert finds(live, called, id) == (None if there is None else there.find(caller, None))
