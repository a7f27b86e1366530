"""The last good decision for each number, for the time when no routing service answers.

Kept under trunk and number as dialled: what a number means, and whether a trunk may reach it, is the routing service's
to say for each trunk. Only decisions that hold for every caller are kept. A call that was forwarded more often than the
one the decision was made for does not get it: the loop guard looks at forwards. A call of a worker to a line gets none:
its leg alone says where it goes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from signalbox.edge.question import Question
    from signalbox.edge.reply import Rendered

LIMIT = 100_000
"""Numbers kept, about 400 bytes each."""


class _Kept(NamedTuple):
    rendered: Rendered
    time: float
    diversions: int


class LastGood:
    """Bounded; the numbers not called for longest go first. Times are seconds of one monotonic clock."""

    def __init__(self, max_age_s: float, limit: int = LIMIT) -> None:
        self._max_age_s = max_age_s
        self._limit = limit if max_age_s > 0 else 0
        self._kept: dict[tuple[str, str], _Kept] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, question: Question, rendered: Rendered, now: float) -> None:
        """Remember a decision, if it may be used again; if not, forget the one before."""
        if question.request.leg:
            return
        self._kept.pop(question.target, None)
        if not rendered.reusable or not self._limit:
            return
        if len(self._kept) >= self._limit:
            del self._kept[next(iter(self._kept))]
        self._kept[question.target] = _Kept(rendered, now, question.request.diversions)

    def find(self, question: Question, now: float) -> Rendered | None:
        """The decision to use for this call, marked as used again; None if there is none or it is too old."""
        kept = None if question.request.leg else self._kept.get(question.target)
        if kept is None or now - kept.time > self._max_age_s or question.request.diversions > kept.diversions:
            return None
        return kept.rendered.last_good()
