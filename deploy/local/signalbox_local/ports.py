"""Addresses on loopback for one cluster, so that several clusters and the host's own services live side by side.

A cluster takes a block of ports on 127.0.0.1 and a loopback network of its own for RTP, where every rtpengine has an
address, and so the whole range of ports, to itself.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from typing import Protocol

HOST = "127.0.0.1"
BLOCK_SIZE = 64
FIRST_PORT = 10_000
BLOCKS = 150
"""Blocks lie below the ports that the kernel gives to outgoing sockets (32768 and up)."""


class Addresses(Protocol):
    """Where the processes of a cluster get their addresses from."""

    def host_of(self, name: str) -> str:
        """Address of a process, or of a pair that shares one."""

    def begin(self, name: str) -> None:
        """Whose the next ports are."""

    def take(self, preferred: int = 0) -> int:
        """A port that is free on UDP and TCP: the preferred one if that can be had."""

    def address(self, preferred: int = 0) -> str:
        """Such a port as ``host:port``, as the other processes reach it."""

    def private(self) -> str:
        """A port on loopback as ``host:port``, for what nobody but the pair itself needs to reach."""

    def media_host(self, node: int) -> str:
        """Address for RTP of the rtpengine ``node`` (1 and up)."""

    def worker_host(self, n: int) -> str:
        """Address for SIP of the worker with voice ``n`` (1 to 100)."""

    def release(self) -> None:
        """Others may have them again."""


class NoFreePortsError(Exception):
    """Every block of ports is taken."""


@dataclass(slots=True)
class PortBlock:
    """Ports that nobody else uses, held against other clusters until :meth:`release`."""

    number: int
    _lock: socket.socket
    _taken: set[int] = field(default_factory=set)

    def take(self, preferred: int = 0) -> int:
        """A port that is free on UDP and TCP: the preferred one if that can be had, else the next of the block."""
        candidates = range(first_port(self.number), first_port(self.number) + BLOCK_SIZE)
        for port in (preferred, *candidates) if preferred else candidates:
            if port not in self._taken and is_free(port):
                self._taken.add(port)
                return port
        raise NoFreePortsError(f"no port left in {candidates.start}-{candidates.stop - 1}")

    def host_of(self, name: str) -> str:
        """Address of a process, or of a pair that shares one: loopback, for all of them."""
        return HOST

    def begin(self, name: str) -> None:
        """Whose the next ports are: here they are all of one address."""

    def address(self, preferred: int = 0) -> str:
        """Such a port as ``host:port``."""
        return f"{HOST}:{self.take(preferred)}"

    def private(self) -> str:
        """The same, for what nobody but the pair itself needs to reach."""
        return self.address()

    def media_host(self, node: int) -> str:
        """Loopback address of the rtpengine ``node`` (1 and up), its own in the whole machine."""
        return f"127.64.{self.number}.{node}"

    def worker_host(self, n: int) -> str:
        """Loopback address of the worker with voice ``n`` (1 to 100), its own in the whole machine."""
        return self.media_host(100 + n)

    def release(self) -> None:
        """Others may look at the block again; ports in use keep them away."""
        self._lock.close()


def first_port(block: int) -> int:
    """First port of a block."""
    return FIRST_PORT + block * BLOCK_SIZE


def reserve() -> PortBlock:
    """The first block that no cluster holds and of which no port is in use. Raises NoFreePortsError."""
    for number in range(BLOCKS):
        lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            # An abstract name: the kernel forgets it with the process, whatever ends that.
            lock.bind(f"\0signalbox-local-{number}")
        except OSError:
            lock.close()
            continue
        start = first_port(number)
        if all(is_free(port) for port in range(start, start + BLOCK_SIZE)):
            return PortBlock(number, lock)
        lock.close()
    raise NoFreePortsError(f"no block of {BLOCK_SIZE} free ports from {FIRST_PORT} up")


def is_free(port: int, host: str = HOST) -> bool:
    """True if nobody is bound to the port of the address, neither UDP nor TCP."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(family, kind) as probe:
            if kind == socket.SOCK_STREAM:
                # Connections that have just ended must not count.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                return False
    return True
