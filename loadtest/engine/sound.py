"""RTP of all calls of one process: a packet of 20 ms each way and each time (RFC 3550), keys among them (RFC 4733).

Every packet says who speaks and the how-manieth it is, so that what is lost is known to the packet, whatever relay,
player or renumbering is between. Streams share a socket for each side and are told apart by where they come from.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from time import monotonic
from typing import TYPE_CHECKING

from signalbox_local.flow_messages import EVENTS, FRAME, KEY_FRAMES, PCMA

from loadtest.engine.messages import Direction
from loadtest.model.traffic import KEYS

if TYPE_CHECKING:
    from loadtest.engine.messages import Address

FRAME_S = 0.02
SLOTS = 4
"""Streams speak in turn, a quarter of them each 5 ms."""
AT_ONCE = 256
"""So many packets are read before others get their turn."""
RESOLUTION_S = 0.001
BUFFER_BYTES = 8 * 1024 * 1024
KEY_GAP_FRAMES = 5
_HEADER = struct.Struct("!BBHII")
_SAID = struct.Struct("!III")
_KEY = struct.Struct("!BIBBH")
"""Payload type with marker, timestamp, then the event itself."""
_KEY_HEAD = 5
_MARK = 0x5B0A11CE
_VOLUME, _END, _MARKER = 10, 0x80, 0x80
_FILL = b"\xd5" * (FRAME - _SAID.size)


class Stream:
    """One side of a call: it speaks to ``remote``, and hears the stream of that number.

    ``speaks_as``: its own number; ``hears``: that of the other side.
    """

    __slots__ = (
        "_due", "_first_at", "_first_index", "_heard", "_keys_sent", "_last_event", "_sequence", "_spoken", "came",
        "heard_keys", "hears", "remote", "slot", "speaks_as", "talking_from", "talking_since",
    )  # fmt: skip

    def __init__(self, speaks_as: int, hears: int, remote: Address) -> None:
        self.speaks_as = speaks_as
        self.hears = hears
        self.remote = remote
        self.slot = speaks_as // 2 % SLOTS
        self.heard_keys = ""
        self.talking_from: int | None = None
        """How many packets of sound it had sent when both could talk."""
        self.talking_since = 0.0
        self._spoken = 0
        self._sequence = speaks_as & 0x7FFF
        self._heard = bytearray()
        self._first_at: float | None = None
        self._first_index = 0
        self._last_event = -1
        self._due: list[bytes] = []
        self._keys_sent = 0
        self.came = asyncio.Event()
        """A packet of anybody, as of an announcement."""

    def talk(self, now: float) -> None:
        """Both can talk from now on: what is sent is to be heard."""
        if self.talking_from is None:
            self.talking_from, self.talking_since = self.sounds, now

    def press(self, keys: str) -> None:
        """Press keys one after the other, in place of sound."""
        for key in keys:
            start = (self._spoken + len(self._due) + 1) * FRAME & 0xFFFFFFFF
            lengths = [*range(1, KEY_FRAMES + 1), *[KEY_FRAMES] * 3]
            for at, frames in enumerate(lengths):
                flags = (_END if at >= KEY_FRAMES else 0) | _VOLUME
                kind = EVENTS | (0 if at else _MARKER)
                self._due.append(_KEY.pack(kind, start, KEYS.index(key), flags, frames * FRAME))
            self._due += [b""] * KEY_GAP_FRAMES

    def packet(self) -> bytes:
        """The next one."""
        self._sequence = (self._sequence + 1) & 0xFFFF
        self._spoken += 1
        if self._due and (event := self._due.pop(0)):
            kind, start = _KEY.unpack(event)[:2]
            self._keys_sent += 1
            return _HEADER.pack(0x80, kind, self._sequence, start, self.speaks_as) + event[_KEY_HEAD:]
        return (
            _HEADER.pack(0x80, PCMA, self._sequence, self._spoken * FRAME & 0xFFFFFFFF, self.speaks_as)
            + _SAID.pack(_MARK, self.speaks_as, self.sounds)
            + _FILL
        )

    def hear(self, packet: bytes, now: float) -> None:
        """A packet came."""
        kind = packet[1] & 0x7F
        if not self.came.is_set():
            self.came.set()
        if kind == PCMA and len(packet) >= _HEADER.size + _SAID.size:
            mark, who, index = _SAID.unpack_from(packet, _HEADER.size)
            if mark != _MARK or who != self.hears:
                return
            if self._first_at is None:
                self._first_at, self._first_index = now, index
            if index >= len(self._heard):
                self._heard.extend(bytes(index + 64 - len(self._heard)))
            self._heard[index] = 1
        elif kind == EVENTS and len(packet) >= _HEADER.size + 4:
            timestamp = _HEADER.unpack_from(packet)[3]
            if timestamp != self._last_event and packet[12] < len(KEYS):
                self._last_event = timestamp
                self.heard_keys += KEYS[packet[12]]

    def of(self, other: Stream, until: int) -> Direction:
        """What it heard of the other side, of the packets of sound that that sent between when both could talk, or it
        first heard something if that was later, and its packet ``until``."""
        if other.talking_from is None:
            return Direction()
        first = other.talking_from + 1
        if self._first_at is None:
            return Direction(sent=max(0, until - first + 1))
        first_ms = max(0.0, (self._first_at - self.talking_since) * 1000)
        first = max(first, self._first_index)
        return Direction(max(0, until - first + 1), sum(self._heard[first : until + 1]), first_ms)

    @property
    def sounds(self) -> int:
        """Packets of sound so far, without those of keys."""
        return self._spoken - self._keys_sent


class Party:
    """The socket of one side: of all callers, or of all lines."""

    def __init__(self, loop: asyncio.AbstractEventLoop, host: str) -> None:
        """Raises OSError."""
        self._loop = loop
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        self._socket.bind((host, 0))
        self.address: Address = self._socket.getsockname()[:2]
        self.unknown = 0
        """Packets of no call."""
        self._streams: dict[Address, Stream] = {}
        self._slots: list[set[Stream]] = [set() for _ in range(SLOTS)]
        loop.add_reader(self._socket.fileno(), self._read)

    def begin(self, stream: Stream) -> None:
        """Speak and hear from now on."""
        self._streams[stream.remote] = stream
        self._slots[stream.slot].add(stream)

    def hush(self, stream: Stream) -> None:
        """Say nothing more; go on hearing."""
        self._slots[stream.slot].discard(stream)

    def end(self, stream: Stream) -> None:
        """Forget it."""
        self.hush(stream)
        # The port may be another call's by now.
        if self._streams.get(stream.remote) is stream:
            del self._streams[stream.remote]

    def speak(self, slot: int) -> None:
        """All streams of a slot send a packet."""
        send = self._socket.sendto
        for stream in self._slots[slot]:
            # A full buffer loses what the network might have lost.
            with contextlib.suppress(OSError):
                send(stream.packet(), stream.remote)

    def close(self) -> None:
        """Close the socket."""
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()

    def _read(self) -> None:
        receive, streams, now = self._socket.recvfrom, self._streams, monotonic()
        for _ in range(AT_ONCE):
            try:
                packet, source = receive(2048)
            except OSError:
                return
            stream = streams.get(source)
            if stream is None:
                self.unknown += 1
            elif len(packet) > _HEADER.size and packet[0] >> 6 == 2:
                stream.hear(packet, now)


class Clock:
    """Has all parties speak each 20 ms, and knows how late it was."""

    def __init__(self, loop: asyncio.AbstractEventLoop, parties: tuple[Party, ...]) -> None:
        self._loop = loop
        self._parties = parties
        self._slot = 0
        self._worst_s = 0.0
        self._due = loop.time() + FRAME_S / SLOTS
        self._timer = loop.call_at(self._due, self._tick)

    def worst_s(self) -> float:
        """How late the latest packet since the last question was, seconds."""
        worst, self._worst_s = self._worst_s, 0.0
        return worst

    def close(self) -> None:
        """Stop."""
        self._timer.cancel()

    def _tick(self) -> None:
        now = self._loop.time()
        self._worst_s = max(self._worst_s, now - self._due)
        # What was to be sent meanwhile is sent now, as a telephone that was held up would. Timers may be a bit early.
        while self._due < now + RESOLUTION_S:
            for party in self._parties:
                party.speak(self._slot)
            self._slot = (self._slot + 1) % SLOTS
            self._due += FRAME_S / SLOTS
        self._timer = self._loop.call_at(self._due, self._tick)
