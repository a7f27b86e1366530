"""What SIPp writes: its statistics and its message log.

SIPp reads a coarse clock (4 ms on usual kernels), so the response times in its statistics are too rough for post-dial
delay: :func:`ring_delays_ms` takes them from the message log, which has true times.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class SippStatistics:
    """Counters since the start."""

    elapsed_s: float
    calls: int
    """Calls begun."""
    open: int
    successful: int
    failed: int
    retransmissions: int
    """Messages sent again: for lack of a reply, or because the other side had sent its own again."""
    unexpected: int
    """Calls failed for a message that the scenario did not expect."""
    timed_out: int
    """Calls failed for lack of a reply."""
    fatal: int
    """Errors for which SIPp ended itself."""
    response_times: Mapping[str, Mapping[str, int]]
    """By timer of the scenario: how many were below each bound in milliseconds: ``{"ring": {"<5": 400, ">=5": 0}}``."""


def read_statistics(file: Path) -> SippStatistics:
    """Parse the last whole row of a statistics file. Raises OSError, KeyError or ValueError."""
    lines = [line for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")]
    if len(lines) < 2:
        raise ValueError("no row yet")
    header, values = csv.reader([lines[0], lines[-1]], delimiter=";")
    row = dict(zip(header, values, strict=False))
    times: dict[str, dict[str, int]] = {}
    for key, value in row.items():
        match = re.fullmatch(r"ResponseTimeRepartition(\w*)_(<|>=)(\d+)", key)
        if match:
            timer, side, bound = match.groups()
            times.setdefault(timer, {})[side + bound] = int(value)
    return SippStatistics(
        elapsed_s=float(row["CurrentTime"].split("\t")[-1]) - float(row["StartTime"].split("\t")[-1]),
        calls=int(row["TotalCallCreated"]),
        open=int(row["CurrentCall"]),
        successful=int(row["SuccessfulCall(C)"]),
        failed=int(row["FailedCall(C)"]),
        retransmissions=int(row["Retransmissions(C)"]),
        unexpected=int(row["FailedUnexpectedMessage(C)"]),
        timed_out=int(row["FailedMaxUDPRetrans(C)"]) + int(row["FailedTimeoutOnRecv(C)"]),
        fatal=int(row["FatalErrors(C)"]),
        response_times=times,
    )


@dataclass(frozen=True, slots=True)
class TracedMessage:
    """A message of SIPp's log."""

    time: float
    """Seconds since 1970, to the microsecond, by SIPp's idea of the zone: only good for differences."""
    sent: bool
    text: str
    """The message with "\\n" between the lines."""

    @property
    def start_line(self) -> str:
        """Request line or status line."""
        return self.text.partition("\n")[0]

    def header(self, name: str) -> str:
        """First value of a header; empty if there is none."""
        match = re.search(
            rf"^{re.escape(name)}\s*:\s*(.*)$", self.text.partition("\n\n")[0], re.MULTILINE | re.IGNORECASE
        )
        return match[1].strip() if match else ""


_TRACE_HEAD = re.compile(
    r"^-{20,} (\d{4}-\d\d-\d\d)[ \tT]+(\d\d:\d\d:\d\d\.\d+).*\n\w+ message (sent|received).*\n\n", re.MULTILINE
)


def read_messages(file: Path) -> list[TracedMessage]:
    """Messages of a log that SIPp wrote with ``trace_messages``, in order."""
    text = file.read_bytes().decode(errors="replace").replace("\r\n", "\n")
    heads = list(_TRACE_HEAD.finditer(text))
    # None, if nobody called.
    ends = [head.start() for head in heads[1:]] + [len(text)] * bool(heads)
    return [
        TracedMessage(
            time=datetime.fromisoformat(f"{head[1]} {head[2]}").replace(tzinfo=UTC).timestamp(),
            sent=head[3] == "sent",
            text=text[head.end() : end].rstrip("\n") + "\n",
        )
        for head, end in zip(heads, ends, strict=True)
    ]


def ring_delays_ms(messages: list[TracedMessage]) -> list[float]:
    """Post-dial delay of every call of a caller's log: INVITE sent to first 18x or 200 received, milliseconds."""
    started: dict[str, float] = {}
    delays: list[float] = []
    for message in messages:
        call = message.header("Call-ID")
        if message.sent and message.start_line.startswith("INVITE "):
            started.setdefault(call, message.time)
        elif not message.sent and re.match(r"SIP/2.0 (18\d|200) ", message.start_line) and call in started:
            if started[call] > 0:
                delays.append((message.time - started[call]) * 1000)
            started[call] = 0
    return delays
