"""``make bench-sip``: processor time of a bare answered call at a worker's user agent, over UDP on loopback.

A call is INVITE, 180, 200, ACK, BYE, 200: three datagrams each way. The user agent runs in a process of its own, whose
processor time is read before and after; beside it, in turns, one that only reads and sends as many datagrams of the
same sizes. What the user agent takes more is what SIP costs.

Garbage is collected as rarely as workers have it; a third kind of process has Python's own thresholds. No two calls are
alike: each has a number, a session and a port of its own, lest what is remembered of one call serve all.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop
from rich.console import Console
from signalbox.sip.sdp import SessionDescription
from signalbox.sip.transactions.layer import Transactions
from signalbox.sip.transport import Transports
from signalbox.sip.useragent import UserAgent

from signalbox_local.bench import Spread, machine, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from signalbox.sip.incoming import IncomingCall

HOST = "127.0.0.1"
ROUNDS = 7
CALLS = 1000
AT_ONCE = 20
KINDS = ("user agent", "usual collector", "datagrams alone")
_sizes = {b"INVITE": (330, 560), b"BYE": (260,)}
"""Bytes of what is sent for a datagram that begins so, about as the user agent answers it."""


def described(session: int) -> str:
    """A session description with this number and a port that follows from it."""
    return (
        f"v=0\r\no=- {session} 1 IN IP4 {HOST}\r\ns=-\r\nc=IN IP4 {HOST}\r\nt=0 0\r\n"
        f"m=audio {20_000 + 2 * session % 20_000} RTP/AVP 8 101\r\n"
        "a=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n"
    )


ANSWER = SessionDescription.parse(described(1))


async def serve(kind: str) -> None:
    """Be one of KINDS: tell the port, and the processor time so far for each line that comes."""
    loop = asyncio.get_running_loop()
    if kind == KINDS[0]:
        from signalbox.ivr.main import GC_THRESHOLDS

        gc.set_threshold(*GC_THRESHOLDS)
    # As every process of ours begins.
    gc.freeze()
    if kind in KINDS[:2]:
        transports = Transports()
        UserAgent(Transactions(transports), _answer)
        _, port = await transports.listen_udp(HOST, 0)
    else:
        bare = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        bare.bind((HOST, 0))
        port = bare.getsockname()[1]
        loop.add_reader(bare.fileno(), _echo, bare)
    print(port, flush=True)
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(time.process_time(), flush=True)


async def _answer(call: IncomingCall) -> None:
    call.ring()
    await call.answer(ANSWER)
    await call.over()


def _echo(bare: socket.socket) -> None:
    while True:
        try:
            data, remote = bare.recvfrom(65_535)
        except OSError:
            return
        for size in _sizes.get(data.split(b" ", 1)[0], ()):
            bare.sendto(data.ljust(size)[:size], remote)


class Caller:
    """Makes calls one after the other on each of its sockets."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._numbers = itertools.count()

    async def calls(self, count: int) -> None:
        """So many, AT_ONCE at a time. Raises TimeoutError if an answer does not come."""
        await asyncio.gather(*(self._some(count // AT_ONCE) for _ in range(AT_ONCE)))

    async def _some(self, count: int) -> None:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as one:
            one.bind((HOST, 0))
            await loop.sock_connect(one, (HOST, self.port))
            for _ in range(count):
                async with asyncio.timeout(10):
                    await self._call(loop, one)

    async def _call(self, loop: asyncio.AbstractEventLoop, one: socket.socket) -> None:
        count = next(self._numbers)
        number = f"{os.getpid()}x{count}x{time.monotonic_ns()}"
        local = one.getsockname()[1]
        caller = f"<sip:138{count:08d}@{HOST}:{local}>"

        def text(method: str, cseq: int, to: str, body: str = "") -> bytes:
            kind = "Content-Type: application/sdp\r\n" if body else ""
            return (
                f"{method} sip:4001234567@{HOST}:{self.port} SIP/2.0\r\n"
                f"Via: SIP/2.0/UDP {HOST}:{local};branch=z9hG4bK{number}{method};rport\r\n"
                f"Max-Forwards: 70\r\nFrom: {caller};tag=c{number}\r\nTo: {to}\r\n"
                f"Call-ID: {number}\r\nCSeq: {cseq} {method}\r\nContact: {caller}\r\n"
                f"{kind}Content-Length: {len(body)}\r\n\r\n{body}"
            ).encode()

        to = f"<sip:4001234567@{HOST}:{self.port}>"
        await loop.sock_sendall(one, text("INVITE", 1, to, described(count)))
        await loop.sock_recv(one, 65_535)
        answer = (await loop.sock_recv(one, 65_535)).decode(errors="replace")
        told = next((line[4:] for line in answer.split("\r\n") if line.startswith("To: ")), to)
        await loop.sock_sendall(one, text("ACK", 1, told))
        await loop.sock_sendall(one, text("BYE", 2, told))
        await loop.sock_recv(one, 65_535)


async def measure(report: Callable[[str], object]) -> dict[str, list[float]]:
    """Milliseconds of processor time a call, of each kind, of ROUNDS rounds in turns."""
    pipe = asyncio.subprocess.PIPE
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for turn in range(ROUNDS):
        for kind in KINDS:
            # A new one each time: what is remembered of calls that are over is the same for all rounds.
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "signalbox_local.bench_sip", kind, stdin=pipe, stdout=pipe
            )
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                caller = Caller(int(await process.stdout.readline()))
                await caller.calls(CALLS // 5)
                spent = []
                for count in (CALLS, 0):
                    process.stdin.write(b"\n")
                    spent.append(float(await process.stdout.readline()))
                    await caller.calls(count)
                found[kind].append((spent[1] - spent[0]) / CALLS * 1000)
            finally:
                process.stdin.close()
                await process.wait()
        report(f"round {turn + 1}: " + ", ".join(f"{kind} {found[kind][-1]:.3f} ms" for kind in KINDS))
    return found


def main(arguments: Sequence[str] = sys.argv[1:]) -> int:
    """Measure, print and keep the figures; with a kind as argument, serve."""
    if arguments:
        uvloop.run(serve(arguments[0]))
        return 0
    console = Console(highlight=False)
    found = uvloop.run(measure(console.print))
    whole, usual, bare = (Spread.of(found[kind]) for kind in KINDS)
    pairs = zip(found[KINDS[0]], found[KINDS[2]], strict=True)
    times = Spread.of([one / other for one, other in pairs])
    console.print(f"an answered call: {whole:.3f} ms; with Python's own thresholds of the collector: {usual:.3f} ms")
    console.print(f"datagrams alone: {bare:.3f} ms; ratio {times:.2f}")
    figures = {
        "machine": machine(),
        "cpu_ms_per_call": whole.json(),
        "usual_collector_ms_per_call": usual.json(),
        "datagrams_ms_per_call": bare.json(),
        "ratio": times.json(),
        "calls": CALLS,
        "rounds": ROUNDS,
    }
    file = Path("var/bench/sip.json")
    write_json(file, figures)
    console.print(f"{file}: {json.dumps(figures['ratio'])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
