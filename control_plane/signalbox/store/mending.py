"""Finds what is damaged in the store, and what should be there instead.

A page in place of a damaged one has what lay in its part of the prefix at an earlier revision, whatever the pages were
then; all of it counts as changed, so that everybody who follows takes it up anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from signalbox.api.types.v1 import audit_pb2, inventory_pb2, types_pb2
from signalbox.store import codec, inventory, keys, screening
from signalbox.store.base import CompactedError, Delete, Put
from signalbox.store.codec import DamagedValueError
from signalbox.store.page import LAST, Page
from signalbox.store.paged import PagedStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from signalbox.store.base import Entry, SeekingStore

CHUNK = 500
"""Keys read at once."""
TRIES = 100
"""So many earlier values are looked at."""

LAST_NAME = "LAST"
"""How people write :data:`LAST`: no id has capital letters."""

_TEXTS = ("index/numbers/", "index/flows/", "index/schedules/", "index/linegroups/", "index/shared/")
_READERS: dict[str, Callable[[Entry], object]] = {
    keys.SCREENING_PAGES: screening.read_page,
    keys.INVENTORY_PAGES: inventory.decode_page,
    keys.API_KEYS: partial(codec.decode, types_pb2.ApiKey),
    keys.MEDIA_IDS: codec.decode_media_id,
    keys.AUDIT_OUTBOX: partial(codec.parse, audit_pb2.AuditEntry),
    keys.AUDIT_HEAD: partial(codec.parse, audit_pb2.AuditHead),
    keys.DOCUMENT_COUNTS: partial(codec.parse, inventory_pb2.TenantDocuments),
    keys.HOLDINGS: partial(codec.parse, inventory_pb2.TenantHoldings),
    keys.DATA_KEYS: partial(codec.parse, inventory_pb2.WrappedKey),
    "numberlog/": inventory.events,
    **dict.fromkeys(_TEXTS, lambda entry: entry.value.decode()),
}


class NotMendableError(Exception):
    """There is nothing damaged at the key, or nothing that could be put there; the text says which."""


@dataclass(frozen=True)
class Damage:
    """A key whose value is not what it should be; ``page`` is that of the page in which it lies, if it does."""

    key: str
    why: str
    page: str = ""


@dataclass(frozen=True)
class Mending:
    """What would be written at a key, that of a ``page`` or of an object.

    ``entries``: what is there then; ``revision``: as of which they were so, 0: it was not an earlier one.
    """

    key: str
    damaged: Entry
    write: Put | Delete
    entries: Sequence[Entry]
    revision: int = 0
    page: bool = False


def shown(key: str) -> str:
    """A key as people write it."""
    return key.replace(LAST, LAST_NAME)


def meant(text: str) -> str:
    """The key that people mean."""
    return text.removesuffix(LAST_NAME) + LAST if text.endswith("/" + LAST_NAME) else text


async def check(store: SeekingStore) -> AsyncIterator[tuple[int, Sequence[Damage]]]:
    """Look at everything in a store without pages, as of one revision: how many keys were read, and what is wrong with
    them, piece by piece. Raises CompactedError if that takes longer than the store remembers."""
    revision, position, before = await store.revision(), "", ""
    while True:
        entries = await store.page("", position, CHUNK, revision)
        found: list[Damage] = []
        for entry in entries:
            found += _damages(entry, before)
            before = entry.key
        yield len(entries), found
        if len(entries) < CHUNK:
            return
        position = before


def _damages(entry: Entry, before: str) -> Iterator[Damage]:
    """``before``: the key before it."""
    prefix = _prefix(entry.key)
    if not prefix:
        if why := _wrong(entry):
            yield Damage(entry.key, why)
        return
    try:
        entries = Page.decode(prefix, entry).entries()
    except DamagedValueError as error:
        yield Damage(entry.key, str(error))
        return
    if entries and entries[0].key <= before and before.startswith(prefix):
        yield Damage(entry.key, f"it holds {entries[0].key}, which belongs into the page before it")
    for one in entries:
        if why := _wrong(one):
            yield Damage(one.key, why, entry.key)


def _wrong(entry: Entry) -> str:
    """What is wrong with an entry; "": nothing, or nothing is known of its kind."""
    reader = next((read for prefix, read in _READERS.items() if entry.key.startswith(prefix)), codec.decode_any)
    try:
        reader(entry)
    except (DamagedValueError, ValueError, IndexError) as error:
        return str(error)
    return ""


async def mend(store: SeekingStore, paged: PagedStore, key: str, source: SeekingStore | None = None) -> Mending:
    """What is to be written at a damaged key: what was there before, or what ``source`` has there now.

    ``paged`` is the same store with its pages taken apart. Raises NotMendableError.
    """
    damaged = await _damaged_page(store, key)
    if damaged is None:
        return await _mend_entry(paged, key, source)
    after = await _page_before(store, key)
    if source is not None:
        try:
            return _renewed(damaged, await _between(source, after, key, 0))
        except DamagedValueError as error:
            raise NotMendableError(f"it is damaged there too: {error}") from error
    revision = damaged.revision - 1
    for _ in range(TRIES):
        try:
            return _renewed(damaged, await _between(store, after, key, revision), revision)
        except DamagedValueError as error:
            found = (await store.get_many([error.key], revision))[0]
            revision = found.revision - 1 if found else 0
        except CompactedError:
            break
    raise NotMendableError(
        f"etcd remembers nothing of {shown(key)} from before it was damaged (revision {damaged.revision})"
    )


async def emptied(store: SeekingStore, paged: PagedStore, key: str) -> Mending:
    """What is to be written at a damaged key of which nothing is left: an empty page, or nothing."""
    damaged = await _damaged_page(store, key)
    if damaged is not None:
        return _renewed(damaged, [])
    return Mending(key, await _damaged_entry(paged, key), Delete(key), [])


async def _mend_entry(paged: PagedStore, key: str, source: SeekingStore | None) -> Mending:
    damaged = await _damaged_entry(paged, key)
    if source is not None:
        return _restored(damaged, await PagedStore(source).get(key), 0)
    revision = damaged.revision - 1
    for _ in range(TRIES):
        try:
            found = (await paged.get_many([key], revision))[0]
        except (CompactedError, DamagedValueError):
            break
        if found is None or not _wrong(found):
            return _restored(damaged, found, revision)
        revision = found.revision - 1
    raise NotMendableError(f"etcd remembers nothing of {key} from before it was damaged (revision {damaged.revision})")


def _restored(damaged: Entry, found: Entry | None, revision: int) -> Mending:
    if found is None:
        return Mending(damaged.key, damaged, Delete(damaged.key), [], revision)
    if why := _wrong(found):
        raise NotMendableError(f"{damaged.key} is damaged there too: {why}")
    return Mending(damaged.key, damaged, Put(found.key, found.value), [found], revision)


def _renewed(damaged: Entry, entries: Sequence[Entry], revision: int = 0) -> Mending:
    page = Page.renewed(_prefix(damaged.key), damaged.key, entries, damaged.revision)
    return Mending(damaged.key, damaged, Put(damaged.key, page.encode()), entries, revision, page=True)


async def _damaged_page(store: SeekingStore, key: str) -> Entry | None:
    """The entry of a page that is none, if it is stored at this key."""
    entry = await store.get(key) if _prefix(key) else None
    if entry is None:
        return None
    try:
        Page.decode(_prefix(key), entry)
    except DamagedValueError:
        return entry
    return None


async def _damaged_entry(paged: PagedStore, key: str) -> Entry:
    try:
        entry = await paged.get(key)
    except DamagedValueError as error:
        raise NotMendableError(f"it lies in page {shown(error.key)}, which is damaged: mend that") from error
    if entry is None:
        raise NotMendableError(f"there is nothing at {shown(key)}")
    if not _wrong(entry):
        raise NotMendableError(f"{shown(key)} is not damaged")
    return entry


async def _page_before(store: SeekingStore, key: str) -> str:
    """The key after which a page begins: that of the page before it, or the prefix of both."""
    prefix = _prefix(key)
    return max((one for one in (await store.revisions(prefix)).written if one < key), default=prefix)


async def _between(store: SeekingStore, after: str, last: str, revision: int) -> Sequence[Entry]:
    """All that lay in pages after one key and up to another. Raises DamagedValueError, CompactedError."""
    prefix, position = _prefix(last), after
    found: list[Entry] = []
    while True:
        stored = await store.page(prefix, position, CHUNK, revision)
        for entry in stored:
            found += [one for one in Page.decode(prefix, entry).entries() if after < one.key <= last]
            if entry.key >= last:
                return found
        if len(stored) < CHUNK:
            return found
        position = stored[-1].key


def _prefix(key: str) -> str:
    match = keys.PAGED.match(key)
    return match[0] if match else ""
