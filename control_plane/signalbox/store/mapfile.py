"""The memory map of what tenants own: an LMDB file, its tables, and what is read from it.

The file has the state of the store at one revision: all numbers, lines and other objects of tenants, and the revision
of every page that they came in. What does not lie in pages is a page by itself::

    numbers   number_key     record of a number (records.py)
    lines     line_key       record of a line
    objects   key            the object as the store has it
    lists     key of a page  record of a page of a screening list
    pages     key of a page  revision that wrote it, 8 bytes
    words     word           the text that it stands for
    texts     text           its word
    meta      "format"       what the file is, and the version of its form
              "state"        :class:`State`
"""

from __future__ import annotations

import hashlib
import os
import struct
import sys
from itertools import takewhile
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import lmdb

from signalbox.errors import SignalboxError
from signalbox.store import keys, records
from signalbox.store.page import LAST

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from signalbox.domain.objects import Line, Number
    from signalbox.domain.screening import Page

FORMAT = b"signalbox directory 3.%d" % records.VERSION
MAX_READERS = 512
MAX_KEY = 511
"""Bytes of a key: no more than LMDB takes."""
REVISION = struct.Struct(">Q")
_STATE = struct.Struct(">QQdQ")
_DIGEST_BYTES = 6
"""So that a digest is exact as a figure in the metrics too, which are 64-bit floats."""
KNOWN = 20_000
"""Words, and pages of screening lists, that are not looked up again: some hundred bytes each."""
_END = b"\xff"
"""After the beginning of a key: comes after all keys that begin so."""

KeyT = TypeVar("KeyT")
ItemT = TypeVar("ItemT")


class DirectoryError(SignalboxError):
    """The file can't be read or written; the text says why."""


class UnusableError(DirectoryError):
    """The file is damaged, or of another form: it must be built anew."""


class State(NamedTuple):
    """What a file holds: the state of the store at ``revision`` (0: none yet), which was known to be the newest at
    ``known_at`` (seconds since the epoch). ``digest`` is that of its pages, ``cluster`` whose revisions they have."""

    revision: int = 0
    digest: int = 0
    known_at: float = 0.0
    cluster: int = 0

    def encode(self) -> bytes:
        """As it is stored."""
        return _STATE.pack(*self)


def digest_of(page: str, revision: int) -> int:
    """What a page adds to the digest of all; 0 for one that is gone (revision 0)."""
    if not revision:
        return 0
    content = page_key(page) + REVISION.pack(revision)
    return int.from_bytes(hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest())


def digest_after(digest: int, page: str, before: int, after: int) -> int:
    """The digest when a page goes from one revision to another: a sum modulo 2**48, so it has no order."""
    return (digest - digest_of(page, before) + digest_of(page, after)) % (1 << 8 * _DIGEST_BYTES)


def page_key(key: str) -> bytes:
    """A key of the store as the file has it: a page's, or an object's."""
    return key.encode(errors="surrogateescape")


def fits(key: str) -> bool:
    """True if a key of the store is not too long for the file."""
    return len(page_key(key)) <= MAX_KEY


class Tables:
    """An open file and the handles of its tables."""

    def __init__(self, path: Path, *, write: bool, map_size: int = 0) -> None:
        """``map_size``: address space, bytes; 0: as much as the file says, at least what it needs.

        Raises UnusableError for a damaged file; OSError or lmdb.Error if there is none, or one can't be made.
        """
        try:
            self.env = lmdb.open(
                os.fspath(path), map_size=map_size, subdir=False, readonly=not write, create=write, mode=0o600,
                max_readers=MAX_READERS, max_dbs=8, max_spare_txns=2,
            )  # fmt: skip
        except (lmdb.InvalidError, lmdb.VersionMismatchError, lmdb.CorruptedError) as error:
            raise UnusableError(f"it is no directory: {error}") from error
        # A word that was written stands for the same text for ever.
        self.known_words: dict[str, bytes] = {}
        self.known_texts: dict[bytes, str] = {}
        try:
            self._check_size(path)
            self.meta = self.env.open_db(b"meta", create=write)
            self._check_format(write)
            self.numbers = self.env.open_db(b"numbers", create=write)
            self.lines = self.env.open_db(b"lines", create=write)
            self.objects = self.env.open_db(b"objects", create=write)
            self.lists = self.env.open_db(b"lists", create=write)
            self.pages = self.env.open_db(b"pages", create=write)
            self.words = self.env.open_db(b"words", create=write)
            self.texts = self.env.open_db(b"texts", create=write)
        except BaseException:
            self.env.close()
            raise

    def _check_size(self, path: Path) -> None:
        """What was cut off would not be missed until it is read, and that would be the end of the process."""
        size, pages = path.stat().st_size, self.env.info()["last_pgno"] + 1
        if size < pages * self.env.stat()["psize"]:
            raise UnusableError(f"it has {size} bytes, and should have {pages} pages")

    def _check_format(self, write: bool) -> None:
        with self.env.begin(write=write) as txn:
            found = txn.get(b"format", db=self.meta)
            if write and found is None:
                txn.put(b"format", FORMAT, db=self.meta)
            elif found != FORMAT:
                raise UnusableError(f"its form is {found!r}, not {FORMAT!r}")

    def state(self, txn: lmdb.Transaction[bytes] | lmdb.Transaction[memoryview]) -> State:
        """What the file holds, as a transaction sees it."""
        found = txn.get(b"state", db=self.meta)
        return State(*_STATE.unpack(found)) if found else State()


class View:
    """The file as it was at one state, however long it is looked at. Every method may raise DirectoryError."""

    def __init__(self, tables: Tables) -> None:
        """As it is now. Raises lmdb.Error."""
        self.tables = tables
        # What it gives lies in the file itself, and is another thing when this transaction has ended.
        self._txn = tables.env.begin(buffers=True)
        self._pages: dict[str, Page] = {}
        self.state = tables.state(self._txn)

    @property
    def numbers(self) -> int:
        """How many numbers there are."""
        return self._txn.stat(self.tables.numbers)["entries"]

    @property
    def lines(self) -> int:
        """How many lines there are."""
        return self._txn.stat(self.tables.lines)["entries"]

    def number(self, digits: str) -> Number | None:
        """A number by its national form; None also for what can't be one."""
        if not (digits.isascii() and digits.isdigit()):
            return None
        try:
            record = self._txn.get(records.number_key(digits), db=self.tables.numbers)
            return None if record is None else records.decode_number(digits, bytes(record), self._text)
        except (lmdb.Error, ValueError, IndexError) as error:
            raise DirectoryError(f"number {digits} can't be read: {error}") from error

    def line(self, tenant: str, id: str) -> Line | None:
        """A line by its tenant and its id; None also for what can't be one."""
        if not records.is_id(id):
            return None
        try:
            word = self._word(tenant)
            record = self._txn.get(records.line_key(word, id), db=self.tables.lines) if word else None
            return None if record is None else records.decode_line(tenant, id, bytes(record))
        except (lmdb.Error, ValueError, IndexError) as error:
            raise DirectoryError(f"line {tenant}/{id} can't be read: {error}") from error

    def object(self, key: str) -> bytes | None:
        """An object as the store has it, by its key there."""
        try:
            found = self._get(self.tables.objects, key)
        except lmdb.Error as error:
            raise DirectoryError(f"{key} can't be read: {error}") from error
        return None if found is None else bytes(found)

    def screening_page(self, key: str) -> Page | None:
        """A page of a screening list, by its key in the store. Its codes are looked at where they lie in the file: not
        once this view is released."""
        found = self._pages.get(key)
        if found is not None:
            return found
        try:
            record = self._get(self.tables.lists, key)
            if record is None:
                return None
            found = records.decode_screening_page(record)
            _keep(self._pages, key, found)
            return found
        except (lmdb.Error, ValueError, IndexError, TypeError) as error:
            raise DirectoryError(f"{key} can't be read: {error}") from error

    def _get(self, table: lmdb._Database, key: str) -> memoryview | None:
        name = page_key(key)
        # To ask for a longer one is an error.
        return self._txn.get(name, db=table) if len(name) <= MAX_KEY else None

    def page(self, key: str) -> int:
        """The revision that wrote a page; 0: there is none."""
        try:
            found = self._txn.get(page_key(key), db=self.tables.pages)
            return int(REVISION.unpack(found)[0]) if found else 0
        except (lmdb.Error, struct.error) as error:
            raise DirectoryError(f"page {key} can't be read: {error}") from error

    def pages(self, prefix: str, after: str, limit: int) -> list[tuple[str, int]]:
        """At most ``limit`` pages below a prefix that come after the key ``after`` ("" for the beginning), in order,
        with the revisions that wrote them."""
        beginning = page_key(prefix)
        found: list[tuple[str, int]] = []
        try:
            with self._txn.cursor(self.tables.pages) as cursor:
                more = cursor.set_range(max(beginning, page_key(after) + b"\0"))
                while more and len(found) < limit and (key := bytes(cursor.key())).startswith(beginning):
                    name = key.decode(errors="surrogateescape")
                    found.append((name, int(REVISION.unpack(cursor.value())[0])))
                    more = cursor.next()
        except (lmdb.Error, struct.error) as error:
            raise DirectoryError(f"pages of {prefix} can't be read: {error}") from error
        return found

    def page_before(self, key: str) -> str:
        """The last page before a key, of any prefix; "": there is none."""
        try:
            with self._txn.cursor(self.tables.pages) as cursor:
                there = cursor.prev() if cursor.set_range(page_key(key)) else cursor.last()
                return bytes(cursor.key()).decode(errors="surrogateescape") if there else ""
        except lmdb.Error as error:
            raise DirectoryError(f"the page before {key} can't be read: {error}") from error

    def keys(self, after: str, last: str) -> list[str]:
        """Keys in the store of what is kept here, after the key ``after`` and up to ``last``, both of one prefix.

        ``after`` may be the prefix itself, ``last`` its last page. Raises ValueError for bounds that are no keys of
        numbers or lines.
        """
        prefix = last[: last.rindex("/") + 1]
        try:
            if prefix.startswith(keys.NUMBERS):
                partition = keys.last_part(prefix[:-1])
                found = self._between(
                    self.tables.numbers, records.digits_key(partition), lambda id: records.digits_key(partition + id),
                    after.removeprefix(prefix), last.removeprefix(prefix),
                )  # fmt: skip
                return [prefix + records.number_of(key) for key in found]
            word = self._word(keys.owner(last))
            if not word:
                return []
            found = self._between(
                self.tables.lines, word, lambda id: records.line_key(word, id),
                after.removeprefix(prefix), last.removeprefix(prefix),
            )  # fmt: skip
            return [prefix + records.line_of(word, key) for key in found]
        except lmdb.Error as error:
            raise DirectoryError(f"keys up to {last} can't be read: {error}") from error

    def _between(
        self, table: lmdb._Database, beginning: bytes, key_of: Callable[[str], bytes], after: str, last: str
    ) -> list[bytes]:
        """Keys of a table after one id and up to another; "" for the first, LAST for the last."""
        start = key_of(after) if after else beginning
        end = beginning + _END if last == LAST else key_of(last)
        with self._txn.cursor(table) as cursor:
            if not cursor.set_range(start):
                return []
            found = list(takewhile(lambda key: key <= end, map(bytes, cursor.iternext(values=False))))
        return found[1:] if after and found and found[0] == start else found

    def _word(self, text: str) -> bytes:
        known = self.tables.known_words
        found = known.get(text)
        if found is None and text:
            found = bytes(self._txn.get(text.encode(), db=self.tables.texts) or b"")
            if found:
                _keep(known, text, found)
        return found or b""

    def _text(self, word: bytes) -> str:
        known = self.tables.known_texts
        text = known.get(word)
        if text is None:
            found = self._txn.get(word, db=self.tables.words)
            if found is None:
                raise ValueError(f"nobody knows the word {word.hex()}")
            text = sys.intern(str(found, "utf-8"))
            _keep(known, word, text)
        return text

    def release(self) -> None:
        """Look at it no longer: the writer may use the space of what has changed since."""
        self._pages.clear()
        self._txn.abort()

    def resume(self) -> None:
        """Look again at a file that nobody has written since it was released."""
        self._txn = self.tables.env.begin(buffers=True)


def _keep(known: dict[KeyT, ItemT], key: KeyT, item: ItemT) -> None:
    if len(known) >= KNOWN:
        known.clear()
    known[key] = item
