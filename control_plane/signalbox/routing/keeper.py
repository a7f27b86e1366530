"""Keeps a worker's directory of what tenants own as the store has it, and the memory map as the directory has it.

It stands between a Mirror of the rules and the store: the Mirror's listings have all rules but those. The one worker
that writes the map compares them with the store's, page by page, and fetches what differs; the others wait until it has
done so. If nobody can write the map, a worker holds everything in its own memory.
"""

from __future__ import annotations

import asyncio
import math
import time
from functools import partial
from typing import TYPE_CHECKING

import structlog

from signalbox.errors import StoreUnavailableError
from signalbox.routing import pages
from signalbox.routing.directory import SLICE
from signalbox.routing.overlay import Overlay
from signalbox.routing.pagechanges import PageChanges
from signalbox.routing.pages import Difference, Loader
from signalbox.store import keys
from signalbox.store.base import Change, CompactedError, Listing
from signalbox.store.directory import Batch, StartOverError
from signalbox.store.mapfile import DirectoryError
from signalbox.store.mirror import FAR_BEHIND

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from signalbox.routing.directory import LiveDirectory
    from signalbox.store.base import Batch as Changes
    from signalbox.store.base import Store
    from signalbox.store.directory import DirectoryWriter

logger = structlog.get_logger(__name__)

OTHERS = (keys.TENANTS, keys.TRUNKS, keys.TRUNK_GROUPS)
"""What decisions need beside what tenants own: little enough to be in the memory of each worker."""

TURN_S = 0.25
CARRY_S = 2.0
"""What changed is written into the map so much later at most, unless the disk takes longer."""
CARRY_MOST = 5_000
"""More than that is written sooner."""
KNOWN_S = 10.0
"""How often the map is told that it is still the newest while nothing changes."""
AGAIN_S = 60.0
"""How often it is tried again to write a map that could not be written."""
WAIT_S = 0.2
TELL_S = 30.0
"""How often it is told in the log that the map is waited for."""
ALONE_S = 5.0
"""Without a worker that writes the map for so long, the others go on with the map as it is."""
ALONE_WITHOUT_S = 60.0
"""If there is no map at all, they wait longer: each will hold everything in its own memory."""
LARGE = 500_000
"""Objects in memory, waiting to be written, that are told in the log."""


class Keeper:
    """What a Mirror needs of a store: ``cluster``, ``revision``, ``list`` and ``watch``."""

    def __init__(self, store: Store, directory: LiveDirectory) -> None:
        self._store = store
        self._directory = directory
        self._busy = asyncio.Lock()
        self.told = PageChanges(directory)
        self._cluster = 0
        """Whose revisions those of the directory are to be."""
        self._settled = 0
        self._finished = False
        """There is a map that has all of one revision, though it may be an old one."""
        self._written_at = self._tried_at = 0.0
        self._failing = self._large = False
        self.damaged: dict[str, str] = {}
        """What cannot be used of what lies in the directory, as the last listing found: why, by key."""
        self.differed = 0
        """How often the map had other pages than those that were told of."""

    async def revision(self) -> int:
        """See Store."""
        return await self._store.revision()

    async def cluster(self) -> int:
        """See Store."""
        return await self._store.cluster()

    def watch(self, prefix: str, from_revision: int, cluster: int = 0) -> AsyncGenerator[Changes, None]:
        """See Store."""
        return self._store.watch(prefix, from_revision, cluster)

    async def list(self, prefix: str) -> Listing:
        """All rules but what tenants own, once the directory has that. See Store."""
        async with self._busy:
            revision = await self._fill()
        entries = []
        for family in OTHERS:
            listing = await self._store.list(family)
            entries += listing.entries
            self.told.listed[family] = listing.revision
        return Listing(entries, min([revision, *self.told.listed.values()]))

    @property
    def whole(self) -> bool:
        """False while a map that was lost with its file is made anew."""
        writer = self._directory.writer
        return writer is None or not writer.lost

    async def _fill(self) -> int:
        """Bring the directory to the store's state; returns the revision from which changes are to follow."""
        self._tried_at = time.monotonic()
        # While the store is away even a damaged map is better than none: it is not made anew then.
        self._cluster = await self._store.cluster()
        try:
            self._directory.open()
            if self._directory.writer is not None:
                return await self._fill_map(self._directory.writer)
            if await self._wait():
                return self._directory.revision
            logger.error("directory_not_shared", waited_s=self._patience())
        except DirectoryError as error:
            logger.error("directory_not_written", error=str(error))
        return await self._fill_overlay()

    async def _wait(self) -> bool:
        """Until the worker that writes the map has done so; False: there is none."""
        began = told = since = time.monotonic()
        while not self._directory.start(max(1, await self._store.revision() - FAR_BEHIND), self._cluster):
            now = time.monotonic()
            if self._directory.is_written():
                since = now
            elif now - since > self._patience():
                return False
            if now - told > TELL_S:
                told = now
                logger.warning("directory_awaited", seconds=round(now - began))
            await asyncio.sleep(WAIT_S)
        self.told.listed |= dict.fromkeys(pages.PREFIXES, self._directory.revision)
        self._finished = True
        return True

    def _patience(self) -> float:
        """Seconds to wait for a writer: if there is a map, though an old one, less is to be held in memory."""
        return ALONE_S if self._has_map() else ALONE_WITHOUT_S

    def _has_map(self) -> bool:
        """True if there is a map; what is in force is not given up for an old one."""
        return bool(self._directory.map_revision) or (not self._directory.revision and self._directory.start())

    async def _fill_map(self, writer: DirectoryWriter, over: Overlay | None = None) -> int:
        """``over``: what is in memory and stays over the map until that is known to have it."""
        began, exact = time.monotonic(), True
        while True:
            try:
                listed, newest, count = await self._write_differences(writer, exact=exact)
                break
            except StartOverError:
                continue
            except CompactedError as error:
                logger.warning("directory_filled_late", reason=str(error))
                await writer.roll_back()
                exact = False
            except BaseException:
                await writer.roll_back()
                raise
        revision = min(listed.values())
        self._settled = newest
        if over is None:
            self.told.listed |= listed
        self._directory.replace(Overlay() if over is None else over, revision)
        self._finished, writer.lost = True, False
        logger.info("directory_filled", revision=revision, pages=count, seconds=round(time.monotonic() - began, 1))
        return revision

    async def _write_differences(self, writer: DirectoryWriter, *, exact: bool) -> tuple[dict[str, int], int, int]:
        """The revisions that the prefixes were compared at, the highest of what was fetched, and how many pages were
        different.

        ``exact``: all pages of a prefix are fetched as they were at one revision, so that the changes after that can be
        obeyed without asking what they are changes of. Raises CompactedError if the store does not keep it for so long.
        """
        # An unfinished map is of no use to anybody, so it may be seen; another one goes on being used meanwhile.
        unfinished, began = not writer.view.state.revision, time.time()
        foreign = writer.view.state.cluster != self._cluster
        loader, count = Loader(self._store), 0
        listed: dict[str, int] = {}
        for prefix in pages.PREFIXES:
            found = await self._store.revisions(prefix)
            listed[prefix] = found.revision
            difference = Difference(found)
            await self._have(difference, partial(writer.view.pages, prefix, limit=SLICE), foreign=foreign)
            # The view is another one when the file has grown.
            at = found.revision if exact else 0
            async for batch in loader.load(difference, lambda after, last: writer.view.keys(after, last), at):
                count += len(batch.pages)
                if batch.pages:
                    await writer.write(batch, commit=unfinished)
                if unfinished:
                    # The space of what has changed since can be used again.
                    writer.pin()
        self.damaged = loader.damaged
        self.told.damaged = set(loader.damaged)
        revision = min(listed.values())
        writer.cluster = self._cluster
        newest = max(loader.newest, *listed.values())
        if count or unfinished or foreign:
            # If some of it is newer than the rest, the map has a revision only when the watch has caught up.
            await writer.write(Batch(), revision if newest == revision else 0, began)
        return listed, newest, count

    async def _fill_overlay(self) -> int:
        """Hold in memory all that an old map has not got, or if there is none, everything."""
        try:
            self._finished = self._has_map() and self._directory.map_cluster == self._cluster
        except DirectoryError as error:
            logger.error("directory_not_read", error=str(error))
            self._finished = False
        try:
            return await self._read_differences(exact=True)
        except CompactedError as error:
            logger.warning("directory_filled_late", reason=str(error))
            return await self._read_differences(exact=False)

    async def _read_differences(self, *, exact: bool) -> int:
        """``exact``: see :meth:`_write_differences`."""
        overlay, loader = Overlay(), Loader(self._store)
        listed: dict[str, int] = {}
        for prefix in pages.PREFIXES:
            found = await self._store.revisions(prefix)
            listed[prefix] = found.revision
            difference = Difference(found)
            if self._finished:
                await self._have(difference, partial(self._directory.mapped_pages, prefix))
            known, at = self._directory.keys if self._finished else _nothing, found.revision if exact else 0
            async for batch in loader.load(difference, known, at):
                overlay.put(batch, found.revision)
        self.damaged = loader.damaged
        self.told.damaged = set(loader.damaged)
        self._settled = max(loader.newest, *listed.values())
        self.told.listed |= listed
        revision = min(listed.values())
        self._directory.replace(overlay, revision, mapped=self._finished)
        return revision

    async def _have(
        self, difference: Difference, next: Callable[[str], Sequence[tuple[str, int]]], *, foreign: bool = False
    ) -> None:
        """Tell a difference of the pages that there are, some after the other; ``foreign``: of another cluster, so that
        equal revisions say nothing."""
        after = ""
        while some := next(after):
            difference.has([(key, -1) for key, _ in some] if foreign else some)
            after = some[-1][0]
            await asyncio.sleep(0)

    async def tend(self, reached: Callable[[], int], known_at: Callable[[], float], forget: Callable[[], None]) -> None:
        """Long-lived coroutine: take up what the map has by now, and write it if that is ours to do.

        ``reached`` tells the revision that the watch has brought us to, 0 if it has not begun; ``known_at`` when it was
        last known to be the newest, seconds since the epoch. ``forget`` is called when what was found may be wrong.
        """
        while True:
            async with self._busy:
                try:
                    await self._tend(reached(), known_at(), forget)
                except (DirectoryError, StoreUnavailableError) as error:
                    if not self._failing:
                        logger.error("directory_not_written", error=str(error), unwritten=self._directory.unwritten)
                    self._failing = True
            if (self._directory.unwritten > LARGE) != self._large:
                self._large = not self._large
                logger.warning("directory_unwritten", large=self._large, unwritten=self._directory.unwritten)
            await asyncio.sleep(TURN_S)

    async def _tend(self, reached: int, known_at: float, forget: Callable[[], None]) -> None:
        if not reached:
            return
        directory = self._directory
        directory.reach(reached)
        # Of changes that came together the first may be in force already.
        reached = directory.revision
        if directory.writer is not None and directory.writer.lost:
            self._finished, self._tried_at = False, -math.inf
        if directory.writes and not self._finished:
            await self._try_again()
            return
        if directory.writes and directory.writer is None:
            # Somebody else wrote it, or the disk was full: an old map is in use meanwhile.
            await self._try_again()
        if directory.writer is None:
            self._failing = False
        elif reached >= self._settled and self._due(reached):
            self._written_at = time.monotonic()
            await directory.writer.write(directory.batch(), reached, known_at)
            self._failing = False
        if not directory.renew():
            self.differed += 1
            forget()

    async def _try_again(self) -> None:
        """To make a map where none could be made, while everything is in memory."""
        if time.monotonic() - self._tried_at < AGAIN_S:
            return
        self._tried_at = time.monotonic()
        self._directory.open()
        if self._directory.writer is not None:
            await self._fill_map(self._directory.writer, over=self._directory.overlay)

    def _due(self, reached: int) -> bool:
        """True if it is time to write the map."""
        since = time.monotonic() - self._written_at
        if since >= KNOWN_S:
            return True
        if self._failing:
            return False
        if not self._directory.map_revision:
            return True
        late = since >= CARRY_S and self._directory.changed
        return reached > self._directory.map_revision and (late or self._directory.unwritten >= CARRY_MOST)

    async def compare(self, reached: Callable[[], int], put: Callable[[Sequence[Change]], None]) -> int:
        """Compare all pages with the store's, and put in force what differs; returns how many pages did.

        Only who writes the map needs to: what others were not told of, they get with the map. Raises
        StoreUnavailableError, DirectoryError.
        """
        repaired = 0
        for prefix in pages.PREFIXES:
            found = await self._store.revisions(prefix)
            while reached() < found.revision:  # noqa: ASYNC110, the watch tells nobody of its progress
                await asyncio.sleep(TURN_S)
            self._directory.reach(reached())
            async with self._busy:
                difference = Difference(found)
                await self._have(difference, partial(self._directory.mapped_pages, prefix))
                repaired += await self._repair(difference, prefix, found.revision, put)
        self.told.repaired += repaired
        return repaired

    async def _repair(
        self, difference: Difference, prefix: str, revision: int, put: Callable[[Sequence[Change]], None]
    ) -> int:
        """Put in force what is different, and has not changed since a revision."""
        page, alive = self._directory.page, set[str]()
        wanted = difference.wanted(lambda key, written: page(key) != written and page(key) <= revision)
        repaired = 0
        for start in range(0, len(wanted), pages.FETCHED):
            some = wanted[start : start + pages.FETCHED]
            fetched = await self._store.get_many([key for _, key in some])
            for (after, key), entry in zip(some, fetched, strict=True):
                # What was written since, or has come since, is for the watch to tell.
                if entry is None or not page(key) < entry.revision <= self._directory.revision:
                    continue
                content = pages.content_of(entry)
                if content is not None:
                    logger.warning("directory_repaired", page=key, known=page(key), revision=entry.revision)
                    put(self.told.repairs(after, key, content, page(key)))
                    self._directory.put_page(key, entry.revision)
                    alive.update(one.key for one in content.entries)
                    repaired += 1
        changed = [key for key in self._directory.changed_pages(prefix) if difference.lacks(key)]
        for key in {*difference.gone, *changed}:
            if 0 < page(key) <= revision:
                logger.warning("directory_repaired", page=key, known=page(key), revision=0)
                # What has the name of a page that is gone may be in the one that took its place.
                if key not in alive:
                    put([Change(key, None, revision)])
                self._directory.put_page(key, 0)
                repaired += 1
        return repaired


def _nothing(after: str, last: str) -> Sequence[str]:
    """What there is in a page without a map."""
    return ()
