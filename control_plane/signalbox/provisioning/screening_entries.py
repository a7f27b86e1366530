"""Entries of screening lists: added and removed, all or none, in lists of any size.

A transaction of the store holds much less than a list. So a request never touches the list's pages: it changes the two
pages over them that say what is added and what is removed (:mod:`signalbox.domain.screening`), in one transaction. When
these grow, they are folded into the others, in several transactions of which none changes what is in the list: it does
not matter when they come, whether they all come, or who else writes meanwhile. docs/design/screening-lists.md has the
alternatives.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.types.v1 import screening_pb2
from signalbox.domain.screening import ADDED, EMPTY, PAGES, REMOVED, Page, page_of
from signalbox.errors import FieldViolation, InvalidFieldError, NotFoundError, WriteContentionError
from signalbox.provisioning import pagetoken, validate, validate_screening
from signalbox.provisioning.audit import changes
from signalbox.provisioning.listing import page_size
from signalbox.provisioning.writer import Plan, Writer
from signalbox.store import codec, keys
from signalbox.store.base import MAX_COMMIT_BYTES, Compare, Delete, Put
from signalbox.store.screening import page_message, read_page

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from signalbox.provisioning.writer import PlanWriter
    from signalbox.store.base import Store

logger = structlog.get_logger(__name__)

CHANGES_MAX = 2_000
"""Changes above which they are folded: 16 KB that each of many small requests writes again, for a fold now and then."""
CHANGES_OF_REQUEST = 2
"""There may be so many times the entries of a request all the same: not each of many large ones has to fold."""
PAGE_ENTRIES_MAX = 20_000
"""Entries in one page. A list is full when one of its pages is: at 1,800,000 entries or more, as they spread."""
FOLD_BYTES = 1_000_000
"""Size of one step of folding."""
FOLD_STEPS_MAX = 200
"""Steps after which others must be writing as fast as we fold."""
RESERVE_BYTES = 100_000
"""Room in a commit for what a request writes besides the pages of changes."""
PAGE_SIZE_DEFAULT = 1_000
PAGE_SIZE_MAX = 10_000


_TOO_FAST = "others change the list faster than it can be written; nothing was written"


@dataclass(frozen=True)
class _List:
    """A list as it was at one revision of the store, as far as it was read."""

    tenant: str
    id: str
    revision: int
    added: Page
    removed: Page
    pages: dict[int, Page]

    def __contains__(self, entry: str) -> bool:
        if entry in self.added:
            return True
        return entry in self.pages[page_of(entry)] and entry not in self.removed

    def put(self, number: int, page: Page) -> Put | Delete:
        """The write of a page; an empty one is not kept."""
        key = keys.screening_page(self.tenant, self.id, number)
        return Put(key, codec.encode(page_message(self.tenant, self.id, number, page))) if len(page) else Delete(key)

    def unchanged(self) -> Compare:
        """Holds if the list is still there, and the same."""
        return Compare(keys.screening_list(self.tenant, self.id), self.revision)


class ScreeningEntries:
    """The entries of all lists."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def add(self, request: pb.AddScreeningEntriesRequest, writer: PlanWriter) -> pb.AddScreeningEntriesResponse:
        """Add entries. NOT_FOUND if there is no such list."""
        changed = await self._change(request, writer, adding=True)
        return pb.AddScreeningEntriesResponse(changed=changed)

    async def remove(
        self, request: pb.RemoveScreeningEntriesRequest, writer: PlanWriter
    ) -> pb.RemoveScreeningEntriesResponse:
        """Remove entries. NOT_FOUND if there is no such list."""
        changed = await self._change(request, writer, adding=False)
        return pb.RemoveScreeningEntriesResponse(changed=changed)

    async def list(self, request: pb.ListScreeningEntriesRequest) -> pb.ListScreeningEntriesResponse:
        """One page of a list's entries: by the pages that they are kept in, and as text within these."""
        validate.require(_name(request.tenant, request.list))
        parent = f"{request.tenant}/{request.list}"
        after = pagetoken.decode("ListScreeningEntries", parent, request.page_token)
        size = page_size(request.page_size, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX)
        found: list[str] = []
        begun = page_of(after) if after else None
        first, pages = begun or 0, 4
        # Of a large list few pages are enough; a small one has few.
        while first < PAGES and len(found) <= size:
            numbers = range(first, min(first + pages, PAGES))
            content = _contents(await self._read(request.tenant, request.list, numbers))
            for number in numbers:
                entries = sorted(content[number])
                found += [entry for entry in entries if entry > after] if number == begun else entries
            first, pages = numbers.stop, 4 * pages
        token = pagetoken.encode("ListScreeningEntries", parent, found[size - 1]) if len(found) > size else ""
        return pb.ListScreeningEntriesResponse(entries=map(_message, found[:size]), next_page_token=token)

    async def _change(
        self,
        request: pb.AddScreeningEntriesRequest | pb.RemoveScreeningEntriesRequest,
        writer: PlanWriter,
        *,
        adding: bool,
    ) -> int:
        """Add or remove, and tell how many entries made a difference."""
        tenant, id = request.tenant, request.list
        validate.require(_name(tenant, id))
        entries = validate_screening.entries(request.entries)
        await self._make_room(tenant, id, len(entries))

        async def plan() -> Plan[int]:
            state = await self._read(tenant, id, sorted(set(map(page_of, entries))))
            different = [entry for entry in entries if (entry in state) is not adding]
            if not different:
                return Plan(0)
            in_page = [entry for entry in different if entry in state.pages[page_of(entry)]]
            if adding:
                _check_room(state, different)
                added = state.added.changed(set(different).difference(in_page), ())
                removed = state.removed.changed((), in_page)
            else:
                added = state.added.changed((), different)
                removed = state.removed.changed(in_page, ())
            writes = [state.put(ADDED, added), state.put(REMOVED, removed)]
            if sum(len(write.value) for write in writes if isinstance(write, Put)) > MAX_COMMIT_BYTES - RESERVE_BYTES:
                raise WriteContentionError(_TOO_FAST)
            told = changes.entries(tenant, id, different, adding=adding)
            return Plan(len(different), [state.unchanged()], writes, [told])

        changed, revision = await writer.write(keys.screening_fence(tenant, id), plan)
        if revision:
            event = "screening_entries_added" if adding else "screening_entries_removed"
            writer.log(event, revision, tenant=tenant, list=id, changed=str(changed))
        return changed

    async def _make_room(self, tenant: str, id: str, count: int) -> None:
        """Fold the pages of changes if there would be too much in them."""
        state = await self._read(tenant, id, ())
        pending = len(state.added) + len(state.removed)
        if not pending or pending + count <= max(CHANGES_MAX, CHANGES_OF_REQUEST * count):
            return
        writer = Writer(self._store)
        for _ in range(FOLD_STEPS_MAX):
            done, _ = await writer.write(keys.screening_fence(tenant, id), lambda: self._fold(tenant, id))
            if done:
                logger.info("screening_list_folded", tenant=tenant, list=id, changes=pending)
                return
        raise WriteContentionError(_TOO_FAST)

    async def _fold(self, tenant: str, id: str) -> Plan[bool]:
        """One step: some of the pages that differ from what is in the list. True: it is the last one."""
        state = await self._read(tenant, id, range(PAGES))
        added, removed = _by_page(state.added), _by_page(state.removed)
        writes: list[Put | Delete] = []
        room = FOLD_BYTES
        for number, page in state.pages.items():
            folded = page.changed(added[number], removed[number] - added[number])
            if folded is page:
                continue
            write = state.put(number, folded)
            room -= len(write.value) if isinstance(write, Put) else 0
            if room < 0 and writes:
                return Plan(False, [state.unchanged()], writes)
            writes.append(write)
            await asyncio.sleep(0)
        writes += [state.put(ADDED, EMPTY), state.put(REMOVED, EMPTY)]
        return Plan(True, [state.unchanged()], writes)

    async def _read(self, tenant: str, id: str, numbers: Iterable[int]) -> _List:
        """A list with some of its pages, all at one revision. Raises NotFoundError."""
        numbers = [*numbers]
        wanted = [keys.screening_page(tenant, id, number) for number in (ADDED, REMOVED, *numbers)]
        head, *stored = await self._store.get_many([keys.screening_list(tenant, id), *wanted])
        if head is None:
            raise NotFoundError("screening_list", f"{tenant}/{id}" if tenant else id)
        found: list[Page] = []
        for entry in stored:
            found.append(read_page(entry) if entry is not None else EMPTY)
            if entry is not None:
                # All of them take long: others have their turn between.
                await asyncio.sleep(0)
        added, removed, *pages = found
        return _List(tenant, id, head.revision, added, removed, dict(zip(numbers, pages, strict=True)))


def _check_room(state: _List, new: Sequence[str]) -> None:
    """Raise InvalidFieldError if a page would come to hold too much."""
    room = {number: PAGE_ENTRIES_MAX - len(page) for number, page in state.pages.items()}
    for entry in new:
        room[page_of(entry)] -= 1
    if min(room.values()) < 0:
        raise InvalidFieldError(FieldViolation("list", f"is full: a page of it has {PAGE_ENTRIES_MAX} entries"))


def _by_page(page: Page) -> dict[int, set[str]]:
    """The entries of a page of changes by the page that they belong to."""
    found: dict[int, set[str]] = {number: set() for number in range(PAGES)}
    for entry in page.entries():
        found[page_of(entry)].add(entry)
    return found


def _contents(state: _List) -> dict[int, set[str]]:
    """What is in the list, by page, of the pages that were read."""
    added, removed = _by_page(state.added), _by_page(state.removed)
    return {
        number: set(page.entries()).difference(removed[number]).union(added[number])
        for number, page in state.pages.items()
    }


def _message(entry: str) -> screening_pb2.ScreeningEntry:
    """An entry as it is told."""
    match entry[0], entry[1:]:
        case "n", number:
            return screening_pb2.ScreeningEntry(number=number)
        case "p", prefix:
            return screening_pb2.ScreeningEntry(prefix=prefix)
        case "r", province:
            return screening_pb2.ScreeningEntry(province=province)
        case "a", area_code:
            return screening_pb2.ScreeningEntry(area_code=area_code)
    return screening_pb2.ScreeningEntry(anonymous=True)


def _name(tenant: str, id: str) -> Iterable[FieldViolation]:
    yield from validate.owner(tenant, "tenant")
    yield from validate.identifier(id, "list")
