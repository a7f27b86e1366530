"""A store in which the entries of many prefixes lie in pages (see page.py), while its users see them one by one.

Every entry has its own value and revisions, every commit its one revision, as without pages. What is different:

* Entries in pages have no lease (ValueError).
* A commit rewrites whole pages. It may touch 128 of them and of the other keys together, in comparisons and writes, and
  their bytes count: what is beyond that raises CommitTooLargeError, though it would go without pages. With pages of
  MAX_BYTES, 128 writes of together 400,000 bytes go wherever they are. If there is no room to divide a page, or to
  remove an empty one, that is left to the next write of the page.
* A neighbour in a page may change while a commit is under way. Then the commit is made anew, and only a change of what
  it compares is its refusal. Who never gets through has WriteContentionError, and nothing was written.
* A value that is no page is a damaged one: reading, listing and writing what should lie in it raises DamagedValueError.
  Watches pass it over, loudly.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack, aclosing
from typing import TYPE_CHECKING

import structlog

from signalbox.errors import WriteContentionError
from signalbox.store import keys
from signalbox.store.base import (
    MAX_OPERATIONS,
    AtOrAfter,
    Batch,
    CompactedError,
    CompareFailedError,
    Listing,
    Put,
    Revisions,
    check_commit,
)
from signalbox.store.codec import DamagedValueError
from signalbox.store.page import LAST, MAX_ITEMS, Page
from signalbox.store.rewrite import Rewrite
from signalbox.store.turns import Turns

if TYPE_CHECKING:
    import re
    from collections.abc import AsyncGenerator, Collection, Iterable, Sequence

    from signalbox.store.base import Change, Compare, Delete, Entry, SeekingStore

logger = structlog.get_logger(__name__)

ATTEMPTS = 30
BACKOFF_MAX_S = 0.05
"""Longest pause between two attempts: some commits of etcd on a slow disk."""
SLICE = 1_000
"""Entries taken out of pages at once, about 2 ms; then whatever else waits has its turn."""


class PagedStore:
    """See Store. Keys that ``paged`` matches at their beginning lie in pages, those of one match in the same ones."""

    def __init__(self, store: SeekingStore, paged: re.Pattern[str] = keys.PAGED, *, most: int = MAX_OPERATIONS) -> None:
        """``most``: comparisons and writes in one commit. Neighbours share pages, so more than MAX_OPERATIONS may go.

        If they do not, that is a CommitTooLargeError too.
        """
        self._store = store
        self._paged = paged
        self._most = most
        self._turns = Turns()

    async def get(self, key: str) -> Entry | None:
        """See Store."""
        return (await self.get_many([key]))[0]

    async def get_many(self, keys: Sequence[str], revision: int = 0) -> list[Entry | None]:
        """See Store."""
        prefixes = [self._prefix(key) for key in keys]
        wanted = [AtOrAfter(prefix, key) if prefix else key for prefix, key in zip(prefixes, keys, strict=True)]
        pages: dict[str, Page] = {}
        found: list[Entry | None] = []
        for key, prefix, entry in zip(keys, prefixes, await self._store.get_many(wanted, revision), strict=True):
            if entry is None or not prefix:
                found.append(entry)
                continue
            if entry.key not in pages:
                pages[entry.key] = Page.decode(prefix, entry)
            found.append(pages[entry.key].get(key))
        return found

    async def revision(self) -> int:
        """See Store."""
        return await self._store.revision()

    async def cluster(self) -> int:
        """See Store."""
        return await self._store.cluster()

    async def list(self, prefix: str) -> Listing:
        """See Store."""
        listing = await self._store.list(self._prefix(prefix) or prefix)
        entries: list[Entry] = []
        pause_at = SLICE
        stored = listing.entries
        stored.reverse()
        while stored:
            entries += self._entries(stored.pop(), prefix)
            if len(entries) >= pause_at:
                await asyncio.sleep(0)
                pause_at = len(entries) + SLICE
        return Listing(entries, listing.revision)

    async def revisions(self, prefix: str) -> Revisions:
        """See Store; reads the values all the same."""
        listing = await self.list(prefix)
        return Revisions({entry.key: entry.revision for entry in listing.entries}, listing.revision)

    async def page(self, prefix: str, after: str, limit: int, revision: int = 0) -> Sequence[Entry]:
        """See Store."""
        within = self._prefix(prefix) or prefix
        found: list[Entry] = []
        # One character less than the prefix, for a page named like it holds that very key.
        position = max(after, prefix[:-1])
        take = 1 + limit // MAX_ITEMS
        while len(found) < limit:
            stored = await self._store.page(within, position, take, revision)
            for entry in stored:
                found += [one for one in self._entries(entry, prefix) if one.key > after]
            if len(stored) < take:
                break
            position = stored[-1].key
            if not position.startswith(prefix) and position > prefix:
                break
            take = min(2 * take, MAX_OPERATIONS)
        return found[:limit]

    async def commit(self, compares: Sequence[Compare], writes: Sequence[Put | Delete]) -> int:
        """See Store. Raises WriteContentionError too, and DamagedValueError for a damaged page."""
        check_commit(compares, writes, self._most)
        prefixes = {self._prefix(one.key) for one in (*compares, *writes)} - {""}
        if not prefixes:
            return await self._store.commit(compares, writes)
        for one in (*compares, *writes):
            self._check(one)
        async with AsyncExitStack() as turns:
            # All in the same order, so that nobody waits in a circle.
            for prefix in sorted(prefixes):
                await turns.enter_async_context(self._turns.at(prefix))
            for number in range(1, ATTEMPTS + 1):
                try:
                    return await self._rewrite(compares, writes)
                except _NeighbourChangedError:
                    await asyncio.sleep(random.uniform(0, BACKOFF_MAX_S * min(1.0, number / 5)))
        raise WriteContentionError(f"others changed the same pages {ATTEMPTS} times; nothing was written")

    def _check(self, one: Compare | Put | Delete) -> None:
        prefix = self._prefix(one.key)
        if prefix and isinstance(one, Put) and one.lease:
            raise ValueError(f"{one.key} with a lease: an entry in a page has none")
        if prefix and one.key.encode() > (prefix + LAST).encode():
            raise ValueError(f"{one.key!r} comes after all pages")

    async def _rewrite(self, compares: Sequence[Compare], writes: Sequence[Put | Delete]) -> int:
        """One attempt. Raises CompareFailedError, and _NeighbourChangedError if it is worth another one."""
        wanted = dict.fromkeys([*(one.key for one in compares), *(w.key for w in writes if self._prefix(w.key))])
        pages, others = await self._read(wanted)
        rewrite = Rewrite(pages)
        for compare in compares:
            page = pages.get(compare.key)
            entry = page.get(compare.key) if page else others[compare.key]
            if (entry.revision if entry else 0) != compare.revision:
                raise CompareFailedError(f"{compare.key} is not at revision {compare.revision}")
            rewrite.compare(compare)
        rewrite.write(writes)
        gone = rewrite.gone()
        if gone:
            # The next key, in the order of texts.
            nexts = await self._store.get_many([AtOrAfter(page.prefix, page.key + "\0") for page in gone])
            rewrite.remove([self._next(page, entry) for page, entry in zip(gone, nexts, strict=True)])
        relied, written = rewrite.commit()
        if len({write.key for write in written}) < len(written):
            # A page was divided between two of the reads: as it was is among them, and the part that it gave away too.
            raise _NeighbourChangedError
        try:
            return await self._store.commit(relied, written)
        except CompareFailedError as error:
            raise _NeighbourChangedError from error

    def _next(self, page: Page, entry: Entry | None) -> Page | None:
        try:
            return Page.decode(page.prefix, entry) if entry else None
        except DamagedValueError:
            return None

    async def _read(self, wanted: Iterable[str]) -> tuple[dict[str, Page], dict[str, Entry | None]]:
        """The pages that some keys belong in, by key, and the entries of the other keys.

        Neighbours lie in one page, which is to be read once: of each prefix one key is looked up first, then of those
        that its page does not cover four, and so on.
        """
        pages: dict[str, Page] = {}
        others = [key for key in wanted if not self._prefix(key)]
        entries: dict[str, Entry | None] = {}
        left: dict[str, list[str]] = {}
        for key in sorted(set(wanted) - set(others)):
            left.setdefault(self._prefix(key), []).append(key)
        take = 1
        while left or others:
            asked = [(prefix, key) for prefix, some in left.items() for key in some[:: 1 + (len(some) - 1) // take]]
            asked = (asked + [("", key) for key in others])[:MAX_OPERATIONS]
            found = await self._store.get_many([AtOrAfter(*one) if one[0] else one[1] for one in asked])
            for (prefix, key), entry in zip(asked, found, strict=True):
                if not prefix:
                    entries[key] = entry
                elif key not in pages:
                    page = Page.decode(prefix, entry) if entry else Page.last(prefix)
                    pages |= {one: page for one in left[prefix] if key <= one <= page.key and one not in pages}
            others = [key for key in others if key not in entries]
            left = {prefix: rest for prefix, some in left.items() if (rest := [k for k in some if k not in pages])}
            take *= 4
        return pages, entries

    async def watch(self, prefix: str, from_revision: int, cluster: int = 0) -> AsyncGenerator[Batch, None]:
        """See Store. Pages changed by other means than ours, so that it cannot be told what of them, are a reason for
        CompactedError."""
        passed: set[str] = set()
        async with aclosing(self._store.watch(self._prefix(prefix) or prefix, from_revision, cluster)) as batches:
            async for stored, revision in batches:
                changes = [change for change in self._changes(stored, passed) if change.key.startswith(prefix)]
                if changes or not stored:
                    yield changes, revision

    def _changes(self, stored: Collection[Change], passed: set[str]) -> Iterable[Change]:
        """What the changes of pages come to. ``passed`` are the damaged pages that were passed over."""
        put = {(self._prefix(change.key), change.revision) for change in stored if change.entry is not None}
        for change in stored:
            prefix = self._prefix(change.key)
            if not prefix:
                yield change
            elif change.entry is None:
                # The page that takes its place is written with it.
                if change.key in passed or (prefix, change.revision) not in put:
                    raise CompactedError(f"page {change.key} was deleted by other means")
            else:
                try:
                    page = Page.decode(prefix, change.entry)
                except DamagedValueError as error:
                    logger.error("stored_page_damaged", key=change.key, revision=change.revision, reason=str(error))
                    passed.add(change.key)
                    continue
                if change.key in passed:
                    raise CompactedError(f"page {change.key} was damaged, and is mended")
                yield from page.changes()

    async def grant_lease(self, ttl_s: int) -> int:
        """See Store."""
        return await self._store.grant_lease(ttl_s)

    async def keep_lease(self, lease: int) -> None:
        """See Store."""
        await self._store.keep_lease(lease)

    async def revoke_lease(self, lease: int) -> None:
        """See Store."""
        await self._store.revoke_lease(lease)

    async def close(self) -> None:
        """See Store."""
        await self._store.close()

    def _prefix(self, key: str) -> str:
        """The part of a key that it has in common with all of its pages; "" if it does not lie in one."""
        match = self._paged.match(key)
        return match[0] if match else ""

    def _entries(self, stored: Entry, prefix: str) -> Iterable[Entry]:
        """Of what a stored entry comes to all that is below a prefix."""
        within = self._prefix(stored.key)
        entries = Page.decode(within, stored).entries() if within else [stored]
        return entries if within.startswith(prefix) else [one for one in entries if one.key.startswith(prefix)]


class _NeighbourChangedError(Exception):
    """A page was written by others since it was read."""
