"""``--base`` call attempts a second, and ``--step`` more each ``--step-seconds``, until a step has more than one
failed call in a hundred: the last step before that is what the cluster carries."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from loadtest import run
from loadtest.model import curves
from loadtest.shapes.by_rate import ByRate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loadtest.outcome import Outcome

FAILED_SHARE = 0.01
FEWEST = 50
"""A step with fewer calls says nothing."""


class StepToFailure(ByRate):
    """See above."""

    def __init__(self) -> None:
        super().__init__()
        self._step = -1
        self._before: Mapping[Outcome, int] = {}

    def rate(self, second: float) -> float | None:
        """See ByRate."""
        given = self.options
        step = int(second // given.step_seconds)
        if step != self._step and self._failed(step):
            return None
        return curves.steps(second, given.base, given.step, given.step_seconds) if second < given.seconds else None

    def _failed(self, step: int) -> bool:
        """A step has ended: whether it was one too many."""
        assert self.runner is not None
        now = run.of(self.runner.environment).all_outcomes
        ended = {outcome: number - self._before.get(outcome, 0) for outcome, number in now.items()}
        self._step, self._before = step, now
        failed = sum(number for outcome, number in ended.items() if outcome.failure)
        if sum(ended.values()) < FEWEST or failed <= FAILED_SHARE * sum(ended.values()):
            return False
        given = self.options
        carried = given.base + given.step * (step - 2)
        print(f"load test: failure at {carried + given.step:g} calls a second; carried: {carried:g}", file=sys.stderr)
        return True
