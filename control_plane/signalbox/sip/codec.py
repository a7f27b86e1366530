"""Codecs as a session description tells them: ``rtpmap``, ``fmtp``, payload types known without (RFC 3551), and keys
pressed (RFC 4733)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

TELEPHONE_EVENT = "telephone-event"
DTMF_EVENTS = frozenset(range(16))
"""The keys 0 to 9, ``*``, ``#``, A to D: what is meant where no events are told (RFC 4733 section 7.1.1)."""

_RTPMAP = re.compile(r"[ \t]?([0-9]{1,3})[ \t]{1,4}([!-.0-~]{1,64})/([0-9]{1,9})(?:/([1-9][0-9]{0,2}))?[ \t]{0,4}")
_EVENTS = re.compile(r"([0-9]{1,3})(?:-([0-9]{1,3}))?")


@dataclass(frozen=True, slots=True)
class Codec:
    """``payload`` 0 to 127; ``rate`` in Hz of the RTP clock; ``parameters`` as in ``fmtp``, "" if there are none.

    ``name`` is "" and ``rate`` 0 for a dynamic payload type that has no ``rtpmap``: nobody can know what it is.
    """

    payload: int
    name: str
    rate: int
    channels: int = 1
    parameters: str = ""

    def matches(self, other: Codec) -> bool:
        """The same encoding, whatever its payload type (RFC 3264 section 6.1). Parameters are not compared: a codec of
        which they must agree (AMR's ``octet-align``) can't be told from its variants here."""
        return (
            self.rate == other.rate != 0
            and self.channels == other.channels
            and (self.name == other.name or self.name.casefold() == other.name.casefold())
        )

    @property
    def rtpmap(self) -> str:
        """The value of ``a=rtpmap:``."""
        channels = f"/{self.channels}" if self.channels > 1 else ""
        return f"{self.payload} {self.name}/{self.rate}{channels}"

    @property
    def is_events(self) -> bool:
        """Keys and tones as events, no sound (RFC 4733)."""
        return self.name.casefold() == TELEPHONE_EVENT

    @property
    def events(self) -> frozenset[int]:
        """Event codes that the party takes. Raises ValueError if ``parameters`` are no list of them."""
        return parse_events(self.parameters) if self.parameters else DTMF_EVENTS


@lru_cache(maxsize=1024)
def parse_rtpmap(value: str) -> Codec:
    """``101 telephone-event/8000``. Raises ValueError with what it must be (RFC 4566 section 6).

    The same few values come in every call. What is remembered is short: so is all that is taken here.
    """
    found = _RTPMAP.fullmatch(value)
    if found is None or int(found[1]) > 127 or not int(found[3]):
        raise ValueError("must be a payload type to 127, a name, a slash and a clock rate")
    return Codec(int(found[1]), found[2], int(found[3]), int(found[4] or 1))


def parse_events(text: str) -> frozenset[int]:
    """``0-15,66`` as a set of event codes. Raises ValueError with what it must be (RFC 4733 section 2.4.1)."""
    codes: set[int] = set()
    for part in text.strip().removeprefix("events=").split(","):
        found = _EVENTS.fullmatch(part)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if not first <= last <= 255:
            raise ValueError("must be event codes 0 to 255 and ranges of them, with commas between")
        codes.update(range(first, last + 1))
    return frozenset(codes)


def write_events(codes: frozenset[int]) -> str:
    """A set of event codes as ``0-15,66``; "" for none."""
    parts: list[str] = []
    start = previous = -2
    for code in [*sorted(codes), 1_000]:
        if code == previous + 1:
            previous = code
            continue
        if start >= 0:
            parts.append(str(start) if start == previous else f"{start}-{previous}")
        start = previous = code
    return ",".join(parts)


STATIC: dict[int, Codec] = {
    codec.payload: codec
    for codec in (
        Codec(0, "PCMU", 8_000),
        Codec(3, "GSM", 8_000),
        Codec(4, "G723", 8_000),
        Codec(5, "DVI4", 8_000),
        Codec(6, "DVI4", 16_000),
        Codec(7, "LPC", 8_000),
        Codec(8, "PCMA", 8_000),
        Codec(9, "G722", 8_000),
        Codec(10, "L16", 44_100, 2),
        Codec(11, "L16", 44_100),
        Codec(12, "QCELP", 8_000),
        Codec(13, "CN", 8_000),
        Codec(14, "MPA", 90_000),
        Codec(15, "G728", 8_000),
        Codec(16, "DVI4", 11_025),
        Codec(17, "DVI4", 22_050),
        Codec(18, "G729", 8_000),
        Codec(25, "CelB", 90_000),
        Codec(26, "JPEG", 90_000),
        Codec(28, "nv", 90_000),
        Codec(31, "H261", 90_000),
        Codec(32, "MPV", 90_000),
        Codec(33, "MP2T", 90_000),
        Codec(34, "H263", 90_000),
    )
}
"""RFC 3551, tables 4 and 5. G722 samples at 16 kHz and its RTP clock says 8 kHz all the same."""

PCMA = STATIC[8]
PCMU = STATIC[0]
EVENTS = Codec(101, TELEPHONE_EVENT, 8_000, 1, "0-15")
"""Keys, with the payload type that nearly everybody uses."""
