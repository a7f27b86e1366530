"""A run in one Locust process, and in all of them together: who has begun and ended, and what everybody counted.

A process that makes calls has :class:`Callers` from its start on. Whoever collects (a lone process, or the master of
several) asks for what was counted each second, and judges at the end.
"""

from __future__ import annotations

import logging
import sys
from collections import Counter
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import gevent
import grpc
from gevent.event import Event
from locust.runners import MasterRunner, WorkerRunner
from signalbox.errors import ConfigurationError

from loadtest import objectives, options
from loadtest.callers import FINISH_S, Callers, NotCarriedError
from loadtest.effort import Second
from loadtest.engine.client import EngineError
from loadtest.exitcodes import ExitCode
from loadtest.figures import Count, Counts
from loadtest.outcome import Outcome
from loadtest.series import Series

if TYPE_CHECKING:
    from locust.env import Environment
    from signalbox.commands.connection import Connection

    from loadtest.rows import Row

logger = logging.getLogger(__name__)

FAILED, FINISH, FINISHED = "loadtest_failed", "loadtest_finish", "loadtest_finished"
"""Messages between master and workers."""
KEY = "loadtest"
"""Of what workers report besides Locust's statistics."""
REPORT_S = 4.0
"""Workers report every three seconds."""
_runs: dict[int, Run] = {}


def of(environment: Environment) -> Run:
    """The run of an environment."""
    return _runs[id(environment)]


def all_of_them() -> list[Run]:
    """Those of this process: one, for Locust has one environment."""
    return list(_runs.values())


class Run:
    """What a Locust process knows of a run."""

    def __init__(self, environment: Environment) -> None:
        """Raises ConfigurationError."""
        assert environment.parsed_options is not None
        self.environment = environment
        self.options = environment.parsed_options
        self.series = Series()
        self.outcomes: dict[str, Counter[tuple[str, str]]] = {}
        """By process; of kinds of numbers and outcomes."""
        self.seconds: dict[str, list[Second]] = {}
        """By process."""
        self._callers: Callers | None = None
        self._target = options.target(self.options) if self.makes_calls else None
        self._prepared = Event()
        self._channels: dict[str, grpc.Channel] = {}
        self._finished: set[str] = set()
        # A wrong file is told before anything begins.
        self.objectives = objectives.read(Path(self.options.objectives))
        _runs[id(environment)] = self

    @property
    def makes_calls(self) -> bool:
        """Not the master."""
        return not isinstance(self.environment.runner, MasterRunner)

    @property
    def collects(self) -> bool:
        """Not a worker."""
        return not isinstance(self.environment.runner, WorkerRunner)

    @property
    def callers(self) -> Callers:
        """Those of this process."""
        assert self._callers is not None
        return self._callers

    @property
    def counts(self) -> Counts:
        """Locust's statistics so far."""
        return {
            (entry.method, entry.name): Count(
                entry.num_requests, entry.num_failures, entry.total_response_time, dict(entry.response_times)
            )
            for entry in self.environment.stats.entries.values()
        }

    @property
    def all_outcomes(self) -> Counter[Outcome]:
        """Of all processes and kinds of numbers."""
        found: Counter[Outcome] = Counter()
        for counted in self.outcomes.values():
            for (_, outcome), number in counted.items():
                found[Outcome(outcome)] += number
        return found

    def fire(self, row: Row) -> None:
        """Put a row into Locust's statistics."""
        self.environment.events.request.fire(
            request_type=row.type,
            name=row.name,
            response_time=row.ms,
            response_length=0,
            exception=RuntimeError(row.failure) if row.failure else None,
            context={},
        )

    # --- beginning and ending ----------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Write rules, and prove that calls get through. Ends the process if they do not."""
        runner = self.environment.runner
        try:
            while isinstance(runner, WorkerRunner) and runner.worker_index < 0:
                gevent.sleep(0.1)
            index = runner.worker_index if isinstance(runner, WorkerRunner) else 0
            assert self._target is not None
            self._callers = Callers(self.options, self._target, index, self.fire)
        except (ConfigurationError, NotCarriedError, EngineError, grpc.RpcError) as error:
            self._give_up(error)
        else:
            self._prepared.set()

    def start(self) -> None:
        """The test starts."""
        if self.makes_calls:
            self._prepared.wait()
            self.callers.start()
        if self.collects:
            self.outcomes.clear()
            self.seconds.clear()
            self._finished.clear()
            if self._callers is not None:
                # What it counts itself, as it counts it.
                self.outcomes["here"], self.seconds["here"] = self._callers.outcomes, self._callers.seconds
            self.series = Series()
            gevent.spawn(self._watch, self.series)

    def finish(self) -> None:
        """No more calls are begun; returns when those under way are over, wherever they are."""
        runner = self.environment.runner
        self.series.stop()
        if isinstance(runner, MasterRunner):
            runner.send_message(FINISH)
            with gevent.Timeout(FINISH_S + REPORT_S, False):
                while len(self._finished) < runner.worker_count:
                    gevent.sleep(0.1)
        elif self._callers is not None:
            self._callers.finish()
        if self.collects:
            self.series.end()

    def close(self) -> None:
        """The process ends."""
        for channel in self._channels.values():
            channel.close()
        if self._callers is not None:
            try:
                self._callers.close()
            except grpc.RpcError as error:
                logger.warning("the rules of the load test are still there: %s", error)

    def _give_up(self, error: Exception) -> None:
        why = f"{error.code().name}: {error.details()}" if isinstance(error, grpc.Call) else str(error)
        print(f"load test: {why}", file=sys.stderr)
        runner = self.environment.runner
        if isinstance(runner, WorkerRunner):
            runner.send_message(FAILED, {"why": why})
        sys.exit(ExitCode.NOT_BEGUN)

    # --- what was counted --------------------------------------------------------------------------------------

    def report(self, data: dict[str, Any]) -> None:
        """A worker tells its master."""
        if self._callers is None:
            return
        outcomes = [[kind, outcome, number] for (kind, outcome), number in self._callers.outcomes.items()]
        seconds, self._callers.seconds[:] = [astuple(one) for one in self._callers.seconds], []
        data[KEY] = {"outcomes": outcomes, "seconds": seconds}

    def take_report(self, client_id: str, data: dict[str, Any]) -> None:
        """The master hears of it."""
        if (told := data.get(KEY)) is None:
            return
        self.outcomes[client_id] = Counter({(kind, outcome): number for kind, outcome, number in told["outcomes"]})
        self.seconds.setdefault(client_id, []).extend(Second(*one) for one in told["seconds"])

    def on_finish(self, environment: Environment, msg: object, **_: object) -> None:
        """A worker is told to end its calls."""
        gevent.spawn(self._finish_and_tell)

    def _finish_and_tell(self) -> None:
        if self._callers is not None:
            self._callers.finish()
        # What was counted last has reached the master before it hears that this was all.
        gevent.sleep(REPORT_S)
        cast("WorkerRunner", self.environment.runner).send_message(FINISHED)

    def on_finished(self, environment: Environment, msg: Any, **_: object) -> None:
        """The master hears that a worker has ended its calls."""
        self._finished.add(msg.node_id)

    def on_failed(self, environment: Environment, msg: Any, **_: object) -> None:
        """The master hears that a worker could not begin."""
        print(f"load test: worker {msg.node_id}: {msg.data['why']}", file=sys.stderr)
        environment.process_exit_code = ExitCode.NOT_BEGUN
        assert environment.runner is not None
        gevent.spawn(environment.runner.quit)

    def _watch(self, series: Series) -> None:
        while not series.over:
            if series.due:
                open_calls = sum(seconds[-1].open_calls for seconds in self.seconds.values() if seconds)
                series.look(self.counts, self.all_outcomes, open_calls)
            gevent.sleep(1.0)

    # --- connections -------------------------------------------------------------------------------------------

    def provisioning(self) -> grpc.Channel:
        """To the provisioning service."""
        assert self._target is not None
        return self._channel("provisioning", self._target.provisioning)

    def routing(self) -> grpc.Channel:
        """To a routing replica; :meth:`has_routing` tells whether one was named."""
        assert self._target is not None
        assert self._target.routing is not None
        return self._channel("routing", self._target.routing)

    @property
    def has_routing(self) -> bool:
        """A routing replica was named."""
        return self._target is not None and self._target.routing is not None

    def _channel(self, name: str, connection: Connection) -> grpc.Channel:
        if name not in self._channels:
            self._channels[name] = connection.open(connection.addresses[0])
        return self._channels[name]
