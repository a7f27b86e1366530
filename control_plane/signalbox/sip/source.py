"""Where a message came from, and what it means that one cannot be sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

from signalbox.sip.errors import SipError

if TYPE_CHECKING:
    from signalbox.sip.errors import MessageError
    from signalbox.sip.message import Request, Response

Address = tuple[str, int]
"""An IP address (IPv6 without brackets) and a port."""


class TransportError(SipError):
    """A message could not be sent (RFC 3261 section 18.4): no route, no connection, or a peer that does not read."""


Failed = Callable[[TransportError], None]
"""Is told, later and once, that a message could not be sent."""


class Link(Protocol):
    """The socket or connection on which a message came."""

    def send(self, data: bytes, remote: Address, failed: Failed | None) -> bool:
        """Send to where the message came from. False if the connection is gone."""


class Source(NamedTuple):
    """Where a message came from, and through which of our sockets."""

    protocol: str
    """``udp`` or ``tcp``."""
    remote: Address
    local: Address
    connection: Link


class Receiver(Protocol):
    """Takes what arrives: the transaction layer."""

    def on_message(self, message: Request | Response, source: Source) -> None:
        """A valid message. The top Via of a request tells where it came from (section 18.2.1, RFC 3581)."""

    def on_bad(self, error: MessageError, source: Source) -> None:
        """A message that is malformed; with ``error.request_head`` it can be answered."""
