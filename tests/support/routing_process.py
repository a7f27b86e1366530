"""The routing service as a process of its own, with real etcd, and questions asked of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from support.ports import free_port
from support.process import readiness

if TYPE_CHECKING:
    from pathlib import Path

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 15.0
PROGRAM = "from signalbox import settings; from signalbox.routing import main; main.serve(settings.load())"


@dataclass
class RoutingProcess:
    """``settings`` go into the environment: ``{"ROUTING__WORKERS": 2}``."""

    directory: Path
    etcd: str
    settings: dict[str, Any] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    metrics_port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)

    @property
    def address(self) -> str:
        """gRPC host:port."""
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """What it writes to its standard error."""
        return self.directory / "routing.log"

    @property
    def pid(self) -> int:
        """Process id: of the parent, if there are several workers."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> RoutingProcess:
        """Start it; :meth:`wait_ready` tells when it serves."""
        given = {
            "ETCD__ENDPOINTS": json.dumps([self.etcd]),
            "ROUTING__LISTEN": self.address,
            "ROUTING__METRICS__LISTEN": f"127.0.0.1:{self.metrics_port}",
            "ROUTING__SNAPSHOT_FILE": self.directory / "rules.snapshot",
            "ROUTING__SNAPSHOT_INTERVAL_S": 0.1,
            **self.settings,
        }
        environment = {key: value for key, value in os.environ.items() if not key.startswith("SIGNALBOX_")}
        environment |= {f"SIGNALBOX_{key}": str(value) for key, value in given.items()}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen([sys.executable, "-c", PROGRAM], stderr=log, env=environment)
        return self

    def facts(self, worker: int = 0) -> dict[str, Any]:
        """What a worker's /readyz tells; empty if nobody answers."""
        return readiness(self.metrics_port + worker)

    def metrics(self, worker: int = 0) -> str:
        """A worker's /metrics."""
        with urllib.request.urlopen(self._side_door(worker, "metrics"), timeout=2) as answer:
            return str(answer.read().decode())

    def _side_door(self, worker: int, path: str) -> str:
        return f"http://127.0.0.1:{self.metrics_port + worker}/{path}"

    def wait_ready(self, *workers: int) -> RoutingProcess:
        """Wait until these workers (by default the only one) are ready. Raises TimeoutError with the end of the log."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while not all(self.facts(worker).get("ready") for worker in workers or (0,)):
            if time.monotonic() > deadline or self.exit_code is not None:
                raise TimeoutError(self.log.read_text()[-2000:])
            time.sleep(0.02)
        return self

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        assert self._process is not None
        return self._process.poll()

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log's events of a name."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("event") == name]

    def children(self) -> list[int]:
        """Process ids of the workers, in the order they were started."""
        return [int(pid) for pid in _children_file(self.pid).split()]

    def wait(self) -> int:
        """Its exit code, once it has ended."""
        assert self._process is not None
        return self._process.wait(STOP_TIMEOUT_S)

    def stop(self) -> int:
        """End in order; returns the exit code. One that has ended is left alone."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def _children_file(pid: int) -> str:
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return file.read()
