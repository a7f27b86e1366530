"""Datagrams by the hundred, and what is in them."""

from __future__ import annotations

import socket

import numpy as np
import pytest
from signalbox_local.mmsg import Receiving, Sending
from signalbox_local.rtp_load import CALLER, FRAME, HEADER, LINE, pool, said


def test_datagrams_go_to_their_addresses_with_their_headers_and_bodies() -> None:
    body = np.arange(256, dtype=np.uint8)
    header = np.dtype([("number", ">u4")])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        receivers = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
        for one in receivers:
            one.bind(("127.0.0.1", 0))
            one.settimeout(5.0)
        headers = np.zeros(3, header)
        headers["number"] = [7, 8, 9]
        sending = Sending([one.getsockname() for one in receivers], headers, 4)
        sending.send(sender, np.uint64(body.ctypes.data) + np.array([0, 10, 20], np.uint64))
        got = [one.recv(100) for one in receivers]
        for one in receivers:
            one.close()
    assert got == [b"\0\0\0\x07\0\1\2\3", b"\0\0\0\x08\x0a\x0b\x0c\x0d", b"\0\0\0\x09\x14\x15\x16\x17"]


def test_the_beginnings_of_what_has_come_are_read_without_waiting() -> None:
    header = np.dtype([("number", ">u2")])
    room = Receiving(4, header)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        receiver.bind(("127.0.0.1", 0))
        assert len(room.receive(receiver)) == 0
        for number in (3, 4):
            sender.sendto(bytes([0, number, 1, 2]), receiver.getsockname())
        assert room.receive(receiver)["number"].tolist() == [3, 4]


def test_a_socket_that_is_closed_is_an_error() -> None:
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        Receiving(1, HEADER).receive(receiver)
    with pytest.raises(OSError, match="Bad file descriptor"):
        Sending([("127.0.0.1", 9)], np.zeros(1, HEADER), 0).send(receiver, np.zeros(1, np.uint64))


def test_both_sides_of_all_calls_say_something_else() -> None:
    everything = pool()
    texts = {said(everything, call, side, 10).tobytes() for call in range(200) for side in (CALLER, LINE)}
    assert len(texts) == 400
    assert {len(text) for text in texts} == {10 * FRAME}
