"""SIPp as an asyncio subprocess: started on free ports, bounded in calls and time, ended by its own process id.

The scenarios of this package (``scenarios/*.xml``) follow Record-Route, which SIPp's built-in ones don't. What SIPp
leaves behind is read by :mod:`signalbox_local.sipp_logs`.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from signalbox_local import lifeline
from signalbox_local.ports import is_free
from signalbox_local.sipp_logs import SippStatistics, read_statistics

if TYPE_CHECKING:
    from collections.abc import Mapping

SCENARIOS = Path(__file__).with_name("scenarios")

START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 3.0
_PORTS = range(20000, 32000)
"""Below the range that the kernel takes ports for outgoing sockets from."""


class SippError(Exception):
    """SIPp could not be started, or left no statistics."""


def free_port(host: str = "127.0.0.1", span: int = 1) -> int:
    """First of ``span`` consecutive ports that are free on UDP and TCP at this moment."""
    for _ in range(1000):
        port = random.choice(_PORTS[::2])
        if all(is_free(p, host) for p in range(port, port + span)):
            return port
    raise SippError(f"no {span} free ports on {host}")


@dataclass(frozen=True, slots=True)
class SippOptions:
    """What to run. ``target`` ("host:port") makes it a caller; without one it answers."""

    scenario: Path
    workdir: Path
    name: str
    """Stem of the files written to ``workdir``."""
    host: str = "127.0.0.1"
    port: int = 0
    """SIP port; 0: any free one."""
    target: str = ""
    service: str = "service"
    """User part that is called."""
    transport: Literal["udp", "tcp"] = "udp"
    rate: float = 10.0
    """Calls per second."""
    calls: int = 0
    """Ends after so many calls; 0: goes on until stopped."""
    hold_ms: int = 100
    """Length of a ``<pause/>`` without a time of its own, milliseconds."""
    stay_ms: int = 0
    """How long a ``<recv>`` without a time of its own waits, milliseconds; 0: for ever."""
    max_open: int = 5_000
    """Calls open at once, above which a caller starts no more."""
    timeout_s: float = 60.0
    """Ends as failed after this time, seconds; 0: never."""
    loss_percent: int = 0
    """So many of the messages that it sends, and of those that it gets, are lost."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """Values of further keywords of the scenario."""
    fields: Path | None = None
    """CSV file of the scenario's fields: how its rows are taken, then a row for each call (SIPp: -inf)."""
    trace_messages: bool = False
    """Write every message to ``<name>.messages``."""


@dataclass(frozen=True, slots=True)
class SippResult:
    """How a process ended."""

    exit_code: int
    """0: all calls succeeded; 1: some failed; 97: time ran out; 99: no calls; others: see SIPp. Negative: killed."""
    statistics: SippStatistics
    errors: str
    """End of SIPp's error log."""

    @property
    def clean(self) -> bool:
        """Every call succeeded and nothing was sent twice."""
        return self.exit_code == 0 and self.statistics.failed == 0 and self.statistics.retransmissions == 0


class Sipp:
    """One SIPp process: :meth:`start`, then :meth:`wait` or :meth:`stop`; ``async with`` kills what still runs."""

    def __init__(self, options: SippOptions, process: asyncio.subprocess.Process, port: int, media_port: int) -> None:
        self.options = options
        self.port = port
        self.media_port = media_port
        self._process = process

    @property
    def address(self) -> str:
        """Where it takes SIP, host:port."""
        return f"{self.options.host}:{self.port}"

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def messages_file(self) -> Path:
        """Log of messages, if they are traced."""
        return _file(self.options, "messages")

    @classmethod
    async def start(cls, options: SippOptions) -> Sipp:
        """Start and wait until its sockets are open. Raises SippError with SIPp's own words if it ends before."""
        options.workdir.mkdir(parents=True, exist_ok=True)
        for kind in ("csv", "errors", "messages"):
            _file(options, kind).unlink(missing_ok=True)
        first = free_port(options.host, span=6)
        port, media_port = options.port or first, first + 2
        with _file(options, "screen").open("wb") as screen:
            try:
                process = await asyncio.create_subprocess_exec(
                    # It does not outlive us, whatever we die of.
                    *lifeline.tied(command(options, port, media_port), signal="KILL"),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=screen,
                    stderr=asyncio.subprocess.STDOUT,
                    cwd=options.workdir,
                )
            except OSError as error:
                raise SippError(f"sipp cannot be run: {error}") from error
        self = cls(options, process, port, media_port)
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                while not _has_rows(_file(options, "csv")) and process.returncode is None:  # noqa: ASYNC110
                    # Another process writes the file: nothing here could set an event.
                    await asyncio.sleep(0.02)
        except BaseException as error:
            await self._kill()
            if isinstance(error, TimeoutError):
                raise SippError(f"{options.name}: did not begin within {START_TIMEOUT_S} s") from error
            raise
        if not _has_rows(_file(options, "csv")) or self.statistics().fatal:
            await process.wait()
            raise SippError(f"{options.name}: exit code {process.returncode}: {self._errors()}")
        return self

    async def wait(self) -> SippResult:
        """Wait until it has made its calls or its time is up."""
        try:
            code = await self._process.wait()
        except asyncio.CancelledError:
            await self._kill()
            raise
        return SippResult(code, self.statistics(), self._errors())

    async def stop(self, grace_s: float = STOP_TIMEOUT_S) -> SippResult:
        """No new calls; those that are open get ``grace_s`` seconds, then it is killed (exit code -9)."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGUSR1)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), grace_s)
        await self._kill()
        return await self.wait()

    def statistics(self) -> SippStatistics:
        """Counters as last written: once a second and at the end."""
        file = _file(self.options, "csv")
        try:
            return read_statistics(file)
        except (OSError, KeyError, ValueError) as error:
            raise SippError(f"{file}: no statistics: {error!r}") from error

    def _errors(self) -> str:
        texts = [_tail(_file(self.options, kind)) for kind in ("errors", "screen")]
        return texts[0] or ("" if self._process.returncode in (None, 0) else texts[1])

    async def _kill(self) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    async def __aenter__(self) -> Sipp:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._kill()


async def run(options: SippOptions) -> SippResult:
    """Run a bounded SIPp to its end."""
    async with await Sipp.start(options) as sipp:
        return await sipp.wait()


def command(options: SippOptions, port: int, media_port: int) -> list[str]:
    """The command line. ``port`` takes SIP, ``media_port`` and the three after it RTP, the one before it control."""
    arguments = [
        *("sipp", "-sf", str(options.scenario.resolve()), "-nostdin"),
        *("-i", options.host, "-p", str(port), "-t", "u1" if options.transport == "udp" else "t1"),
        *("-mi", options.host, "-mp", str(media_port)),
        # Its remote control socket would otherwise be open to the world.
        *("-ci", options.host, "-cp", str(media_port - 1)),
        *("-d", str(options.hold_ms), "-buff_size", str(1 << 20)),
        *("-trace_stat", "-stf", str(_file(options, "csv")), "-fd", "1"),
        *("-trace_err", "-error_file", str(_file(options, "errors"))),
    ]
    if options.stay_ms:
        arguments += ["-recv_timeout", str(options.stay_ms)]
    if options.timeout_s:
        arguments += ["-timeout", f"{options.timeout_s:.0f}s", "-timeout_error"]
    if options.loss_percent:
        arguments += ["-lost", str(options.loss_percent)]
    if options.calls:
        arguments += ["-m", str(options.calls)]
    if options.trace_messages:
        arguments += ["-trace_msg", "-message_file", str(_file(options, "messages"))]
    for key, value in options.keys.items():
        arguments += ["-key", key, value]
    if options.fields:
        arguments += ["-inf", str(options.fields.resolve())]
    if options.target:
        # Rate per 10 s, so that fractions of a call per second are possible.
        arguments += ["-r", f"{options.rate * 10:.0f}", "-rp", "10000", "-l", str(options.max_open)]
        arguments += ["-s", options.service, options.target]
    return arguments


def _file(options: SippOptions, kind: str) -> Path:
    return options.workdir.resolve() / f"{options.name}.{kind}"


def _has_rows(file: Path) -> bool:
    """SIPp writes the first row of statistics when its sockets are open, or when it gives up."""
    return file.exists() and file.read_bytes().count(b"\n") > 1


def _tail(file: Path, lines: int = 20) -> str:
    if not file.exists():
        return ""
    return "\n".join(file.read_text(errors="replace").splitlines()[-lines:])
