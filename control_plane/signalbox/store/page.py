"""Pages: the entries of a prefix many to a value, so that the store holds few keys. The arithmetic alone, no I/O.

A page's key is the highest key that may lie in it; the lowest follows from the page before. The last page of a prefix
has the prefix and :data:`LAST`, and is there for ever once it is there. So the page of any key is the first one at or
after it, and no key comes to belong elsewhere but by a write of its page: one that is at the revision seen is still the
right one.

A page that is full gives its lower part to a new one; an empty one goes, and the next one takes its place. Neither is a
change of any entry. What a write of a page has changed is seen by the page alone: items of revision 0, which stands for
the page's own, and the list of what was deleted. An empty page's list is the next one's.
"""

from __future__ import annotations

from bisect import bisect_left
from operator import lt
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from signalbox.store.base import Change, Delete, Entry, Put
from signalbox.store.codec import DamagedValueError
from signalbox.store.pagepb import page_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

FORMAT = int.from_bytes(b"PAG1", "little")
LAST = "\U0010ffff"
"""In place of an id in the key of a prefix's last page: no character comes after it."""

MAX_ITEMS = 128
MAX_BYTES = 8 * 1024
"""Keys and values in one page, unless it holds a single entry: small enough for 128 pages in one commit."""
ITEM_BYTES = 20
"""What an item takes at most beside its key and its value: tags, lengths and two revisions."""


class Page:
    """A page as it is stored, or as it will be. ``revision`` is the one that wrote it; 0: it does not exist yet."""

    def __init__(self, prefix: str, key: str, revision: int, message: page_pb2.Page) -> None:
        self.prefix = prefix
        self.key = key
        self.revision = revision
        self._message = message
        self._ids = [item.key for item in message.items]
        self._written = False

    @classmethod
    def last(cls, prefix: str) -> Page:
        """The first page that a prefix gets: its last one."""
        return cls(prefix, prefix + LAST, 0, page_pb2.Page(format=FORMAT))

    @classmethod
    def decode(cls, prefix: str, entry: Entry) -> Page:
        """The page that is stored in an entry. Raises DamagedValueError."""
        try:
            message = page_pb2.Page.FromString(entry.value)
        except DecodeError as error:
            raise DamagedValueError(entry.key, "not a page") from error
        if message.format != FORMAT:
            raise DamagedValueError(entry.key, "not a page")
        page = cls(prefix, entry.key, entry.revision, message)
        ids = page._ids
        if ids and not (all(map(lt, ids, ids[1:])) and prefix + ids[-1] <= entry.key):
            raise DamagedValueError(entry.key, "a page with entries that do not belong where they are")
        return page

    @classmethod
    def renewed(cls, prefix: str, key: str, entries: Iterable[Entry], previous: int) -> Page:
        """A page to be written in the place of one of which nothing is known but the revision that wrote it: its next
        write changes all that is in it."""
        items = [
            page_pb2.Item(key=one.key[len(prefix) :], value=one.value, create_revision=one.create_revision)
            for one in entries
        ]
        return cls(prefix, key, previous, page_pb2.Page(format=FORMAT, items=items, previous=previous))

    def encode(self) -> bytes:
        """As it is stored."""
        return self._message.SerializeToString(deterministic=True)

    @property
    def previous(self) -> int:
        """The revision that wrote it before; 0: it is new."""
        return self._message.previous

    @property
    def size(self) -> int:
        """How many bytes it takes."""
        return self._message.ByteSize()

    @property
    def empty(self) -> bool:
        """True if nothing lies in it."""
        return not self._ids

    @property
    def goes(self) -> bool:
        """True if there should be no such page."""
        return self.empty and self.key != self.prefix + LAST

    @property
    def full(self) -> bool:
        """True if it holds more than a page should."""
        if len(self._ids) > MAX_ITEMS:
            return True
        # The whole is told at once, but a list of what was deleted is no reason.
        return len(self._ids) > 1 and self.size > MAX_BYTES and sum(_sizes(self._message.items)) > MAX_BYTES

    @property
    def deleted(self) -> list[str]:
        """Keys that its last write deleted."""
        return [self.prefix + id for id in self._message.deleted]

    def get(self, key: str) -> Entry | None:
        """An entry that may lie in it."""
        at, there = self._find(key)
        return self._entry(self._message.items[at]) if there else None

    def entries(self) -> list[Entry]:
        """All that lies in it, in order."""
        return [self._entry(item) for item in self._message.items]

    def changes(self) -> Iterator[Change]:
        """What its last write has changed; nothing but that need be told of a page that is new, or was split."""
        for item in self._message.items:
            if not item.revision:
                yield Change(self.prefix + item.key, self._entry(item), self.revision)
        for key in self.deleted:
            yield Change(key, None, self.revision)

    def write(self, writes: Iterable[Put | Delete]) -> bool:
        """Change entries that may lie in it; False if there was nothing to change."""
        changed = False
        for write in writes:
            at, there = self._find(write.key)
            if isinstance(write, Put):
                self._begin()
                self._put(at, there, write)
            elif there:
                self._begin()
                self._message.deleted.append(self._ids.pop(at))
                del self._message.items[at]
            else:
                continue
            changed = True
        return changed

    def _put(self, at: int, there: bool, put: Put) -> None:
        if there:
            item = self._message.items[at]
            item.create_revision = item.create_revision or item.revision
            item.revision = 0
            item.value = put.value
        else:
            id = put.key[len(self.prefix) :]
            self._ids.insert(at, id)
            self._message.items.insert(at, page_pb2.Item(key=id, value=put.value))

    def split(self, most: int) -> Sequence[Page]:
        """New pages that it gives its lower parts to, so as not to be too full: at most so many."""
        items = self._message.items
        start, pages = 0, []
        for end in _ends(_sizes(items), 0, len(items))[:-1][:most]:
            lower = page_pb2.Page(format=FORMAT, items=items[start:end])
            pages.append(Page(self.prefix, self.prefix + self._ids[end - 1], 0, lower))
            start = end
        del items[:start]
        del self._ids[:start]
        return pages

    def inherit(self, gone: Page) -> None:
        """Take the place of an empty page before it."""
        self._begin()
        self._message.deleted.extend(gone._message.deleted)

    def _begin(self) -> None:
        """Before the first change: nothing that is in it has the revision of the next write."""
        if self._written:
            return
        self._written = True
        self._message.previous = self.revision
        for item in self._message.items:
            if not item.revision:
                item.revision = self.revision
        del self._message.deleted[:]

    def _find(self, key: str) -> tuple[int, bool]:
        id = key[len(self.prefix) :]
        at = bisect_left(self._ids, id)
        return at, at < len(self._ids) and self._ids[at] == id

    def _entry(self, item: page_pb2.Item) -> Entry:
        revision = item.revision or self.revision
        return Entry(self.prefix + item.key, item.value, revision, item.create_revision or revision)


def _sizes(items: Iterable[page_pb2.Item]) -> list[int]:
    return [len(item.key) + len(item.value) + ITEM_BYTES for item in items]


def _ends(sizes: Sequence[int], start: int, end: int) -> list[int]:
    """Where the parts of a page end: it is halved, by bytes, until every part fits."""
    count, total = end - start, sum(sizes[start:end])
    if count <= 1 or (count <= MAX_ITEMS and total <= MAX_BYTES):
        return [end]
    cut, lower = start, 0
    while cut < end - 1 and (cut == start or lower + sizes[cut] <= total / 2):
        lower += sizes[cut]
        cut += 1
    return _ends(sizes, start, cut) + _ends(sizes, cut, end)
