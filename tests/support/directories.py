"""What tests of the memory map do in other processes: ``python -m support.directories <what> <file> ...``.

``write``: batches for ever, each of which gives every object the batch's revision; what it has written it
tells on the standard output. ``read``: looks at the file until standard input ends, and says what was ever wrong.
``hold``: takes up a state, and the next one when standard input ends. ``once``: writes the batch of a revision, or so
many numbers.
"""

from __future__ import annotations

import asyncio
import select
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from signalbox.domain.objects import DialStage, Line, Number
from signalbox.domain.screening import Page
from signalbox.store.directory import Batch, DirectoryReader, DirectoryWriter

if TYPE_CHECKING:
    from signalbox.store.mapfile import View

NUMBERS = 300
OBJECTS = 14
SPREAD = 7
"""One in so many numbers is there or not, by turns."""


def digits(n: int) -> str:
    """A number."""
    return f"400{n:07d}"


def number(n: int, tenant: str = "acme", *, line: str = "front", longest_s: int = 3600) -> Number:
    """A number with a line."""
    return Number(digits(n), tenant, (DialStage((line,)),), max_duration_s=longest_s)


def line(id: str, tenant: str = "acme", *, calls: int = 0) -> Line:
    """A telephone line."""
    return Line(tenant, id, "13800001234", "", concurrent_calls=calls)


def batch_of(revision: int) -> Batch:
    """What the file has at a revision, whatever it had before."""
    batch = Batch(pages={"rules/numbers/00/\U0010ffff": revision})
    for n in range(NUMBERS):
        there = n % SPREAD or revision % 2
        batch.numbers[digits(n)] = number(n, f"tenant-{revision % 50}", longest_s=revision) if there else None
        batch.lines["acme", f"line-{n}"] = line(f"line-{n}", calls=revision) if there else None
    for n in range(OBJECTS):
        there = n % SPREAD or revision % 2
        batch.objects[f"rules/flows/acme/flow-{n}"] = b"%d" % revision * (n * 20) if there else None
        batch.lists[f"rules/listpages/acme/spam/{n:03d}"] = page(revision, n * 30) if there else None
    return batch


def page(first: int, count: int) -> Page:
    """A page of a screening list."""
    return Page.of(["x", *(f"n{first + n:08d}" for n in range(count))])


def wrong(view: View) -> str:
    """What is not as :func:`batch_of` has it; "" if it is all there."""
    revision = view.state.revision
    wanted = batch_of(revision)
    for key, expected in wanted.numbers.items():
        if view.number(key) != expected:
            return f"number {key} at revision {revision}: {view.number(key)}"
    for (tenant, id), line in wanted.lines.items():
        if view.line(tenant, id) != line:
            return f"line {id} at revision {revision}: {view.line(tenant, id)}"
    for key, stored in wanted.objects.items():
        if view.object(key) != stored:
            return f"{key} at revision {revision}: {view.object(key)!r}"
    for key, expected_page in wanted.lists.items():
        found = view.screening_page(key)
        if (found and {*found.entries()}) != (expected_page and {*expected_page.entries()}):
            return f"{key} at revision {revision}: {found}"
    there = sum(number is not None for number in wanted.numbers.values())
    return "" if view.numbers == there == view.lines else f"{view.numbers} numbers at revision {revision}"


async def _write(path: Path) -> None:
    writer = DirectoryWriter(path)
    found = wrong(writer.view) if writer.view.state.revision else ""
    print(writer.view.state.revision, found, flush=True)
    revision = writer.view.state.revision
    while not found:
        revision += 1
        await writer.write(batch_of(revision), revision, time.time())
        print(revision, flush=True)


def _read(path: Path) -> None:
    reader, seen, found = DirectoryReader(path), set(), ""
    while not found and not select.select([sys.stdin], [], [], 0)[0]:
        reader.pin()
        if reader.view is not None:
            seen.add(reader.view.state.revision)
            found = wrong(reader.view)
    print(len(seen), found, flush=True)


def _hold(path: Path) -> None:
    reader = DirectoryReader(path)
    reader.pin()
    assert reader.view is not None
    print(reader.view.state.revision, flush=True)
    sys.stdin.read()
    print("-", reader.pin(), reader.view.state.revision, wrong(reader.view), flush=True)


async def _once(path: Path, revision: int, numbers: int) -> None:
    batch = Batch({digits(n): number(n) for n in range(numbers)}) if numbers else batch_of(revision)
    writer = DirectoryWriter(path, map_size=1 << 18)
    await writer.write(batch, revision, time.time())
    writer.close()


if __name__ == "__main__":
    match sys.argv[1]:
        case "write":
            asyncio.run(_write(Path(sys.argv[2])))
        case "read":
            _read(Path(sys.argv[2]))
        case "hold":
            _hold(Path(sys.argv[2]))
        case "once":
            asyncio.run(_once(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
