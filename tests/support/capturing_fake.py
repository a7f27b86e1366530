"""An rtpengine that captures, as a sidecar sees it: a directory and answers, both made by hand.

Import the fixtures ``fake``, ``capturing`` and ``offers`` to use them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry
from signalbox.media.capture_metrics import CaptureMetrics
from signalbox.media.capturing import Capturing
from signalbox.media.offers import Offers
from signalbox.media.sides import Side
from signalbox.media.spool import Spool
from signalbox.ng import NgRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

DIGITS = "00000000000000aa"
SIDES = {(30_000, "caller"): Side("PCMA/8000")}


class Fake:
    """An rtpengine, its list of calls, and its directory. ``fails`` is what it answers instead."""

    connected = True

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for name in ("pcaps", "tmp", "metadata"):
            (directory / name).mkdir()
        self.calls_now: set[str] = set()
        self.connections = 1
        self.fails: Exception | None = None
        self.gone = False
        self.codec: str | None = "PCMA/8000"
        """None: no packet has come through yet."""
        self.commands: list[tuple[str, str]] = []

    def begin(self, call: str = "call", digits: str = DIGITS) -> None:
        self.calls_now.add(call)
        (self.directory / "pcaps" / f"{call}-{digits}.pcap").write_bytes(b"12345")

    def end(self, call: str = "call", digits: str = DIGITS, *, gone: bool = True) -> None:
        if gone:
            self.calls_now.discard(call)
        (self.directory / "metadata" / f"rtpengine-meta-{call}-{digits}.txt").write_text("x\nsb1,x\n")

    async def calls(self) -> frozenset[str]:
        """As Lister.calls."""
        if self.fails is not None:
            raise self.fails
        return frozenset(self.calls_now)

    async def request(self, command: str, arguments: Mapping[str, str]) -> Any:
        """As NgClient.request."""
        if self.fails is not None:
            raise self.fails
        if arguments["call-id"] not in self.calls_now:
            raise NgRefusedError(command, "Unknown call-id")
        self.commands.append((command, arguments.get("metadata", "")))
        streams = [{"local port": port, "flags": ["RTP"]} for port, _ in SIDES]
        codec = {"codec": self.codec} if self.codec else {}
        return {"tags": {"caller": {"medias": [{"type": "audio", "streams": streams, **codec}]}}}

    async def process_is_gone(self, _: float) -> bool:
        """As NgClient.process_is_gone."""
        return self.gone

    def close(self) -> None:
        """As Lister.close."""


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    return Fake(tmp_path)


def sidecar(fake: Fake) -> Capturing:
    """One that has just been started. Close the spool of the one before."""
    rtpengine: Any = fake
    return Capturing(Spool(fake.directory), rtpengine, rtpengine, CaptureMetrics(CollectorRegistry()), 0.05)


def again(fake: Fake, before: Capturing) -> Capturing:
    """The next one, after the one before was killed."""
    before.spool.close()
    return sidecar(fake)


@pytest.fixture
def capturing(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> Iterator[Capturing]:
    monkeypatch.setattr("signalbox.media.captures.SETTLE_S", 0.0)
    made = sidecar(fake)
    yield made
    made.spool.close()


@pytest.fixture
def offers(capturing: Capturing) -> Offers:
    return Offers(capturing, CaptureMetrics(CollectorRegistry()))


async def step(capturing: Capturing) -> None:
    """A list and a look, as the long-lived coroutines do."""
    await capturing.calls()
    await capturing.look()
