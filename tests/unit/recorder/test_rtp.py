"""RTP among what was captured."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from signalbox.recorder import rtp
from signalbox.recorder.pcap import Records
from support.packets import ipv4


def head(flags: int = 0x80, second: int = 8, sequence: int = 7, timestamp: int = 9, ssrc: int = 11) -> bytes:
    return struct.pack("!BBHII", flags, second, sequence, timestamp, ssrc)


def parsed(*packets: bytes) -> tuple[rtp.Packets, np.ndarray]:
    data = np.frombuffer(b"".join(packets) + bytes(64), dtype=np.uint8)
    sizes = np.array([len(packet) for packet in packets], dtype=np.int64)
    times = np.arange(len(packets), dtype=np.int64)
    return rtp.parse(data, Records(np.cumsum(sizes) - sizes, sizes, times)), data


def payloads(*packets: bytes) -> list[bytes]:
    found, data = parsed(*packets)
    return [data[at : at + size].tobytes() for at, size in zip(found.offsets, found.sizes, strict=True)]


def test_the_head_is_read() -> None:
    found, data = parsed(ipv4(head(second=0x88, sequence=65_535, timestamp=4_000_000_000, ssrc=3_000_000_000) + b"abc"))
    assert (found.sequences[0], found.timestamps[0], found.ssrcs[0]) == (65_535, 4_000_000_000, 3_000_000_000)
    assert (found.payload_types[0], found.ports[0]) == (8, 2000)
    assert rtp.source(data, int(found.ips[0])) == ("192.0.2.1", 1000)


@pytest.mark.parametrize(
    ("content", "payload"),
    [
        (head() + b"abcd", b"abcd"),
        (head(), b""),
        (head(0x82) + bytes(8) + b"abcd", b"abcd"),
        (head(0x90) + struct.pack("!HH", 1, 2) + bytes(8) + b"abcd", b"abcd"),
        (head(0x91) + bytes(4) + struct.pack("!HH", 1, 0) + b"abcd", b"abcd"),
        (head(0xA0) + b"abcd" + b"\0\0\3", b"abcd"),
    ],
    ids=["plain", "empty", "contributors", "extension", "both", "padding"],
)
def test_the_payload_is_found(content: bytes, payload: bytes) -> None:
    assert payloads(ipv4(content)) == [payload]
    assert payloads(ipv4(content, options=bytes(8)), ipv4(content)) == [payload, payload]


@pytest.mark.parametrize(
    "packet",
    [
        ipv4(head()[:11]),
        ipv4(head(0x40) + b"abcd"),
        ipv4(head(second=200) + b"abcd"),
        ipv4(head(second=72) + b"abcd"),
        ipv4(head(0x8F) + b"abcd"),
        ipv4(head(0x90) + struct.pack("!HH", 1, 9) + b"abcd"),
        ipv4(head(0x90) + b"ab"),
        ipv4(head(0xA0) + b"abc\0"),
        ipv4(head(0xA0) + b"abc\5"),
        ipv4(head() + b"abcd", protocol=6),
        ipv4(head() + b"abcd", version=5),
        ipv4(head() + b"abcd")[:6] + b"\x20\0" + ipv4(head() + b"abcd")[8:],
        ipv4(head() + b"abcd")[:30],
        b"",
    ],
    ids=[
        "short", "version", "RTCP", "RTCP with a marker", "contributors cut", "extension cut", "extension head cut",
        "no padding", "more padding than payload", "TCP", "IPv5", "fragment", "IP cut", "nothing",
    ],
)  # fmt: skip
def test_what_is_no_rtp_is_left_out(packet: bytes) -> None:
    assert payloads(packet, ipv4(head() + b"rest")) == [b"rest"]


def test_a_packet_that_was_cut_has_what_is_there() -> None:
    assert payloads(ipv4(head() + b"abcd")[:-2]) == [b"ab"]
