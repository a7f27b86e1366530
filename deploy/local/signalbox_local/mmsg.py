"""Many datagrams with one call of the kernel: sendmmsg(2) and recvmmsg(2), which Python's ``socket`` does not have.

What the kernel reads and writes lies in numpy arrays, so that thousands of packets are prepared or read at once. For
64-bit Linux, where a ``struct mmsghdr`` has 64 bytes.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_LIBC = ctypes.CDLL(None, use_errno=True)
_IOVEC = np.dtype([("base", "u8"), ("length", "u8")])
_MMSGHDR = np.dtype(
    [
        ("name", "u8"),
        ("name_length", "u8"),
        ("iov", "u8"),
        ("iov_length", "u8"),
        ("control", "u8"),
        ("control_length", "u8"),
        ("flags", "u8"),
        ("length", "u8"),
    ]
)
_SOCKADDR_BYTES = 16


class Sending:
    """Datagrams of two parts, a header each and a piece of something that all share, to an IPv4 address each."""

    def __init__(self, addresses: Sequence[tuple[str, int]], headers: NDArray[np.void], body_bytes: int) -> None:
        """``headers``: one for each address, in one piece of memory; they may be written between two calls."""
        count = len(addresses)
        self._headers = headers
        self._names = np.frombuffer(b"".join(map(_sockaddr, addresses)), np.uint8).copy()
        self._iov = np.zeros((count, 2), _IOVEC)
        self._iov["base"][:, 0] = headers.ctypes.data + np.arange(count, dtype=np.uint64) * headers.itemsize
        self._iov["length"][:, 0] = headers.itemsize
        self._iov["length"][:, 1] = body_bytes
        self._messages = np.zeros(count, _MMSGHDR)
        each = np.arange(count, dtype=np.uint64)
        self._messages["name"] = self._names.ctypes.data + each * _SOCKADDR_BYTES
        self._messages["name_length"] = _SOCKADDR_BYTES
        self._messages["iov"] = self._iov.ctypes.data + each * 2 * _IOVEC.itemsize
        self._messages["iov_length"] = 2

    def send(self, sender: socket.socket, bodies: NDArray[np.uint64]) -> None:
        """Send all of them; ``bodies`` are the addresses in memory of what follows each header. Raises OSError."""
        self._iov["base"][:, 1] = bodies
        sent, count = 0, len(self._messages)
        while sent < count:
            start = self._messages.ctypes.data + sent * _MMSGHDR.itemsize
            done = _LIBC.sendmmsg(sender.fileno(), ctypes.c_void_p(start), count - sent, 0)
            if done < 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            sent += done


class Receiving:
    """Room for so many datagrams, of each of which the first bytes are kept."""

    def __init__(self, count: int, header: np.dtype[np.void]) -> None:
        self._headers = np.zeros(count, header)
        self._iov = np.zeros(count, _IOVEC)
        each = np.arange(count, dtype=np.uint64)
        self._iov["base"] = self._headers.ctypes.data + each * header.itemsize
        self._iov["length"] = header.itemsize
        self._messages = np.zeros(count, _MMSGHDR)
        self._messages["iov"] = self._iov.ctypes.data + each * _IOVEC.itemsize
        self._messages["iov_length"] = 1

    def receive(self, receiver: socket.socket) -> NDArray[np.void]:
        """The beginnings of what has come, without waiting; valid until the next call. Raises OSError."""
        done = _LIBC.recvmmsg(
            receiver.fileno(),
            ctypes.c_void_p(self._messages.ctypes.data),
            len(self._messages),
            socket.MSG_DONTWAIT,
            None,
        )
        if done < 0:
            if ctypes.get_errno() == errno.EAGAIN:
                return self._headers[:0]
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return self._headers[:done]


def _sockaddr(address: tuple[str, int]) -> bytes:
    host, port = address
    return struct.pack("=H", socket.AF_INET) + struct.pack("!H", port) + socket.inet_aton(host) + bytes(8)
