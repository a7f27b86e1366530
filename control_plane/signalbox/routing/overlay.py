"""What changed of what tenants own since the memory map was written, and what was found in the map lately."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from enum import Enum
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from signalbox.domain.memo import Seen
from signalbox.routing.pages import prefix_of
from signalbox.store import keys
from signalbox.store.directory import Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from signalbox.domain.objects import Line, Number
    from signalbox.domain.screening import Page

KEPT = 20_000
"""Numbers, and lines, that are called often and kept as objects: about 1 KiB each."""
FLOWS_KEPT = 5_000
"""Flows that calls are led by often: some 6 KiB each."""
OWNED_KEPT = 10_000
"""Schedules and the like, likewise: some KiB each, and to work out a day of a schedule takes 0.1 ms."""

KeyT = TypeVar("KeyT", bound="Hashable")
ItemT = TypeVar("ItemT")
OtherT = TypeVar("OtherT")


class Unknown(Enum):
    """It is not known whether there is one."""

    UNKNOWN = 0


UNKNOWN = Unknown.UNKNOWN


class Held(NamedTuple, Generic[ItemT]):
    """Something in the overlay; ``item`` None: it is gone."""

    revision: int
    item: ItemT | None


class Layer(Generic[KeyT, ItemT]):
    """What changed of one kind."""

    def __init__(self, prefix: Callable[[KeyT], str]) -> None:
        """``prefix``: of the key in the store."""
        self.held: dict[KeyT, Held[ItemT]] = {}
        self._prefix: Callable[[KeyT], str] = prefix
        self._below: defaultdict[str, set[KeyT]] = defaultdict(set)
        self._order: deque[tuple[int, KeyT]] = deque()

    def put(self, key: KeyT, item: ItemT | None, revision: int) -> None:
        """Something changed; None: it is gone."""
        self.held[key] = Held(revision, item)
        self._below[self._prefix(key)].add(key)
        self._order.append((revision, key))

    def below(self, prefix: str) -> Iterator[tuple[KeyT, ItemT | None]]:
        """What changed of one prefix of the store; None: it is gone."""
        return ((key, self.held[key].item) for key in self._below.get(prefix, ()))

    def prune(self, revision: int) -> None:
        """Drop what the map has."""
        while self._order and self._order[0][0] <= revision:
            _, key = self._order.popleft()
            held = self.held.get(key)
            if held is not None and held.revision <= revision:
                del self.held[key]
                prefix = self._prefix(key)
                self._below[prefix].remove(key)
                if not self._below[prefix]:
                    del self._below[prefix]


class Overlay:
    """What changed since the map was written; with no map all there is."""

    def __init__(self) -> None:
        self.numbers: Layer[str, Number] = Layer(lambda digits: prefix_of(keys.number(digits)))
        self.lines: Layer[tuple[str, str], Line] = Layer(lambda key: keys.lines_of(key[0]))
        self.pages: Layer[str, int] = Layer(prefix_of)
        """Revisions that wrote them; None: they are gone."""
        self.objects: Layer[str, bytes] = Layer(prefix_of)
        """As the store has them, by their keys."""
        self.lists: Layer[str, Page] = Layer(prefix_of)
        """Pages of screening lists, by their keys."""

    def put(self, batch: Batch, revision: int) -> None:
        """A batch of changes."""
        for digits, number in batch.numbers.items():
            self.numbers.put(digits, number, revision)
        for key, line in batch.lines.items():
            self.lines.put(key, line, revision)
        for page, written in batch.pages.items():
            self.pages.put(page, written or None, revision)
        for object, stored in batch.objects.items():
            self.objects.put(object, stored, revision)
        for part, entries in batch.lists.items():
            self.lists.put(part, entries, revision)

    def prune(self, revision: int) -> None:
        """Drop what the map has at a revision."""
        for layer in (self.numbers, self.lines, self.pages, self.objects, self.lists):
            layer.prune(revision)

    def batch(self) -> Batch:
        """All of it, for the map."""
        return Batch(
            {key: held.item for key, held in self.numbers.held.items()},
            {key: held.item for key, held in self.lines.held.items()},
            {key: held.item or 0 for key, held in self.pages.held.items()},
            {key: held.item for key, held in self.objects.held.items()},
            {key: held.item for key, held in self.lists.held.items()},
        )

    def __len__(self) -> int:
        return sum(len(layer.held) for layer in (self.numbers, self.lines, self.objects, self.lists))


class Kept(Generic[KeyT, ItemT]):
    """What was found in the map lately."""

    def __init__(self, most: int, *, once: bool = False) -> None:
        """``once``: it is kept when it is found for the first time; else the second, but for the very last."""
        self._items: OrderedDict[KeyT, ItemT] = OrderedDict()
        self._last: tuple[KeyT, ItemT] | None = None
        self._seen = None if once else Seen()
        self.most = most

    def get(self, key: KeyT, unknown: OtherT) -> ItemT | OtherT:
        """Something that was found lately; else ``unknown``."""
        found = self._items.get(key, unknown)
        if found is not unknown:
            self._items.move_to_end(key)
        elif self._last is not None and self._last[0] == key:
            return self._last[1]
        return found

    def put(self, key: KeyT, item: ItemT) -> None:
        """Something was found; what was not asked for longest makes room."""
        self._last = key, item
        if self._seen is None or self._seen.again(key):
            self._items[key] = item
            if len(self._items) > self.most:
                self._items.popitem(last=False)

    def drop(self, key: KeyT) -> None:
        """Something changed."""
        self._last = None
        self._items.pop(key, None)

    def clear(self) -> None:
        """Everything may have changed."""
        self._last = None
        self._items.clear()
