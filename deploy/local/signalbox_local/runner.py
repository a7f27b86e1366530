"""Runs the processes of a cluster under supervisord, told what to do over XML-RPC on a UNIX socket.

Nothing outlives its parent: supervisord and every process below it ask the kernel for SIGTERM when the parent dies
(``lifeline``), whatever it died of. ``docs/design/process-runner.md`` says why supervisord.
"""

from __future__ import annotations

import configparser
import contextlib
import http.client
import os
import resource
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import xmlrpc.client
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from signalbox_local import interrupts, lifeline

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

GROUP = "cluster"
START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 5.0
"""A process that has not ended this long after SIGTERM is killed."""
OPEN_FILES = 65_536
_UNIX_PATH_LIMIT = 107
_ALIVE_STATES = frozenset({"STARTING", "RUNNING", "STOPPING"})


class RunnerError(Exception):
    """supervisord did not start, or refused an order."""


@dataclass(frozen=True, slots=True)
class Program:
    """A process to run: absolute or found on PATH, in the foreground."""

    name: str
    command: Sequence[str]
    log: Path
    """Standard output and standard error."""


@dataclass(frozen=True, slots=True)
class ProcessState:
    """A process as supervisord sees it."""

    name: str
    pid: int
    """0: not running."""
    state: str
    uptime_s: int
    description: str


class Runner:
    """One supervisord. Its files are in ``directory``; a Runner on the same directory talks to the same supervisord."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory.resolve()
        self._socket = self._directory / "supervisor.sock"
        self._pid_file = self._directory / "supervisord.pid"
        self._log = self._directory / "supervisord.log"
        self._config = self._directory / "supervisord.conf"
        self._supervisord: subprocess.Popen[bytes] | None = None
        """Ours, if this object started it."""

    def launch(self, programs: Sequence[Program], *, detached: bool) -> None:
        """Start supervisord with these programs, none of them started yet.

        ``detached``: it outlives us. Otherwise it ends with the thread that calls this, so that has to be the main one.
        Raises RunnerError.
        """
        if len(os.fsencode(self._socket)) > _UNIX_PATH_LIMIT:
            raise RunnerError(f"{self._socket}: longer than {_UNIX_PATH_LIMIT} bytes, too long for a UNIX socket")
        if not detached and threading.current_thread() is not threading.main_thread():
            raise RunnerError("the cluster must be started from the main thread, with which it ends")
        self._directory.mkdir(parents=True, exist_ok=True)
        self._write_config(programs)
        self._log.unlink(missing_ok=True)
        command = [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(self._config)]
        if not detached:
            command = lifeline.tied(command)
        with interrupts.deferred():
            process = self._supervisord = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                # Ctrl-C at the terminal reaches us alone; we end the processes in order.
                start_new_session=True,
            )
            # Known even before supervisord has written it, so that whoever is interrupted now can end it.
            self._pid_file.write_text(f"{process.pid}\n")
        self._wait_for_start(process)
        _raise_open_files(process.pid)

    def start(self, name: str) -> None:
        """Start a process. Raises RunnerError if it cannot be run at all."""
        self._call("startProcess", f"{GROUP}:{name}", False)

    def stop(self, name: str) -> None:
        """SIGTERM, then SIGKILL to the whole process group; returns when it has ended. One that is down is no error."""
        if self.state(name).state in _ALIVE_STATES:
            self._call("stopProcess", f"{GROUP}:{name}", True)

    def kill(self, name: str) -> None:
        """SIGKILL to the process and all its children; returns when it has ended. Raises RunnerError if it is down."""
        pid = self.state(name).pid
        if not pid:
            raise RunnerError(f"{name} is not running")
        # supervisord gives every process a group of its own.
        os.killpg(pid, signal.SIGKILL)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while self.state(name).pid:
            if time.monotonic() > deadline:
                raise RunnerError(f"{name} did not end after SIGKILL")
            time.sleep(0.01)

    def state(self, name: str) -> ProcessState:
        """One process. Raises RunnerError if there is none of that name."""
        return _state(self._call("getProcessInfo", f"{GROUP}:{name}"))

    def states(self) -> dict[str, ProcessState]:
        """All processes by name, at one moment."""
        rows = self._call("getAllProcessInfo")
        assert isinstance(rows, list)
        return {state.name: state for state in map(_state, rows)}

    @property
    def running(self) -> bool:
        """True while supervisord lives."""
        return self._pid() is not None

    def shutdown(self) -> None:
        """End all processes at once, then supervisord; returns when nothing is left. No error if nothing runs."""
        pid = self._pid()
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            if not self._wait_for_end(STOP_TIMEOUT_S + 4.0):
                # Its processes get SIGTERM from the kernel.
                os.kill(pid, signal.SIGKILL)
                self._wait_for_end(STOP_TIMEOUT_S)
        if self._supervisord is not None:
            self._supervisord.wait(STOP_TIMEOUT_S)
            self._supervisord = None
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while (left := self.remaining()) and time.monotonic() < deadline:
            # Children whose parent was killed: nobody else will end them.
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        self._pid_file.unlink(missing_ok=True)
        self._socket.unlink(missing_ok=True)

    def remaining(self) -> list[int]:
        """Pids of all processes that descend from this supervisord, whoever their parent is by now."""
        # supervisord tells its processes where it listens, and they hand that down.
        mark = b"SUPERVISOR_SERVER_URL=unix://" + os.fsencode(self._socket)
        pids = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                with contextlib.suppress(OSError):
                    if mark in (entry / "environ").read_bytes().split(b"\0"):
                        pids.append(int(entry.name))
        return pids

    def _wait_for_end(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self._pid() is not None:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def _pid(self) -> int | None:
        """Pid of the supervisord of this directory, if it lives: a number used again by another process is not it."""
        try:
            if self._supervisord is not None:
                self._supervisord.poll()  # so that it leaves no zombie
            pid = int(self._pid_file.read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return None
        return pid if os.fsencode(self._config) in command else None

    def _wait_for_start(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            with contextlib.suppress(RunnerError):
                self._call("getState")
                return
            if process.poll() is not None or time.monotonic() > deadline:
                tail = self._log.read_text(errors="replace") if self._log.exists() else ""
                raise RunnerError(f"supervisord did not start (exit code {process.poll()}): {tail[-2000:]}")
            time.sleep(0.02)

    def _call(self, method: str, *arguments: object) -> object:
        # A connection per order: no state that a broken one could leave behind, and any thread may call.
        with xmlrpc.client.ServerProxy("http://localhost", transport=_UnixTransport(self._socket)) as server:
            try:
                return getattr(server.supervisor, method)(*arguments)
            except xmlrpc.client.Fault as error:
                raise RunnerError(f"{method} {arguments}: {error.faultString}") from error
            except (OSError, http.client.HTTPException, xmlrpc.client.Error) as error:
                raise RunnerError(f"supervisord does not answer: {error!r}") from error

    def _write_config(self, programs: Sequence[Program]) -> None:
        sections: dict[str, Mapping[str, object]] = {
            "unix_http_server": {"file": self._socket, "chmod": "0700"},
            "supervisord": {
                "logfile": self._log,
                "pidfile": self._pid_file,
                "childlogdir": self._directory,
                "directory": "/",
            },
            "rpcinterface:supervisor": {
                "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
            },
            # One group: at the end all of its processes are told at once instead of one after the other.
            f"group:{GROUP}": {"programs": ",".join(program.name for program in programs)},
        }
        for program in programs:
            program.log.parent.mkdir(parents=True, exist_ok=True)
            command = [find_executable(program.command[0]), *program.command[1:]]
            sections[f"program:{program.name}"] = {
                "command": shlex.join(lifeline.tied(command, parent=self._pid_file)),
                "autostart": "false",
                # What was killed stays dead until it is started again: this cluster is there to see what then happens.
                "autorestart": "false",
                "startsecs": 0,
                "startretries": 0,
                "stopwaitsecs": int(STOP_TIMEOUT_S),
                "killasgroup": "true",
                "redirect_stderr": "true",
                "stdout_logfile": program.log,
                "stdout_logfile_maxbytes": "50MB",
                "stdout_logfile_backups": 1,
            }
        config = configparser.RawConfigParser()
        # supervisord expands %(...)s everywhere.
        config.read_dict(
            {s: {k: str(v).replace("%", "%%") for k, v in values.items()} for s, values in sections.items()}
        )
        with self._config.open("w") as file:
            config.write(file)


class _UnixTransport(xmlrpc.client.Transport):
    """XML-RPC over a UNIX socket."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: object) -> http.client.HTTPConnection:
        connection = _UnixConnection(self._path)
        self._connection = "localhost", connection  # which the base class closes
        return connection


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=STOP_TIMEOUT_S + 5.0)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(os.fspath(self._path))


def find_executable(*names: str) -> str:
    """Full path of the first of these commands that is installed. Raises RunnerError if none is."""
    # Servers are in /usr/sbin, which a user's PATH may lack.
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"
    for name in names:
        found = shutil.which(name, path=path)
        if found:
            return found
    raise RunnerError(f"{' or '.join(names)}: not installed; run deploy/local/install")


def _raise_open_files(pid: int) -> None:
    """Let the processes have many sockets: supervisord's limit is what they inherit."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    soft = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))


def _state(row: object) -> ProcessState:
    assert isinstance(row, dict)
    started = row["start"] if row["pid"] else row["now"]
    return ProcessState(row["name"], row["pid"], row["statename"], row["now"] - started, row["description"])
