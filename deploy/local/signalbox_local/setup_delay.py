"""How long a proxy holds a new call: INVITE in to INVITE out, by the kernel's clock and for every call.

Measured on the wire, because what a caller's program says of its replies is mostly its own turn of work: SIPp's clock
has steps of 4 ms, and writing a message log delays what is measured.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from signalbox_local.capture import DROP, KEEP, Capture, udp

if TYPE_CHECKING:
    from collections.abc import Iterable

    from signalbox_local.capture import Endpoint


@dataclass(frozen=True, slots=True)
class Invite:
    """An INVITE on the wire."""

    arrival: float
    """Seconds since 1970."""
    source: Endpoint
    destination: Endpoint
    call_id: bytes


def capture() -> Capture[Invite]:
    """Begin to collect the INVITEs that arrive at this machine by UDP. Raises CaptureError."""
    return Capture.open(_ONLY_INVITE, parse)


def parse(datagram: bytes, arrival: float) -> Invite | None:
    """The INVITE in an IPv4 packet; None if it is something else."""
    if (found := udp(datagram)) is None:
        return None
    source, destination, message = found
    call_id = _CALL_ID.search(message)
    if call_id is None or not message.startswith(b"INVITE "):
        return None
    return Invite(arrival, source, destination, call_id[1])


def delays_ms(invites: Iterable[Invite], proxy: Endpoint) -> list[float]:
    """For every call that the proxy passed on: first INVITE to it until first INVITE from it, milliseconds."""
    taken: dict[bytes, float] = {}
    delays: dict[bytes, float] = {}
    for invite in invites:
        if invite.destination == proxy:
            taken.setdefault(invite.call_id, invite.arrival)
        elif invite.source == proxy and invite.call_id in taken:
            delays.setdefault(invite.call_id, (invite.arrival - taken[invite.call_id]) * 1000)
    return list(delays.values())


_CALL_ID = re.compile(rb"^(?:Call-ID|i)[ \t]*:[ \t]*([^\r\n]+)", re.MULTILINE | re.IGNORECASE)

_ONLY_INVITE = (
    (0x40, 0, 0, 8),
    (0x15, 1, 0, int.from_bytes(b"INVI")),
    DROP,
    KEEP,
)
