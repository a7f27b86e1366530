"""What all users of a Locust process share: the process that makes calls, its numbers, and what became of the calls."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from gevent.event import Event
from gevent.pool import Group
from signalbox.commands.testtelephones import own_address

from loadtest import rows, site
from loadtest.effort import Second
from loadtest.engine.client import Engine
from loadtest.engine.messages import Result, Start
from loadtest.model import settings
from loadtest.model.traffic import Model
from loadtest.outcome import Outcome

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from loadtest.engine.messages import Effort
    from loadtest.model.traffic import Plan
    from loadtest.options import Target

FIRST_CALL_S = 60.0
"""New rules have reached all proxies by then."""
FINISH_S = 90.0
"""Calls that are under way at the end have so long to end."""
PROBES = 2
"""Calls in a row by way of each proxy that have to succeed."""


class NotCarriedError(Exception):
    """The cluster carries no calls before the load begins."""


class Callers:
    """One for each Locust process. When it is made it writes rules, and proves them with calls."""

    def __init__(
        self, options: argparse.Namespace, target: Target, index: int, fire: Callable[[rows.Row], None]
    ) -> None:
        """``index``: of the Locust process, from 0 on; ``fire`` puts a row into Locust's statistics."""
        self.model = Model(settings.read(Path(options.traffic)))
        self.outcomes: Counter[tuple[str, str]] = Counter()
        """By kind of number and outcome."""
        self.seconds: list[Second] = []
        self._fire = fire
        self._target = target
        self._keep_rules = options.keep_rules
        self._calls = Group()
        self._engaged: set[str] = set()
        self._locust_cpu = time.process_time()
        self._ending = Event()
        host = own_address(target.proxies[0])
        self._engine = Engine.start(
            Start(
                options.caller_host or host, options.line_host or host, options.media_host or host, list(target.proxies)
            ),
            self._effort,
        )
        self.site = site.Site(index, options.caller_host or host, self._engine.line)
        try:
            with target.provisioning.channel() as channel:
                site.write(channel, self.site, self.model)
            self._prove(len(target.proxies))
        except BaseException:
            self._engine.close()
            raise

    def begin(self, random: Random) -> None:
        """Begin a call as the model has it, without waiting for anything; none after :meth:`finish`."""
        if self._ending.is_set():
            return
        plan = self.model.call(random)
        while plan.caller in self._engaged:
            # Nobody makes two calls at once.
            plan = self.model.call(random)
        self._calls.spawn(self._whole, plan, Random(random.random()))

    def start(self) -> None:
        """A run begins; nothing is counted yet."""
        self._ending.clear()
        self.outcomes.clear()
        self.seconds.clear()

    def finish(self) -> None:
        """Begin no more calls, and wait for those that are under way."""
        self._ending.set()
        self._engine.finish(FINISH_S)
        self._calls.join(FINISH_S)

    def close(self) -> None:
        """End, and take the rules away. Calls that are still under way are told of as unfinished."""
        self._ending.set()
        self._engine.finish(0.0)
        self._calls.join(FINISH_S)
        self._engine.close()
        if not self._keep_rules:
            with self._target.provisioning.channel() as channel:
                site.remove(channel, self.site, self.model)

    def _whole(self, plan: Plan, random: Random) -> None:
        """A call, and those that the same caller makes again because he did not get through."""
        self._engaged.add(plan.caller)
        try:
            attempt = 1
            while True:
                result = self._engine.call(plan, self.site.number(plan.rank))
                self._count(plan, result)
                outcome = Outcome(result.outcome)
                again = None if outcome in _CONTENT else self.model.again(random, plan, attempt)
                if again is None:
                    return
                wait_s, plan = again
                if self._ending.wait(wait_s):
                    return
                attempt += 1
        finally:
            self._engaged.discard(plan.caller)

    def _count(self, plan: Plan, result: Result) -> None:
        self.outcomes[plan.kind, result.outcome] += 1
        for row in rows.rows(result):
            self._fire(row)

    def _prove(self, proxies: int) -> None:
        """Calls that are not counted, until each proxy has carried some."""
        random, good, deadline = Random(0), 0, time.monotonic() + FIRST_CALL_S
        while good < PROBES * proxies:
            plan = site.probe(self.model.call(random))
            result = self._engine.call(plan, self.site.number(self.model.kinds.index(plan.kind)))
            good = good + 1 if result.outcome == Outcome.ANSWERED else 0
            if not good and time.monotonic() > deadline:
                raise NotCarriedError(f"no call gets through: {result.outcome} {result.why}")

    def _effort(self, effort: Effort) -> None:
        now = time.process_time()
        self.seconds.append(
            Second(
                effort.cpu_seconds / effort.seconds,
                (now - self._locust_cpu) / effort.seconds,
                effort.late_ms,
                effort.open_calls,
                effort.retransmitted,
                effort.unreadable,
            )
        )
        self._locust_cpu = now


_CONTENT = frozenset({Outcome.ANSWERED, Outcome.UNFINISHED})
"""Callers who do not call again."""
