"""The process of :class:`signalbox_local.testcluster.calls.Callers`, told what to do through a pipe."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import multiprocessing as mp
import os
import secrets
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import uvloop

from signalbox_local import flow_messages as sip
from signalbox_local.testcluster.calls import TAKEN, Callers, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection

    from signalbox_local.flow_messages import Address
    from signalbox_local.testcluster.tally import Record

SOCKET_BUFFER = 4 * 1024 * 1024
ANSWER_S = 30.0


class LoadError(Exception):
    """The process does not do what it is told."""


@dataclass(frozen=True, slots=True)
class Sockets:
    """Of the callers and of the lines; open before the switch is started, which names them."""

    caller: socket.socket
    line: socket.socket
    caller_rtp: socket.socket
    line_rtp: socket.socket

    @classmethod
    def open(cls, host: str) -> Self:
        """On free ports of an address that proxies and media nodes can reach."""
        return cls(*(_socket(host) for _ in range(4)))

    @property
    def line_address(self) -> Address:
        """Where lines are called."""
        host, port = self.line.getsockname()
        return host, port

    def close(self) -> None:
        """Close them."""
        for one in (self.caller, self.line, self.caller_rtp, self.line_rtp):
            one.close()


class Load:
    """Calls, from a process of its own. It keeps the records of all."""

    def __init__(self, sockets: Sockets, switch: Address, kinds: Sequence[Kind]) -> None:
        self.records: list[Record] = []
        context = mp.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_run, args=(theirs, sockets, switch, list(kinds)), daemon=True)
        self._process.start()
        theirs.close()
        self._ask("ready")

    def begin(self, share: float = 1.0) -> None:
        """See Callers.begin."""
        self._ask("begin", share)

    def stop(self) -> None:
        """See Callers.stop."""
        self._ask("stop")

    def open(self) -> int:
        """Calls that are not over now; the others are in ``records``. Raises LoadError."""
        while True:
            records, still_open = self._ask("take")
            self.records += records
            assert isinstance(still_open, int)
            if len(records) < TAKEN:
                return still_open

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

    def _ask(self, *command: object) -> Any:
        try:
            self._pipe.send(command)
            if not self._pipe.poll(ANSWER_S):
                raise LoadError(f"the load did not answer {command} within {ANSWER_S:.0f} s")
            return self._pipe.recv()
        except (EOFError, OSError) as error:
            raise LoadError("the process of the load has ended") from error


def _run(pipe: Connection, sockets: Sockets, switch: Address, kinds: Sequence[Kind]) -> None:
    uvloop.run(_serve(pipe, sockets, switch, kinds))


async def _serve(pipe: Connection, sockets: Sockets, switch: Address, kinds: Sequence[Kind]) -> None:
    loop = asyncio.get_running_loop()
    run = f"{os.getpid()}x{secrets.token_hex(4)}"
    caller, media = sockets.caller.getsockname(), sockets.caller_rtp.getsockname()
    contact = "sip:{}:{}".format(*sockets.line_address)
    messages = [(kind, sip.Caller(caller, media, switch, kind.number, run)) for kind in kinds]
    callers = Callers(loop, messages, contact, sockets.line_rtp.getsockname())
    receivers: list[tuple[socket.socket, Callable[[bytes, Address], object]]] = [
        (sockets.caller, lambda data, _: callers.of_switch(data)),
        (sockets.line, callers.of_line),
        (sockets.caller_rtp, callers.caller_hears),
        (sockets.line_rtp, callers.line_hears),
    ]
    transports: list[asyncio.DatagramTransport] = []

    def receive(received: Callable[[bytes, Address], object], data: bytes, source: Address) -> None:
        # What is left of calls before ours may come at once.
        if len(transports) == len(receivers):
            received(data, source)

    for one, received in receivers:
        one.setblocking(False)
        protocol = _Receiver(functools.partial(receive, received))
        transport, _ = await loop.create_datagram_endpoint(lambda protocol=protocol: protocol, sock=one)  # type: ignore[misc]
        transports.append(transport)
    callers.use(lambda data: transports[0].sendto(data, switch), *(one.sendto for one in transports[1:]))
    over = asyncio.Event()
    commands: dict[str, Callable[..., Any]] = {
        "ready": lambda: None, "begin": callers.begin, "stop": callers.stop, "take": callers.take
    }  # fmt: skip

    def told() -> None:
        try:
            name, *arguments = pipe.recv()
        except EOFError:
            over.set()
            return
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
