"""Follows the proxy's event files into the journal, and clears away what is taken over.

The proxy has one file per worker process and table, ``*.log``, opened for appending. To get rid of what is consumed, a
file is renamed, the proxy is told to open its files anew (``flatstore.k_rotate``: each worker does so at its next row),
and once nobody can write to the renamed one and all of it is in the journal, it is removed. Files are known by their
inode; one is removed only behind the name ``*.done`` and after the journal forgot it, so that a new file with the same
inode is not taken for it, wherever we are killed.
"""

from __future__ import annotations

import asyncio
import os
import stat
import threading
import time
from typing import TYPE_CHECKING

import structlog

from signalbox.edge.control import ProxyRefusedError, ProxyUnreachableError
from signalbox.journal import Chunk, Journal

if TYPE_CHECKING:
    from pathlib import Path

    from signalbox.edge.control import Control

logger = structlog.get_logger(__name__)

INTERVAL_S = 0.2
CHUNK_BYTES = 1024 * 1024
ROTATE_BYTES = 4 * 1024 * 1024
"""A file of which so much is consumed is put aside."""

ROTATE_CHECK_S = 5.0
ROTATE_PAUSE_S = 1.1
"""The proxy compares whole seconds: a second request in the next one reaches the workers that missed the first."""

GRACE_S = 2.0
"""Time for a worker to finish the row that it was writing when its file was put aside."""

RETRY_S = 1.0
_LIVE, _ASIDE, _DONE = ".log", ".aside", ".done"


class Follower:
    """:meth:`run` is the long-lived coroutine. Disk work is done in a thread."""

    def __init__(self, event_dir: Path, journal: Journal, control: Control) -> None:
        self._directory = event_dir
        self._journal = journal
        self._control = control
        self._removable: dict[int, float] = {}
        self._turn = 0
        # A thread cannot be cancelled: one that still collects when we are closed is waited for.
        self._lock = threading.Lock()
        self._closed = False
        self.behind_bytes = 0

    async def run(self) -> None:
        """Long-lived coroutine."""
        rotate_at = time.monotonic()
        while True:
            try:
                while await asyncio.to_thread(self.collect):
                    pass
                if time.monotonic() >= rotate_at:
                    await self._rotate()
                    rotate_at = time.monotonic() + ROTATE_CHECK_S
            except OSError as error:
                logger.error("events_not_taken", reason=str(error))
                await asyncio.sleep(RETRY_S)
            except (ProxyUnreachableError, ProxyRefusedError) as error:
                logger.info("event_files_not_rotated", reason=str(error))
                rotate_at = time.monotonic() + ROTATE_CHECK_S
            await asyncio.sleep(INTERVAL_S)

    def collect(self) -> bool:
        """Take over what has been written; True if there may be more at once. Blocks. Raises OSError."""
        with self._lock:
            return not self._closed and self._collect()

    def close(self) -> None:
        """Take over the rest and close the journal; what a thread still begins after that is nothing. Blocks.

        Raises OSError.
        """
        with self._lock:
            self._closed = True
            while self._collect():
                pass
            self._journal.close()

    def _collect(self) -> bool:
        chunks: list[Chunk] = []
        behind = 0
        unfinished: set[str] = set()
        for path, inode, size in self._files():
            position = self._journal.positions.get(inode, 0)
            if size < position:
                logger.error("event_file_shrank", file=path.name, size=size, position=position)
                position = 0
            base = path.name.partition(_LIVE)[0]
            if size > position and base not in unfinished:
                chunk = _read(path, inode, position, size)
                if chunk is not None:
                    chunks.append(chunk)
                    if size - position > CHUNK_BYTES:
                        unfinished.add(base)
                    position = chunk.position
            behind += size - position
        if chunks:
            self._journal.append(chunks)
        self.behind_bytes = behind
        return bool(unfinished)

    def recover(self) -> None:
        """At start: finish removals that were begun, forget files that are gone. Blocks. Raises OSError."""
        self._directory.mkdir(parents=True, exist_ok=True)
        done = [entry for entry in os.scandir(self._directory) if entry.name.endswith(_DONE)]
        living = {inode for _, inode, _ in self._files()}
        gone = self._journal.positions.keys() - living
        if gone:
            self._journal.append([], forget=sorted(gone))
        for entry in done:
            os.unlink(entry.path)

    async def _rotate(self) -> None:
        """Put big files aside, and remove those that nobody writes to any more."""
        if await asyncio.to_thread(self._put_aside):
            await self._control.call("flatstore.k_rotate")
            await asyncio.sleep(ROTATE_PAUSE_S)
            await self._control.call("flatstore.k_rotate")
            now = time.monotonic()
            for path, inode, _ in self._files():
                if path.name.endswith(_ASIDE):
                    self._removable.setdefault(inode, now + GRACE_S)
        await asyncio.to_thread(self._remove)

    def _put_aside(self) -> bool:
        """True if the proxy must be told that files were renamed."""
        with self._lock:
            return not self._closed and self._rename()

    def _rename(self) -> bool:
        told = True
        for path, inode, size in self._files():
            if path.name.endswith(_LIVE):
                if size >= ROTATE_BYTES and self._journal.positions.get(inode, 0) >= ROTATE_BYTES:
                    self._turn += 1
                    os.rename(path, path.with_name(f"{path.name}.{time.time_ns()}-{self._turn}{_ASIDE}"))
                    told = False
            elif inode not in self._removable:
                told = False  # renamed in a life before
        return not told

    def _remove(self) -> None:
        with self._lock:
            if not self._closed:
                self._remove_consumed()

    def _remove_consumed(self) -> None:
        now = time.monotonic()
        for path, inode, size in self._files():
            due = self._removable.get(inode)
            if due is None or now < due or self._journal.positions.get(inode, 0) < size:
                continue
            done = path.with_name(path.name + _DONE)
            os.rename(path, done)
            self._journal.append([], forget=[inode])
            self._journal.sync()
            os.unlink(done)
            del self._removable[inode]
            logger.debug("event_file_removed", file=path.name, size=size)

    def _files(self) -> list[tuple[Path, int, int]]:
        """Path, inode and size of every file that is followed, in the order in which a worker wrote them.

        Sizes of living files are taken first: what a worker wrote into one of them, it wrote after its last row in a
        file that was put aside.
        """
        entries = [entry for entry in os.scandir(self._directory) if entry.name.endswith((_LIVE, _ASIDE))]
        entries.sort(key=lambda entry: (entry.name.endswith(_ASIDE), entry.name))
        found: list[tuple[Path, int, int]] = []
        for entry in entries:
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISREG(status.st_mode):
                found.append((self._directory / entry.name, status.st_ino, status.st_size))
        return sorted(found, key=lambda file: (file[0].name.endswith(_LIVE), file[0].name))


def _read(path: Path, inode: int, position: int, end: int) -> Chunk | None:
    """Whole rows between two positions, at most CHUNK_BYTES; None if there is none yet."""
    with path.open("rb") as file:
        file.seek(position)
        data = file.read(min(CHUNK_BYTES, end - position))
    length = data.rfind(b"\n") + 1
    if length == 0:
        if len(data) < CHUNK_BYTES:
            return None
        logger.error("event_row_too_long", file=path.name, position=position)
        return Chunk(inode, position + len(data), [data])
    return Chunk(inode, position + length, data[: length - 1].split(b"\n"))
