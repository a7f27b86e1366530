"""Which calls an rtpengine knows: the command ``list`` of its ng protocol, over TCP.

A thousand calls and more do not fit one datagram. The connection is kept: when it breaks, the process behind it may be
another one, which knows other calls.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from contextlib import suppress

from signalbox import address
from signalbox.bencode import BencodeError, Value, decode, encode
from signalbox.ng import NgProtocolError, NgTimeoutError, NgUnreachableError

TIMEOUT_S = 5.0
_MOST = 1 << 20
_CHUNK = 1 << 18


class Lister:
    """One rtpengine, at the TCP port with the number of its UDP port."""

    def __init__(self, control: str) -> None:
        self._control = address.split(control)
        self._prefix = secrets.token_hex(6)
        self._numbers = itertools.count()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.connections = 0
        """How often it had to connect: the same number before and after is the same process."""

    @property
    def connected(self) -> bool:
        """False once the other end has closed the connection: the process may be another one already."""
        reader = self._streams[0] if self._streams is not None else None
        return reader is not None and not reader.at_eof() and reader.exception() is None

    async def calls(self) -> frozenset[str]:
        """The ids of all calls.

        Raises NgUnreachableError if nobody listens there (so no call is there either), NgTimeoutError,
        NgProtocolError.
        """
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await self._ask_again()
        except BaseException as error:
            # Of whatever kind: what is still to come must not be taken for the answer to the next question.
            self.close()
            if not isinstance(error, TimeoutError | OSError):
                raise
            raise NgTimeoutError(f"no list of calls: {str(error) or type(error).__name__}") from error

    def close(self) -> None:
        """Close the connection; the next question opens another one."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _ask_again(self) -> frozenset[str]:
        if self._streams is not None:
            with suppress(OSError):
                return await self._ask()
            self.close()
        try:
            self._streams = await asyncio.open_connection(*self._control)
        except ConnectionRefusedError as error:
            raise NgUnreachableError(f"rtpengine cannot be reached: {error}") from error
        self.connections += 1
        return await self._ask()

    async def _ask(self) -> frozenset[str]:
        """Raises OSError if the connection is broken."""
        assert self._streams is not None
        reader, writer = self._streams
        cookie = f"{self._prefix}_{next(self._numbers)}".encode()
        writer.write(cookie + b" " + encode({"command": "list", "limit": _MOST}))
        await writer.drain()
        answer = bytearray()
        while True:
            chunk = await reader.read(_CHUNK)
            if not chunk:
                raise ConnectionResetError("closed by rtpengine")
            answer += chunk
            # Nothing tells how long it will be: it is whole when it can be read.
            if answer.endswith(b"e"):
                with suppress(BencodeError):
                    return _calls(decode(bytes(answer).removeprefix(cookie + b" ")))


def _calls(reply: Value) -> frozenset[str]:
    calls = reply.get("calls") if isinstance(reply, dict) else None
    if not isinstance(calls, list):
        raise NgProtocolError("reply to list without calls")
    return frozenset(call for call in calls if isinstance(call, str))
