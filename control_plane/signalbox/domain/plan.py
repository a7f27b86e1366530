"""What to ring, in which order, and what follows when it fails: a graph of dials.

A plan says nothing of a single call, unless a worker with voice goes on with it: so one can serve all calls that the
rules lead to the same dials. What the call puts in is a draw of lines, or who calls: that makes it a trial.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from signalbox.domain.claims import DialClaim, Order
from signalbox.domain.distribution import drawn, is_drawn, order_of
from signalbox.domain.flow import LINES_MAX, LINES_TOGETHER_MAX, DialRecording, Distribution

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from signalbox.domain.decided import Why
    from signalbox.domain.objects import Line
    from signalbox.domain.walk import Who


class End(NamedTuple):
    """The call ends with a SIP status code; 0: with what the lines said."""

    code: int
    why: Why


Target = str | End
"""Where a call goes on: the name of a dial of the plan, or nowhere."""

Positions = tuple[int, ...]
"""Of lines of a dial."""


class Trial(NamedTuple):
    """What a call tries at a dial.

    ``order``: the lines in the order to try them, as far as nothing is counted for that; ``drawn``: not as they stand.
    ``claim``: what has to be counted, None: nothing. Its lines stand in this order.
    """

    order: Positions
    drawn: bool
    claim: DialClaim | None


@dataclass(frozen=True, slots=True)
class Ring:
    """A dial of a plan. ``lines`` are all that it may ring, as they stand, ``weights`` their shares.

    ``key`` is under what their order is counted, or drawn. ``cursor``: the lines are workers that execute the flow from
    here on. ``recording``: whether a call that one of the lines takes is recorded. ``times`` are how long each of the
    lines may ring, 0 if that is ``ring_ms``; empty: that are all.
    """

    lines: tuple[Line, ...]
    ring_ms: int
    busy: Target
    no_answer: Target
    failed: Target
    distribution: Distribution = Distribution.SEQUENTIAL
    key: str = ""
    weights: tuple[int, ...] = ()
    cursor: str = ""
    recording: DialRecording = DialRecording.AS_NUMBER
    times: tuple[int, ...] = ()

    def time_of(self, lines: tuple[Line, ...]) -> int:
        """How long some of its lines ring together, milliseconds."""
        if not self.times:
            return self.ring_ms
        of = {line.id: time or self.ring_ms for line, time in zip(self.lines, self.times, strict=True)}
        return max([of[line.id] for line in lines])

    @property
    def together(self) -> bool:
        """All lines ring at the same time."""
        return self.distribution is Distribution.ALL

    @property
    def rests_on_call(self) -> bool:
        """Calls differ in the order of its lines, or in what is counted for it."""
        return is_drawn(self.distribution) or self.distribution is Distribution.STICKY

    def records(self, number: bool) -> bool:
        """True if its calls are recorded. ``number``: those of the number are."""
        if self.recording is DialRecording.AS_NUMBER:
            return number
        return self.recording is DialRecording.ON

    def trial(self, takes: bool, call_id: str, who: Who) -> Trial:
        """For one call. ``takes``: it rings as soon as the call is decided."""
        order, lines = tuple(range(len(self.lines))), self.lines
        if by_chance := is_drawn(self.distribution):
            order = tuple(drawn(self.distribution, order, self.weights, f"{call_id}/{self.key}"))
            lines = tuple([lines[at] for at in order])
        return Trial(order, by_chance, self._claim(lines, takes, who))

    def _claim(self, lines: tuple[Line, ...], takes: bool, who: Who) -> DialClaim | None:
        counted, key = order_of(self.distribution), self.key
        if counted is Order.STICKY:
            number = who.caller.number
            counted, key = (counted, f"{key}/{number}") if number else (Order.GIVEN, "")
        caps = tuple([line.concurrent_calls for line in lines])
        if self.cursor or not caps or (counted is Order.GIVEN and not any(caps)):
            return None
        names = tuple([f"line/{line.tenant}/{line.id}" for line in lines])
        first = (LINES_TOGETHER_MAX if self.together else 1) if takes else 0
        return DialClaim(names, caps, counted, "" if counted is Order.GIVEN else key, first, LINES_MAX)


class RingShape(NamedTuple):
    """Where a dial leads, and nothing of its lines but whether there are any."""

    name: str
    any_lines: bool
    together: bool
    busy: Target
    no_answer: Target
    failed: Target


class Shape(NamedTuple):
    """Where the dials of a plan lead: equal for many numbers."""

    entry: Target
    rings: tuple[RingShape, ...]


class Plan:
    """Dials by name, in the order in which they are reached. Nothing in it leads back.

    Told apart by identity. ``direct``: each line has an address of its own; ``laid_out`` keeps what was made of it.
    ``own_recording``: some dials say themselves whether calls are recorded.
    """

    __slots__ = ("_shape", "_trials", "direct", "entry", "laid_out", "own_recording", "rings")

    def __init__(self, entry: Target, rings: Mapping[str, Ring]) -> None:
        self.entry = entry
        self.rings = rings
        self.direct = all(line.host for ring in rings.values() for line in ring.lines)
        self.own_recording = any(ring.recording is not DialRecording.AS_NUMBER for ring in rings.values())
        self.laid_out: dict[Hashable, Any] = {}
        self._shape: Shape | None = None
        self._trials: tuple[Trial, ...] | None = None

    @property
    def shape(self) -> Shape:
        """Where its dials lead."""
        if self._shape is None:
            rings = [
                RingShape(name, bool(ring.lines), ring.together, ring.busy, ring.no_answer, ring.failed)
                for name, ring in self.rings.items()
            ]
            self._shape = Shape(self.entry, tuple(rings))
        return self._shape

    def trials(self, call_id: str, who: Who) -> tuple[Trial, ...]:
        """What each dial tries for a call."""
        if self._trials is not None:
            return self._trials
        made = tuple([ring.trial(name == self.entry, call_id, who) for name, ring in self.rings.items()])
        if not any(ring.rests_on_call for ring in self.rings.values()):
            self._trials = made
        return made


def free_lines(trials: Sequence[Trial], counted: Sequence[Positions]) -> tuple[Positions, ...]:
    """For each dial the positions of its free lines in the order to try them. ``counted``: what came of the claims."""
    answers = iter(counted)
    found = []
    for order, by_chance, claim in trials:
        if claim is None:
            found.append(order)
        elif by_chance:
            found.append(tuple([order[at] for at in next(answers)]))
        else:
            found.append(next(answers))
    return tuple(found)
