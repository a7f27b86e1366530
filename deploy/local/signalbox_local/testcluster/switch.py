"""A Kamailio that plays the carrier's switch (``switch.cfg``): it fails over, which SIPp does not.

Its address is the trunk's, and that of all lines. Callers and lines are behind it.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from importlib import resources
from typing import TYPE_CHECKING, Self

from signalbox.address import join

from signalbox_local.probes import NotReadyError, sip
from signalbox_local.runner import find_executable
from signalbox_local.sipp import free_port

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from signalbox_local.flow_messages import Address

READY_S = 10.0
STOP_S = 5.0
POLL_S = 0.05


class SwitchError(Exception):
    """The switch does not run; the text says how its log ends."""


class Switch:
    """The process. It ends with the block."""

    def __init__(self, directory: Path, address: Address, line: Address, proxies: Sequence[str]) -> None:
        """At ``address``, port 0: a free one. Calls of ``proxies`` (host:port) go to ``line``, all others to them."""
        self._directory = directory
        self.address = address[0], address[1] or free_port(address[0])
        self.log = directory / "switch.log"
        self._line, self._proxies = line, list(proxies)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._directory.mkdir(parents=True, exist_ok=True)
        proxies = self._directory / "proxies.list"
        proxies.write_text("".join(f"1 sip:{one}\n" for one in self._proxies))
        file = self._directory / "switch.cfg"
        file.write_text(render(self.address, self._line, proxies))
        # Without shared memory for thousands of proxies.
        command = [find_executable("kamailio"), "-f", str(file), "-DD", "-E", "-m", "64", "-M", "8"]
        command += ["-w", str(self._directory), "-Y", str(self._directory), "-P", str(self._directory / "switch.pid")]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def told(self) -> list[str]:
        """What it wrote so far of proxies that it passed over, line by line."""
        with contextlib.suppress(OSError):
            text = self.log.read_text(errors="replace")
            return [line for line in text.splitlines() if "_proxy " in line or "proxy_" in line or "dialog_" in line]
        return []

    def _wait(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + READY_S
        while True:
            if self._process.poll() is not None:
                raise SwitchError(f"the switch has ended:\n{self.log.read_text(errors='replace')[-2000:]}")
            try:
                sip(join(*self.address))
            except NotReadyError as error:
                if time.monotonic() > deadline:
                    raise SwitchError(f"the switch does not answer: {error}") from error
                time.sleep(POLL_S)
            else:
                return


def render(address: Address, line: Address, proxies: Path) -> str:
    """Its configuration; ``proxies``: the file that lists them."""
    template = resources.files(__package__).joinpath("switch.cfg").read_text()
    return template % {"host": address[0], "port": address[1], "line": join(*line), "proxies": proxies}
