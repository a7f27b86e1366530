"""Who may call: screening lists in memory, and the judgement of a caller by them.

An entry is text: "n" and a number, "p" and the beginning of numbers, "a" and an area code, "r" and a province, or "x"
for callers without a number. A list keeps its entries in pages, as they are stored: :data:`PAGES` pages of which each
entry has its own, and two pages of changes over them, :data:`ADDED` and :data:`REMOVED`. What is in the list is what is
added, and what is in the pages and not removed.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from signalbox.domain.numbering import Caller
    from signalbox.domain.regions import Region

PAGES = 97
"""Pages of a list, from 0 on: a prime number, so that no pattern of digits fills one of them."""
ADDED = PAGES
"""The page of entries that the list has, whatever the others say."""
REMOVED = PAGES + 1
"""The page of entries that the list has not, unless they are added."""

MAX_DIGITS_PACKED = 18
"""Longest number or prefix that is kept as an integer; longer than any number of ITU-T E.164 with its 00."""
ANONYMOUS = "x"

_PREFIX = 1 << 62
"""Added to a prefix: prefixes come after all numbers, and the shorter before the longer."""
_UNPACK = _PREFIX - 1
_POWERS = tuple(10**n for n in range(MAX_DIGITS_PACKED + 1))

# Verdict.reason. Operators search for them: they never change.
CALLER_ANONYMOUS = "caller_anonymous"
CALLER_BLACKLISTED = "caller_blacklisted"
CALLER_WHITELISTED = "caller_whitelisted"
CALLER_NOT_WHITELISTED = "caller_not_whitelisted"
CALLER_UNLISTED = "caller_unlisted"


def page_of(entry: str) -> int:
    """The page, below :data:`PAGES`, that an entry belongs to."""
    return (_pack(entry) or crc32(entry.encode())) % PAGES


def _pack(entry: str) -> int:
    """A number or prefix as an integer that keeps its leading zeros; 0 for any other entry."""
    kind = entry[0]
    if len(entry) > MAX_DIGITS_PACKED + 1:
        return 0
    if kind == "n":
        return int("1" + entry[1:])
    if kind == "p":
        return int("1" + entry[1:]) + _PREFIX
    return 0


def _has(codes: array[int], code: int) -> bool:
    at = bisect_left(codes, code)
    return at < len(codes) and codes[at] == code


def _prefix_lengths(codes: array[int]) -> Iterator[int]:
    """Digits of the prefixes: those of n digits are between 10^n and 2 * 10^n above _PREFIX."""
    at = bisect_left(codes, _PREFIX)
    while at < len(codes):
        length = len(str(codes[at] & _UNPACK)) - 1
        yield length
        at = bisect_left(codes, _PREFIX + 10 ** (length + 1), at)


class Page:
    """A part of a list's entries, never changed: packed into 8 bytes each, but for those that are few."""

    __slots__ = ("codes", "prefix_lengths", "texts")

    def __init__(self, codes: array[int], texts: frozenset[str] = frozenset()) -> None:
        """``codes``: type "Q", ascending, see types.v1.ScreeningPage; ``texts``: all entries that have none."""
        self.codes = codes
        self.texts = texts
        self.prefix_lengths = frozenset([*_prefix_lengths(codes), *(len(text) - 1 for text in texts if text[0] == "p")])
        """Digits of the prefixes in the page."""

    @classmethod
    def of(cls, entries: Iterable[str]) -> Page:
        """A page of these entries, each once."""
        codes, texts = set(), set()
        for entry in entries:
            code = _pack(entry)
            if code:
                codes.add(code)
            else:
                texts.add(entry)
        return cls(array("Q", sorted(codes)), frozenset(texts))

    def __len__(self) -> int:
        return len(self.codes) + len(self.texts)

    def __contains__(self, entry: str) -> bool:
        code = _pack(entry)
        return _has(self.codes, code) if code else entry in self.texts

    def entries(self) -> Iterator[str]:
        """All entries, as text, in no particular order."""
        for code in self.codes:
            yield ("p" if code >= _PREFIX else "n") + str(code & _UNPACK)[1:]
        yield from self.texts

    def changed(self, added: Collection[str], removed: Collection[str]) -> Page:
        """The page with some entries and without others; itself if that makes no difference. None is in both."""
        more = [entry for entry in added if entry not in self]
        less = {entry for entry in removed if entry in self}
        if not more and not less:
            return self
        new, gone = Page.of(more), Page.of(less)
        codes: list[int] = list(self.codes)
        if gone.codes:
            out = set(gone.codes)
            codes = [code for code in codes if code not in out]
        # Two ascending runs: sorting merges them.
        return Page(array("Q", sorted([*codes, *new.codes])), (self.texts - gone.texts) | new.texts)


EMPTY = Page(array("Q"))


class ScreeningList:
    """A list of callers. Its pages come and go by themselves, in any order."""

    __slots__ = ("_added", "_lengths", "_pages", "_removed", "_texts", "id", "tenant")

    def __init__(self, tenant: str, id: str) -> None:
        """``tenant``: owner; "" for the operator."""
        self.tenant = tenant
        self.id = id
        self._pages = [EMPTY] * PAGES
        self._added = self._removed = EMPTY
        self._lengths: tuple[int, ...] = ()
        self._texts = False

    def __len__(self) -> int:
        """Entries in all pages, those that are removed or added twice too: never less than there are in the list."""
        return len(self._added) + sum(map(len, self._pages))

    def put_page(self, number: int, page: Page) -> None:
        """Put a page, 0 to REMOVED, in the place of the one of this number."""
        if number == ADDED:
            self._added = page
        elif number == REMOVED:
            self._removed = page
        else:
            self._pages[number] = page
        pages = [*self._pages, self._added]
        # Longest first: the entry that says most is the one that is told.
        lengths: frozenset[int] = frozenset().union(*(page.prefix_lengths for page in pages))
        self._lengths = tuple(sorted(lengths, reverse=True))
        self._texts = any(page.texts for page in pages)

    def drop_page(self, number: int) -> None:
        """Empty a page."""
        self.put_page(number, EMPTY)

    @property
    def empty(self) -> bool:
        """No page has an entry."""
        return not len(self) and not len(self._removed)

    def find(self, caller: Caller, region: Region | None) -> str:
        """The entry that fits the caller best; "" if none does.

        Looked for in this order: the number, its beginnings from the longest on, area code, province; for a caller
        without a number only "x".
        """
        number = caller.number
        if not number:
            return ANONYMOUS if self._texts and ANONYMOUS in self else ""
        entry = self._find_number(number)
        if not entry and region is not None and self._texts:
            for place in ("a" + region.area_code, "r" + region.province):
                if place in self:
                    return place
        return entry

    def _find_number(self, number: str) -> str:
        digits = len(number)
        if digits > MAX_DIGITS_PACKED:
            beginnings = ("p" + number[:length] for length in self._lengths)
            return next((entry for entry in ("n" + number, *beginnings) if entry in self), "")
        code = int("1" + number)
        if self._has(code):
            return "n" + number
        for length in self._lengths:
            if length <= digits and self._has(_PREFIX + code // _POWERS[digits - length]):
                return "p" + number[:length]
        return ""

    def _has(self, code: int) -> bool:
        if self._added.codes and _has(self._added.codes, code):
            return True
        if not _has(self._pages[code % PAGES].codes, code):
            return False
        return not self._removed.codes or not _has(self._removed.codes, code)

    def __contains__(self, entry: str) -> bool:
        if code := _pack(entry):
            return self._has(code)
        if entry in self._added.texts:
            return True
        return entry in self._pages[page_of(entry)].texts and entry not in self._removed.texts


class ScreeningLists:
    """All lists. One whose pages are known before it is, or after, is not there."""

    __slots__ = ("_known", "_lists")

    def __init__(self) -> None:
        self._known: set[tuple[str, str]] = set()
        self._lists: dict[tuple[str, str], ScreeningList] = {}

    def get(self, tenant: str, id: str) -> ScreeningList | None:
        """The tenant's own list if it has one of this id, else the operator's, else None."""
        for key in ((tenant, id), ("", id)):
            if key in self._known:
                return self._lists[key]
        return None

    def put_list(self, tenant: str, id: str) -> None:
        """A list is there. Its owner is "" for the operator."""
        self._known.add((tenant, id))
        self._of(tenant, id)

    def drop_list(self, tenant: str, id: str) -> None:
        """A list is gone; an unknown one is no error."""
        self._known.discard((tenant, id))
        self._forget(tenant, id)

    def put_page(self, tenant: str, id: str, number: int, page: Page) -> None:
        """Put a page, 0 to REMOVED, of a list that may not be there yet."""
        self._of(tenant, id).put_page(number, page)

    def drop_page(self, tenant: str, id: str, number: int) -> None:
        """Empty a page; one of an unknown list is no error."""
        if (tenant, id) in self._lists:
            self._lists[tenant, id].drop_page(number)
            self._forget(tenant, id)

    def shrink(self) -> bool:
        """Let go of one list, of those that are no longer used: to free all at once takes long. False: none is left."""
        if not self._lists:
            return False
        self._known.discard(self._lists.popitem()[0])
        return True

    def _of(self, tenant: str, id: str) -> ScreeningList:
        found = self._lists.get((tenant, id))
        if found is None:
            found = self._lists[tenant, id] = ScreeningList(tenant, id)
        return found

    def _forget(self, tenant: str, id: str) -> None:
        """Let go of a list of which nothing is known any more."""
        found = self._lists.get((tenant, id))
        if found is not None and (tenant, id) not in self._known and found.empty:
            del self._lists[tenant, id]


@dataclass(frozen=True, slots=True)
class ScreeningRules:
    """Who may call a number: ids of lists, and what is said of all callers."""

    blacklists: tuple[str, ...] = ()
    whitelists: tuple[str, ...] = ()
    whitelist_only: bool = False
    refuse_anonymous: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What screening says of a caller: ``reason`` is a constant of this module."""

    refused: bool
    reason: str
    entry: str = ""
    """The entry that decided, and the list that has it, if one did."""
    list: str = ""
    priority: bool = False
    """The caller goes to the front of queues."""
    missing: tuple[str, ...] = ()
    """Lists that were needed and are not there."""


def judge(
    screening: ScreeningRules,
    lists: Callable[[str], ScreeningList | None],
    caller: Caller,
    region: Region | None,
) -> Verdict:
    """May this caller call? Anonymous callers first, then blacklists, then whitelists; the first entry found decides.

    ``lists`` gives the list of an id, None if there is none. A list that is missing has no entries: a missing blacklist
    lets everybody through, for a lost list must not silence a number; a missing whitelist opens nothing, for a number
    that only known callers may call must not be open to all because a list was lost.
    """
    if screening.refuse_anonymous and not caller.number:
        return Verdict(refused=True, reason=CALLER_ANONYMOUS)
    missing: list[str] = []
    id, entry = _search(screening.blacklists, lists, caller, region, missing)
    if entry:
        return Verdict(True, CALLER_BLACKLISTED, entry, id, missing=tuple(missing))
    id, entry = _search(screening.whitelists, lists, caller, region, missing)
    if entry:
        return Verdict(False, CALLER_WHITELISTED, entry, id, priority=True, missing=tuple(missing))
    if screening.whitelist_only:
        return Verdict(refused=True, reason=CALLER_NOT_WHITELISTED, missing=tuple(missing))
    return Verdict(refused=False, reason=CALLER_UNLISTED, missing=tuple(missing))


def _search(
    ids: tuple[str, ...],
    lists: Callable[[str], ScreeningList | None],
    caller: Caller,
    region: Region | None,
    missing: list[str],
) -> tuple[str, str]:
    """The first of the lists that has the caller, and the entry; ids of those that are not there go to ``missing``."""
    for id in ids:
        found = lists(id)
        if found is None:
            missing.append(id)
        elif entry := found.find(caller, region):
            return id, entry
    return "", ""
