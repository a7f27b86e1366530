"""One copy of the rules in memory: fed by etcd, started from a file while etcd is away, written back to that file."""

from __future__ import annotations

import asyncio
import gc
import math
import os
import random
import time
from itertools import groupby
from typing import TYPE_CHECKING

import structlog

from signalbox.errors import StoreUnavailableError
from signalbox.routing import pages
from signalbox.routing.keeper import Keeper
from signalbox.routing.stored import read_rule
from signalbox.slices import Slices
from signalbox.store import keys, snapshot
from signalbox.store.base import Listing
from signalbox.store.codec import DamagedValueError
from signalbox.store.mapfile import DirectoryError
from signalbox.store.mirror import SLICE, Mirror

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from signalbox.routing.book import Book
    from signalbox.routing.directory import LiveDirectory
    from signalbox.routing.stored import Rule
    from signalbox.settings import RoutingSettings
    from signalbox.store.base import Change, Entry, Store

logger = structlog.get_logger(__name__)

COMPARE_S = 600.0
"""How often all pages of what tenants own are compared with those of the store, about."""
SNAPSHOT_AFTER_S = 1.0
"""The file is used if etcd has not given all rules within this time after the start."""


class Replica:
    """Follows the store and says how old its rules are. ``writes_snapshot``: keep the file up to date too."""

    def __init__(
        self, store: Store, book: Book, directory: LiveDirectory, settings: RoutingSettings, *, writes_snapshot: bool
    ) -> None:
        """``book`` keeps what tenants own in ``directory``."""
        self._book = book
        self._directory = directory
        self.keeper = Keeper(store, directory)
        directory.on_replace = self._forget
        self._path: Path = settings.snapshot_file
        self._interval_s = settings.snapshot_interval_s
        self._stale_after_s = settings.stale_after_s
        self._rules = Mirror(self.keeper, keys.RULES, on_reset=self._reset_rules, on_changes=self._change_rules)
        self._live = Mirror(store, keys.LIVE, on_reset=self._reset_live, on_changes=self._change_live)
        self._resetting = asyncio.Lock()
        self._copy = Copy() if writes_snapshot else None
        self._saved = -1
        self._from_file: tuple[int, float] | None = None

    @property
    def rule_revision(self) -> int:
        """etcd revision of the rules in force; 0: none."""
        if self._rules.synced.is_set():
            return self._rules.revision
        return self._from_file[0] if self._from_file else 0

    @property
    def revision(self) -> int:
        """etcd revision up to which rules and live nodes are both known; 0: they are not."""
        if self._rules.synced.is_set() and self._live.synced.is_set():
            return min(self._rules.revision, self._live.revision)
        return self._from_file[0] if self._from_file else 0

    def rule_age_s(self) -> float:
        """Seconds since the rules were last known to be current; infinite before there are any."""
        if self._rules.synced.is_set():
            return self._rules.age_s()
        return max(0.0, time.time() - self._from_file[1]) if self._from_file else math.inf

    @property
    def source(self) -> str:
        """Where the rules in force came from: "etcd", "snapshot" or "none"."""
        return "etcd" if self._rules.synced.is_set() else "snapshot" if self._from_file else "none"

    @property
    def store_available(self) -> bool:
        """True if etcd answered last."""
        return self._rules.available and self._live.available

    @property
    def usable(self) -> bool:
        """True if calls can be routed, by rules however old."""
        return self._book.loaded and self.keeper.whole

    @property
    def ready(self) -> bool:
        """True if calls can be routed by rules that are not stale."""
        return self.usable and self.rule_age_s() <= self._stale_after_s

    def snapshot_age_s(self) -> float:
        """Seconds since the file was last known to be current; infinite if there is none."""
        try:
            return max(0.0, time.time() - self._path.stat().st_mtime)
        except FileNotFoundError:
            return math.inf

    async def follow_rules(self) -> None:
        """Long-lived coroutine."""
        await self._rules.run()

    async def follow_live(self) -> None:
        """Long-lived coroutine."""
        await self._live.run()

    async def keep_directory(self) -> None:
        """Long-lived coroutine: the directory goes on with the memory map; both are closed at its end."""
        try:
            await self.keeper.tend(self._reached, lambda: time.time() - self._rules.age_s(), self._forget)
        finally:
            self._directory.close()

    async def compare_directory(self) -> None:
        """Long-lived coroutine: make sure now and then that nothing was lost."""
        while True:
            await asyncio.sleep(COMPARE_S * random.uniform(0.9, 1.1))
            try:
                repaired = await self.keeper.compare(self._reached, self._book.change_rules)
                logger.info("directory_compared", repaired=repaired)
            except (StoreUnavailableError, DirectoryError) as error:
                logger.warning("directory_not_compared", error=str(error))

    def _reached(self) -> int:
        return self._rules.revision if self._rules.synced.is_set() else 0

    def _forget(self) -> None:
        self._book.rules.forget()

    async def keep_file(self) -> None:
        """Long-lived coroutine: start from the file if etcd is late, then keep it current if that is ours to do."""
        try:
            async with asyncio.timeout(SNAPSHOT_AFTER_S):
                await self._wait_synced()
        except TimeoutError:
            await self._load_file()
        await self._wait_synced()
        while self._copy is not None:
            await self._save_file(self._copy)
            await asyncio.sleep(self._interval_s)
        await asyncio.Event().wait()

    async def _wait_synced(self) -> None:
        await self._rules.synced.wait()
        await self._live.synced.wait()

    async def _load_file(self) -> None:
        listing, known_at = await asyncio.to_thread(_load, self._path)
        if listing is None or not self._start_directory(listing):
            logger.warning("no_rules_yet", snapshot=str(self._path))
            return
        async with self._resetting:
            if not self._rules.synced.is_set():
                self._from_file = (listing.revision, min(known_at, self._directory.map_known_at or known_at))
                await self._replace_rules(_part(listing, keys.RULES))
                logger.warning("rules_from_snapshot", revision=listing.revision, age_s=round(self.rule_age_s()))
        if not self._live.synced.is_set():
            live = _part(listing, keys.LIVE)
            # What proxies saw then proves no target of trunks dead now.
            live.entries[:] = [entry for entry in live.entries if not entry.key.startswith(keys.LIVE_TARGETS)]
            self._book.reset_live(live)

    def _start_directory(self, listing: Listing) -> bool:
        """True if what tenants own is there, too: in the memory map. That of an older release's snapshot is older."""
        try:
            if self._directory.start():
                listing.entries[:] = [entry for entry in listing.entries if not pages.holds(entry.key)]
                return True
        except DirectoryError as error:
            logger.error("directory_unreadable", error=str(error))
        # Without a map it is all there is, if it is whole.
        return any(entry.key.startswith(keys.NUMBERS) for entry in listing.entries)

    async def _save_file(self, copy: Copy) -> None:
        known_at, changes = time.time() - self.rule_age_s(), copy.changes
        entries = copy.entries() if changes != self._saved else None
        try:
            await asyncio.to_thread(_save, self._path, entries, self.revision, known_at)
            self._saved = changes
        except OSError as error:
            logger.error("snapshot_not_written", file=str(self._path), error=str(error))
            self._saved = -1

    async def _reset_rules(self, listing: Listing) -> None:
        # One at a time: what the file has must not replace what etcd told meanwhile.
        async with self._resetting:
            await self._replace_rules(listing, self.keeper.damaged)
        if self._copy is not None:
            await self._copy.reset(keys.RULES, listing)

    async def _replace_rules(self, listing: Listing, damaged: Mapping[str, str] | None = None) -> None:
        # The collector would go through all rules again and again, and find nothing.
        gc.disable()
        try:
            await self._book.reset_rules(listing, damaged)
        finally:
            gc.freeze()
            gc.enable()

    async def _change_rules(self, changes: Sequence[Change], revision: int) -> None:
        for of_revision, some in groupby(changes, key=lambda change: change.revision):
            await self._obey(list(some), of_revision)

    async def _obey(self, changes: Sequence[Change], revision: int) -> None:
        """All changes of one revision, in force at once: what takes long is done before, while calls are decided."""
        slices = Slices()
        contents = await self.keeper.told.read(changes, slices)
        read: dict[str, Rule] = {}
        for entry in self.keeper.told.news(contents):
            try:
                read[entry.key] = read_rule(entry)
            except DamagedValueError:
                # It is read again, and told then.
                if pages.stands_alone(entry.key):
                    contents[entry.key] = None
            await slices.rest()
        changes = self.keeper.told.changes(changes, revision, contents)
        self._book.change_rules(changes, read)
        if self._copy is not None:
            self._copy.change(keys.RULES, [change for change in changes if not pages.holds(change.key)])
        await slices.rest()

    async def _reset_live(self, listing: Listing) -> None:
        self._book.reset_live(listing)
        if self._copy is not None:
            await self._copy.reset(keys.LIVE, listing)

    async def _change_live(self, changes: Sequence[Change], revision: int) -> None:
        self._book.change_live(changes)
        if self._copy is not None:
            self._copy.change(keys.LIVE, changes)


class Copy:
    """The entries as they are stored, by prefix, for the file. ``changes`` grows with every change."""

    def __init__(self) -> None:
        self._parts: dict[str, dict[str, Entry]] = {}
        self.changes = 0

    def entries(self) -> list[Entry]:
        """All there are."""
        return [entry for part in self._parts.values() for entry in part.values()]

    async def reset(self, prefix: str, listing: Listing) -> None:
        """Replace all below a prefix."""
        part: dict[str, Entry] = {}
        for position, entry in enumerate(listing.entries, 1):
            part[entry.key] = entry
            if position % SLICE == 0:
                await asyncio.sleep(0)
        before, self._parts[prefix] = self._parts.get(prefix, {}), part
        self.changes += 1
        while before:
            for _ in range(min(SLICE, len(before))):
                before.popitem()
            await asyncio.sleep(0)

    def change(self, prefix: str, changes: Sequence[Change]) -> None:
        """Put and delete some below a prefix."""
        part = self._parts.setdefault(prefix, {})
        for change in changes:
            if change.entry is None:
                part.pop(change.key, None)
            else:
                part[change.key] = change.entry
        self.changes += len(changes)


def _part(listing: Listing, prefix: str) -> Listing:
    return Listing([entry for entry in listing.entries if entry.key.startswith(prefix)], listing.revision)


def _load(path: Path) -> tuple[Listing | None, float]:
    """The file's content, and when it was last known to be current (seconds since the epoch)."""
    try:
        return snapshot.load(path), path.stat().st_mtime
    except FileNotFoundError:
        # None was there, or another worker has set a damaged one aside.
        return None, 0.0


def _save(path: Path, entries: list[Entry] | None, revision: int, known_at: float) -> None:
    """Write the file anew if there are entries; in any case its time says when it was last known to be current."""
    if entries is not None:
        snapshot.save(path, sorted(entries, key=lambda entry: entry.key), revision)
    os.utime(path, (known_at, known_at))
