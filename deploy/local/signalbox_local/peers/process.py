"""Starts a peer, and ends it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import signalbox

import signalbox_local
from signalbox_local import lifeline, peers, probes
from signalbox_local.cpu import group_cpu_seconds
from signalbox_local.runner import find_executable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

READY_S = 20.0
STOP_S = 10.0
POLL_S = 0.05
SHARED_MB, PRIVATE_MB = 512, 16
MODULES = ("tm", "sl", "rr", "pv", "maxfwd", "siputils", "app_python3")
_PATH = re.compile(r"[A-Za-z0-9_./-]+")


class PeerError(Exception):
    """A peer did not start; says how its log ends."""


class Peer:
    """One peer, which takes calls at ``address`` (host:port). It does not outlive us."""

    def __init__(self, address: str, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self.address = address
        self._command = command
        self._log = log
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers OPTIONS. Raises PeerError."""
        with self._log.open("wb") as out:
            self._process = subprocess.Popen(
                lifeline.tied([find_executable(self._command[0]), *self._command[1:]]),
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
                env={**os.environ, **self._environment},
            )  # fmt: skip
        deadline = time.monotonic() + READY_S
        while True:
            try:
                probes.sip(self.address)
                return
            except probes.NotReadyError as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    end = self._log.read_text(errors="replace")[-2_000:]
                    raise PeerError(f"{self.address} takes no calls: {error}\n{end}") from error
                time.sleep(POLL_S)

    def stop(self) -> None:
        """End it and its children; again is no error."""
        if self._process is None:
            return
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def restart(self) -> None:
        """As if no call had come before. Raises PeerError."""
        self.stop()
        self.start()

    def cpu_seconds(self) -> float:
        """Processor time of it and its children since it was started, seconds; 0 if it is down."""
        return group_cpu_seconds(self._process.pid) if self._process else 0.0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def kemi_proxy(directory: Path, address: str, routing: str, trunk: str, workers: int) -> Peer:
    """Kamailio whose workers ask a routing replica (host:port) from Python, and wait for its answer.

    Raises ValueError for a path that Kamailio's files cannot hold.
    """
    directory.mkdir(parents=True, exist_ok=True)
    config = directory / "kamailio.cfg"
    config.write_text(kemi_config(address, Path(__file__).with_name("kemi.py"), workers))
    command = [
        "kamailio", "-f", str(config), "-DD", "-E", "-x", "tlsf", "-X", "tlsf", "-m", str(SHARED_MB),
        "-M", str(PRIVATE_MB), "-P", str(directory / "kamailio.pid"), "-Y", str(directory),
    ]  # fmt: skip
    # The interpreter inside Kamailio is Debian's, and knows nothing of our virtual environment.
    sources = (signalbox, signalbox_local)
    paths = [sysconfig.get_path("purelib"), *(str(Path(str(one.__file__)).parents[1]) for one in sources)]
    environment = {"PYTHONPATH": os.pathsep.join(paths), peers.ROUTING_ADDRESS: routing, peers.TRUNK: trunk}
    return Peer(address, command, directory / "log", environment)


def kemi_config(address: str, script: Path, workers: int) -> str:
    """What Kamailio is started with: modules and one socket (host:port), the rest is in the script."""
    if not _PATH.fullmatch(str(script)):
        raise ValueError(f"{str(script)!r} has characters other than A-Z a-z 0-9 _ . / -")
    lines = [
        "#!KAMAILIO", "debug=1", "log_stderror=yes", "dns=off", "rev_dns=off", "auto_aliases=no", "disable_tcp=yes",
        f"children={workers}", f"listen=udp:{address}",
        *(f'loadmodule "{module}.so"' for module in MODULES),
        'modparam("rr", "append_fromtag", 1)',
        # The script says so itself, before it asks.
        'modparam("tm", "auto_inv_100", 0)',
        f'modparam("app_python3", "load", "{script}")',
        'cfgengine "python"',
    ]  # fmt: skip
    return "\n".join([*lines, ""])


def b2bua(directory: Path, address: str, line: str) -> Peer:
    """sippy's back-to-back user agent, before one line (host:port)."""
    directory.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "signalbox_local.peers.b2bua", address, line]
    return Peer(address, command, directory / "log", {})
