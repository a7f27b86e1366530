"""What all servers that tests run have in common: one process, ended by its own pid."""

from __future__ import annotations

import json
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

STOP_TIMEOUT_S = 10.0


def readiness(port: int) -> dict[str, Any]:
    """What /readyz of a side door on loopback tells, ready or not; empty if nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return dict(json.load(answer))
    except urllib.error.HTTPError as error:
        with error:
            return dict(json.load(error))
    except OSError:
        return {}


def wait_stopped(pid: int) -> None:
    """Return when every thread of a process has obeyed SIGSTOP: on a busy machine some run on for a while."""
    limit = time.monotonic() + STOP_TIMEOUT_S
    while any(_state(status) not in "TZ" for status in Path(f"/proc/{pid}/task").glob("*/stat")):
        if time.monotonic() > limit:
            raise TimeoutError(f"process {pid} has not stopped")
        time.sleep(0.001)


def _state(status: Path) -> str:
    """The letter of proc(5); a thread that is gone is as one that has stopped."""
    try:
        return status.read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"


class ServerProcess:
    """Ends, freezes and thaws ``_process``, which a subclass starts."""

    _process: subprocess.Popen[bytes] | None

    @property
    def running(self) -> bool:
        """True while the process lives."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """End at once, as a crash does (SIGKILL)."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End in order (SIGTERM). One that does not run is left alone."""
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """Freeze (SIGSTOP): its sockets take what comes and nobody answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        wait_stopped(self._process.pid)

    def resume(self) -> None:
        """Go on after :meth:`pause`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.send_signal(how)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
