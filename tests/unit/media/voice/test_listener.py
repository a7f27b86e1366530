"""Where rtpengine tells of keys."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry
from signalbox.address import split
from signalbox.errors import ConfigurationError
from signalbox.media.voice.keylog import KeyLogs
from signalbox.media.voice.listener import KeyListener
from signalbox.media.voice.metrics import VoiceMetrics
from support.wait import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

DEADLINE_S = 15.0
KEY = {"callid": "ivr-1.1", "source_tag": "a", "type": "DTMF", "event": 5, "duration": 100, "volume": 10}


class Listening:
    """One, with what it keeps."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        metrics = VoiceMetrics(self.registry)
        self.logs = KeyLogs(metrics.lost)
        self.listener = KeyListener(self.logs, metrics)

    def heard(self, kind: str) -> float | None:
        return self.registry.get_sample_value("signalbox_media_key_events_total", {"kind": kind})


@pytest.fixture
async def listening() -> AsyncIterator[Listening]:
    one = Listening()
    yield one
    one.listener.stop()


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:0"])
async def test_what_comes_is_counted_and_kept_for_workers(listening: Listening, listen: str) -> None:
    target = await listening.listener.start(listen)
    host, port = split(target)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as rtpengine:
        for told in (KEY, {**KEY, "event": 16}, {**KEY, "callid": "edge-1-2-3-4"}, {**KEY, "event": "5"}):
            rtpengine.sendto(json.dumps(told).encode(), (host, port))
        await until(lambda: listening.heard("malformed") == 1, DEADLINE_S)
    assert [listening.heard(kind) for kind in ("key", "no_key", "nobodys")] == [1, 1, 1]
    assert [key.digit for key in listening.logs.of("ivr-1").after(0)] == ["5"]


async def test_a_port_that_is_taken_is_a_wrong_setting(listening: Listening) -> None:
    target = await listening.listener.start("127.0.0.1:0")
    other = Listening()
    with pytest.raises(ConfigurationError, match=rf"media\.voice\.keys_listen: {target}: .*[Aa]ddress already in use"):
        await other.listener.start(target)
    other.listener.stop()


@pytest.mark.parametrize("listen", ["0.0.0.0:7451", "192.0.2.1:7451", "localhost:7451"])
async def test_nobody_else_may_tell_of_keys(listening: Listening, listen: str) -> None:
    with pytest.raises(ConfigurationError, match=r"media\.voice\.keys_listen"):
        await listening.listener.start(listen)
