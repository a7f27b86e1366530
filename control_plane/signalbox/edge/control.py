"""JSON-RPC 2.0 to the proxy over its UNIX datagram socket (Kamailio's jsonrpcs module)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from typing import TYPE_CHECKING, Any

from signalbox.errors import SignalboxError

if TYPE_CHECKING:
    from pathlib import Path

TIMEOUT_S = 2.0
"""An answer takes under a millisecond, except while the proxy pings an rtpengine that is dead."""

MAX_ANSWER_BYTES = 1024 * 1024


class ProxyUnreachableError(SignalboxError):
    """The proxy does not run, or its control process does not answer."""


class ProxyRefusedError(SignalboxError):
    """The proxy answered with an error."""

    def __init__(self, method: str, code: int, message: str) -> None:
        super().__init__(f"{method}: {code} {message}")
        self.code = code


class Control:
    """One request at a time; each waits at most :data:`TIMEOUT_S`. Answers that come later are dropped."""

    def __init__(self, runtime_dir: Path) -> None:
        self._server = str(runtime_dir / "rpc.sock")
        self._path = runtime_dir / "rpc-edge.sock"
        self._lock = asyncio.Lock()
        self._socket: socket.socket | None = None
        self._number = 0
        self._waiting: tuple[int, asyncio.Future[dict[str, Any]]] | None = None

    async def call(self, method: str, *parameters: str | int) -> Any:
        """Call a method and return its result. Raises ProxyUnreachableError, ProxyRefusedError."""
        async with self._lock:
            sock = self._open()
            self._number += 1
            answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
            self._waiting = (self._number, answer)
            request = {"jsonrpc": "2.0", "method": method, "params": list(parameters), "id": self._number}
            try:
                sock.sendto(json.dumps(request).encode(), self._server)
                async with asyncio.timeout(TIMEOUT_S):
                    response = await answer
            except (OSError, TimeoutError) as error:
                raise ProxyUnreachableError(f"{method}: {str(error) or 'no answer'}") from error
            finally:
                self._waiting = None
        if "error" in response:
            refusal = response["error"]
            raise ProxyRefusedError(method, int(refusal.get("code", 0)), str(refusal.get("message", "")))
        return response.get("result")

    def close(self) -> None:
        """Close the socket and remove its path."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None
            self._path.unlink(missing_ok=True)

    def _open(self) -> socket.socket:
        if self._socket is not None:
            return self._socket
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, MAX_ANSWER_BYTES)
            self._path.unlink(missing_ok=True)
            sock.bind(str(self._path))
            os.chmod(self._path, 0o600)
        except OSError as error:
            sock.close()
            raise ProxyUnreachableError(f"{self._path}: {error}") from error
        asyncio.get_running_loop().add_reader(sock.fileno(), self._read, sock)
        self._socket = sock
        return sock

    def _read(self, sock: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                try:
                    response = json.loads(sock.recv(MAX_ANSWER_BYTES))
                except ValueError:
                    continue
                if self._waiting is None or not isinstance(response, dict):
                    continue
                number, answer = self._waiting
                if response.get("id") == number and not answer.done():
                    answer.set_result(response)
