"""A process of Signalbox for tests, set by environment variables, with its side door on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from support.ports import free_port
from support.process import STOP_TIMEOUT_S, ServerProcess, readiness

if TYPE_CHECKING:
    from pathlib import Path

START_TIMEOUT_S = 30.0


@dataclass
class Program(ServerProcess):
    """``kind``: the command, "ivr"; ``settings`` go into the environment: ``{"IVR__ID": "ivr-1"}``."""

    kind: str
    directory: Path
    settings: dict[str, Any]
    metrics_port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)

    @property
    def log(self) -> Path:
        """What it writes to its standard error."""
        return self.directory / f"{self.kind}.log"

    def start(self) -> Program:
        """Start it; :meth:`wait_ready` tells when it is."""
        self.directory.mkdir(parents=True, exist_ok=True)
        given = {f"{self.kind.upper()}__METRICS__LISTEN": f"127.0.0.1:{self.metrics_port}", **self.settings}
        environment = {key: value for key, value in os.environ.items() if not key.startswith("SIGNALBOX_")}
        environment |= {f"SIGNALBOX_{key}": _text(value) for key, value in given.items()}
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "signalbox", self.kind]
            self._process = subprocess.Popen(command, stderr=log, env=environment, cwd=self.directory)
        return self

    def facts(self) -> dict[str, Any]:
        """What /readyz tells; empty if nobody answers."""
        return readiness(self.metrics_port)

    def get(self, path: str) -> str:
        """What the side door answers. Raises OSError if it is not 200."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/{path}", timeout=5) as answer:
            return str(answer.read().decode())

    def wait_ready(self, ready: bool = True) -> Program:
        """Wait until it says so. Raises TimeoutError with the end of the log."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while self.facts().get("ready") is not ready:
            if time.monotonic() > deadline or not self.running:
                raise TimeoutError(self.log.read_text()[-3000:])
            time.sleep(0.02)
        return self

    def signal(self, number: int) -> None:
        """Send a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self) -> int:
        """Its exit code, once it has ended."""
        assert self._process is not None
        return self._process.wait(2 * STOP_TIMEOUT_S)

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log's events of a name."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("event") == name]


def _text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, list | dict) else str(value)
