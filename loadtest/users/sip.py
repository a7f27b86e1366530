"""Callers: real SIP and RTP."""

from __future__ import annotations

import itertools
from random import Random
from typing import TYPE_CHECKING, ClassVar

from locust import User, task

from loadtest import run
from loadtest.figures import CALLS

if TYPE_CHECKING:
    from locust.env import Environment


class SipCaller(User):
    """A source of calls: ``--calls-per-user`` a second on average, each begun whatever became of those before (a
    Poisson process), so that a cluster that gets slow is not spared. So users times that are the call attempts a
    second."""

    part = CALLS
    _ordinals: ClassVar = itertools.count()

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._callers = run.of(environment).callers
        seed = self._callers.model.traffic.seed
        self._random = Random(f"{seed} {self._callers.site.index} {next(self._ordinals)}")
        self._every_s: float = 1 / run.of(environment).options.calls_per_user
        self._arrivals = self._callers.model.traffic.calls.arrivals
        self._first = True
        self._phase = self._random.random()

    def wait_time(self) -> float:
        """Seconds until its next call."""
        if self._arrivals == "poisson":
            return self._random.expovariate(1 / self._every_s)
        # Users take turns.
        phase, self._phase = self._phase, 1.0
        return self._every_s * phase

    @task
    def call(self) -> None:
        """Begin a call, but not at once after the start: users who come together would all call together."""
        if not self._first:
            self._callers.begin(self._random)
        self._first = False
