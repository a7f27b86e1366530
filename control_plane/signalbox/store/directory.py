"""What tenants own in a memory map, in one copy for all processes of a machine: who reads it, and who writes it.

One process writes the file, any number read it. A reader holds a state fast until it takes up a newer one, so nothing
changes between two questions. Every write is a transaction: seen whole or not at all, also by who opens the file after
its writer was killed, and on the disk when it is done.
"""

from __future__ import annotations

import asyncio
import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, TypeVar

import lmdb
import structlog

from signalbox.store import records
from signalbox.store.mapfile import (
    MAX_KEY,
    REVISION,
    DirectoryError,
    State,
    Tables,
    UnusableError,
    View,
    digest_after,
    fits,
    page_key,
)
from signalbox.store.mapplace import condemned, identity, lock, set_aside

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from signalbox.domain.objects import Line, Number
    from signalbox.domain.screening import Page

logger = structlog.get_logger(__name__)

MAP_SIZE = 4 << 30
"""Address space for the file at first, bytes: room for some 30,000,000 numbers. It takes no memory and no disk."""
WORDS_KEPT = 100_000
MAX_TEXT = 500
"""Bytes of an id that has a word: no more than LMDB takes as a key."""

ItemT = TypeVar("ItemT")
_Record = tuple[bytes, bytes | None]


class StartOverError(DirectoryError):
    """The file had to grow, and what was written since the last commit is lost: begin again there."""


@dataclass(slots=True)
class Batch:
    """What is to be written: objects by what they are found by, None for those that are gone, and revisions of pages
    by their keys, 0 for those that are gone. ``objects`` has them by their keys, as the store has them, and ``lists``
    pages of screening lists."""

    numbers: dict[str, Number | None] = field(default_factory=dict)
    lines: dict[tuple[str, str], Line | None] = field(default_factory=dict)
    pages: dict[str, int] = field(default_factory=dict)
    objects: dict[str, bytes | None] = field(default_factory=dict)
    lists: dict[str, Page | None] = field(default_factory=dict)


class DirectoryReader:
    """The file as a process sees it that does not write it. The file need not be there yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: tuple[int, int] | None = None
        self.view: View | None = None
        """What was taken up last; None: there was nothing yet."""

    def pin(self, least: int = 1, most: float = math.inf, cluster: int = 0) -> bool:
        """Take up the newest state if it is another, of a revision from ``least`` to ``most``, and of a cluster if one
        is given. Raises DirectoryError. What was taken up before stays if the new one does not fit.

        Once in a file's life, when it outgrows its address space, any state may be taken up.
        """
        found = identity(self._path)

        def fits(state: State) -> bool:
            return least <= state.revision <= most and cluster in (0, state.cluster)

        try:
            if self.view is None or found not in (self._file, None):
                return self._open(found, fits)
            return self._renew(self.view.tables, fits)
        except lmdb.Error as error:
            raise DirectoryError(f"{self._path}: {error}") from error

    def _open(self, found: tuple[int, int] | None, fits: Callable[[State], bool]) -> bool:
        """Open the file that lies there now; the one that was open stays unless the new one is good."""
        if found is None:
            return False
        try:
            tables = Tables(self._path, write=False)
        except (OSError, lmdb.Error, UnusableError):
            # It is just being made, or damaged: then its writer makes it anew.
            return False
        view = View(tables)
        if not fits(view.state):
            view.release()
            tables.env.close()
            return False
        self.close()
        self.view, self._file = view, found
        return True

    def _renew(self, tables: Tables, fits: Callable[[State], bool]) -> bool:
        assert self.view is not None
        try:
            view = View(tables)
        except lmdb.MapResizedError:
            # What was held must go first.
            self.view.release()
            tables.env.set_mapsize(0)
            view = View(tables)
        else:
            if view.state == self.view.state or not fits(view.state):
                view.release()
                return False
            self.view.release()
        self.view = view
        return True

    def close(self) -> None:
        """Let go of the file."""
        if self.view is not None:
            self.view.release()
            self.view.tables.env.close()
            self.view = self._file = None


class DirectoryWriter:
    """The one process that writes the file, which reads it too. A file that can't be used is set aside and made anew.

    Everything but the writing itself is done in the thread of the event loop; that has a thread of its own.
    """

    def __init__(self, path: Path, *, map_size: int = MAP_SIZE) -> None:
        """Raises BusyError if another process writes the file, and DirectoryError if the file can't be made."""
        self._path = path
        self._map_size = map_size
        self._words: dict[str, bytes] = {}
        self._txn: lmdb.Transaction[bytes] | None = None
        self._digest = self._staged = 0
        self._closed = False
        self.lost = False
        """The file was found unusable while it was written, and made anew: it has nothing yet."""
        self.cluster: int | None = None
        """Whose revisions the file has with the next write that is committed; None: as before."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = lock(path)
            try:
                self._open()
            except BaseException:
                os.close(self._lock)
                raise
        except (OSError, lmdb.Error) as error:
            raise DirectoryError(f"{path} can't be made: {error}") from error
        self._thread = ThreadPoolExecutor(1, "directory")

    def _open(self) -> None:
        if condemned(self._path):
            set_aside(self._path, "it was condemned")
        try:
            tables = Tables(self._path, write=True, map_size=self._map_size)
        except UnusableError as error:
            set_aside(self._path, str(error))
            tables = Tables(self._path, write=True, map_size=self._map_size)
        self._tables = tables
        self.view = View(tables)

    def pin(self, least: int = 0, most: float = math.inf, cluster: int = 0) -> bool:
        """Take up what was written, if there was something, whatever its revision: as with DirectoryReader, but nobody
        else writes. Raises DirectoryError."""
        try:
            view = View(self._tables)
        except lmdb.Error as error:
            raise DirectoryError(f"{self._path}: {error}") from error
        if view.state == self.view.state:
            view.release()
            return False
        self.view.release()
        self.view = view
        return True

    async def write(
        self, batch: Batch, revision: int | None = None, known_at: float | None = None, *, commit: bool = True
    ) -> None:
        """Write a batch, and the revision and time that the file has with it if they are given.

        Without ``commit`` it will be seen together with the next one that is committed. Raises StartOverError if what
        was written without a commit is lost by the file's growth, and DirectoryError: nothing is written then, nor
        is what was not committed before.
        """
        loop = asyncio.get_running_loop()
        while True:
            staged = self._staged
            try:
                return await loop.run_in_executor(self._thread, self._write, batch, revision, known_at, commit)
            except lmdb.MapFullError as error:
                self._grow()
                if staged:
                    raise StartOverError(f"{self._path} had to grow") from error
            except lmdb.PanicError as error:
                # It happens when the disk fails at the wrong moment; the file itself is as it was.
                self._reopen()
                raise DirectoryError(f"{self._path} can't be written: {error}") from error
            except (OSError, lmdb.Error) as error:
                raise DirectoryError(f"{self._path} can't be written: {error}") from error

    async def roll_back(self) -> None:
        """Drop what was not committed; nothing if it is closed."""
        if self._closed:
            return
        await asyncio.get_running_loop().run_in_executor(self._thread, self._roll_back)

    def _grow(self) -> None:
        self.view.release()
        size = self._tables.env.info()["map_size"] * 2
        self._tables.env.set_mapsize(size)
        # Whoever uses it goes on doing so.
        self.view.resume()
        logger.info("directory_grows", file=str(self._path), map_bytes=size)

    def _reopen(self) -> None:
        before = self.view.state
        self.view.release()
        self._tables.env.close()
        self._words.clear()
        try:
            self._open()
            self.lost = self.lost or self.view.state != before
        except (OSError, lmdb.Error) as error:
            raise DirectoryError(f"{self._path} can't be opened: {error}") from error

    def _write(self, batch: Batch, revision: int | None, known_at: float | None, commit: bool) -> None:
        """In the thread. Raises lmdb.Error, OSError: all that was not committed is gone."""
        env = self._tables.env
        try:
            if self._txn is None:
                # Readers that were killed hold the space of what they saw.
                env.reader_check()
                self._txn = env.begin(write=True)
                self._digest = self._tables.state(self._txn).digest
            self._put(self._txn, batch)
            self._staged += 1
            if commit:
                before = self._tables.state(self._txn)
                state = State(
                    before.revision if revision is None else revision,
                    self._digest,
                    before.known_at if known_at is None else known_at,
                    before.cluster if self.cluster is None else self.cluster,
                )
                self._txn.put(b"state", state.encode(), db=self._tables.meta)
                txn, self._txn, self._staged = self._txn, None, 0
                txn.commit()
                self._fill()
        except BaseException:
            self._roll_back()
            raise

    def _fill(self) -> None:
        """Unused pages at the end need not have been written; then the file would seem to have been cut off."""
        size = (self._tables.env.info()["last_pgno"] + 1) * self._tables.env.stat()["psize"]
        if self._path.stat().st_size < size:
            os.truncate(self._path, size)

    def _roll_back(self) -> None:
        self._words.clear()
        self._staged = 0
        if self._txn is not None:
            txn, self._txn = self._txn, None
            txn.abort()

    def _put(self, txn: lmdb.Transaction[bytes], batch: Batch) -> None:
        tables = self._tables

        def word(text: str) -> bytes:
            return self._word(txn, text)

        found: list[_Record] = []
        for digits, number in batch.numbers.items():
            try:
                record = None if number is None else records.encode_number(number, word)
                found.append((records.number_key(digits), record))
            except ValueError as error:
                _refused(digits, error)
        _replace(txn, tables.numbers, found)
        found = []
        # In the order of the tenants, so that the words of new ones are in it too.
        for (tenant, id), line in sorted(batch.lines.items(), key=itemgetter(0)):
            try:
                record = None if line is None else records.encode_line(line)
                found.append((records.line_key(word(tenant), id), record))
            except ValueError as error:
                _refused(f"{tenant}/{id}", error)
        _replace(txn, tables.lines, found)
        _replace(txn, tables.objects, _records(batch.objects, bytes))
        _replace(txn, tables.lists, _records(batch.lists, records.encode_screening_page))
        for page, revision in batch.pages.items():
            try:
                self._put_page(txn, page, _key(page), revision)
            except ValueError as error:
                _refused(page, error)

    def _put_page(self, txn: lmdb.Transaction[bytes], page: str, key: bytes, revision: int) -> None:
        before = txn.get(key, db=self._tables.pages)
        self._digest = digest_after(self._digest, page, REVISION.unpack(before)[0] if before else 0, revision)
        if revision:
            txn.put(key, REVISION.pack(revision), db=self._tables.pages)
        else:
            txn.delete(key, db=self._tables.pages)

    def _word(self, txn: lmdb.Transaction[bytes], text: str) -> bytes:
        found = self._words.get(text)
        if found is None:
            if len(self._words) >= WORDS_KEPT:
                self._words.clear()
            key = text.encode()
            if not 0 < len(key) <= MAX_TEXT:
                raise ValueError(f"an id of {len(key)} bytes")
            found = txn.get(key, db=self._tables.texts)
            if found is None:
                found = records.integer(txn.stat(self._tables.words)["entries"])
                txn.put(found, key, db=self._tables.words)
                txn.put(key, found, db=self._tables.texts)
            self._words[text] = found
        return found

    def size(self) -> int:
        """Bytes of the file. Raises DirectoryError."""
        try:
            return self._path.stat().st_size
        except OSError as error:
            raise DirectoryError(f"{self._path}: {error}") from error

    def close(self) -> None:
        """Let go of the file, once what is being written is written; what was not committed is lost."""
        if self._closed:
            return
        self._closed = True
        self._thread.submit(self._roll_back).result()
        self._thread.shutdown()
        self.view.release()
        self._tables.env.close()
        os.close(self._lock)


def _refused(what: str, error: ValueError) -> None:
    """What can't be written must not stop the rest."""
    logger.error("directory_record_refused", what=what, error=str(error))


def _records(items: Mapping[str, ItemT | None], encode: Callable[[ItemT], bytes]) -> list[_Record]:
    found: list[_Record] = []
    for key, item in items.items():
        try:
            found.append((_key(key), None if item is None else encode(item)))
        except ValueError as error:
            _refused(key, error)
    return found


def _key(key: str) -> bytes:
    if not fits(key):
        raise ValueError(f"its key is longer than {MAX_KEY} bytes")
    return page_key(key)


def _replace(txn: lmdb.Transaction[bytes], table: lmdb._Database, found: list[_Record]) -> None:
    """Put records by their keys, and delete those that are None."""
    put: list[tuple[bytes, bytes]] = []
    for key, record in found:
        if record is None:
            txn.delete(key, db=table)
        else:
            put.append((key, record))
    if put:
        put.sort()
        with txn.cursor(table) as cursor:
            # What comes after all there is fills pages to the brim.
            append = not cursor.last() or put[0][0] > cursor.key()
            cursor.putmulti(put, append=append)
