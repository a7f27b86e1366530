"""A commit of entries as one of their pages: what is compared, what is written, and how far there is room for order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.store.base import MAX_COMMIT_BYTES, MAX_OPERATIONS, CommitTooLargeError, Compare, Delete, Put
from signalbox.store.page import MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from signalbox.store.page import Page


class Rewrite:
    """Pages as they will be. Methods are called in the order in which they stand here."""

    def __init__(self, pages: Mapping[str, Page]) -> None:
        """``pages``: the page of each key that lies in one."""
        self._page_of = pages
        self._pages = {page.key: page for page in pages.values()}
        self._compares: dict[str, Compare] = {}
        self._others: list[Put | Delete] = []
        self._changed: dict[str, Page] = {}
        self._gone: list[Page] = []
        self._removed: dict[str, Page] = {}

    def compare(self, compare: Compare) -> None:
        """Rely on an entry: on its page, if it lies in one."""
        page = self._page_of.get(compare.key)
        if page:
            self._rely(page)
        else:
            self._compares[compare.key] = compare

    def write(self, writes: Sequence[Put | Delete]) -> None:
        """Write entries, in pages or not."""
        of_page: dict[str, list[Put | Delete]] = {}
        for write in writes:
            page = self._page_of.get(write.key)
            if page:
                of_page.setdefault(page.key, []).append(write)
            else:
                self._others.append(write)
        for key, some in of_page.items():
            page = self._pages[key]
            self._rely(page)
            if page.write(some):
                self._changed[key] = page

    def gone(self) -> Sequence[Page]:
        """The pages that became empty and should be removed, as far as there is room for that."""
        room = max(0, MAX_OPERATIONS - max(self._operations, len(self._compares)))
        self._gone = sorted((page for page in self._changed.values() if page.goes), key=lambda page: page.key)[:room]
        return self._gone

    def remove(self, nexts: Sequence[Page | None]) -> None:
        """Remove these pages. ``nexts``: the next page of each, if that is as it should be."""
        # From the end, so that the next page of each is known to stay.
        for page, read in reversed(list(zip(self._gone, nexts, strict=True))):
            # One with a large entry is not rewritten for the sake of order.
            if read is None or read.size > MAX_BYTES:
                continue
            heir = self._removed.get(read.key) or self._pages.setdefault(read.key, read)
            self._rely(heir)
            heir.inherit(page)
            self._changed[heir.key] = heir
            del self._changed[page.key]
            self._removed[page.key] = heir

    def commit(self) -> tuple[Sequence[Compare], Sequence[Put | Delete]]:
        """What is to be committed. Raises CommitTooLargeError."""
        pages = list(self._changed.values())
        room = max(0, MAX_OPERATIONS - self._operations)
        for page in sorted((page for page in pages if page.full), key=lambda page: page.size, reverse=True):
            parts = page.split(room)
            pages += parts
            room -= len(parts)
        if len(self._compares) > MAX_OPERATIONS:
            raise CommitTooLargeError(f"a commit that touches {len(self._compares)} pages, at most {MAX_OPERATIONS}")
        writes = [*self._others, *(Put(page.key, page.encode()) for page in pages), *map(Delete, self._removed)]
        size = sum(len(write.value) for write in writes if isinstance(write, Put))
        if size > MAX_COMMIT_BYTES:
            reason = f"a commit of {size} bytes in {len(pages)} pages, at most {MAX_COMMIT_BYTES}"
            raise CommitTooLargeError(reason)
        return list(self._compares.values()), writes

    @property
    def _operations(self) -> int:
        return len(self._others) + len(self._changed) + len(self._removed)

    def _rely(self, page: Page) -> None:
        self._compares[page.key] = Compare(page.key, page.revision)
