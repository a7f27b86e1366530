"""Do a call's media live? By what rtpengine tells of its streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from signalbox.media.life import Limits, left_s
from signalbox.ng import NgProtocolError

if TYPE_CHECKING:
    from signalbox.ng import Reply

LIMITS = Limits(dead_s=60, held_s=3600)
NOW = 10_000.0


def stream(silent_s: int, *flags: str, **changes: Any) -> dict[str, Any]:
    endpoint = {"family": "IPv4", "address": "192.0.2.7", "port": 4000}
    known = {"local port": 30_000, "endpoint": endpoint, "last packet": int(NOW) - silent_s}
    return {**known, "flags": ["RTP", *(flags or ("filled",))], **changes}


def call(*streams: dict[str, Any], flags: tuple[str, ...] = ("send", "recv")) -> Reply:
    """A party for each stream."""
    parties = {
        f"tag-{n}": {"medias": [{"index": 1, "flags": [*flags], "streams": [one]}]} for n, one in enumerate(streams)
    }
    return {"result": "ok", "tags": parties}  # type: ignore[dict-item]


def test_one_stream_that_lives_is_enough() -> None:
    assert left_s(call(stream(500), stream(12)), NOW, LIMITS) == 48


def test_dead_is_a_call_in_which_all_are_silent() -> None:
    assert left_s(call(stream(59), stream(500)), NOW, LIMITS) == 1
    assert left_s(call(stream(60), stream(61)), NOW, LIMITS) == 0
    assert left_s(call(stream(200), stream(161)), NOW, LIMITS) == -101


def test_a_party_that_is_to_send_nothing_may_be_silent_for_long() -> None:
    assert left_s(call(stream(100), flags=("send",)), NOW, LIMITS) == 3500
    assert left_s(call(stream(3700), flags=()), NOW, LIMITS) == -100


@pytest.mark.parametrize(("address", "port"), [("0.0.0.0", 4000), ("::", 4000), ("127.0.0.1", 9), ("::1", 9)])
def test_who_is_alone_or_on_hold_may_be_silent_for_long(address: str, port: int) -> None:
    nobody = [stream(100, endpoint={"family": "IPv4", "address": address, "port": p}) for p in (port, port + 1)]
    assert left_s(call(stream(100), *nobody), NOW, LIMITS) == 3500


@pytest.mark.parametrize(("address", "port"), [("127.0.0.1", 4000), ("192.0.2.1", 9)])
def test_what_looks_like_nobody_is_somebody(address: str, port: int) -> None:
    assert left_s(call(stream(100, endpoint={"address": address, "port": port})), NOW, LIMITS) == -40


def test_a_stream_without_a_port_is_of_a_party_that_sends_nothing() -> None:
    silent = stream(100)
    del silent["local port"]
    assert left_s(call(silent), NOW, LIMITS) == 3500


def test_a_call_that_nobody_answered_yet_may_ring() -> None:
    assert left_s(call(stream(100, "RTP")), NOW, LIMITS) == 500


def test_a_call_without_streams_is_not_dead() -> None:
    assert left_s(call(), NOW, LIMITS) > 0


@pytest.mark.parametrize(
    "reply",
    [
        {"result": "ok"},
        {"tags": {"a": {}}},
        {"tags": {"a": 1}},
        {"tags": {"a": {"medias": [{"flags": []}]}}},
        {"tags": {"a": {"medias": [{"flags": [], "streams": [{}]}]}}},
    ],
)
def test_what_is_not_understood_is_no_death(reply: Reply) -> None:
    with pytest.raises(NgProtocolError):
        left_s(reply, NOW, LIMITS)
