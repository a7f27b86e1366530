"""What Locust's process and the one that makes calls say to each other: a line of JSON each."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Start:
    """The first line that the engine is told: where it is, and whom it calls. Ports 0: free ones."""

    caller_host: str
    line_host: str
    media_host: str
    proxies: list[Address]
    """SIP addresses of the proxies, called in turn."""


@dataclass(frozen=True, slots=True)
class Ready:
    """What it says first: where its lines are called, UDP and TCP."""

    line: Address


@dataclass(frozen=True, slots=True)
class Direction:
    """What one side heard of the other while both could talk, in packets of 20 ms."""

    sent: int = 0
    heard: int = 0
    first_ms: float | None = None
    """From when both could talk to the first packet; None: not one was heard."""

    @property
    def lost(self) -> int:
        """Packets that were sent and not heard."""
        return self.sent - self.heard


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a call. Times in milliseconds since its INVITE was sent; None: that did not happen."""

    status: int
    """The final response to the INVITE; 0: none came."""
    outcome: str
    """See :mod:`loadtest.outcome`."""
    why: str = ""
    """More of it, for people."""
    dialled_ms: float | None = None
    """The first response above 100: post-dial delay, if it was not a refusal (RFC 6076 section 4.3)."""
    answered_ms: float | None = None
    final_ms: float | None = None
    """Any final response."""
    connected_ms: float | None = None
    """The line has its ACK, and the caller an answer: both can talk."""
    talked_ms: float | None = None
    """So long both could talk."""
    cleared_ms: float | None = None
    """From the caller's BYE to the line's having it."""
    retry_after: bool = False
    """A refusal said when to try again (RFC 3261 section 20.33)."""
    caller: Direction = field(default_factory=Direction)
    """What the caller heard."""
    line: Direction = field(default_factory=Direction)
    keys: str = ""
    """What the caller pressed while both talked."""
    heard_keys: str = ""
    """What the line heard of it."""


@dataclass(frozen=True, slots=True)
class Effort:
    """What the engine's process did in about a second."""

    seconds: float
    cpu_seconds: float
    late_ms: float
    """The worst delay of a packet that was to be sent at a time."""
    open_calls: int
    retransmitted: int
    """SIP messages that were sent again, by callers and lines, since the start."""
    unreadable: int
    """What came and was no SIP, or of no call, since the start."""


def dumps(kind: str, value: Any, **more: Any) -> bytes:
    """One line: the kind of message, and the fields of a dataclass."""
    return json.dumps({"kind": kind, **more, **asdict(value)}, ensure_ascii=False).encode() + b"\n"


def start(message: dict[str, Any]) -> Start:
    """What the first line says."""
    fields = {name: value for name, value in message.items() if name != "kind"}
    return Start(**{**fields, "proxies": [(host, port) for host, port in fields["proxies"]]})


def result(message: dict[str, Any]) -> Result:
    """The result in a message."""
    fields = {name: value for name, value in message.items() if name not in ("kind", "id")}
    fields |= {"caller": Direction(**message["caller"]), "line": Direction(**message["line"])}
    return Result(**fields)
