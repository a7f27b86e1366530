"""Who sends to which port of rtpengine, from its reply to ``query``."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from signalbox import address

if TYPE_CHECKING:
    from collections.abc import Iterator

    from signalbox.bencode import Value
    from signalbox.ng import Reply


@dataclass(frozen=True, slots=True)
class Side:
    """Who sends to one port."""

    codec: str
    """As rtpengine names it; empty if it is not known."""
    endpoints: frozenset[str] = frozenset()
    """Where rtpengine takes packets from, ``address:port``; what comes from elsewhere it captures and drops."""

    def with_(self, later: Side) -> Side:
        """What this look and a later one tell together."""
        return Side(later.codec or self.codec, self.endpoints | later.endpoints)


def of_reply(reply: Reply) -> dict[tuple[int, str], Side]:
    """Sides by the port that RTP of audio comes to and the tag of who sends there."""
    tags = reply.get("tags")
    sides: dict[tuple[int, str], Side] = {}
    for tag, told in tags.items() if isinstance(tags, dict) else ():
        for media in _parts(told, "medias"):
            if media.get("type") != "audio":
                continue
            codec = media.get("codec")
            for stream in _parts(media, "streams"):
                port, flags = stream.get("local port"), stream.get("flags")
                if isinstance(port, int) and isinstance(flags, list) and "RTP" in flags:
                    sides[port, tag] = Side(codec if isinstance(codec, str) else "", _endpoints(stream.get("endpoint")))
    return sides


def _endpoints(endpoint: Value | None) -> frozenset[str]:
    """None for a party that is on hold as of RFC 2543, with the address 0.0.0.0."""
    if not isinstance(endpoint, dict):
        return frozenset()
    host, port = endpoint.get("address"), endpoint.get("port")
    try:
        ip = ipaddress.ip_address(str(host))
    except ValueError:
        return frozenset()
    if ip.is_unspecified or not isinstance(port, int) or not 0 < port < 65_536:
        return frozenset()
    return frozenset({address.join(ip, port)})


def _parts(value: Value, name: str) -> Iterator[dict[str, Value]]:
    parts = value.get(name) if isinstance(value, dict) else None
    return (part for part in (parts if isinstance(parts, list) else ()) if isinstance(part, dict))
