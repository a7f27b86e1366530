"""What a telephone hears, recognised by its content: G.711 that a media node plays or passes on stays what it is, code
by code, as long as the law is one.

::

    async with Voice.open() as voice:
        ...
        assert voice.share(hello) == 1.0    # all of it was heard
        assert voice.hears_sound(hello)     # it is what is heard now
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
from signalbox.g711 import A_LAW, MU_LAW, RATE, Law

from signalbox_local.rtp_party import FRAME, FRAME_S, RtpParty

if TYPE_CHECKING:
    from signalbox_local.rtp_party import Address

_NOW = 3
"""What is heard now is in the last packets, so many."""
_ZEROES = bytes.maketrans(b"\x7f", b"\xff")
"""µ-law has two codes for 0, and a media node has one of them for both."""
_STALE_S = 0.3
"""Who has heard nothing for so long hears nothing now."""
_PAUSE_S = 0.1
"""What comes later after the packet before than this was not said without a break."""


class Voice(RtpParty):
    """A party that knows when it heard what. Times are the event loop's."""

    def __init__(self, law: Law = A_LAW, payload_type: int = 8) -> None:
        super().__init__(law, payload_type)
        self._times: list[float] = []

    def datagram_received(self, data: bytes, addr: Address) -> None:
        super().datagram_received(data, addr)
        self._times.append(asyncio.get_running_loop().time())

    def hush(self) -> None:
        """Send nothing from now on, until told to talk."""
        self._sound = b""

    async def say(self, sound: bytes) -> None:
        """Say something once, from its beginning, instead of what is said over and over; then nothing but silence."""
        self.hush()
        due = asyncio.get_running_loop().time()
        for part in _parts(sound):
            self._send(self.payload_type, part, self._timestamp)
            self._timestamp += FRAME
            due += FRAME_S
            await asyncio.sleep(due - asyncio.get_running_loop().time())
        self._sound = self.law.encode(np.zeros(FRAME, dtype=np.int16))

    def share(self, sound: bytes, since: float = 0.0) -> float:
        """How much of a sound was heard, in its order: 1 is all of it."""
        return _share(self._since(since), self._plain(sound))

    def missing(self, sound: bytes) -> list[int]:
        """Which packets of a sound were not heard, counted from 0."""
        heard = self._since(0)
        return [at for at, part in enumerate(_parts(self._plain(sound))) if part not in heard]

    def times_heard(self, sound: bytes, since: float = 0.0) -> int:
        """How often its midst was heard."""
        middle = len(sound) // 2 // FRAME * FRAME
        return self._since(since).count(self._plain(sound[middle : middle + FRAME]))

    def heard_at(self, sound: bytes) -> float:
        """When the first of it came. Raises ValueError if nothing did."""
        parts = set(_parts(self._plain(sound)))
        for packet, time in zip(self.packets, self._times, strict=True):
            if self._plain(packet.payload) in parts:
                return time
        raise ValueError("nothing of it was heard")

    def hears_sound(self, *sounds: bytes) -> bool:
        """True if what is heard now is one of them, said again and again."""
        now = asyncio.get_running_loop().time()
        if not self._times or now - self._times[-1] > _STALE_S:
            return False
        last = [one.payload for one in self.packets[-2 * _NOW :] if one.payload_type == self.payload_type][-_NOW:]
        recent = self._plain(b"".join(last))
        return len(last) == _NOW and any(recent in self._plain(sound) * 2 for sound in sounds)

    def silent_for(self) -> float:
        """Seconds since the last packet of sound came, silence in it or not; infinity if none ever did."""
        times = (t for p, t in zip(self.packets, self._times, strict=True) if p.payload_type == self.payload_type)
        return asyncio.get_running_loop().time() - max(times, default=-np.inf)

    def all_heard(self) -> bytes:
        """All sound that came, with silence where nothing came for a while: what there is to listen to."""
        codes, quiet = bytearray(), self.law.encode(np.zeros(1, dtype=np.int16))
        begun = last = 0.0
        for packet, time in zip(self.packets, self._times, strict=True):
            if packet.payload_type != self.payload_type:
                continue
            begun = begun or time
            if time - last > _PAUSE_S:
                codes += quiet * max(0, round((time - begun) * RATE) - len(codes))
            codes += packet.payload
            last = time
        return bytes(codes)

    def _since(self, since: float) -> bytes:
        pairs = zip(self.packets, self._times, strict=True)
        heard = (one.payload for one, at in pairs if at >= since and one.payload_type == self.payload_type)
        return self._plain(b"".join(heard))

    def _plain(self, codes: bytes) -> bytes:
        return codes.translate(_ZEROES) if self.law is MU_LAW else codes


def _parts(sound: bytes) -> list[bytes]:
    return [sound[at : at + FRAME] for at in range(0, len(sound) - FRAME + 1, FRAME)]


def _share(heard: bytes, sound: bytes) -> float:
    at = found = 0
    parts = _parts(sound)
    for part in parts:
        place = heard.find(part, at)
        if place >= 0:
            found, at = found + 1, place + FRAME
    return found / len(parts)
