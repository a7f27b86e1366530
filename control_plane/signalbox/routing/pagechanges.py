"""What changes of pages come to: changes of single objects, without those that are known already.

A page tells which revision wrote it before. If that is not the one that is known, a change was lost, and what the page
has is compared with what is known of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from signalbox.routing import pages
from signalbox.routing.pages import Content
from signalbox.store import keys
from signalbox.store.base import Change

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from signalbox.routing.directory import LiveDirectory
    from signalbox.slices import Slices
    from signalbox.store.base import Entry

logger = structlog.get_logger(__name__)


class PageChanges:
    """Of the pages that a directory has, and of the rules that lie in none."""

    def __init__(self, directory: LiveDirectory) -> None:
        self._directory = directory
        self.listed: dict[str, int] = {}
        """The revisions that what lies below some prefixes was listed at: what changed until then is known."""
        self.damaged: set[str] = set()
        """Pages that cannot be read, of which what was known before stays in force."""
        self.repaired = 0
        """Pages that were not as the store has them though nothing had been told of them."""

    async def read(self, changes: Iterable[Change], slices: Slices) -> dict[str, Content | None]:
        """What the pages of one revision's changes have, by their keys: the part of :meth:`changes` that takes long.

        Of those that are objects by themselves it is not known yet whether they can be used.
        """
        contents: dict[str, Content | None] = {}
        for change in changes:
            if change.entry is not None and pages.holds(change.key):
                alone = pages.stands_alone(change.key)
                contents[change.key] = Content([change.entry]) if alone else pages.content_of(change.entry)
                await slices.rest()
        return contents

    def news(self, contents: Mapping[str, Content | None]) -> Iterable[Entry]:
        """The entries that are new, if nothing was missed."""
        for key, content in contents.items():
            if content is not None:
                known = self._directory.page(key)
                yield from (entry for entry in content.entries if entry.revision > known)

    def changes(
        self, changes: Iterable[Change], revision: int, contents: Mapping[str, Content | None]
    ) -> Sequence[Change]:
        """The changes of single objects that all changes of one revision come to, without those that are known already.

        ``contents``: what :meth:`read` has read of them.
        """
        self._directory.reach(revision)
        missed = {pages.prefix_of(key) for key, content in contents.items() if self._missed(key, content)}
        found: list[Change] = []
        for change in changes:
            if change.revision <= self.listed.get(change.key[: change.key.find("/", len(keys.RULES)) + 1], 0):
                continue
            if not pages.holds(change.key):
                found.append(change)
            elif change.revision > self._directory.page(change.key):
                found += self._page_changes(change, contents, missed)
        return found

    def _missed(self, key: str, content: Content | None) -> bool:
        """True if a page was written since it is known, and nobody told."""
        return content is not None and bool(content.previous) and content.previous != self._directory.page(key)

    def _page_changes(
        self, change: Change, contents: Mapping[str, Content | None], missed: Collection[str]
    ) -> Sequence[Change]:
        """``missed``: prefixes of pages of which something was not told."""
        key, known = change.key, self._directory.page(change.key)
        if change.entry is None and pages.stands_alone(key):
            self._directory.put_page(key, 0)
            return [change]
        if change.entry is None:
            # A page goes when it is empty: then there is nothing in it, and nothing of its name either.
            there = pages.present(self._directory.keys, self._directory.page_before(key), key)
            self._directory.put_page(key, 0)
            return [Change(one, None, change.revision) for one in sorted({key, *there})]
        content = contents[key]
        if content is None:
            # What was known before stays in force, and the revision too: so it is seen when it is mended.
            self.damaged.add(key)
            return [change]
        # A new page was given what the page after it had, of which everything is known but this very change.
        new = not known and content.previous is not None
        found = content.changes(change.revision - 1 if new else known)
        if self._missed(key, content):
            logger.warning("directory_repaired", page=key, known=known, revision=change.revision)
            self.repaired += 1
            found = self.repairs(self._directory.page_before(key), key, content, 0)
        elif new and pages.prefix_of(key) in missed:
            found = self.repairs(self._directory.page_before(key), key, content, 0)
        if key in self.damaged:
            self.damaged.remove(key)
            own = next((entry for entry in content.entries if entry.key == key), None)
            found = [Change(key, own, change.revision), *found]
        self._directory.put_page(key, change.revision)
        return found

    def repairs(self, after: str, key: str, content: Content, known: int) -> Sequence[Change]:
        """The changes that bring a page that begins after a key, and is known as of a revision, to what it is."""
        there = pages.present(self._directory.keys, after, key)
        gone = there.difference(one.key for one in content.entries)
        changes = [Change(one, None, self._directory.revision) for one in sorted(gone)]
        return changes + [Change(one.key, one, one.revision) for one in content.entries if one.revision > known]
