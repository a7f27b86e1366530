"""A party of a call as far as RTP goes: says sound of its own all the time, presses keys, and keeps what it hears.

::

    async with RtpParty.open() as caller:
        caller.talk_to(address, tone(440))
        ...
        await until(lambda: caller.hears(1000))
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from signalbox.g711 import A_LAW, RATE, Law

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Address = tuple[str, int]

FRAME = 160
"""Samples in 20 ms."""
FRAME_S = 0.02
EVENTS = 101
_RECENT = 2400
_RTCP = range(192, 224)
"""Second bytes of RTCP packets, and of no RTP packet with a payload type that we use (RFC 5761 section 4)."""
"""Samples that say what a party hears now: 0.3 s."""


@dataclass(frozen=True, slots=True)
class Packet:
    """An RTP packet (RFC 3550 section 5.1) that came."""

    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes
    source: Address


def tone(hertz: float, seconds: float = 1.0, law: Law = A_LAW) -> bytes:
    """A sine; repeated, it goes on without a break if there are whole periods in it."""
    samples = 8_000 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)
    return law.encode(samples.astype(np.int16))


def pitch(codes: bytes, law: Law = A_LAW) -> float:
    """The strongest frequency in Hz; 0 for silence."""
    samples = law.decode(codes).astype(np.float64)
    if not len(samples) or np.sqrt(np.mean(samples**2)) < 500:
        return 0.0
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * RATE / len(samples))


class RtpParty(asyncio.DatagramProtocol):
    """One socket. What it hears is kept for good."""

    def __init__(self, law: Law, payload_type: int) -> None:
        self.law = law
        self.payload_type = payload_type
        self.packets: list[Packet] = []
        self.frames = 0
        """Of sound that it has sent."""
        self._transport: asyncio.DatagramTransport | None = None
        self._talking: asyncio.Task[None] | None = None
        self._sound = b""
        self.target: Address | None = None
        """Where it sends to."""
        self._sequence = secrets.randbelow(1 << 15)
        self._timestamp = secrets.randbelow(1 << 30)
        self._ssrc = secrets.randbits(32)

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, law: Law = A_LAW, payload_type: int = 8, host: str = "127.0.0.1") -> AsyncIterator[Self]:
        """On a free port."""
        loop = asyncio.get_running_loop()
        transport, party = await loop.create_datagram_endpoint(lambda: cls(law, payload_type), local_addr=(host, 0))
        try:
            yield party
        finally:
            if party._talking is not None:
                party._talking.cancel()
                await asyncio.wait([party._talking])
            transport.close()

    @property
    def address(self) -> Address:
        """Where it listens, and sends from."""
        assert self._transport is not None
        host, port = self._transport.get_extra_info("sockname")
        return host, port

    def description(self, *formats: str, direction: str = "sendrecv", events: bool = True) -> str:
        """Its session description; ``formats`` as ``8 PCMA/8000``, by default its law."""
        host, port = self.address
        maps = [*(formats or (f"{self.payload_type} {'PCMA' if self.law is A_LAW else 'PCMU'}/8000",))]
        if events:
            maps.append(f"{EVENTS} telephone-event/8000")
        numbers = " ".join(one.split()[0] for one in maps)
        lines = [
            "v=0",
            f"o=- 7 1 IN IP4 {host}",
            "s=-",
            f"c=IN IP4 {host}",
            "t=0 0",
            f"m=audio {port} RTP/AVP {numbers}",
        ]
        lines += [f"a=rtpmap:{one}" for one in maps]
        lines += [f"a=fmtp:{EVENTS} 0-15"] if events else []
        return "\r\n".join([*lines, f"a={direction}", "a=ptime:20", ""])

    def talk_to(self, target: Address, sound: bytes) -> None:
        """Say codes of its law again and again, from now on; a multiple of FRAME of them."""
        assert len(sound) % FRAME == 0
        self.target, self._sound = target, sound
        if self._talking is None:
            self._talking = asyncio.create_task(self._talk())

    async def press(self, digit: str, *, frames: int = 5) -> None:
        """Press a key for 20 ms a frame (RFC 4733 section 2.5): the sound pauses, the end is told three times."""
        code, start = "0123456789*#ABCD".index(digit), self._timestamp
        self._sound, sound = b"", self._sound
        for frame in range(frames):
            self._send(EVENTS, struct.pack("!BBH", code, 10, (frame + 1) * FRAME), start, marker=frame == 0)
            await asyncio.sleep(FRAME_S)
        for _ in range(3):
            self._send(EVENTS, struct.pack("!BBH", code, 0x80 | 10, frames * FRAME), start)
        self._timestamp = start + (frames + 1) * FRAME
        self._sound = sound

    def heard(self, payload_type: int | None = None) -> bytes:
        """All sound that came, in the order in which it came."""
        wanted = self.payload_type if payload_type is None else payload_type
        return b"".join(one.payload for one in self.packets if one.payload_type == wanted)

    def hears(self, hertz: float) -> bool:
        """True if that is what it has heard most recently."""
        return abs(pitch(self.heard()[-_RECENT:], self.law) - hertz) < 20

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Address) -> None:
        if data[1] in _RTCP:
            # Of a party whose port for RTCP this one was before: the port above that of its RTP.
            return
        flags, kind, sequence, timestamp, ssrc = struct.unpack_from("!BBHII", data)
        assert flags == 0x80
        self.packets.append(Packet(kind & 0x7F, sequence, timestamp, ssrc, data[12:], addr))

    async def _talk(self) -> None:
        due, place = asyncio.get_running_loop().time(), 0
        while True:
            if self._sound:
                place %= len(self._sound)
                self._send(self.payload_type, self._sound[place : place + FRAME], self._timestamp)
                self.frames += 1
                place += FRAME
                self._timestamp += FRAME
            due += FRAME_S
            await asyncio.sleep(due - asyncio.get_running_loop().time())

    def _send(self, kind: int, payload: bytes, timestamp: int, *, marker: bool = False) -> None:
        assert self._transport is not None
        self._sequence = (self._sequence + 1) & 0xFFFF
        header = struct.pack("!BBHII", 0x80, kind | marker << 7, self._sequence, timestamp & 0xFFFFFFFF, self._ssrc)
        self._transport.sendto(header + payload, self.target)
