"""Do a call's media live? The rule by which rtpengine times calls out, over what its command ``query`` tells.

Reading it ourselves, before rtpengine forgets the call, tells a call whose media died from one that was ended as usual.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from signalbox.media.rtpengine_config import UNANSWERED_S
from signalbox.ng import NOBODY, NOBODY_IPV6, NOBODY_PORT, NgProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from signalbox.bencode import Value
    from signalbox.ng import Reply


@dataclass(frozen=True, slots=True)
class Limits:
    """How long media may be silent, seconds."""

    dead_s: float
    held_s: float
    """For a party that said in its SDP that it sends nothing (RFC 3264 section 8.4)."""


def left_s(reply: Reply, now: float, limits: Limits) -> float:
    """Seconds that a call has left if from now on no packet comes from anybody; 0 or less: its media are dead.

    One stream that lives is enough, RTCP too: a party that hears and does not speak may send nothing else. ``now`` is
    epoch seconds of rtpengine's clock. Raises NgProtocolError.
    """
    return max(_left(reply, now, limits), default=limits.held_s)


def _left(reply: Reply, now: float, limits: Limits) -> Iterator[float]:
    tags = reply.get("tags")
    if not isinstance(tags, dict):
        raise NgProtocolError("reply to query without tags")
    for tag in tags.values():
        for media in _parts(tag, "medias"):
            receives = "recv" in _flags(media)
            for stream in _parts(media, "streams"):
                last = stream.get("last packet")
                if not isinstance(last, int):
                    raise NgProtocolError("stream without time of its last packet")
                # An offer or answer sets the time too, so it may be of no packet at all.
                yield last + _limit(stream, receives, limits) - now


def _limit(stream: dict[str, Value], receives: bool, limits: Limits) -> float:
    if not receives or "local port" not in stream or _nowhere(stream.get("endpoint")):
        return limits.held_s
    return limits.dead_s if "filled" in _flags(stream) else UNANSWERED_S


def _nowhere(endpoint: Value | None) -> bool:
    """Nobody, or a party on hold as RFC 2543 had it (RFC 3264 section 8.4); rtpengine takes either for a talker."""
    if not isinstance(endpoint, dict):
        return False
    address, port = endpoint.get("address"), endpoint.get("port")
    return address in ("0.0.0.0", "::") or (address in (NOBODY, NOBODY_IPV6) and port in (NOBODY_PORT, NOBODY_PORT + 1))


def _parts(value: Value, name: str) -> Iterator[dict[str, Value]]:
    parts = value.get(name) if isinstance(value, dict) else None
    if not isinstance(parts, list):
        raise NgProtocolError(f"reply to query without {name}")
    return (part for part in parts if isinstance(part, dict))


def _flags(part: dict[str, Value]) -> list[Value]:
    flags = part.get("flags")
    return flags if isinstance(flags, list) else []
