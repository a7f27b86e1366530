"""Databases for the catalog of recordings, and what to put into it."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from signalbox.api.recording.v1.recording_pb2 import CallFacts, Capture, Promise, Segment
from signalbox.api.types.v1.recordings_pb2 import Recording
from signalbox.catalog.catalog import Catalog, Found
from signalbox.catalog.tables import events, recordings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from signalbox.settings.shared import DatabaseSettings

MEMORY = Path("/dev/shm")
DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def memory_path() -> Iterator[Path]:
    """A directory in memory: SQLite waits for the disk at every commit, and a test is not about that."""
    path = Path(tempfile.mkdtemp(prefix="signalbox-", dir=MEMORY if MEMORY.is_dir() else None))
    yield path
    shutil.rmtree(path)


@asynccontextmanager
async def opened(settings: DatabaseSettings) -> AsyncIterator[Catalog]:
    """A catalog for the time of a block."""
    catalog = await Catalog.open(settings)
    try:
        yield catalog
    finally:
        await catalog.close()


async def emptied(catalog: Catalog) -> None:
    """Delete all that tests before wrote."""
    async with catalog.database.writing() as connection:
        await connection.execute(sa.delete(recordings))
        await connection.execute(sa.delete(events))


def facts(call_id: str = "c1", answer_ms: int = 1_000, **fields: object) -> CallFacts:
    """What is known of a call when it is answered."""
    told = {"tenant": "acme", "number": "4006001234", "caller": "13800138000", "line": "desk", "media_node": 3}
    made = CallFacts(call_id=call_id, caller_tag="a", line_tag="b", **{**told, **fields})  # type: ignore[arg-type]
    made.answer_time.FromMilliseconds(answer_ms)
    return made


def capture(*sizes: int, start_ms: int = 1_000) -> Capture:
    """What a node has of a call, in segments of these sizes."""
    segments = [Segment(name=f"{number:06}.pcap", size_bytes=size) for number, size in enumerate(sizes, 1)]
    made = Capture(call_id="c1", segments=segments)
    made.start_time.FromMilliseconds(start_ms)
    return made


def promise(call_id: str = "c1", answer_ms: int = 1_000, sequence: int = 1, **fields: object) -> Promise:
    """The same as the proxy ``p1`` promises it."""
    return Promise(proxy="p1", sequence=sequence, facts=facts(call_id, answer_ms, **fields))


def rendered(of: CallFacts, expire_ms: int = 0, **fields: object) -> Recording:
    """What a recorder says when it has stored the recording of a call."""
    same = {name: getattr(of, name) for name in ("tenant", "call_id", "number", "caller", "line", "media_node")}
    made = Recording(answer_time=of.answer_time, sha256="0" * 64, size_bytes=1_000, **same, **fields)
    if expire_ms:
        made.expire_time.FromMilliseconds(expire_ms)
    return made


async def store(catalog: Catalog, of: CallFacts, expire_ms: int = 0, **fields: object) -> Found:
    """Store a recording, as a recorder does."""
    begun = await catalog.begin(of)
    assert await catalog.finish(rendered(of, expire_ms, **fields), begun.attempt, f"{of.call_id}.{begun.attempt}.ogg")
    found = await catalog.get(of.call_id)
    assert found is not None
    return found
