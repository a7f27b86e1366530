"""Session descriptions of a call whose media are an rtpengine's: what the caller says, and what rtpengine is told.

The caller's description is never given to rtpengine: what it is told has one stream of one codec, so that it is known
what it will send and what it will offer to lines. Nor is what rtpengine writes given to the caller but for address and
port: the answer has as many streams as the offer (RFC 3264 section 6), all but one refused.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from signalbox.ivr.media.errors import MediaRefusedError, UnusableDescriptionError
from signalbox.ng import NOBODY, NOBODY_IPV6, NOBODY_PORT
from signalbox.sip.codec import EVENTS, PCMA, PCMU, Codec
from signalbox.sip.sdp import Connection, DescriptionError, Media, Origin, SessionDescription

if TYPE_CHECKING:
    from collections.abc import Sequence

LAWS = ("PCMA", "PCMU")
"""What is played as it is in the file, in the order of preference where a caller has none."""
TRANSCODED = ("G722", "G729", "opus")
"""What rtpengine can make of it, if the caller has none of these."""
HELD = "0.0.0.0"
"""The address of a party that holds the call in the old form (RFC 3264 section 8.4)."""
PROFILES = ("RTP/AVP", "RTP/AVPF")
OFFERED = (PCMA, PCMU, EVENTS)
"""To a caller that makes no offer."""

_MIRRORED = {"sendrecv": "sendrecv", "sendonly": "recvonly", "recvonly": "sendonly", "inactive": "inactive"}

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Described:
    """What a party says of itself, and what is settled with it."""

    address: Address
    """Where it listens; while it holds the call in the old form (0.0.0.0), where it did before."""
    codec: Codec
    events: Codec | None
    """How it sends keys; None: as tones in the sound."""
    ptime: int | None
    direction: str
    """What it will do, one of ``sdp.DIRECTIONS``."""
    described: SessionDescription
    stream: int
    """Which of the streams in ``described`` it is."""

    @property
    def held(self) -> bool:
        """It does not listen."""
        return self.direction in ("sendonly", "inactive")

    @property
    def law(self) -> Codec:
        """The G.711 that goes with it."""
        return PCMU if self.codec.name.upper() == "PCMU" else PCMA


def read(content: bytes | str, before: Described | None = None) -> Described:
    """The caller of an offer or an answer. ``before``: what was settled with it, whose codec is kept if it can be.

    Raises UnusableDescriptionError.
    """
    try:
        described = SessionDescription.parse(content)
    except DescriptionError as error:
        raise UnusableDescriptionError(str(error)) from error
    stream = next((n for n, one in enumerate(described.media) if _is_ours(one)), None)
    if stream is None:
        raise UnusableDescriptionError(f"no audio by {' or '.join(PROFILES)}")
    media = described.media[stream]
    codec = _chosen(media.codecs, before)
    return Described(
        address=_address(described, media, before),
        codec=codec,
        events=next((one for one in media.codecs if one.is_events and one.rate == codec.rate), None),
        ptime=media.ptime,
        direction=described.direction(media),
        described=described,
        stream=stream,
    )


def _is_ours(media: Media) -> bool:
    return media.kind == "audio" and media.port > 0 and media.protocol.upper() in PROFILES


def _chosen(offered: Sequence[Codec], before: Described | None) -> Codec:
    """That of before, or G.711 as the caller prefers it, or what can be transcoded."""
    if before is not None and (same := next((one for one in offered if one.matches(before.codec)), None)) is not None:
        return same
    for names in (LAWS, TRANSCODED):
        known = {name.casefold() for name in names}
        for one in offered:
            if one.name.casefold() in known:
                return one
    told = ", ".join(one.name or str(one.payload) for one in offered)
    raise UnusableDescriptionError(f"no codec but {told}: {', '.join((*LAWS, *TRANSCODED))} can be served")


def _address(described: SessionDescription, media: Media, before: Described | None) -> Address:
    found = described.address(media)
    if found is not None:
        return found
    if before is not None:
        return before.address
    connection = described.connection(media)
    return (connection.address if connection is not None else HELD), media.port


def told_of(caller: Described) -> str:
    """The caller as rtpengine is told: what was settled. It is told of no hold, or it would play no files."""
    return str(_description(caller.address, _codecs(caller.codec, caller.events), caller.ptime))


def transcoded(party: Described, other: Described | None) -> list[str]:
    """What the other side is offered besides: G.711, which every line has, and what the other side has already."""
    names = dict.fromkeys((*LAWS, *(() if other is None else (one.name for one in _sound(other)))))
    return [name for name in names if name.casefold() != party.codec.name.casefold()]


def _sound(party: Described) -> list[Codec]:
    return [one for one in party.described.media[party.stream].codecs if one.name and not one.is_events]


def nobody(codecs: Sequence[Codec], host: str = NOBODY) -> str:
    """The other side while there is none."""
    return str(_description((host, NOBODY_PORT), codecs, None))


def nobody_for(caller: Described) -> str:
    """As :func:`nobody`, for what is settled with a caller."""
    events = caller.events if caller.events is not None and caller.events.rate == caller.law.rate else None
    return nobody(_codecs(caller.law, events), NOBODY_IPV6 if ":" in caller.address[0] else NOBODY)


def address_of(written: str) -> Address:
    """Where rtpengine listens, from what it wrote; by the origin line if the other side holds in the old form.

    Raises MediaRefusedError.
    """
    described = _parsed(written)
    media = described.media[0]
    host = described.address(media)
    return (described.origin.connection.address if host is None else host[0]), media.port


def _parsed(written: str) -> SessionDescription:
    try:
        described = SessionDescription.parse(written)
    except DescriptionError as error:
        raise MediaRefusedError(f"rtpengine wrote {written!r}: {error}") from error
    if not described.media or not described.media[0].port:
        raise MediaRefusedError("rtpengine refused the audio")
    return described


def _kept(media: Media) -> list[tuple[str, str]]:
    """Without a connection of its own, which is that of the session."""
    return [line for line in media.lines if line[0] != "c"]


class Ours:
    """What one party is told: one origin, whose version grows (RFC 3264 section 8)."""

    def __init__(self) -> None:
        self._session = secrets.randbelow(1 << 62)
        self._version = 0

    def offer(self, address: Address, codecs: Sequence[Codec]) -> str:
        """To a caller that made none."""
        return self._written(address, (_audio(address[1], codecs, None, "sendrecv"),))

    def offer_of(self, written: str) -> str:
        """What rtpengine wrote, for a line. Raises MediaRefusedError."""
        media = _parsed(written).media[0]
        return self._written(address_of(written), (replace(media, lines=tuple(_kept(media))),))

    def answer(self, address: Address, party: Described) -> str:
        """To what the party offered."""
        ours = _audio(address[1], _codecs(party.codec, party.events), party.ptime, _MIRRORED[party.direction])
        return self._written(
            address,
            [
                replace(ours, protocol=media.protocol) if stream == party.stream else replace(media, port=0, lines=())
                for stream, media in enumerate(party.described.media)
            ],
        )

    def _written(self, address: Address, media: Sequence[Media]) -> str:
        self._version += 1
        connection = Connection.to(address[0])
        origin = Origin("-", self._session, self._version, connection)
        return str(SessionDescription(origin, tuple(media), (("s", "-"), ("c", str(connection)), ("t", "0 0"))))


def _codecs(codec: Codec, events: Codec | None) -> list[Codec]:
    return [codec] if events is None else [codec, events]


def _description(address: Address, codecs: Sequence[Codec], ptime: int | None) -> SessionDescription:
    connection = Connection.to(address[0])
    # The origin is what rtpengine writes its own address into, whatever the connection is.
    origin = Origin("-", 1, 1, Connection.to("::1" if ":" in address[0] else "127.0.0.1"))
    media = _audio(address[1], codecs, ptime, "sendrecv")
    return SessionDescription(origin, (media,), (("s", "-"), ("c", str(connection)), ("t", "0 0")))


def _audio(port: int, codecs: Sequence[Codec], ptime: int | None, direction: str) -> Media:
    lines = [("a", f"rtpmap:{one.rtpmap}") for one in codecs]
    lines += [("a", f"fmtp:{one.payload} {one.parameters}") for one in codecs if one.parameters]
    lines += [("a", direction)] + ([("a", f"ptime:{ptime}")] if ptime else [])
    return Media("audio", port, "RTP/AVP", tuple(str(one.payload) for one in codecs), tuple(lines))
