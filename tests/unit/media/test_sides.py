"""Who sends where, by replies to query."""

from __future__ import annotations

from typing import Any

import pytest
from signalbox.media import sides
from signalbox.media.sides import Side


def stream(port: Any, *flags: str) -> dict[str, Any]:
    return {"local port": port, "flags": list(flags)}


def test_ports_of_rtp_by_tag() -> None:
    reply: Any = {
        "tags": {
            "caller": {
                "medias": [
                    {
                        "type": "audio",
                        "codec": "PCMA/8000",
                        "streams": [stream(10, "RTP", "filled"), stream(11, "RTCP")],
                    },
                    {"type": "video", "codec": "VP8/90000", "streams": [stream(20, "RTP")]},
                ]
            },
            "line": {"medias": [{"type": "audio", "streams": [stream(30, "RTP", "RTCP")]}]},
        }
    }
    assert sides.of_reply(reply) == {(10, "caller"): Side("PCMA/8000"), (30, "line"): Side("")}


@pytest.mark.parametrize(
    ("endpoint", "found"),
    [
        ({"address": "192.0.2.1", "port": 4000}, {"192.0.2.1:4000"}),
        ({"address": "2001:db8::1", "port": 4000}, {"[2001:db8::1]:4000"}),
        ({"address": "0.0.0.0", "port": 4000}, set()),
        ({"address": "192.0.2.1", "port": 0}, set()),
        ({"address": "name", "port": 4000}, set()),
        ({"address": "192.0.2.1"}, set()),
        ("192.0.2.1:4000", set()),
    ],
)
def test_where_a_port_takes_packets_from(endpoint: Any, found: set[str]) -> None:
    streams = [{**stream(10, "RTP"), "endpoint": endpoint}]
    reply: Any = {"tags": {"caller": {"medias": [{"type": "audio", "codec": "PCMA/8000", "streams": streams}]}}}
    assert sides.of_reply(reply) == {(10, "caller"): Side("PCMA/8000", frozenset(found))}


@pytest.mark.parametrize(
    "reply",
    [
        {},
        {"tags": []},
        {"tags": {"a": 1}},
        {"tags": {"a": {"medias": 1}}},
        {"tags": {"a": {"medias": ["x", {"type": "audio"}, {"type": "audio", "streams": [1, {}]}]}}},
        {"tags": {"a": {"medias": [{"type": "audio", "streams": [{"local port": "1", "flags": ["RTP"]}]}]}}},
        {"tags": {"a": {"medias": [{"type": "audio", "streams": [{"local port": 1, "flags": "RTP"}]}]}}},
    ],
)
def test_what_is_not_understood_is_not_known(reply: Any) -> None:
    assert sides.of_reply(reply) == {}
