"""What tenants own as it comes from the store: in pages, each with the revision that wrote it.

Numbers and lines lie many to a page. Every other object is its own page: that has the object's key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import structlog

from signalbox.api.types.v1 import screening_pb2
from signalbox.domain.objects import Line, Number
from signalbox.domain.screening import Page as ScreeningPage
from signalbox.routing.stored import read_rule
from signalbox.slices import Slices
from signalbox.store import codec, keys
from signalbox.store.base import Change
from signalbox.store.directory import Batch
from signalbox.store.page import LAST, Page

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence

    from signalbox.store.base import Entry, Revisions, Store

logger = structlog.get_logger(__name__)

PAGED = (keys.LINES, keys.NUMBERS)
"""What lies many to a page. Lines come first, so that tenants get their words in the order of their lines."""
PREFIXES = (
    *PAGED, keys.CALENDARS, keys.SCHEDULES, keys.REGION_GROUPS, keys.LINE_GROUPS, keys.FLOWS, keys.SCREENING_LISTS,
    keys.SCREENING_PAGES, keys.PROMPTS,
)  # fmt: skip
"""What lies in a directory."""
FETCHED = 100
"""Pages fetched at once: some 8 KiB each."""
FETCHED_LARGE = 12
"""Pages of screening lists, up to some 80 KiB each."""
BATCH = 20_000
"""Objects written at once."""
BATCH_BYTES = 16 << 20
"""So many bytes of the store are written at once at most, about."""


def holds(key: str) -> bool:
    """True for what lies in a directory."""
    return key.startswith(PREFIXES)


def stands_alone(key: str) -> bool:
    """True for the key of an object that is a page by itself."""
    return not key.startswith(PAGED)


def prefix_of(key: str) -> str:
    """What a page's key has in common with all that may lie in it."""
    return key[: key.rindex("/") + 1]


class Content(NamedTuple):
    """What a page has: the entries in it, the keys that its last write deleted, and the revision of the write before.

    None in place of that: it is no page, but an object that is stored by itself.
    """

    entries: Sequence[Entry]
    deleted: Sequence[str] = ()
    previous: int | None = None

    def changes(self, known: int) -> Sequence[Change]:
        """What has changed for who knows the page as it was at a revision, if nothing was missed."""
        found = [Change(entry.key, entry, entry.revision) for entry in self.entries if entry.revision > known]
        revision = max((change.revision for change in found), default=known)
        return found + [Change(key, None, revision) for key in self.deleted]


def fetched(key: str) -> int:
    """How many pages like one are to be fetched at once."""
    return FETCHED_LARGE if key.startswith(keys.SCREENING_PAGES) else FETCHED


def content_of(entry: Entry) -> Content | None:
    """What an entry of the store has; None: it is damaged."""
    if stands_alone(entry.key):
        return Content([entry]) if _is_object(entry) else None
    try:
        page = Page.decode(prefix_of(entry.key), entry)
    except codec.DamagedValueError:
        return Content([entry]) if _is_object(entry) else None
    return Content(page.entries(), page.deleted, page.previous)


def _is_object(entry: Entry) -> bool:
    try:
        return read_rule(entry) is not None
    except codec.DamagedValueError:
        return False


class Difference:
    """What is to be fetched so that one has the pages that the store has."""

    def __init__(self, found: Revisions) -> None:
        self._found = found
        self._left = dict(found.written)
        self.gone: list[str] = []
        """Pages that the store has no longer."""

    def has(self, pages: Iterable[tuple[str, int]]) -> None:
        """Some of the pages that one has, with their revisions."""
        for key, revision in pages:
            if self._left.get(key) == revision:
                del self._left[key]
            elif key not in self._found.written:
                self.gone.append(key)

    def lacks(self, key: str) -> bool:
        """True if the store has no such page."""
        return key not in self._found.written

    def wanted(self, judge: Callable[[str, int], bool] = lambda key, revision: True) -> list[tuple[str, str]]:
        """The pages to fetch, in order: the key after which each begins, and its own.

        ``judge`` is asked for each, with the revision that the store has, whether it is to be.
        """
        wanted, before = [], ""
        for key, revision in self._found.written.items():
            if key in self._left and judge(key, revision):
                prefix = prefix_of(key)
                wanted.append((before if before.startswith(prefix) else prefix, key))
            before = key
        return wanted


class Loader:
    """Fetches pages and makes of them what a directory has."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.damaged: dict[str, str] = {}
        """What could not be used of what was fetched: why, by its key."""
        self.newest = 0
        """The highest revision of the pages fetched."""

    async def load(
        self, difference: Difference, keys: Callable[[str, str], Iterable[str]], revision: int = 0
    ) -> AsyncIterator[Batch]:
        """Batches of all that is different. ``keys`` gives those of what one has after a key and up to another; it may
        raise ValueError. ``revision``: as it was then, 0: as it is now."""
        batch, size, slices = Batch(), 0, Slices()
        for key in difference.gone:
            batch.pages[key] = 0
            _delete(batch, key)
        wanted = difference.wanted()
        step = fetched(wanted[0][1]) if wanted else 1
        for start in range(0, len(wanted), step):
            some = wanted[start : start + step]
            found = await self._store.get_many([key for _, key in some], revision)
            for (after, key), entry in zip(some, found, strict=True):
                self._add(batch, entry, key, present(keys, after, key))
                size += len(entry.value) if entry is not None else 0
                await slices.rest()
            if len(batch.numbers) + len(batch.lines) + len(batch.objects) >= BATCH or size >= BATCH_BYTES:
                yield batch
                batch, size = Batch(), 0
        yield batch

    def _add(self, batch: Batch, entry: Entry | None, key: str, there: set[str]) -> None:
        """Add a page as it is now. What is known of a damaged one stays in force, and it stays different."""
        found: Sequence[Entry] = ()
        if entry is not None and stands_alone(key):
            if not self._put(batch, entry):
                return
            there = set()
        elif entry is not None:
            content = content_of(entry)
            if content is None:
                self._note(entry, "not a page")
                return
            found = content.entries
        batch.pages[key] = entry.revision if entry is not None else 0
        self.newest = max(self.newest, batch.pages[key])
        for gone in there.difference(one.key for one in found):
            _delete(batch, gone)
        for one in found:
            self._put(batch, one)

    def _put(self, batch: Batch, entry: Entry) -> bool:
        """False: it cannot be used."""
        try:
            rule = read_rule(entry)
        except codec.DamagedValueError as error:
            self._note(entry, str(error))
            return False
        match rule:
            case Number():
                batch.numbers[rule.number] = rule
            case Line():
                batch.lines[rule.tenant, rule.id] = rule
            case ScreeningPage():
                batch.lists[entry.key] = rule
            case screening_pb2.ScreeningList():
                # That it is there is all that decisions need of it.
                batch.objects[entry.key] = b""
            case _:
                batch.objects[entry.key] = entry.value
        return True

    def _note(self, entry: Entry, reason: str) -> None:
        self.damaged[entry.key] = reason
        logger.error("stored_value_damaged", key=entry.key, revision=entry.revision, reason=reason)


def present(keys: Callable[[str, str], Iterable[str]], after: str, key: str) -> set[str]:
    """What one has after a key and up to another; nothing for odd keys, which ours are not.

    An object that is a page by itself says nothing of those before it, so it may be there itself, and no other.
    """
    if stands_alone(key):
        return {key}
    try:
        return set(keys(after, key))
    except ValueError as error:
        logger.error("stored_page_odd", key=key, reason=str(error))
        return set()


def _delete(batch: Batch, key: str) -> None:
    id = keys.last_part(key)
    if id == LAST:
        return
    if key.startswith(keys.NUMBERS):
        batch.numbers[id] = None
    elif key.startswith(keys.LINES):
        batch.lines[keys.owner(key), id] = None
    elif key.startswith(keys.SCREENING_PAGES):
        batch.lists[key] = None
    else:
        batch.objects[key] = None
