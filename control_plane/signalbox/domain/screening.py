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
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from signalbox.domain.numbering import Caller
    from signalbox.domain.regions import Region

    Codes = array[int] | memoryview[int]

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


def _has(codes: Codes, code: int) -> bool:
    at = bisect_left(codes, code)
    return at < len(codes) and codes[at] == code


def _prefix_lengths(codes: Codes) -> Iterator[int]:
    """Digits of the prefixes: those of n digits are between 10^n and 2 * 10^n above _PREFIX."""
    at = bisect_left(codes, _PREFIX)
    while at < len(codes):
        length = len(str(codes[at] & _UNPACK)) - 1
        yield length
        at = bisect_left(codes, _PREFIX + 10 ** (length + 1), at)


class Page:
    """A part of a list's entries, never changed: packed into 8 bytes each, but for those that are few."""

    __slots__ = ("codes", "texts")

    def __init__(self, codes: Codes, texts: frozenset[str] = frozenset()) -> None:
        """``codes``: type "Q", ascending, see types.v1.ScreeningPage; ``texts``: all entries that have none."""
        self.codes = codes
        self.texts = texts

    @property
    def prefix_lengths(self) -> frozenset[int]:
        """Digits of the prefixes in the page."""
        return frozenset([*_prefix_lengths(self.codes), *(len(text) - 1 for text in self.texts if text[0] == "p")])

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


class _Summary(NamedTuple):
    """What is known of a list without its pages."""

    filled: frozenset[int]
    """Pages that have entries."""
    lengths: tuple[int, ...]
    """Digits of its prefixes, the longest first: the entry that says most is the one that is told."""
    texts: bool


class ScreeningList:
    """A list of callers as its pages are, which are asked for at every search. One whose pages change is made anew."""

    __slots__ = ("_known", "_page", "id", "tenant")

    def __init__(self, tenant: str, id: str, page: Callable[[int], Page]) -> None:
        """``tenant``: owner; "" for the operator. ``page`` gives a page by its number, 0 to REMOVED; :data:`EMPTY` for
        one that is not there. What it gives is looked at at once, and not kept."""
        self.tenant = tenant
        self.id = id
        self._page = page
        self._known: _Summary | None = None

    @property
    def _summary(self) -> _Summary:
        found = self._known
        if found is None:
            filled = {number: page for number in range(REMOVED + 1) if len(page := self._page(number))}
            removed = filled.get(REMOVED)
            having = [page for page in filled.values() if page is not removed]
            lengths: frozenset[int] = frozenset().union(*(page.prefix_lengths for page in having))
            texts = any(page.texts for page in having)
            found = self._known = _Summary(frozenset(filled), tuple(sorted(lengths, reverse=True)), texts)
        return found

    def find(self, caller: Caller, region: Region | None) -> str:
        """The entry that fits the caller best; "" if none does.

        Looked for in this order: the number, its beginnings from the longest on, area code, province; for a caller
        without a number only "x".
        """
        number = caller.number
        if not number:
            return ANONYMOUS if self._summary.texts and ANONYMOUS in self else ""
        entry = self._find_number(number)
        if not entry and region is not None and self._summary.texts:
            for place in ("a" + region.area_code, "r" + region.province):
                if place in self:
                    return place
        return entry

    def _find_number(self, number: str) -> str:
        digits, lengths = len(number), self._summary.lengths
        if digits > MAX_DIGITS_PACKED:
            beginnings = ("p" + number[:length] for length in lengths)
            return next((entry for entry in ("n" + number, *beginnings) if entry in self), "")
        code = int("1" + number)
        if self._has(code):
            return "n" + number
        for length in lengths:
            if length <= digits and self._has(_PREFIX + code // _POWERS[digits - length]):
                return "p" + number[:length]
        return ""

    def _has(self, code: int) -> bool:
        filled, page, number = self._summary.filled, self._page, code % PAGES
        if ADDED in filled and _has(page(ADDED).codes, code):
            return True
        if number not in filled or not _has(page(number).codes, code):
            return False
        return REMOVED not in filled or not _has(page(REMOVED).codes, code)

    def __contains__(self, entry: str) -> bool:
        if code := _pack(entry):
            return self._has(code)
        filled, page, number = self._summary.filled, self._page, page_of(entry)
        if ADDED in filled and entry in page(ADDED).texts:
            return True
        if number not in filled or entry not in page(number).texts:
            return False
        return REMOVED not in filled or entry not in page(REMOVED).texts


@dataclass(frozen=True, slots=True)
class ScreeningRules:
    """Who may call a number: ids of lists, and what is said of all callers."""

    blacklists: tuple[str, ...] = ()
    whitelists: tuple[str, ...] = ()
    whitelist_only: bool = False
    refuse_anonymous: bool = False

    @property
    def looks(self) -> bool:
        """True if the caller is looked at at all."""
        return bool(self.blacklists or self.whitelists or self.whitelist_only or self.refuse_anonymous)


class Verdict(NamedTuple):
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
