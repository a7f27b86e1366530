"""A plan laid out as stages with jumps, as a proxy executes it.

A dial that tries its lines one after the other fails *busy* if one of them was busy, else with *no answer* if one
rang in vain, else otherwise. A proxy knows only how its last stage failed. So a line stands in several stages if more
than one way of failing can have gone before it and they lead to different places; that takes up to three stages for a
line. If the stages don't suffice for this, the way that the last line failed counts.

Which stages there are and where they lead follows from the shape of the plan (where its dials lead) and from how many
lines are free: that is the form. Many numbers share one. Then the lines are filled in.
"""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from signalbox.domain.decided import Stage, Why
from signalbox.domain.flow import LINES_MAX, LINES_TOGETHER_MAX
from signalbox.domain.plan import End, Plan, Positions, Ring, Shape, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from signalbox.domain.objects import Line

MAX_STAGES = 16
FORMS = 4_096
"""Forms that are kept, a few KiB each."""
VARIANTS = 16
"""Layouts of one plan that are kept with it: by which of its lines are free, and by which trunks they are reached."""

_LEVELS = ((True, MAX_STAGES), (True, 4), (False, 4), (False, 2), (False, 1))
"""What is tried until the plan fits: whether it remembers how earlier lines failed, and ways to reach a line."""

_AS_THE_LINES_SAID = End(0, Why.NO_LINE)
_FULL = End(486, Why.LINES_BUSY)

Reached = tuple[tuple[tuple["Line", ...], ...], ...]
"""For each dial the lines that are tried, each as it is reached: the first way first."""

Attempts = tuple[int, ...]
"""In how many ways each line of a dial is reached."""


class _Way(IntEnum):
    """How a dial fails; the greater one counts."""

    FAILED = 0
    NO_ANSWER = 1
    BUSY = 2


class _Place(NamedTuple):
    """A stage: a dial, which of its groups of lines, which trunk of each, and how those before failed."""

    ring: str
    group: int
    attempt: int
    before: _Way


class _Blank(NamedTuple):
    """A stage without its lines: the dial, positions of the lines among those that are tried, and which way to each."""

    ring: str
    lines: Positions
    attempt: int
    on_busy: int
    on_no_answer: int
    on_failed: int


def lay_out(
    plan: Plan, free: tuple[Positions, ...], attempts: Callable[[Line], tuple[Line, ...]], records: bool = False
) -> tuple[Stage, ...] | End:
    """The plan as at most 16 stages with at most 16 lines, or how the call ends if there is nothing to ring.

    ``free`` has for every dial the positions of its free lines, in the order to try them; ``attempts`` says where a
    line without an address is reached, the first first; nowhere: it is passed over. ``records``: the number's calls are
    recorded, where a dial does not say otherwise. For equal ``free`` a plan mostly gets the identical stages.
    """
    if isinstance(plan.entry, End):
        return _unheard(plan.entry)
    reached = None if plan.direct else _reached(plan, free, attempts)
    key = (free, reached, records)
    found: tuple[Stage, ...] | End | None = plan.laid_out.get(key)
    if found is None:
        found = _fill(plan, free, reached or _reached(plan, free, lambda line: (line,)), records)
        if len(plan.laid_out) >= VARIANTS:
            plan.laid_out.clear()
        plan.laid_out[key] = found
    return found


def _reached(plan: Plan, free: tuple[Positions, ...], attempts: Callable[[Line], tuple[Line, ...]]) -> Reached:
    left = LINES_MAX
    reached = []
    for ring, positions in zip(plan.rings.values(), free, strict=True):
        lines = tuple([found for at in positions[:LINES_MAX] if (found := attempts(ring.lines[at]))][:left])
        left -= len(lines)
        reached.append(lines)
    return tuple(reached)


def _fill(plan: Plan, free: tuple[Positions, ...], of_rings: Reached, records: bool) -> tuple[Stage, ...] | End:
    reached = dict(zip(plan.rings, of_rings, strict=True))
    counts = [tuple(map(len, lines)) if positions else None for lines, positions in zip(of_rings, free, strict=True)]
    blanks = _form(plan.shape, tuple(counts))
    if isinstance(blanks, End):
        return blanks
    return tuple([_stage(blank, plan.rings[blank.ring], reached[blank.ring], records) for blank in blanks])


def _stage(blank: _Blank, ring: Ring, reached: tuple[tuple[Line, ...], ...], records: bool) -> Stage:
    lines = tuple([reached[at][blank.attempt] for at in blank.lines])
    ends = blank.on_busy, blank.on_no_answer, blank.on_failed
    return Stage(lines, ring.time_of(lines), *ends, ring.cursor, ring.records(records))


@lru_cache(maxsize=FORMS)
def _form(shape: Shape, counts: tuple[Attempts | None, ...]) -> tuple[_Blank, ...] | End:
    """The stages without their lines. ``counts``: for each dial how its lines are reached; None: no line is free."""
    layout = _Layout(shape, counts)
    if isinstance(layout.entry, End):
        return layout.entry
    for memory, most in _LEVELS:
        places = layout.places(memory, most)
        if places is not None:
            return layout.blanks(places, memory, most)
    raise AssertionError("16 lines with one attempt each fit into 16 stages")


def _unheard(end: End) -> End:
    """No line has said anything yet that the call could end with."""
    return end if end.code else End(480, end.why)


class _Layout:
    """The lines that fit, and where the dials of a plan lead when those without any are left out."""

    def __init__(self, shape: Shape, counts: tuple[Attempts | None, ...]) -> None:
        self._rings = {ring.name: ring for ring in shape.rings}
        self._counts: dict[str, Attempts] = {}
        self._groups: dict[str, list[Positions]] = {}
        self._nobody: dict[str, Target] = {}
        for (name, ring), count in zip(self._rings.items(), counts, strict=True):
            nobody = ring.failed
            if ring.any_lines and count is None:
                # All lines at their caps is busy, also where the end is what the lines said: they said nothing.
                nobody = _FULL if ring.busy == _AS_THE_LINES_SAID else ring.busy
            self._nobody[name] = nobody
            self._counts[name] = count or ()
            size = LINES_TOGETHER_MAX if ring.together else 1
            positions = tuple(range(len(self._counts[name])))
            self._groups[name] = [positions[at : at + size] for at in range(0, len(positions), size)]
        entry = self._settle(shape.entry)
        self.entry = _unheard(entry) if isinstance(entry, End) else entry

    def _settle(self, target: Target) -> Target:
        """Where a target leads to in the end, past dials that ring nobody."""
        while isinstance(target, str) and not self._groups[target]:
            target = self._nobody[target]
        return target

    def places(self, memory: bool, most: int) -> list[_Place] | None:
        """All stages, by their positions; None if they are too many."""
        assert isinstance(self.entry, str)
        places = [self._start(self.entry, memory)]
        known = set(places)
        branches = 0
        counted: set[tuple[str, int, int]] = set()
        for place in places:
            if len(places) > MAX_STAGES:
                return None
            if place[:3] not in counted:
                counted.add(place[:3])
                branches += len(self._lines(place))
                if branches > LINES_MAX:
                    return None
            for following in self._ways(place, memory, most):
                if isinstance(following, _Place) and following not in known:
                    known.add(following)
                    places.append(following)
        return places

    def blanks(self, places: list[_Place], memory: bool, most: int) -> tuple[_Blank, ...]:
        """The stages for places that fit; each leads to later ones only."""
        ways = {place: self._ways(place, memory, most) for place in places}
        places = _forward(ways)
        positions = {place: position for position, place in enumerate(places, 1)}
        made = []
        for place in places:
            jumps = [way.code if isinstance(way, End) else positions[way] for way in ways[place]]
            made.append(_Blank(place.ring, self._lines(place), place.attempt, *jumps))
        return tuple(made)

    def _lines(self, place: _Place) -> Positions:
        counts = self._counts[place.ring]
        return tuple([at for at in self._groups[place.ring][place.group] if place.attempt < counts[at]])

    def _start(self, name: str, memory: bool) -> _Place:
        return _Place(name, 0, 0, self._canonical(name, _Way.FAILED, memory))

    def _ways(self, place: _Place, memory: bool, most: int) -> tuple[_Place | End, _Place | End, _Place | End]:
        """What follows on busy, no answer and failure."""
        another = place._replace(attempt=place.attempt + 1)
        if another.attempt < most and self._lines(another):
            failed: _Place | End = another
        else:
            failed = self._after(place, _Way.FAILED, memory)
        return self._after(place, _Way.BUSY, memory), self._after(place, _Way.NO_ANSWER, memory), failed

    def _after(self, place: _Place, way: _Way, memory: bool) -> _Place | End:
        """What follows when a group of lines failed in a way for good."""
        seen = max(place.before, way)
        if place.group + 1 < len(self._groups[place.ring]):
            return _Place(place.ring, place.group + 1, 0, self._canonical(place.ring, seen, memory))
        target = self._settle(self._target(place.ring, seen))
        return target if isinstance(target, End) else self._start(target, memory)

    def _target(self, name: str, way: _Way) -> Target:
        ring = self._rings[name]
        return (ring.failed, ring.no_answer, ring.busy)[way]

    def _canonical(self, name: str, way: _Way, memory: bool) -> _Way:
        """The greatest way that makes no difference to where the dial leads."""
        if not memory:
            return _Way.FAILED
        ring = self._rings[name]
        if way is _Way.FAILED and ring.failed == ring.no_answer:
            way = _Way.NO_ANSWER
        if way is _Way.NO_ANSWER and ring.no_answer == ring.busy:
            way = _Way.BUSY
        return way


def _forward(ways: Mapping[_Place, Sequence[_Place | End]]) -> list[_Place]:
    """The places in an order in which each leads to later ones only: in the given one as far as possible.

    There is such an order, for nothing leads back: not a plan's dials, and in a dial attempts and groups go up.
    """
    ordered: list[_Place] = []
    left = dict(ways)
    while left:
        led_to = {way for following in left.values() for way in following}
        place = next(place for place in left if place not in led_to)
        ordered.append(place)
        del left[place]
    return ordered
