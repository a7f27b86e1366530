"""Which targets of trunks live, as our proxy sees it.

Every target is asked once in its interval, all of them spread over it. A target is alive until so many failures in a
row have proved it dead, and dead until so many replies in a row: in between, and only then, it is asked more often.
What the proxy does not tell counts as nothing: a proxy that is away proves no target dead.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from signalbox.api.routing.v1.routing_pb2 import EdgeTargets
from signalbox.api.types.v1 import types_pb2
from signalbox.domain.objects import Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from signalbox.domain.objects import HealthCheck, Target
    from signalbox.edge.options import OptionsSender

logger = structlog.get_logger(__name__)

FAILURES = frozenset({408, 500, 502, 503, 504})
"""Status codes of a target that takes no calls or was not reached. Any other tells that somebody is there."""

TICK_S = 0.05
MOST_IN_A_TICK = 20
"""So no more than 400 requests leave in a second; if more are due, the intervals stretch."""

FIRST_APART_S = 0.01
"""New targets are first asked this far apart, or closer if their interval is too short for that."""

DOUBT_S = 5.0
"""A target whose last reply was other than its state is asked again after this time."""

TELL_S = 0.2
"""Least time between two reports of changes."""

TOLD_PER_S = 500
"""The more are dead, the longer the pause between two reports: each holds all of them, and every worker of every
replica reads it."""

MOST_DEAD = 10_000
"""A report holds no more; those that died first are in it."""


@dataclass(slots=True, eq=False)
class _Watched:
    """What is known of a target. ``due`` is in seconds of the event loop's clock, ``since`` in those of the epoch.

    ``run``: so many replies in a row were other than its state.
    """

    check: HealthCheck
    due: float
    alive: bool = True
    run: int = 0
    since: float = 0.0
    code: int = 0


class Targets:
    """:meth:`run` is the long-lived coroutine.

    ``proxy_life`` numbers the lives of the proxy from 1; 0: it is away. With a new life all targets are alive again.
    """

    def __init__(self, sender: OptionsSender, proxy_life: Callable[[], int]) -> None:
        self._sender = sender
        self._proxy_life = proxy_life
        self._life = 0
        self._time = asyncio.get_running_loop().time
        self._targets: dict[Target, _Watched] = {}
        self._queue: list[tuple[float, int, Target]] = []
        self._numbers = itertools.count()
        self._on_change: Callable[[], None] = lambda: None
        self._untold = False
        self._tell_at = 0.0
        sender.on_reply(self.take)

    def on_change(self, on_change: Callable[[], None]) -> None:
        """Set who is told that :meth:`seen` has changed."""
        self._on_change = on_change

    def want(self, checks: Mapping[Target, HealthCheck]) -> None:
        """These are to be asked from now on. What is known of those that were asked before stays known."""
        now = self._time()
        for target in self._targets.keys() - checks.keys():
            self._untold |= not self._targets.pop(target).alive
        new = [target for target in checks if target not in self._targets]
        for target, check in checks.items():
            watched = self._targets.get(target)
            if watched is not None:
                watched.check = check
                if watched.due > now + check.interval_s:
                    self._schedule(target, watched, now + check.interval_s)
        for position, target in enumerate(new):
            check = checks[target]
            watched = self._targets[target] = _Watched(check, 0.0)
            apart_s = min(FIRST_APART_S, check.interval_s / len(new))
            self._schedule(target, watched, now + position * apart_s)

    def take(self, target: Target, code: int) -> None:
        """A target's reply, or what the proxy says in its place."""
        watched = self._targets.get(target)
        if watched is None:
            return
        alive = code not in FAILURES
        if alive is watched.alive:
            watched.run = 0
            return
        watched.run += 1
        if watched.run < (watched.check.successes if alive else watched.check.failures):
            self._schedule(target, watched, self._time() + min(DOUBT_S, watched.check.interval_s))
            return
        before = watched.since
        watched.alive, watched.run, watched.since, watched.code = alive, 0, time.time(), code
        self._untold = True
        if alive:
            logger.info("target_alive", target=str(target), code=code, dead_s=round(watched.since - before, 1))
        else:
            logger.warning("target_dead", target=str(target), code=code, failures=watched.check.failures)

    @property
    def dead(self) -> int:
        """Targets that are dead now."""
        return sum(not watched.alive for watched in self._targets.values())

    def seen(self) -> EdgeTargets:
        """The dead targets, for routing."""
        found = EdgeTargets()
        dead = sorted((one for one in self._targets.items() if not one[1].alive), key=lambda one: one[1].since)
        if len(dead) > MOST_DEAD:
            logger.error("dead_targets_not_told", targets=len(dead) - MOST_DEAD)
        for target, watched in dead[:MOST_DEAD]:
            told = found.dead.add(code=watched.code)
            told.target.host, told.target.port = target.host, target.port
            tcp = target.transport is Transport.TCP
            told.target.transport = types_pb2.SIP_TRANSPORT_TCP if tcp else types_pb2.SIP_TRANSPORT_UDP
            told.since.FromMilliseconds(int(watched.since * 1000))
        return found

    def states(self) -> Iterator[tuple[Target, bool]]:
        """Every target that is asked, and whether it is alive."""
        for target, watched in self._targets.items():
            yield target, watched.alive

    async def run(self) -> None:
        """Long-lived coroutine."""
        while True:
            self._tick()
            await asyncio.sleep(TICK_S)

    def _tick(self) -> None:
        life = self._proxy_life()
        if life:
            if life != self._life:
                self._begin_again()
                self._life = life
            self._ask()
        now = self._time()
        if self._untold and now >= self._tell_at:
            self._untold, self._tell_at = False, now + max(TELL_S, min(self.dead, MOST_DEAD) / TOLD_PER_S)
            self._on_change()

    def _begin_again(self) -> None:
        """What the proxy saw in the life before proves nothing now."""
        for watched in self._targets.values():
            self._untold |= not watched.alive
            watched.alive, watched.run = True, 0

    def _ask(self) -> None:
        """Ask those that are due."""
        now = self._time()
        asked = 0
        while self._queue and self._queue[0][0] <= now and asked < MOST_IN_A_TICK:
            due, _, target = heapq.heappop(self._queue)
            watched = self._targets.get(target)
            if watched is None or watched.due != due:
                continue
            self._sender.ask(target)
            asked += 1
            self._schedule(target, watched, now + watched.check.interval_s)

    def _schedule(self, target: Target, watched: _Watched, due: float) -> None:
        """Ask at this time and not when it was due before."""
        watched.due = due
        heapq.heappush(self._queue, (due, next(self._numbers), target))
