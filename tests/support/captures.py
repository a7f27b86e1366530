"""Captures as rtpengine writes them, made of streams that did this and that on their way.

Ten minutes of both sides take a quarter of a second.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

CALLER_PORT = 30_000
"""Port of rtpengine that the caller sends to."""
LINE_PORT = 30_002
CALLER = ("192.0.2.1", 4_000)
LINE = ("198.51.100.7", 16_384)
EPOCH_US = 1_790_000_000_000_000
"""When captures begin."""

PCMU, PCMA, G722, G729, COMFORT_NOISE, EVENTS = 0, 8, 9, 18, 13, 101
A_LAW_SILENCE = 0xD5


@dataclass(frozen=True)
class Flow:
    """RTP packets of one SSRC, in the order in which they were sent. Payloads are of one size."""

    payloads: NDArray[np.uint8]
    """A row for each packet."""
    sequences: NDArray[np.int64]
    timestamps: NDArray[np.int64]
    times_us: NDArray[np.int64]
    """Arrival, since the beginning of the capture."""
    payload_type: int = PCMA
    ssrc: int = 1

    def __len__(self) -> int:
        return len(self.sequences)

    def __getitem__(self, some: slice | NDArray[np.int64] | NDArray[np.bool_]) -> Flow:
        return replace(
            self,
            payloads=self.payloads[some],
            sequences=self.sequences[some],
            timestamps=self.timestamps[some],
            times_us=self.times_us[some],
        )

    def drifting(self, ppm: float) -> Flow:
        """The sender's clock is slow by so much: packets come ever later than their timestamps say."""
        first = self.times_us[0]
        return replace(self, times_us=first + np.rint((self.times_us - first) * (1 + ppm / 1e6)).astype(np.int64))

    def jittered(self, ms: float, seed: int = 1) -> Flow:
        """Each packet waits up to twice ``ms`` on its way, and some overtake others."""
        waits = np.random.default_rng(seed).uniform(0, 2_000 * ms, len(self))
        return replace(self, times_us=self.times_us + waits.astype(np.int64))

    def losing(self, share: float, seed: int = 2) -> Flow:
        """Some packets get lost, the first and the last don't."""
        kept = np.random.default_rng(seed).random(len(self)) >= share
        kept[[0, -1]] = True
        return self[kept]

    def without(self, *indices: int) -> Flow:
        """Some packets get lost."""
        return self[np.setdiff1d(np.arange(len(self)), indices)]

    def late(self, index: int, ms: float) -> Flow:
        """One packet comes later than it should."""
        times = self.times_us.copy()
        times[index] += int(ms * 1_000)
        return replace(self, times_us=times)

    def doubled(self, *indices: int) -> Flow:
        """Some packets come twice, the second time a little later."""
        again = self[np.array(indices)]
        return Flow(
            np.concatenate([self.payloads, again.payloads]),
            np.concatenate([self.sequences, again.sequences]),
            np.concatenate([self.timestamps, again.timestamps]),
            np.concatenate([self.times_us, again.times_us + 5_000]),
            self.payload_type,
            self.ssrc,
        )


def talk(
    audio: NDArray[np.uint8],
    *,
    start_ms: float = 0,
    payload_type: int = PCMA,
    ssrc: int = 1,
    sequence: int = 1_000,
    timestamp: int = 50_000,
    size: int = 160,
    units: int = 160,
    us: int = 0,
) -> Flow:
    """Encoded audio in packets of ``size`` bytes, each ``units`` long (sent every ``us`` if that is not the same)."""
    count = len(audio) // size
    steps = np.arange(count)
    return Flow(
        audio[: count * size].reshape(count, size),
        sequence + steps,
        timestamp + steps * units,
        int(start_ms * 1_000) + steps * (us or units * 125),
        payload_type,
        ssrc,
    )


def key(
    digit: int,
    *,
    at_ms: float,
    sequence: int,
    timestamp: int,
    ssrc: int = 1,
    packets: int = 8,
    payload_type: int = EVENTS,
) -> Flow:
    """A key that is pressed, as RFC 4733 sends it: updates every 20 ms, the last one three times."""
    rows = [
        struct.pack("!BBH", digit, 10 | (0x80 if index >= packets - 3 else 0), 160 * (index + 1))
        for index in range(packets)
    ]
    return Flow(
        np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(packets, 4),
        sequence + np.arange(packets),
        np.full(packets, timestamp),
        int(at_ms * 1_000) + 20_000 * np.arange(packets),
        payload_type,
        ssrc,
    )


def noise(seconds: float, seed: int = 7) -> NDArray[np.uint8]:
    """Any bytes: G.711 that no sample of is like its neighbour."""
    return np.random.default_rng(seed).integers(0, 256, int(seconds * 8_000), dtype=np.uint8)


@dataclass
class Capture:
    """Packets of a call at the machine that captures."""

    clock: Callable[[NDArray[np.int64]], NDArray[np.int64]] = lambda times: times
    """What that machine's clock shows, microseconds since the capture began, of what it is."""
    nanoseconds: bool = False
    big_endian: bool = False
    link_type: int = 101
    _parts: list[tuple[NDArray[np.int64], NDArray[np.uint8]]] = field(default_factory=list)

    def caller(self, *flows: Flow) -> Capture:
        """What the caller sends."""
        return self.add(flows, CALLER_PORT, CALLER)

    def line(self, *flows: Flow) -> Capture:
        """What the line sends."""
        return self.add(flows, LINE_PORT, LINE)

    def add(self, flows: Sequence[Flow], port: int, source: tuple[str, int]) -> Capture:
        """What somebody sends to a port."""
        for flow in flows:
            heads = np.zeros((len(flow), 12), dtype=np.uint8)
            heads[:, 0], heads[:, 1] = 0x80, flow.payload_type
            heads[:, 2:4] = (flow.sequences & 0xFFFF).astype(">u2").view(np.uint8).reshape(-1, 2)
            heads[:, 4:8] = (flow.timestamps & 0xFFFFFFFF).astype(">u4").view(np.uint8).reshape(-1, 4)
            heads[:, 8:] = np.frombuffer(struct.pack("!I", flow.ssrc), dtype=np.uint8)
            self.udp(flow.times_us, np.concatenate([heads, flow.payloads], axis=1), port, source)
        return self

    def reports(self, port: int, ssrc: int, *times_us: int, clock_us: int = 0) -> Capture:
        """RTCP sender reports (RFC 3550 section 6.4.1) of a sender whose clock shows ``clock_us`` at first."""
        rows = [
            struct.pack(
                "!BBHIIIIII", 0x80, 200, 6, ssrc, *divmod((clock_us + time << 32) // 1_000_000, 1 << 32), 0, 0, 0
            )
            for time in times_us
        ]
        payloads = np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(len(rows), -1)
        return self.udp(np.array(times_us, dtype=np.int64), payloads, port + 1, CALLER)

    def udp(
        self, times_us: NDArray[np.int64], payloads: NDArray[np.uint8], port: int, source: tuple[str, int]
    ) -> Capture:
        """Any UDP payloads of one size."""
        size = payloads.shape[1]
        address = ipaddress.ip_address(source[0])
        udp = struct.pack("!HHHH", source[1], port, 8 + size, 0)
        if address.version == 4:
            head = struct.pack("!BBHHHBBH", 0x45, 0, 28 + size, 0, 0, 64, 17, 0) + address.packed + b"\x0a\0\0\1"
        else:
            head = struct.pack("!IHBB", 6 << 28, 8 + size, 17, 64) + address.packed + bytes(15) + b"\1"
        heads = np.broadcast_to(np.frombuffer(head + udp, dtype=np.uint8), (len(payloads), len(head + udp)))
        self._parts.append((times_us, np.concatenate([heads, payloads], axis=1)))
        return self

    def content(self) -> bytes:
        """The file."""
        order = ">" if self.big_endian else "<"
        fractions = 1_000_000_000 if self.nanoseconds else 1_000_000
        magic = 0xA1B23C4D if self.nanoseconds else 0xA1B2C3D4
        head = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 65_535, self.link_type)
        if not self._parts:
            return head
        times = np.concatenate([part for part, _ in self._parts])
        sizes = np.concatenate([np.full(len(part), 16 + rows.shape[1]) for part, rows in self._parts])
        ranks = np.argsort(times, kind="stable")
        starts = np.empty(len(times), dtype=np.int64)
        starts[ranks] = np.cumsum(sizes[ranks]) - sizes[ranks]
        content = np.empty(int(sizes.sum()), dtype=np.uint8)
        begin = 0
        for part, rows in self._parts:
            shown = self.clock(part) + EPOCH_US
            words = np.empty((len(part), 4), dtype=f"{order}u4")
            words[:, 0], words[:, 1] = shown // 1_000_000, shown % 1_000_000 * (fractions // 1_000_000)
            words[:, 2:] = rows.shape[1]
            records = np.concatenate([words.view(np.uint8), rows], axis=1)
            content[starts[begin : begin + len(part), None] + np.arange(records.shape[1])] = records
            begin += len(part)
        return head + content.tobytes()

    def write(self, path: Path) -> Path:
        """Writes the file."""
        path.write_bytes(self.content())
        return path
