"""RTP packets, streams and the capture."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signalbox_local import capture, rtp
from support.packets import ipv4
from support.wait import until

SILENCE = 0xD5


def header(first: int = 0x80, sequence: int = 7, timestamp: int = 1600, payload_type: int = 8) -> bytes:
    return struct.pack("!BBHII", first, payload_type, sequence, timestamp, 0xABCD)


def packet(sequence: int, timestamp: int, payload: bytes, ssrc: int = 1, source: str = "a") -> rtp.Packet:
    return rtp.Packet((source, 1), ("b", 2), ssrc, sequence % 0x10000, timestamp % 0x100000000, 8, payload)


def test_a_plain_packet() -> None:
    assert rtp.parse(ipv4(header() + b"sound")) == rtp.Packet(
        ("192.0.2.1", 1000), ("192.0.2.2", 2000), 0xABCD, 7, 1600, 8, b"sound"
    )


def test_everything_optional_is_left_out() -> None:
    """IPv4 options, contributing sources, an extension, padding."""
    whole = header(0x80 | 0x20 | 0x10 | 2) + b"\0" * 8 + struct.pack("!HHI", 1, 1, 9) + b"sound" + b"\0\0\3"
    parsed = rtp.parse(ipv4(whole, options=b"\1" * 8))
    assert parsed is not None
    assert parsed.payload == b"sound"


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        ipv4(header())[:19],
        ipv4(header(), version=6),
        ipv4(header(), protocol=6),
        ipv4(header(0x40)),
        ipv4(header()[:11]),
        ipv4(header(0x90) + b"\0\0\0"),
        ipv4(header(0x90) + struct.pack("!HH", 0, 9)),
        ipv4(header(0xA0) + b"\xff"),
    ],
)
def test_what_is_no_rtp(datagram: bytes) -> None:
    assert rtp.parse(datagram) is None


@given(st.binary(max_size=80))
def test_any_payload_is_survived(payload: bytes) -> None:
    rtp.parse(ipv4(payload))


def test_order_loss_and_repetition() -> None:
    first, *rest = [packet(n, n * 2, b"%d%d" % (n, n)) for n in range(5)]
    (stream,) = rtp.streams([first, rest[2], rest[0], rest[0], rest[3]], SILENCE)
    assert stream.audio == b"0011" + bytes([SILENCE] * 2) + b"3344"
    assert (stream.packets, stream.lost) == (5, 1)


def test_counters_that_wrap_around() -> None:
    (stream,) = rtp.streams([packet(0xFFFE + n, 0xFFFFFFFE + n, b"%d" % n) for n in range(4)], SILENCE)
    assert stream.audio == b"0123"
    assert stream.lost == 0


def test_a_packet_from_before_the_first_is_left_out() -> None:
    (stream,) = rtp.streams([packet(5, 500, b"5"), packet(4, 499, b"4"), packet(6, 501, b"6")], SILENCE)
    assert stream.audio == b"56"
    assert stream.lost == 0


def test_sources_are_kept_apart() -> None:
    found = rtp.streams([packet(1, 1, b"x"), packet(1, 1, b"y", ssrc=2), packet(1, 1, b"z", source="c")], SILENCE)
    assert [stream.audio for stream in found] == [b"x", b"y", b"z"]


async def test_the_capture_hears_a_law_and_nothing_else() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        rtp.capture() as heard,
    ):
        receiver.bind(("127.0.0.1", 0))
        sender.connect(receiver.getsockname())

        def mine() -> list[rtp.Packet]:
            return [p for p in heard.packets if p.destination == receiver.getsockname()]

        for n in range(50):
            sender.send(b"OPTIONS sip:x SIP/2.0")
            sender.send(header(payload_type=0, sequence=n) + b"mu-law")
            sender.send(header(payload_type=0x80 | 8, sequence=n) + b"a-law")
        await until(lambda: len(mine()) >= 50)
        assert [(p.sequence, p.payload, p.payload_type) for p in mine()] == [(n, b"a-law", 8) for n in range(50)]
        assert {p.source for p in mine()} == {sender.getsockname()}


async def test_a_capture_that_is_not_allowed_says_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(capture.socket, "socket", refuse)
    with pytest.raises(capture.CaptureError, match="CAP_NET_RAW"):
        rtp.capture()
