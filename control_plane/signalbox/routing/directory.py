"""What tenants own and is in force: what changed lately before what the memory map has.

What changes goes into a dictionary first, the overlay, and is in force at once. One worker writes it into the map some
seconds later, with the revision that the map has then; each worker drops from its overlay what the map has when it
takes up that revision. The map at its revision and the overlay over it always are the state at the revision that was
reached by the watch, in every worker by itself.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from signalbox.domain.flow import Flow
from signalbox.domain.screening import EMPTY, ScreeningList
from signalbox.routing.overlay import FLOWS_KEPT, KEPT, OWNED_KEPT, UNKNOWN, Kept, Overlay
from signalbox.routing.pages import prefix_of
from signalbox.routing.stored import KEYS, read_known
from signalbox.store import keys
from signalbox.store.codec import DamagedValueError
from signalbox.store.directory import DirectoryReader, DirectoryWriter
from signalbox.store.mapfile import DirectoryError, digest_after
from signalbox.store.mapplace import condemn, is_written

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from signalbox.domain.directory import Owned
    from signalbox.domain.objects import Line, Number
    from signalbox.domain.screening import Page
    from signalbox.store.directory import Batch
    from signalbox.store.mapfile import View

logger = structlog.get_logger(__name__)

ItemT = TypeVar("ItemT")

SLICE = 1_000
"""Pages read from the map at once, about 2 ms."""


class LiveDirectory:
    """See domain.directory.Directory. ``write``: this worker writes the map.

    Whoever changes it says first which revision the changes bring it to (:meth:`reach`), and tells of the pages that
    they came in too.
    """

    def __init__(self, path: Path, *, write: bool) -> None:
        self._path = path
        self.writes = write
        self._file: DirectoryReader | DirectoryWriter = DirectoryReader(path)
        self._mapped = False
        self.overlay = Overlay()
        """What the map has not got yet, or not of the revision that is in use."""
        self._numbers: Kept[str, Number] = Kept(KEPT)
        self._lines: Kept[tuple[str, str], Line] = Kept(KEPT)
        self._flows: Kept[tuple[type[Owned], str, str], Any] = Kept(FLOWS_KEPT)
        self._owned: Kept[tuple[type[Owned], str, str], Any] = Kept(OWNED_KEPT)
        self._lists: Kept[tuple[str, str], ScreeningList | None] = Kept(OWNED_KEPT, once=True)
        self._told_damaged = False
        self.on_replace: Callable[[], None] = lambda: None
        """Called when all that is known has been replaced: whatever rests on it must be forgotten."""
        self.revision = 0
        """The revision that all changes up to now bring the directory to."""
        self.digest = 0
        """Of the pages at that revision: equal in all replicas that have the same."""
        self.numbers = 0
        """How many numbers there are."""

    @property
    def _view(self) -> View | None:
        """The map as it is in use. Whoever has the file open may take up another one: it is asked for each time."""
        return self._file.view if self._mapped else None

    @property
    def map_revision(self) -> int:
        """The revision of the map that is in use; 0: none is, or one that is just being made."""
        return self._view.state.revision if self._view is not None else 0

    @property
    def map_cluster(self) -> int:
        """Whose revisions the map has that is in use; 0: none is."""
        return self._view.state.cluster if self._view is not None else 0

    @property
    def map_known_at(self) -> float:
        """When what the map has was last known to be the newest, seconds since the epoch; 0: no map is in use."""
        return self._view.state.known_at if self._view is not None else 0.0

    @property
    def changed(self) -> bool:
        """True if the map has not got everything."""
        return bool(len(self.overlay) or self.overlay.pages.held)

    @property
    def unwritten(self) -> int:
        """How many objects are in memory because the map has not got them yet."""
        return len(self.overlay)

    def number(self, digits: str) -> Number | None:
        """See Directory."""
        held = self.overlay.numbers.held.get(digits)
        if held is not None:
            return held.item
        found = self._numbers.get(digits, None)
        if found is None:
            found = self._mapped_as(lambda view: view.number(digits), None)
            if found is not None:
                self._numbers.put(digits, found)
        return found

    def line(self, tenant: str, id: str) -> Line | None:
        """See Directory."""
        key = (tenant, id)
        held = self.overlay.lines.held.get(key)
        if held is not None:
            return held.item
        found = self._lines.get(key, None)
        if found is None:
            found = self._mapped_as(lambda view: view.line(tenant, id), None)
            if found is not None:
                self._lines.put(key, found)
        return found

    def _mapped_as(self, read: Callable[[View], ItemT], otherwise: ItemT) -> ItemT:
        """What the map has of something; ``otherwise`` if none is in use, or it cannot be read."""
        view = self._view
        if view is None:
            return otherwise
        try:
            return read(view)
        except DirectoryError as error:
            self._tell_damaged(error)
            return otherwise

    def owned(self, kind: type[Owned], tenant: str, id: str) -> Any:
        """See Directory."""
        key = (kind, tenant, id)
        kept = self._flows if kind is Flow else self._owned
        found = kept.get(key, UNKNOWN)
        if found is UNKNOWN:
            try:
                found = self._read(kind, KEYS[kind](tenant, id))
            except DirectoryError as error:
                self._tell_damaged(error)
                return None
            # That there is none is worth keeping too: the operator's are asked for after the tenant's own.
            kept.put(key, found)
        return found

    def _read(self, kind: type[Owned], key: str) -> Any:
        stored = self._stored(key)
        try:
            return None if stored is None else read_known(kind, key, stored)
        except DamagedValueError as error:
            raise DirectoryError(f"it was a good one when it came: {error}") from error

    def _stored(self, key: str) -> bytes | None:
        """An object as the store has it. Raises DirectoryError."""
        held = self.overlay.objects.held.get(key)
        if held is not None:
            return held.item
        return self._view.object(key) if self._view is not None else None

    def screening_list(self, tenant: str, id: str) -> ScreeningList | None:
        """See Directory."""
        found = self._lists.get((tenant, id), UNKNOWN)
        if found is UNKNOWN:
            try:
                there = self._stored(keys.screening_list(tenant, id)) is not None
            except DirectoryError as error:
                self._tell_damaged(error)
                return None
            page = partial(self._screening_page, keys.screening_pages_of(tenant, id))
            found = ScreeningList(tenant, id, page) if there else None
            self._lists.put((tenant, id), found)
        return found

    def _screening_page(self, prefix: str, number: int) -> Page:
        key = f"{prefix}{number:03d}"
        held = self.overlay.lists.held.get(key)
        if held is not None:
            return held.item or EMPTY
        return self._mapped_as(lambda view: view.screening_page(key), None) or EMPTY

    def put_number(self, number: Number) -> None:
        """See Directory."""
        self.numbers += self.number(number.number) is None
        self.overlay.numbers.put(number.number, number, self.revision)
        self._numbers.drop(number.number)

    def put_line(self, line: Line) -> None:
        """See Directory."""
        key = (line.tenant, line.id)
        self.overlay.lines.put(key, line, self.revision)
        self._lines.drop(key)

    def put_owned(self, item: Owned, stored: bytes) -> None:
        """See Directory."""
        self.overlay.objects.put(KEYS[type(item)](item.tenant, item.id), stored, self.revision)
        self._dropped(type(item), item.tenant, item.id)

    def _dropped(self, kind: type[Owned], tenant: str, id: str) -> None:
        (self._flows if kind is Flow else self._owned).drop((kind, tenant, id))

    def put_screening_list(self, tenant: str, id: str) -> None:
        """See Directory."""
        self.overlay.objects.put(keys.screening_list(tenant, id), b"", self.revision)
        self._lists.drop((tenant, id))

    def put_screening_page(self, tenant: str, list: str, number: int, page: Page) -> None:
        """See Directory."""
        self.overlay.lists.put(keys.screening_page(tenant, list, number), page, self.revision)
        self._lists.drop((tenant, list))

    def delete_number(self, digits: str) -> None:
        """See Directory."""
        self.numbers -= self.number(digits) is not None
        self.overlay.numbers.put(digits, None, self.revision)
        self._numbers.drop(digits)

    def delete_line(self, tenant: str, id: str) -> None:
        """See Directory."""
        self.overlay.lines.put((tenant, id), None, self.revision)
        self._lines.drop((tenant, id))

    def delete_owned(self, kind: type[Owned], tenant: str, id: str) -> None:
        """See Directory."""
        self.overlay.objects.put(KEYS[kind](tenant, id), None, self.revision)
        self._dropped(kind, tenant, id)

    def delete_screening_list(self, tenant: str, id: str) -> None:
        """See Directory."""
        self.overlay.objects.put(keys.screening_list(tenant, id), None, self.revision)
        self._lists.drop((tenant, id))

    def delete_screening_page(self, tenant: str, list: str, number: int) -> None:
        """See Directory."""
        self.overlay.lists.put(keys.screening_page(tenant, list, number), None, self.revision)
        self._lists.drop((tenant, list))

    def shrink(self) -> bool:
        """See Directory: rules come and go, and this stays."""
        return False

    def reach(self, revision: int) -> None:
        """The changes that follow bring the directory to a revision."""
        self.revision = max(self.revision, revision)

    def page(self, key: str) -> int:
        """The revision of a page that is in force; 0: there is none."""
        held = self.overlay.pages.held.get(key)
        return self._mapped_page(key) if held is None else held.item or 0

    def put_page(self, key: str, revision: int) -> None:
        """A page is in force as a revision wrote it; 0: it is gone."""
        self.digest = digest_after(self.digest, key, self.page(key), revision)
        self.overlay.pages.put(key, revision or None, self.revision)

    def _mapped_page(self, key: str) -> int:
        return self._mapped_as(lambda view: view.page(key), 0)

    def mapped_pages(self, prefix: str, after: str) -> list[tuple[str, int]]:
        """The next pages of the map below a prefix that come after a key, with their revisions there, in order; none:
        that was all. Raises DirectoryError."""
        return self._view.pages(prefix, after, SLICE) if self._view is not None else []

    def changed_pages(self, prefix: str) -> list[str]:
        """Keys of the pages below a prefix that the map has not got as they are."""
        return [key for key in self.overlay.pages.held if key.startswith(prefix)]

    def page_before(self, key: str) -> str:
        """The last page before a page of the same prefix, or the prefix itself."""
        prefix = prefix_of(key)
        held = self.overlay.pages.held
        before = self._mapped_before(key)
        while before in held and held[before].item is None:
            before = self._mapped_before(before)
        return max(
            [prefix, before, *(page for page, there in self.overlay.pages.below(prefix) if there and page < key)]
        )

    def _mapped_before(self, key: str) -> str:
        return self._mapped_as(lambda view: view.page_before(key), "")

    def keys(self, after: str, last: str) -> set[str]:
        """Keys of the numbers and lines in force that lie in a page: after one key and up to another, both of one
        prefix. Raises ValueError for bounds that are no keys."""
        found: set[str] = self._mapped_as(lambda view: set(view.keys(after, last)), set())
        prefix = prefix_of(last)
        changed = [(keys.number(digits), item is not None) for digits, item in self.overlay.numbers.below(prefix)]
        changed += [(keys.line(*key), item is not None) for key, item in self.overlay.lines.below(prefix)]
        for key, there in changed:
            if after < key <= last:
                (found.add if there else found.discard)(key)
        return found

    def open(self) -> None:
        """Open the map to write it, if that is ours to do and was not done yet. Raises DirectoryError.

        What of it is in use stays in use, also if it cannot be opened: calls may be decided by it.
        """
        if not self.writes or isinstance(self._file, DirectoryWriter):
            return
        state = self._view.state if self._view is not None else None
        # A process may have a file of LMDB open but once.
        self._file.close()
        try:
            self._file = DirectoryWriter(self._path)
        except DirectoryError:
            self._file.pin()
            raise
        finally:
            view = self._file.view
            self._mapped = state is not None and view is not None and view.state.revision >= state.revision

    @property
    def writer(self) -> DirectoryWriter | None:
        """Who writes the map, if that is this worker."""
        return self._file if isinstance(self._file, DirectoryWriter) else None

    def is_written(self) -> bool:
        """True if there is a process that writes the map."""
        return is_written(self._path)

    def start(self, least: int = 1, cluster: int = 0) -> bool:
        """Take up the map and drop all else; False: there is none, or not of a revision from ``least`` on, or not of a
        given cluster, and nothing has changed. Raises DirectoryError."""
        if self.writer is None:
            self._file.pin(least, cluster=cluster)
        view = self._file.view
        if view is None or view.state.revision < least or cluster not in (0, view.state.cluster):
            return False
        self.replace(Overlay(), view.state.revision)
        return True

    def replace(self, overlay: Overlay, revision: int, *, mapped: bool = True) -> None:
        """Take up an overlay instead of all that was, over the map as it is now, or over nothing if it is not
        ``mapped``. The changes that follow are those after a revision. Raises DirectoryError."""
        if mapped:
            self._file.pin()
        self._mapped = mapped
        self.overlay = overlay
        overlay.prune(self.map_revision)
        self.revision = revision
        self.digest = self._digest()
        self.numbers = self._view.numbers if self._view is not None else 0
        for digits, held in overlay.numbers.held.items():
            there = self._view is not None and self._view.number(digits) is not None
            self.numbers += (held.item is not None) - there
        for kept in (self._numbers, self._lines, self._flows, self._owned, self._lists):
            kept.clear()
        self.on_replace()

    def renew(self) -> bool:
        """Take up what the map has by now, and drop it from the overlay. Raises DirectoryError.

        False: the map had other pages than those that the watch has told of. Whatever rests on what was found before
        must be forgotten then.
        """
        if not self._file.pin(most=self.revision):
            return True
        if self._view is None and not (self._file.view and self._file.view.state.revision):
            # It is just being made.
            return True
        self._mapped = True
        self.overlay.prune(self.map_revision)
        digest = self._digest()
        if digest == self.digest:
            return True
        logger.warning("directory_differed", map_revision=self.map_revision, revision=self.revision)
        self.replace(self.overlay, self.revision)
        return False

    def _digest(self) -> int:
        """Of the pages of the map with those of the overlay over them."""
        digest = self._view.state.digest if self._view is not None else 0
        for key, held in self.overlay.pages.held.items():
            digest = digest_after(digest, key, self._mapped_page(key), held.item or 0)
        return digest

    def batch(self) -> Batch:
        """All that the map has not got yet."""
        return self.overlay.batch()

    def _tell_damaged(self, error: DirectoryError) -> None:
        """Once: it would be told for every call."""
        if not self._told_damaged:
            self._told_damaged = True
            condemn(self._path, error)

    def close(self) -> None:
        """Let go of the map."""
        self._mapped = False
        self._file.close()
