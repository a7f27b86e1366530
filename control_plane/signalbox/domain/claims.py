"""What a decision must have counted: the engine yields a :class:`Claim` and is sent a :class:`Claimed`.

Counts are kept under names, the same that an explanation shows and a simulation is given: ``number/4001234567`` are its
calls at once, ``number/4001234567/second`` its new calls of this second, ``number/4001234567/month`` those of this
month; ``tenant/…``, ``trunk/…`` and ``line/<tenant>/<line>`` likewise; ``turn/…`` is whose turn it is.
"""

from __future__ import annotations

import zlib
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Window(StrEnum):
    """What a limit counts."""

    CALLS = "calls"
    """Calls at once, from the decision until the end of the call."""
    SECOND = "second"
    """New calls in a second of the counter's own clock."""
    MONTH = "month"
    """New calls in a calendar month."""


class Limit(NamedTuple):
    """At most ``most`` are counted under ``name``; 0: no call at all. ``period``: a MONTH's "2026-11", else ""."""

    name: str
    window: Window
    most: int
    period: str = ""


class Order(StrEnum):
    """The order in which the lines of a dial are tried."""

    GIVEN = "given"
    """As they stand."""
    TURN = "turn"
    """Beginning with position turn modulo number of lines, then round; ``key`` names the turn. Each claim that is
    granted takes the next turn, from 0 on."""
    LEAST_RECENT = "least_recent"
    """The line first that was first for longest, those that never were before all others, equal ones as they stand.
    ``key`` names the record of when each line was; a line is when it is taken or answers."""
    STICKY = "sticky"
    """The line that answered last under ``key`` first, then as they stand."""


class DialClaim(NamedTuple):
    """The lines of one dial on the call's way.

    ``lines`` are names (``line/<tenant>/<line>``), all different; ``caps`` how many calls each takes at once, 0: any
    number. ``takes``: so many of the first free lines ring as soon as the call is decided and are taken, as far as they
    have caps; 0: the dial comes after another one and its lines are only looked at. ``most``: no more lines are told.
    """

    lines: tuple[str, ...]
    caps: tuple[int, ...]
    order: Order = Order.GIVEN
    key: str = ""
    takes: int = 0
    most: int = 16


class Claim(NamedTuple):
    """All that a call may take.

    Granted as a whole: if any limit is reached nothing at all is taken, no turn either. Settling a claim of the same
    ``call_id`` and ``part`` again gives the same :class:`Claimed` and counts nothing. A call has several parts when
    its flow goes on after the first decision; what a later part takes of lines replaces what the earlier ones hold of
    lines, their limits are kept; so a part without dials lets go of all lines. ``look``: nothing is taken, and
    :attr:`Claimed.counts` is told.
    """

    call_id: str
    tenant: str
    limits: tuple[Limit, ...]
    dials: tuple[DialClaim, ...] = ()
    part: str = ""
    look: bool = False


class Claimed(NamedTuple):
    """What came of a claim.

    ``over``: position of the first limit that is reached; -1: none, all is granted. ``dials``: for each dial the
    positions of its free lines, in the order to try them; empty if a limit is reached. ``counted``: False if nothing
    could be counted, and nothing was refused therefore. ``counts``: what was counted for each limit without this
    call, for a claim that looks.
    """

    over: int = -1
    dials: tuple[tuple[int, ...], ...] = ()
    counted: bool = True
    counts: tuple[int, ...] = ()


class Waiting(NamedTuple):
    """A caller who waits in a queue, or with ``leaves`` does no longer.

    ``since_ms``: since when (epoch); callers with ``priority`` are before all others. ``most`` may wait. To tell of a
    caller again keeps the place.
    """

    queue: str
    call_id: str
    since_ms: int
    priority: bool = False
    most: int = 1
    leaves: bool = False


class Place(NamedTuple):
    """What came of it: the place from 1 on, 0: it is not known, or the queue was full."""

    position: int = 0
    full: bool = False


class Counters(Protocol):
    """Where counts are kept."""

    async def settle(self, claims: Sequence[Claim]) -> list[Claimed]:
        """Settle claims in one round trip, in their order; one :class:`Claimed` for each. Raises nothing of its own:
        what cannot be counted is :func:`uncounted`."""

    def give_back(self, claims: Sequence[Claim]) -> None:
        """Nobody waits for the answers to these any more: what nobody else got of them is free again, soon."""


class Queues(Counters, Protocol):
    """Counts that know the places of callers in queues too."""

    async def wait(self, waiting: Waiting) -> Place:
        """Take or keep a place, or leave it. Raises nothing of its own: a place that cannot be told is not known."""


def uncounted(claim: Claim) -> Claimed:
    """The answer to a claim when there are no counts: nothing is limited, all lines are free, turns fall at random by
    the call's id."""
    turn = zlib.crc32(f"{claim.call_id}/{claim.part}".encode())
    dials = tuple(_in_order(dial, turn)[: dial.most] for dial in claim.dials)
    return Claimed(dials=dials, counted=False)


def supposed(claim: Claim, counts: Mapping[str, int]) -> Claimed:
    """The answer to a claim if ``counts`` were the counts, by name; what is not named is 0 or was never. Nothing is
    taken."""
    found = tuple(counts.get(limit_name(limit), 0) for limit in claim.limits)
    over = next((at for at, limit in enumerate(claim.limits) if found[at] >= limit.most), -1)
    if over >= 0:
        return Claimed(over=over, counts=found)
    dials = []
    for dial in claim.dials:
        order = _in_order(dial, counts.get(dial.key, 0))
        free = [at for at in order if not dial.caps[at] or counts.get(dial.lines[at], 0) < dial.caps[at]]
        dials.append(tuple(free[: dial.most]))
    return Claimed(dials=tuple(dials), counts=found)


def limit_name(limit: Limit) -> str:
    """The name that people know a count by: ``number/4001234567/second``."""
    return limit.name if limit.window is Window.CALLS else f"{limit.name}/{limit.window.value}"


def _in_order(dial: DialClaim, turn: int) -> tuple[int, ...]:
    """Positions of the lines in the order to try them, as far as it needs no memory of earlier calls."""
    count = len(dial.lines)
    first = turn % count if dial.order is Order.TURN else 0
    return tuple((first + at) % count for at in range(count))
