"""Thousands of two-way G.711 calls as RTP: a process that sends and one that counts what comes out at the far end.

A few sockets play all callers and all lines, so that a packet costs no more than its share of a ``sendmmsg``; what is
between them, an rtpengine, has ports of its own for each call as ever. Each side of each call says something else,
known beforehand (:func:`said`). Packets are sent every 20 ms by a steady clock, calls spread over that time, and those
of which the sender is late are sent nevertheless: its lateness is told.
"""

from __future__ import annotations

import multiprocessing as mp
import resource
import socket
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from signalbox_local import g711
from signalbox_local.mmsg import Receiving, Sending

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.connection import Connection

    from numpy.typing import NDArray

FRAME = 160
"""Bytes of G.711 in 20 ms."""
FRAME_S = 0.02
GROUPS = 20
"""Sockets of the callers, and of the lines: the calls of one send at the same time, 1 ms after those before."""
CALLER, LINE = 0, 1
HOSTS = ("127.0.0.2", "127.0.0.3")
PCMA = 8
FIRST_SEQUENCE = 1000
FIRST_TIMESTAMP = 160_000
LATE_S = 0.2
"""A packet that takes longer than this through the relay is of no use to who listens: it counts as lost."""
DRAIN_S = 1.0
SWEEP_S = 0.004
SOCKET_BUFFER = 4 << 20

HEADER = np.dtype([("flags", "u1"), ("kind", "u1"), ("sequence", ">u2"), ("timestamp", ">u4"), ("ssrc", ">u4")])
_POOL_BYTES = 1 << 20
_STRIDE = 7919
"""Bytes between where two sides begin in what all say: a prime, so that no two are in step."""

Address = tuple[str, int]


def pool() -> NDArray[np.uint8]:
    """What everybody says pieces of: noise coloured and swelling like speech, A-law."""
    chance = np.random.default_rng(20)
    spectrum = np.fft.rfft(chance.standard_normal(_POOL_BYTES))
    hertz = np.fft.rfftfreq(_POOL_BYTES, 1 / 8000)
    spectrum *= np.where(hertz < 100, 0.05, 1 / (1 + (hertz / 600) ** 2))
    sound = np.fft.irfft(spectrum, _POOL_BYTES)
    seconds = np.arange(_POOL_BYTES) / 8000
    # Syllables, and sentences with pauses between them, which are not quite silent.
    swell = (0.55 - 0.45 * np.cos(2 * np.pi * 4 * seconds)) * np.where(seconds % 3.1 < 1.9, 1.0, 0.02)
    samples = sound / np.abs(sound).max() * swell * 20_000
    return np.frombuffer(g711.encode(samples.astype(np.int16)), np.uint8)


def said(everything: NDArray[np.uint8], call: int, side: int, packets: int) -> NDArray[np.uint8]:
    """What a side of a call says in so many packets, A-law."""
    places = (_begin(call, side) + np.arange(packets) * FRAME) % (_POOL_BYTES - FRAME)
    frames: NDArray[np.uint8] = everything[(places[:, None] + np.arange(FRAME)[None, :])].ravel()
    return frames


@dataclass(frozen=True, slots=True)
class Lot:
    """What came of one round."""

    calls: int
    packets: int
    """Of each side of each call."""
    lost: int
    """Packets that never came."""
    late: int
    """That came after LATE_S."""
    delay_p99_ms: float
    delay_max_ms: float
    source_late_ms: float
    """The latest that the sender was behind its clock: more than some ms, and the machine was too small for it."""
    source_cpu_s: float
    sink_cpu_s: float
    arrived: tuple[NDArray[np.bool_], NDArray[np.bool_]] = field(repr=False)
    """By the side that sent: which packets of which call were seen at the far end."""

    @property
    def clean(self) -> bool:
        """Every packet came in time."""
        return not self.lost and not self.late


class Parties:
    """The sockets of all callers and lines: open before the calls are made, for their addresses are in the SDP."""

    def __init__(self) -> None:
        self._sockets = [[_socket(host) for _ in range(GROUPS)] for host in HOSTS]

    def address(self, call: int, side: int) -> Address:
        """Where a side of a call sends from and listens."""
        host, port = self._sockets[side][call % GROUPS].getsockname()
        return host, port

    def close(self) -> None:
        """Close them."""
        for one in (*self._sockets[CALLER], *self._sockets[LINE]):
            one.close()

    def play(self, targets: Sequence[Sequence[Address]], seconds: float) -> Lot:
        """Let all calls talk. ``targets``: by side, for each call, where that side sends to. Takes 2 s more."""
        calls, packets = len(targets[CALLER]), round(seconds / FRAME_S)
        context = mp.get_context("spawn")
        sent = context.RawArray("d", packets * 2 * GROUPS)
        told, telling = context.Pipe(duplex=False)
        counted, counting = context.Pipe(duplex=False)
        go = context.Event()
        sink = context.Process(target=_sink, args=(self._sockets, calls, packets, sent, go, counting), daemon=True)
        source = context.Process(target=_source, args=(self._sockets, targets, packets, sent, go, telling), daemon=True)
        for process in (sink, source):
            process.start()
        try:
            for pipe in (told, counted):
                pipe.recv()
            go.set()
            late_s, source_cpu_s = told.recv()
            arrived, delays, sink_cpu_s = counted.recv()
        finally:
            for process in (sink, source):
                process.join(10.0)
                process.kill()
        lost = sum(int(np.count_nonzero(~one)) for one in arrived)
        return Lot(
            calls, packets, lost, delays.late, delays.p99_ms, delays.max_ms,
            late_s * 1000, source_cpu_s, sink_cpu_s, arrived,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Delays:
    late: int
    p99_ms: float
    max_ms: float


def _socket(host: str) -> socket.socket:
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER)
    one.bind((host, 0))
    return one


def _begin(call: int, side: int) -> int:
    return (2 * call + side) * _STRIDE % (_POOL_BYTES - FRAME)


def _source(
    sockets: Sequence[Sequence[socket.socket]],
    targets: Sequence[Sequence[Address]],
    packets: int,
    sent: object,
    go: object,
    pipe: Connection,
) -> None:
    everything = pool()
    times = np.frombuffer(sent, np.float64).reshape(packets, 2 * GROUPS)  # type: ignore[call-overload]
    groups = [_Group(sockets, targets, everything, n // 2, n % 2) for n in range(2 * GROUPS)]
    pipe.send("ready")
    go.wait()  # type: ignore[attr-defined]
    before, begun, latest = _cpu_s(), time.monotonic() + 0.2, 0.0
    for packet in range(packets):
        for n, group in enumerate(groups):
            due = begun + packet * FRAME_S + n * FRAME_S / len(groups)
            now = time.monotonic()
            if now < due:
                time.sleep(due - now)
                now = time.monotonic()
            latest = max(latest, now - due)
            times[packet, n] = now
            group.send(packet)
    pipe.send((latest, _cpu_s() - before))


class _Group:
    """The callers or the lines that send from one socket at the same time."""

    def __init__(
        self,
        sockets: Sequence[Sequence[socket.socket]],
        targets: Sequence[Sequence[Address]],
        everything: NDArray[np.uint8],
        group: int,
        side: int,
    ) -> None:
        calls = np.arange(group, len(targets[side]), GROUPS)
        self._socket = sockets[side][group]
        self._everything = everything
        self._headers = np.zeros(len(calls), HEADER)
        self._headers["flags"] = 0x80
        self._headers["kind"] = PCMA
        self._headers["ssrc"] = calls * 2 + side
        self._begins = np.array([_begin(int(call), side) for call in calls], np.uint64)
        self._sending = (
            Sending([targets[side][int(call)] for call in calls], self._headers, FRAME) if len(calls) else None
        )

    def send(self, packet: int) -> None:
        if self._sending is None:
            return
        self._headers["sequence"] = (FIRST_SEQUENCE + packet) & 0xFFFF
        self._headers["timestamp"] = FIRST_TIMESTAMP + packet * FRAME
        places = (self._begins + packet * FRAME) % (_POOL_BYTES - FRAME)
        self._sending.send(self._socket, places + self._everything.ctypes.data)


def _sink(
    sockets: Sequence[Sequence[socket.socket]],
    calls: int,
    packets: int,
    sent: object,
    go: object,
    pipe: Connection,
) -> None:
    times = np.frombuffer(sent, np.float64).reshape(packets, 2 * GROUPS)  # type: ignore[call-overload]
    arrived = tuple(np.zeros((calls, packets), bool) for _ in HOSTS)
    room, delays = Receiving(1024, HEADER), np.zeros(packets * calls * 2 + 1, np.float32)
    pipe.send("ready")
    go.wait()  # type: ignore[attr-defined]
    before, seen = _cpu_s(), 0
    # By the clock of what was sent: the source may be behind.
    end = float("inf")
    while (now := time.monotonic()) < end:
        for side, group in ((side, group) for side in (CALLER, LINE) for group in range(GROUPS)):
            while len(headers := room.receive(sockets[side][group])):
                from_side = 1 - side
                packet = (headers["sequence"].astype(np.int64) - FIRST_SEQUENCE) & 0xFFFF
                arrived[from_side][headers["ssrc"] // 2, packet] = True
                many = min(len(headers), len(delays) - seen)
                delays[seen : seen + many] = (time.monotonic() - times[packet, 2 * group + from_side])[:many]
                seen += many
        if end == float("inf") and times[-1, -1]:
            end = now + DRAIN_S
        time.sleep(SWEEP_S)
    took = delays[:seen]
    late = int(np.count_nonzero(took > LATE_S))
    found = _Delays(late, float(np.percentile(took, 99)) * 1000, float(took.max()) * 1000) if seen else _Delays(0, 0, 0)
    pipe.send((arrived, found, _cpu_s() - before))


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
