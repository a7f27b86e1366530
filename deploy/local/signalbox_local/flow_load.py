"""The process of :class:`signalbox_local.flow_calls.Callers`, told what to do through a pipe."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing as mp
import os
import secrets
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import uvloop

from signalbox_local import flow_messages as sip
from signalbox_local.flow_call import Counts
from signalbox_local.flow_calls import Callers

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from signalbox_local.flow_messages import Address

CALLER_HOST, LINE_HOST = "127.0.0.2", "127.0.0.3"
SOCKET_BUFFER = 4 * 1024 * 1024
ANSWER_S = 30.0


class LoadError(Exception):
    """The process does not do what it is told."""


@dataclass(frozen=True, slots=True)
class Sockets:
    """Open before the rules are written, which name the line."""

    caller: socket.socket
    line: socket.socket
    caller_rtp: socket.socket
    line_rtp: socket.socket

    @classmethod
    def open(cls) -> Self:
        """On free ports."""
        return cls(*(_socket(host) for host in (CALLER_HOST, LINE_HOST) * 2))

    @property
    def line_address(self) -> str:
        """host:port."""
        return "{}:{}".format(*self.line.getsockname())

    def close(self) -> None:
        """Close them."""
        for one in (self.caller, self.line, self.caller_rtp, self.line_rtp):
            one.close()


class FlowLoad:
    """Calls, from a process of its own."""

    def __init__(self, sockets: Sockets, proxy: Address, number: str) -> None:
        context = mp.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_run, args=(theirs, sockets, proxy, number), daemon=True)
        self._process.start()
        theirs.close()
        self._ask("ready")

    def begin(self, rate: float, hold_s: float | None, most: int | None = None) -> None:
        """See Callers.begin."""
        self._ask("begin", rate, hold_s, most)

    def hang_up(self, rate: float) -> None:
        """See Callers.hang_up."""
        self._ask("hang_up", rate)

    def counts(self) -> Counts:
        """What became of the calls so far. Raises LoadError."""
        counts = self._ask("told")
        assert isinstance(counts, Counts)
        return counts

    def close(self) -> None:
        """End the process; calls that are open are forgotten."""
        with contextlib.suppress(OSError):
            self._pipe.close()
        self._process.join(5.0)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _ask(self, *command: object) -> object:
        try:
            self._pipe.send(command)
            if not self._pipe.poll(ANSWER_S):
                raise LoadError(f"the load did not answer {command} within {ANSWER_S:.0f} s")
            return self._pipe.recv()
        except (EOFError, OSError) as error:
            raise LoadError("the process of the load has ended") from error


def _run(pipe: Connection, sockets: Sockets, proxy: Address, number: str) -> None:
    uvloop.run(_serve(pipe, sockets, proxy, number))


async def _serve(pipe: Connection, sockets: Sockets, proxy: Address, number: str) -> None:
    loop = asyncio.get_running_loop()
    run = f"{os.getpid()}x{secrets.token_hex(4)}"
    caller, media = sockets.caller.getsockname(), sockets.caller_rtp.getsockname()
    callers = Callers(
        loop,
        sip.Caller(caller, media, proxy, number, run),
        f"sip:{sockets.line_address}",
        sockets.line_rtp.getsockname(),
    )
    receivers: list[tuple[socket.socket, Callable[[bytes, Address], object]]] = [
        (sockets.caller, lambda data, _: callers.of_proxy(data)),
        (sockets.line, callers.of_line),
        (sockets.caller_rtp, callers.caller_hears),
        (sockets.line_rtp, callers.line_hears),
    ]
    transports = []
    for one, received in receivers:
        one.setblocking(False)
        transport, _ = await loop.create_datagram_endpoint(lambda received=received: _Receiver(received), sock=one)  # type: ignore[misc]
        transports.append(transport)
    callers.use(lambda data: transports[0].sendto(data, proxy), *(one.sendto for one in transports[1:]))
    over = asyncio.Event()

    def told() -> None:
        try:
            name, *arguments = pipe.recv()
        except EOFError:
            over.set()
            return
        commands: dict[str, Callable[..., Any]] = {
            "ready": lambda: None, "begin": callers.begin, "hang_up": callers.hang_up, "told": callers.told
        }  # fmt: skip
        pipe.send(commands[name](*arguments))

    loop.add_reader(pipe.fileno(), told)
    await over.wait()
    loop.remove_reader(pipe.fileno())
    for transport in transports:
        transport.close()


class _Receiver(asyncio.DatagramProtocol):
    def __init__(self, received: Callable[[bytes, Address], object]) -> None:
        self.datagram_received = received  # type: ignore[assignment]


def _socket(host: str) -> socket.socket:
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER)
    one.bind((host, 0))
    return one
