"""Real rtpengines for tests, each with a loopback address of its own for RTP, ended by their own pid; and a relay that
stands in for a proxy.

::

    server = Rtpengine(tmp_path / "rtpengine").start()
    ... server.control ...
    server.kill(); server.restart()
    server.stop()

Starting and stopping block for a fraction of a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from signalbox.media.rtpengine_config import RtpengineOptions, render
from signalbox.ng import NgClient

from support.ports import free_port
from support.process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path

START_TIMEOUT_S = 20.0

STRICT = ["strict source"]
"""Flags of every offer and answer, as the proxies give them."""


def own_loopback_address() -> str:
    """A loopback address that no other test process uses: it holds all of its ports."""
    pid = os.getpid()
    return f"127.{200 + pid % 50}.{pid // 50 % 250}.{1 + pid // 12_500 % 250}"


@dataclass
class Rtpengine(ServerProcess):
    """One rtpengine, run with the command line that production uses."""

    directory: Path
    redis: str = ""
    interface: str = field(default_factory=own_loopback_address)
    port_min: int = 30_000
    ports: int = 1_000
    recording_dir: Path | None = None
    """Where it captures calls that are recorded; made if it is not there. None: it captures none."""
    keys: str = ""
    """Where it tells of keys; empty: nowhere."""
    port: int = field(default_factory=free_port)
    pid: int = field(default=0, init=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)

    @property
    def control(self) -> str:
        """host:port of the ng protocol."""
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """What it writes to its standard error."""
        return self.directory / "rtpengine.log"

    def start(self) -> Rtpengine:
        """Start, and wait until it answers a ping."""
        self.directory.mkdir(parents=True, exist_ok=True)
        if self.recording_dir is not None:
            self.recording_dir.mkdir(parents=True, exist_ok=True)
        options = RtpengineOptions(
            control=self.control,
            interface=self.interface,
            port_min=self.port_min,
            port_max=self.port_min + self.ports - 1,
            redis=self.redis,
            recording_dir="" if self.recording_dir is None else str(self.recording_dir),
            keys=self.keys,
            log_level=6,
        )
        with self.log.open("ab") as log:
            # Should it die, its core is not left in the checkout.
            self._process = subprocess.Popen(render(options), stdout=log, stderr=log, cwd=self.directory)
        self.pid = self._process.pid
        self._wait_ready()
        return self

    def _wait_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_TIMEOUT_S
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("127.0.0.1", self.port))
            probe.settimeout(0.05)
            while time.monotonic() < deadline:
                if self._process.poll() is not None:
                    raise ChildProcessError(f"rtpengine exited with {self._process.returncode}: {self.log.read_text()}")
                with contextlib.suppress(OSError):
                    probe.send(b"ready d7:command4:pinge")
                    if b"pong" in probe.recv(1500):
                        return
                time.sleep(0.01)
        raise TimeoutError(f"rtpengine does not answer: {self.log.read_text()}")

    def stop(self) -> None:
        """End in order; one that may be capturing is killed, for it dies of SIGTERM as well (rtpengine/README.md)."""
        if self.recording_dir is None:
            super().stop()
        else:
            self.kill()

    def restart(self) -> Rtpengine:
        """Start again on the same port; ends the process first if it still runs."""
        self.stop()
        return self.start()


@pytest.fixture
async def ng_client(rtpengine: Rtpengine) -> AsyncIterator[NgClient]:
    """A client of the rtpengine."""
    client = await NgClient.connect(rtpengine.control)
    yield client
    client.close()


@pytest.fixture
def rtpengine(tmp_path: Path) -> Iterator[Rtpengine]:
    """One rtpengine for one test, which may kill it."""
    server = Rtpengine(tmp_path / "rtpengine").start()
    yield server
    server.stop()


def sdp(address: str, port: int) -> str:
    """An offer or answer (RFC 3264) of one A-law stream."""
    return "\r\n".join(
        (
            "v=0",
            f"o=- 1 1 IN IP4 {address}",
            "s=-",
            f"c=IN IP4 {address}",
            "t=0 0",
            f"m=audio {port} RTP/AVP 8",
            "a=rtpmap:8 PCMA/8000",
            "a=ptime:20",
            "",
        )
    )


def media_address(text: str) -> tuple[str, int]:
    """Where an SDP wants its RTP."""
    address = re.search(r"^c=IN IP4 (\S+)", text, re.MULTILINE)
    port = re.search(r"^m=audio (\d+) ", text, re.MULTILINE)
    assert address is not None, text
    assert port is not None, text
    return address[1], int(port[1])


class SipRelay(asyncio.DatagramProtocol):
    """The least that stands between two SIPps: passes every datagram on, and SDP through an rtpengine first."""

    def __init__(self, client: NgClient, line: tuple[str, int], flags: Sequence[str] = STRICT) -> None:
        self._client = client
        self._line = line
        self._flags = list(flags)
        self._caller: tuple[str, int] | None = None
        self._transport: asyncio.DatagramTransport | None = None
        self._passing: asyncio.Task[None] | None = None
        self.failures: list[BaseException] = []
        self.answered: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """The Call-ID, once the rtpengine has the answer."""

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, client: NgClient, line: tuple[str, int]) -> AsyncIterator[SipRelay]:
        """Listen on a free loopback port."""
        loop = asyncio.get_running_loop()
        transport, relay = await loop.create_datagram_endpoint(lambda: cls(client, line), local_addr=("127.0.0.1", 0))
        try:
            yield relay
        finally:
            transport.close()
        assert relay.failures == []

    @property
    def address(self) -> str:
        """host:port."""
        assert self._transport is not None
        host, port = self._transport.get_extra_info("sockname")
        return f"{host}:{port}"

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        # One after the other, so that nothing overtakes a message that waits for the rtpengine.
        before = self._passing
        self._passing = asyncio.create_task(self._pass_on(data.decode(), addr, before))

    async def _pass_on(self, text: str, source: tuple[str, int], before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await before
        assert self._transport is not None
        if source != self._line:
            self._caller = source
        target = self._caller if source == self._line else self._line
        try:
            self._transport.sendto((await self._rewritten(text)).encode(), target)
        except Exception as error:
            self.failures.append(error)

    async def _rewritten(self, text: str) -> str:
        head, _, body = text.partition("\r\n\r\n")
        if "application/sdp" not in head:
            return text
        call_id, from_tag, to_tag = (
            re.search(pattern, head, re.MULTILINE)
            for pattern in (r"^Call-ID: (.*?)\r?$", r"^From:.*;tag=(\S+?)\r?$", r"^To:.*;tag=(\S+?)\r?$")
        )
        assert call_id is not None
        assert from_tag is not None
        arguments = {"call-id": call_id[1], "from-tag": from_tag[1], "sdp": body, "flags": self._flags, "ICE": "remove"}
        if to_tag is None:
            reply = await self._client.request("offer", arguments)
        else:
            reply = await self._client.request("answer", {**arguments, "to-tag": to_tag[1]})
            if not self.answered.done():
                self.answered.set_result(call_id[1])
        body = str(reply["sdp"])
        return re.sub(r"Content-Length: *\d+", f"Content-Length: {len(body)}", head) + "\r\n\r\n" + body
