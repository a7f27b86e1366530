"""The process that makes calls, as Locust's process sees it. Under gevent: whoever waits for a call lets others run."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Self

import gevent
from gevent.event import AsyncResult
from signalbox_local import lifeline

from loadtest.engine import messages
from loadtest.engine.messages import Effort, Result
from loadtest.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadtest.engine.messages import Address, Start
    from loadtest.model.traffic import Plan

READY_S = 30.0
CLOSE_S = 10.0


class EngineError(Exception):
    """The process has ended, or does not begin."""


class Engine:
    """A process that makes calls. ``line``: where its lines are called."""

    def __init__(self, process: subprocess.Popen[bytes], line: Address, on_effort: Callable[[Effort], None]) -> None:
        self.line = line
        self._process = process
        self._on_effort = on_effort
        self._count = itertools.count(1)
        self._waiting: dict[int, AsyncResult[Result]] = {}
        self._reader = gevent.spawn(self._read)

    @classmethod
    def start(cls, start: Start, on_effort: Callable[[Effort], None]) -> Self:
        """Start it; ``on_effort`` is told each second what it takes. Raises EngineError."""
        command = lifeline.tied([sys.executable, "-m", "loadtest.engine.process"])
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            with gevent.Timeout(READY_S, EngineError(f"the process that makes calls is not ready in {READY_S:.0f} s")):
                _write(process, messages.dumps("start", start))
                assert process.stdout is not None
                first = process.stdout.readline()
            if not first:
                raise EngineError("the process that makes calls has ended: its error is above")
        except BaseException:
            process.kill()
            process.wait()
            raise
        return cls(process, tuple(json.loads(first)["line"]), on_effort)

    def call(self, plan: Plan, number: str) -> Result:
        """Make a call, and wait until it is over. Raises EngineError."""
        id = next(self._count)
        waiting = self._waiting[id] = AsyncResult()
        try:
            _write(self._process, json.dumps({"id": id, "plan": asdict(plan), "number": number}).encode() + b"\n")
            result: Result = waiting.get()
            return result
        except OSError as error:
            raise EngineError("the process that makes calls has ended") from error
        finally:
            self._waiting.pop(id, None)

    def finish(self, patience_s: float) -> None:
        """Wait until no call is under way, at most so long. Those that are then have the outcome "unfinished"."""
        with gevent.Timeout(patience_s, False):
            while self._waiting:
                gevent.sleep(0.1)
        for waiting in tuple(self._waiting.values()):
            waiting.set(Result(0, Outcome.UNFINISHED))

    def close(self) -> None:
        """End the process and its calls."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message: dict[str, Any] = json.loads(line)
            if message["kind"] == "effort":
                del message["kind"]
                self._on_effort(Effort(**message))
            elif (waiting := self._waiting.get(message["id"])) is not None:
                waiting.set(messages.result(message))
        for waiting in tuple(self._waiting.values()):
            waiting.set_exception(EngineError("the process that makes calls has ended"))


def _write(process: subprocess.Popen[bytes], line: bytes) -> None:
    assert process.stdin is not None
    process.stdin.write(line)
    process.stdin.flush()
