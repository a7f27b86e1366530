"""RTP packets (RFC 3550) in captured IP packets, many at once."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalbox.recorder.pcap import Records

HEAD_BYTES = 12

_SENDER_REPORT = 200
_REPORT_BYTES = 28

Endpoint = tuple[str, int]
"""Address and UDP port."""

_UDP = 17
_UDP_HEAD = 8
_IPV4_HEAD = 20
_IPV6_HEAD = 40


@dataclass(frozen=True, slots=True)
class Reports:
    """RTCP sender reports in the order of the file."""

    ips: NDArray[np.int64]
    """Where the IP header of each begins in the file."""
    times: NDArray[np.int64]
    """Arrival, microseconds since 1970."""
    ssrcs: NDArray[np.uint32]
    clocks: NDArray[np.int64]
    """What the sender's clock showed, microseconds since 1900 or since any time."""


@dataclass(frozen=True, slots=True)
class Packets:
    """RTP packets in the order of the file."""

    ips: NDArray[np.int64]
    """Where the IP header of each begins in the file."""
    sources: NDArray[np.uint64]
    """Where each came from: a number that is the same for the same address and port, among these packets."""
    offsets: NDArray[np.int64]
    """Where its payload begins."""
    sizes: NDArray[np.uint16]
    """Bytes of payload, without padding."""
    times: NDArray[np.int64]
    """Arrival, microseconds since 1970."""
    ports: NDArray[np.uint16]
    """UDP port that it came to."""
    ssrcs: NDArray[np.uint32]
    sequences: NDArray[np.uint16]
    timestamps: NDArray[np.uint32]
    payload_types: NDArray[np.uint8]
    reports: Reports


def parse(data: NDArray[np.uint8], records: Records) -> Packets:
    """The RTP packets among ``records``.

    Other protocols, fragments and what is malformed is left out. Of RTCP (RFC 5761 section 4) sender reports are taken.
    """
    ips, udps, ends, times = _udp(data, records)
    heads = data[(udps + _UDP_HEAD)[:, None] + np.arange(HEAD_BYTES)]
    flags, second = heads[:, 0], heads[:, 1] & 0x7F
    keep = (flags >> 6 == 2) & ((second < 64) | (second > 95))
    bodies = udps + _UDP_HEAD + HEAD_BYTES + 4 * (flags & 0x0F).astype(np.int64)
    bodies = _after_extension(data, bodies, ends, (flags & 0x10 != 0) & keep)
    ends, unpadded = _without_padding(data, bodies, ends, (flags & 0x20 != 0) & keep)
    keep &= unpadded & (bodies <= ends)
    heads = np.ascontiguousarray(heads[keep])
    return Packets(
        ips=ips[keep],
        sources=_sources(data, ips[keep], udps[keep]),
        offsets=bodies[keep],
        sizes=(ends - bodies)[keep].astype(np.uint16),
        times=times[keep],
        ports=_word(data, udps[keep] + 2).astype(np.uint16),
        ssrcs=heads[:, 8:12].copy().view(">u4")[:, 0].astype(np.uint32),
        sequences=heads[:, 2:4].copy().view(">u2")[:, 0].astype(np.uint16),
        timestamps=heads[:, 4:8].copy().view(">u4")[:, 0].astype(np.uint32),
        payload_types=second[keep],
        reports=_reports(data, ips, udps, ends, times),
    )


def _reports(
    data: NDArray[np.uint8],
    ips: NDArray[np.int64],
    udps: NDArray[np.int64],
    ends: NDArray[np.int64],
    times: NDArray[np.int64],
) -> Reports:
    """RFC 3550 section 6.4.1: a compound packet begins with its report."""
    at = udps + _UDP_HEAD
    is_report = (data[at] >> 6 == 2) & (data[at + 1] == _SENDER_REPORT) & (at + _REPORT_BYTES <= ends)
    at = at[is_report]
    words = data[at[:, None] + np.arange(4, 16)].view(">u4").astype(np.int64)
    return Reports(
        ips=ips[is_report],
        times=times[is_report],
        ssrcs=words[:, 0].astype(np.uint32),
        clocks=words[:, 1] * 1_000_000 + (words[:, 2] * 1_000_000 >> 32),
    )


def source(data: NDArray[np.uint8], ip: int) -> Endpoint:
    """Address and UDP port that a packet came from, of which ``parse`` told where its IP header is."""
    if data[ip] >> 4 == 4:
        address: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.IPv4Address(
            data[ip + 12 : ip + 16].tobytes()
        )
        udp = ip + 4 * int(data[ip] & 0x0F)
    else:
        address = ipaddress.IPv6Address(data[ip + 8 : ip + 24].tobytes())
        udp = ip + _IPV6_HEAD
    return str(address), int(data[udp]) << 8 | int(data[udp + 1])


def _sources(data: NDArray[np.uint8], ips: NDArray[np.int64], udps: NDArray[np.int64]) -> NDArray[np.uint64]:
    words = np.empty((len(ips), 4), dtype=">u2")
    words[:, 0] = 0
    words[:, 1], words[:, 2], words[:, 3] = _word(data, ips + 12), _word(data, ips + 14), _word(data, udps)
    numbers = words.view(">u8")[:, 0].astype(np.uint64)
    longer = np.flatnonzero(data[ips] >> 4 == 6)
    if len(longer):
        ends = np.concatenate([data[ips[longer, None] + np.arange(8, 24)], data[udps[longer, None] + [0, 1]]], axis=1)
        _, ranks = np.unique(ends.view("V18")[:, 0], return_inverse=True)
        # IPv4 takes 48 bits.
        numbers[longer] = ranks.astype(np.uint64) + np.uint64(1 << 48)
    return numbers


def _udp(
    data: NDArray[np.uint8], records: Records
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Of packets with room for RTP: where IP and UDP headers begin, where the UDP payload ends, and the time."""
    long = np.flatnonzero(records.sizes >= _IPV4_HEAD + _UDP_HEAD + HEAD_BYTES)
    ips, sizes, times = records.starts[long], records.sizes[long], records.times[long]
    first = data[ips]
    is4, is6 = first >> 4 == 4, first >> 4 == 6
    head = np.where(is4, 4 * (first & 0x0F).astype(np.int64), _IPV6_HEAD)
    protocol = data[ips + np.where(is4, 9, 6)]
    # A fragment has an offset or says that more follow.
    whole = ~is4 | (_word(data, ips + 6) & 0x3FFF == 0)
    fits = (head >= _IPV4_HEAD) & (sizes >= head + _UDP_HEAD + HEAD_BYTES)
    keep = (is4 | is6) & (protocol == _UDP) & whole & fits
    ips, udps = ips[keep], (ips + head)[keep]
    length = _word(data, udps + 4)
    ends = np.minimum(udps + length, (records.starts[long] + sizes)[keep])
    carries = length >= _UDP_HEAD + HEAD_BYTES
    return ips[carries], udps[carries], ends[carries], times[keep][carries]


def _after_extension(
    data: NDArray[np.uint8], bodies: NDArray[np.int64], ends: NDArray[np.int64], extended: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Where payloads begin, behind header extensions (RFC 3550 section 5.3.1); beyond the end if one is cut off."""
    some = np.flatnonzero(extended)
    if not len(some):
        return bodies
    fits = some[bodies[some] + 4 <= ends[some]]
    after = bodies.copy()
    after[some] = ends[some] + 1
    after[fits] = bodies[fits] + 4 + 4 * _word(data, bodies[fits] + 2)
    return after


def _without_padding(
    data: NDArray[np.uint8], bodies: NDArray[np.int64], ends: NDArray[np.int64], padded: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Where payloads end, and which packets have no padding (RFC 3550 section 5.1) or one that makes sense."""
    sane = np.ones(len(ends), dtype=np.bool_)
    some = np.flatnonzero(padded)
    if not len(some):
        return ends, sane
    octets = data[ends[some] - 1].astype(np.int64)
    unpadded = ends.copy()
    unpadded[some] = ends[some] - octets
    sane[some] = (octets > 0) & (unpadded[some] >= bodies[some])
    return unpadded, sane


def _word(data: NDArray[np.uint8], at: NDArray[np.int64]) -> NDArray[np.int64]:
    """Numbers of 16 bits in network order."""
    return data[at].astype(np.int64) << 8 | data[at + 1]
