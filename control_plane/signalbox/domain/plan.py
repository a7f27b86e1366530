"""What to ring, in which order, and what follows when it fails: a graph of dials, laid out as stages with jumps.

A dial that tries its lines one after the other fails *busy* if one of them was busy, else with *no answer* if one
rang in vain, else otherwise. A proxy knows only how its last stage failed. So a line stands in several stages if more
than one way of failing can have gone before it and they lead to different places; that takes up to three stages for a
line. If the stages don't suffice for this, the way that the last line failed counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from signalbox.domain.claims import DialClaim, Order
from signalbox.domain.decided import Stage, Why
from signalbox.domain.flow import LINES_MAX, LINES_TOGETHER_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from signalbox.domain.objects import Line

MAX_STAGES = 16
REMEMBERED = 4_096
"""Layouts that are kept: a few KiB each."""

_LEVELS = ((True, MAX_STAGES), (True, 4), (False, 4), (False, 2), (False, 1))
"""What is tried until the plan fits: whether it remembers how earlier lines failed, and ways to reach a line."""


@dataclass(frozen=True, slots=True)
class End:
    """The call ends with a SIP status code; 0: with what the lines said."""

    code: int
    why: Why


_AS_THE_LINES_SAID = End(0, Why.NO_LINE)
_FULL = End(486, Why.LINES_BUSY)

Target = str | End
"""Where a call goes on: the name of a dial of the plan, or nowhere."""


@dataclass(frozen=True, slots=True)
class Ring:
    """A dial of a plan. ``lines`` are all that it may ring; ``order`` and ``key`` say what of their order is counted.

    ``cursor``: the lines are workers that execute the flow from here on.
    """

    lines: tuple[Line, ...]
    ring_ms: int
    busy: Target
    no_answer: Target
    failed: Target
    together: bool = False
    order: Order = Order.GIVEN
    key: str = ""
    cursor: str = ""

    def claim(self, takes: bool) -> DialClaim | None:
        """What it has to have counted; None: nothing. ``takes``: it rings as soon as the call is decided."""
        caps = tuple([line.concurrent_calls for line in self.lines])
        if self.cursor or not caps or (self.order is Order.GIVEN and not any(caps)):
            return None
        names = tuple([f"line/{line.tenant}/{line.id}" for line in self.lines])
        first = (LINES_TOGETHER_MAX if self.together else 1) if takes else 0
        return DialClaim(names, caps, self.order, self.key, first, LINES_MAX)


@dataclass(frozen=True, slots=True)
class Plan:
    """Dials by name, in the order in which they are reached. Nothing in it leads back."""

    entry: Target
    rings: Mapping[str, Ring]


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


class _Form(NamedTuple):
    """A dial as it is laid out: ``reached`` has for each line where it is reached; ``nobody`` is where the dial leads
    if that is none."""

    name: str
    ring_ms: int
    busy: Target
    no_answer: Target
    failed: Target
    nobody: Target
    together: bool
    cursor: str
    reached: tuple[tuple[Line, ...], ...]


def lay_out(
    plan: Plan, free: Mapping[str, Sequence[Line]], attempts: Callable[[Line], tuple[Line, ...]]
) -> tuple[Stage, ...] | End:
    """The plan as at most 16 stages with at most 16 lines, or how the call ends if there is nothing to ring.

    ``free`` has the lines of every dial that are free, in the order to try them; ``attempts`` says where a line is
    reached, the first first; nowhere: it is passed over. Equal plans mostly get the identical stages.
    """
    forms = []
    left = LINES_MAX
    sealed = False
    for name, ring in plan.rings.items():
        lines = free[name]
        reached = tuple([found for line in lines[:LINES_MAX] if (found := attempts(line))][:left])
        left -= len(reached)
        nobody = ring.failed
        if ring.lines and not lines:
            # All lines at their caps is busy, also where the end is what the lines said: they said nothing.
            nobody = _FULL if ring.busy == _AS_THE_LINES_SAID else ring.busy
        sealed = sealed or bool(ring.cursor)
        forms.append(
            _Form(
                name, ring.ring_ms, ring.busy, ring.no_answer, ring.failed, nobody, ring.together, ring.cursor, reached
            )
        )
    # A cursor is of one call: there is no use in keeping it.
    return (_lay_out if sealed else _laid_out)(plan.entry, tuple(forms))


def _lay_out(entry: Target, forms: tuple[_Form, ...]) -> tuple[Stage, ...] | End:
    layout = _Layout(entry, forms)
    if isinstance(layout.entry, End):
        return layout.entry
    for memory, most in _LEVELS:
        places = layout.places(memory, most)
        if places is not None:
            return layout.stages(places, memory, most)
    raise AssertionError("16 lines with one attempt each fit into 16 stages")


_laid_out = lru_cache(maxsize=REMEMBERED)(_lay_out)


class _Layout:
    """The lines that fit, and where the dials of a plan lead when those without any are left out."""

    def __init__(self, entry: Target, forms: tuple[_Form, ...]) -> None:
        self._rings = {form.name: form for form in forms}
        self._groups: dict[str, list[tuple[tuple[Line, ...], ...]]] = {}
        for form in forms:
            size = LINES_TOGETHER_MAX if form.together else 1
            self._groups[form.name] = [form.reached[at : at + size] for at in range(0, len(form.reached), size)]
        entry = self._settle(entry)
        # No line has said anything yet that the call could end with.
        self.entry = End(480, entry.why) if isinstance(entry, End) and not entry.code else entry

    def _settle(self, target: Target) -> Target:
        """Where a target leads to in the end, past dials that ring nobody."""
        while isinstance(target, str) and not self._groups[target]:
            target = self._rings[target].nobody
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

    def stages(self, places: list[_Place], memory: bool, most: int) -> tuple[Stage, ...]:
        """The stages for places that fit; each leads to later ones only."""
        ways = {place: self._ways(place, memory, most) for place in places}
        places = _forward(ways)
        positions = {place: position for position, place in enumerate(places, 1)}
        made = []
        for place in places:
            ring = self._rings[place.ring]
            busy, no_answer, failed = [way.code if isinstance(way, End) else positions[way] for way in ways[place]]
            made.append(Stage(self._lines(place), ring.ring_ms, busy, no_answer, failed, ring.cursor))
        return tuple(made)

    def _lines(self, place: _Place) -> tuple[Line, ...]:
        group = self._groups[place.ring][place.group]
        return tuple([found[place.attempt] for found in group if place.attempt < len(found)])

    def _start(self, name: str, memory: bool) -> _Place:
        return _Place(name, 0, 0, self._canonical(name, _Way.FAILED, memory))

    def _ways(self, place: _Place, memory: bool, most: int) -> tuple[_Place | End, _Place | End, _Place | End]:
        """What follows on busy, no answer and failure."""
        another = place.attempt + 1
        group = self._groups[place.ring][place.group]
        if another < most and any(another < len(found) for found in group):
            failed: _Place | End = place._replace(attempt=another)
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
