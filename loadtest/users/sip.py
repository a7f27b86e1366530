"""Callers: real SIP and RTP."""

from __future__ import annotations

import itertools
from random import Random
from typing import TYPE_CHECKING, ClassVar

from locust import User, task

from loadtest import run

if TYPE_CHECKING:
    from locust.env import Environment


class SipCaller(User):
    """A source of calls: ``--calls-per-user`` a second on average, each begun whatever became of those before (a
    Poisson process), so that a cluster that gets slow is not spared. So users times that are the call attempts a
    second."""

    _ordinals: ClassVar = itertools.count()

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._site = run.of(environment).callers
        seed = self._site.model.traffic.seed
        self._random = Random(f"{seed} {self._site.site.index} {next(self._ordinals)}")
        self._rate = run.of(environment).options.calls_per_user
        self._waited = False

    def wait_time(self) -> float:
        """Seconds until its next call."""
        return self._random.expovariate(self._rate)

    @task
    def call(self) -> None:
        """Begin a call, but not at once after the start: users who come together would all call together."""
        if self._waited:
            self._site.begin(self._random)
        self._waited = True
