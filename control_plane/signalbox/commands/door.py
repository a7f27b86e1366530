"""Talks to an edge through its UNIX socket (HTTP, RFC 9110; what it offers is in ``edge/door.py``)."""

from __future__ import annotations

import http.client
import json
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from pathlib import Path

TIMEOUT_S = 10.0
"""Longer than the edge waits for the parties."""

NO_ANSWER = "nothing yet"


class DoorClosedError(Exception):
    """Nobody serves there, we may not open it, or redis does not answer the edge: another edge may do."""


@dataclass(frozen=True, slots=True)
class Ended:
    """What the parties said to their BYE, or why there was none."""

    caller: str = NO_ANSWER
    line: str = NO_ANSWER
    refusal: str = ""


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("edge", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        """To the socket instead of a host."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def hang_up(door: Path, call_id: str) -> Ended:
    """End a call. Raises DoorClosedError."""
    connection = _Connection(door)
    try:
        connection.request("POST", f"/calls/{quote(call_id, safe='')}/hangup")
        response = connection.getresponse()
        body = json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise DoorClosedError(str(error) or type(error).__name__) from error
    finally:
        connection.close()
    if response.status == http.client.NOT_FOUND:
        return Ended(refusal=f"no call {call_id} is known, or it has ended")
    if response.status not in (http.client.OK, http.client.ACCEPTED):
        raise DoorClosedError(str(body.get("error", response.reason)))
    return Ended(str(body.get("caller", NO_ANSWER)), str(body.get("line", NO_ANSWER)))
