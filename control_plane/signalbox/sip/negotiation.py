"""Offers and the answers to them: codecs, directions, hold, refused media (RFC 3264).

We carry one stream of audio. Of an offer the first that suits is taken, all else is refused with port 0; who has the
next turn is told by :mod:`signalbox.sip.offeranswer`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from signalbox.sip.codec import EVENTS, PCMA, PCMU, Codec, write_events
from signalbox.sip.errors import SipError
from signalbox.sip.sdp import DIRECTIONS, Connection, Line, Media, Origin, SessionDescription

if TYPE_CHECKING:
    from collections.abc import Iterable

PROTOCOLS = ("RTP/AVP", "RTP/AVPF")
"""Profiles that we answer: of feedback (RFC 4585) nothing is taken up, which the offering party must bear."""

COMFORT_NOISE = "cn"

_NOW: Line = ("t", "0 0")
"""A session without bounds, as calls are."""

_WARNINGS = {
    302: "Incompatible transport protocol",
    304: "Media type not available",
    305: "Incompatible media format",
    370: "Insufficient bandwidth",
}


class NotAcceptableError(SipError):
    """Nothing of an offer suits: 488. ``warning`` is the code of a Warning header field (RFC 3261 section 20.43)."""

    code = 488

    def __init__(self, warning: int) -> None:
        super().__init__(f"offer refused: {_WARNINGS[warning]}")
        self.warning = warning
        self.why = _WARNINGS[warning]


class AnswerError(SipError):
    """An answer doesn't fit its offer. ``media``: which, from 0, or None for the whole; ``why``: the reason."""

    def __init__(self, media: int | None, why: str) -> None:
        super().__init__(f"answer, media {media}: {why}" if media is not None else f"answer: {why}")
        self.media = media
        self.why = why


@dataclass(frozen=True, slots=True)
class Terms:
    """What we would carry: codecs in order of preference, one of DIRECTIONS, milliseconds of sound in a packet."""

    codecs: tuple[Codec, ...] = (PCMA, PCMU, EVENTS)
    direction: str = "sendrecv"
    ptime: int | None = None


@dataclass(frozen=True, slots=True)
class Stream:
    """What two descriptions agree on, from our side.

    ``codecs``: what may be sent, with the other party's payload types and in its order; ``events``: keys, likewise, if
    both have them. ``remote``, ``remote_rtcp``: where to send; None if nothing may be sent there.
    """

    send: bool
    receive: bool
    codecs: tuple[Codec, ...]
    events: Codec | None
    ptime: int | None
    remote: tuple[str, int] | None
    remote_rtcp: tuple[str, int] | None


def offer(origin: Origin, host: str, port: int, terms: Terms = Terms()) -> SessionDescription:
    """A first offer. ``host``, ``port``: where we receive RTP."""
    media = _media("audio", "RTP/AVP", port, terms.codecs, terms.direction, terms.ptime)
    return SessionDescription(origin, (media,), _session_lines(host, _NOW))


def offer_again(agreed: SessionDescription, host: str, port: int, terms: Terms = Terms()) -> SessionDescription:
    """A later offer in a session that we last described as ``agreed`` (section 8): as many media in the same order, the
    live audio anew, all else refused. :func:`succeed` gives it its version."""
    live = next((one for one in agreed.media if one.kind == "audio" and one.port), None)
    media = tuple(
        _media(one.kind, one.protocol, port, terms.codecs, terms.direction, terms.ptime)
        if one is live
        else _refused(one)
        for one in agreed.media
    )
    if live is None:
        media += (_media("audio", "RTP/AVP", port, terms.codecs, terms.direction, terms.ptime),)
    return SessionDescription(agreed.origin, media, _session_lines(host, *_times(agreed)))


def answer(
    offered: SessionDescription, origin: Origin, host: str, port: int, terms: Terms = Terms()
) -> SessionDescription:
    """An answer (section 6). ``host``, ``port``: where we receive RTP. Raises NotAcceptableError.

    Codecs stand in the order of the offer and with its payload types. Whoever offers to send nothing that we could
    receive, or holds us, gets the direction that follows from it.
    """
    media: list[Media] = []
    taken = False
    for one in offered.media:
        codecs = () if taken else _common(one, terms.codecs)
        if codecs:
            taken = True
            direction = _answered(offered.direction(one), terms.direction)
            media.append(_media(one.kind, one.protocol, port, codecs, direction, terms.ptime))
        else:
            media.append(_refused(one))
    if not taken:
        raise NotAcceptableError(_why_not(offered.media))
    return SessionDescription(origin, tuple(media), _session_lines(host, *_times(offered)))


def check_answer(offered: SessionDescription, answered: SessionDescription) -> None:
    """Raises AnswerError if an answer to our offer doesn't fit it (section 6), or leaves no stream.

    A direction that the offer doesn't allow is no error: many phones answer ``sendrecv`` to a hold, and
    :func:`streams` does what both allow.
    """
    if len(offered.media) != len(answered.media):
        raise AnswerError(None, f"must have {len(offered.media)} media as the offer, not {len(answered.media)}")
    for index, (ours, theirs) in enumerate(zip(offered.media, answered.media, strict=True)):
        if ours.kind != theirs.kind or ours.protocol.upper() != theirs.protocol.upper():
            raise AnswerError(index, f"must be {ours.kind} {ours.protocol} as in the offer")
        if theirs.port and not ours.port:
            raise AnswerError(index, "must have port 0 as in the offer")
        if theirs.port and theirs.is_rtp and not _sound(_both(ours.codecs, theirs.codecs)):
            raise AnswerError(index, "must have a codec of the offer")
    if not any(one.port for one in answered.media):
        raise AnswerError(None, "refuses all media")


def streams(local: SessionDescription, remote: SessionDescription) -> tuple[Stream | None, ...]:
    """What was agreed for each of the media, None for what is refused. One of the two answers the other."""
    return tuple(
        _stream(local, ours, remote, theirs) if ours.port and theirs.port else None
        for ours, theirs in zip(local.media, remote.media, strict=True)
    )


def redirect(description: SessionDescription, direction: str) -> SessionDescription:
    """The same description with another direction of all its live media: ``sendonly`` or ``inactive`` holds the other
    party (section 8.4), ``sendrecv`` takes it back."""
    lines = tuple(line for line in description.lines if not _is_direction(line))
    media = tuple(
        replace(one, lines=(*(line for line in one.lines if not _is_direction(line)), ("a", direction)))
        if one.port
        else one
        for one in description.media
    )
    return replace(description, media=media, lines=lines)


def succeed(previous: SessionDescription, following: SessionDescription) -> SessionDescription:
    """What we describe next in a session: its identity, and a version higher by one if anything changed (section 8)."""
    same = replace(following, origin=previous.origin)
    if same == previous:
        return previous
    return replace(same, origin=replace(previous.origin, version=previous.origin.version + 1))


def _stream(ours_in: SessionDescription, ours: Media, theirs_in: SessionDescription, theirs: Media) -> Stream:
    we_send, we_receive = _ways(ours_in.direction(ours))
    they_send, they_receive = _ways(theirs_in.direction(theirs))
    remote = theirs_in.address(theirs)
    both = _both(ours.codecs, theirs.codecs)
    return Stream(
        send=we_send and they_receive and remote is not None,
        receive=we_receive and they_send,
        codecs=_sound(both),
        events=next((one for one in both if one.is_events), None),
        ptime=theirs.ptime,
        remote=remote,
        remote_rtcp=theirs_in.rtcp_address(theirs),
    )


def _both(ours: Iterable[Codec], theirs: Iterable[Codec]) -> tuple[Codec, ...]:
    """Theirs that are ours too; of events those codes alone that both have."""
    known = tuple(ours)
    found: list[Codec] = []
    for one in theirs:
        mine = next((codec for codec in known if codec.matches(one)), None)
        if mine is None:
            continue
        if not one.is_events:
            found.append(one)
        elif events := _events(one) & _events(mine):
            found.append(replace(one, parameters=write_events(events)))
    return tuple(found)


def _common(offered: Media, ours: tuple[Codec, ...]) -> tuple[Codec, ...]:
    """What an answer tells for one of the media: none if it is to be refused. Parameters are ours, for they tell what
    we receive."""
    if offered.kind != "audio" or not offered.port or offered.protocol.upper() not in PROTOCOLS:
        return ()
    both = _both(ours, offered.codecs)
    if not _sound(both):
        return ()
    return tuple(
        one if one.is_events else replace(one, parameters=next(mine.parameters for mine in ours if mine.matches(one)))
        for one in both
    )


def _sound(codecs: Iterable[Codec]) -> tuple[Codec, ...]:
    """Without events and comfort noise, which carry no speech."""
    return tuple(one for one in codecs if not one.is_events and one.name.casefold() != COMFORT_NOISE)


def _events(one: Codec) -> frozenset[int]:
    """Its event codes; none if they can't be read, so that the call goes on without keys."""
    try:
        return one.events
    except ValueError:
        return frozenset()


def _why_not(media: tuple[Media, ...]) -> int:
    """The warning for an offer of which nothing suits: the one of what came closest."""
    audio = [one for one in media if one.kind == "audio" and one.port]
    if not audio:
        return 304
    return 305 if any(one.protocol.upper() in PROTOCOLS for one in audio) else 302


def _ways(direction: str) -> tuple[bool, bool]:
    """Whether the describing party sends and receives."""
    return direction in ("sendrecv", "sendonly"), direction in ("sendrecv", "recvonly")


def _answered(offered: str, wanted: str) -> str:
    they_send, they_receive = _ways(offered)
    we_send, we_receive = _ways(wanted)
    ways = (we_send and they_receive, we_receive and they_send)
    return next(one for one in DIRECTIONS if _ways(one) == ways)


def _media(kind: str, protocol: str, port: int, codecs: tuple[Codec, ...], direction: str, ptime: int | None) -> Media:
    lines: list[Line] = []
    for one in codecs:
        lines.append(("a", f"rtpmap:{one.rtpmap}"))
        if one.parameters:
            lines.append(("a", f"fmtp:{one.payload} {one.parameters}"))
    if ptime is not None:
        lines.append(("a", f"ptime:{ptime}"))
    lines.append(("a", direction))
    return Media(kind, port, protocol, tuple(str(one.payload) for one in codecs), tuple(lines))


def _refused(media: Media) -> Media:
    return Media(media.kind, 0, media.protocol, media.formats)


def _is_direction(line: Line) -> bool:
    return line[0] == "a" and line[1].strip() in DIRECTIONS


def _times(description: SessionDescription) -> tuple[Line, ...]:
    """An answer has the times of its offer (section 6), if that has any."""
    return tuple(line for line in description.lines if line[0] == "t") or (_NOW,)


def _session_lines(host: str, *times: Line) -> tuple[Line, ...]:
    return ("s", "-"), ("c", str(Connection.to(host))), *times
