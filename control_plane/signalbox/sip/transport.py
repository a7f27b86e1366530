"""Sockets of the SIP core: what arrives becomes messages, and messages go where they belong (RFC 3261 section 18).

Nothing waits here and nothing is resolved: addresses are IP addresses. That a message cannot be sent is told to its
sender later, in a call from the event loop, never within the call that sent it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ipaddress
from typing import TYPE_CHECKING

from signalbox import address
from signalbox.errors import ConfigurationError
from signalbox.sip.errors import MessageError
from signalbox.sip.headers import Via
from signalbox.sip.message import Request
from signalbox.sip.parser import parse
from signalbox.sip.source import TransportError
from signalbox.sip.stats import Stats
from signalbox.sip.tcp import Limits, TcpSide
from signalbox.sip.udp import UdpSocket
from signalbox.sip.uri import PORT
from signalbox.sip.validate import check

if TYPE_CHECKING:
    from signalbox.sip.message import Response
    from signalbox.sip.source import Address, Failed, Receiver, Source


class Transports:
    """UDP and TCP sockets, one of each for IPv4 and for IPv6 at most, and the connections of TCP.

    To be made in a running event loop. ``receiver`` must be set before anything is listened to.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.stats = Stats()
        self.receiver: Receiver | None = None
        self._loop = asyncio.get_running_loop()
        self._udp: dict[bool, UdpSocket] = {}
        self._tcp = TcpSide(limits or Limits(), self.stats, self._take, self._bad)
        self._local: dict[tuple[str, bool], Address] = {}
        self._sent_by: dict[tuple[str, bool], str] = {}

    @property
    def connections(self) -> int:
        """How many TCP connections there are."""
        return len(self._tcp)

    async def listen_udp(self, host: str, port: int, *, advertised: str = "") -> Address:
        """Take datagrams at an IP address; port 0 is a free one. ``advertised``: ``host:port`` for Via, if another.

        Raises ConfigurationError.
        """
        v6 = self._new("udp", host, port, advertised)
        try:
            self._udp[v6] = UdpSocket(self._loop, host, port, self.stats, self._take_datagram)
        except OSError as error:
            raise ConfigurationError(f"sip udp {address.join(host, port)}: {error}") from error
        return self._listening("udp", v6, self._udp[v6].local, advertised)

    async def listen_tcp(self, host: str, port: int, *, advertised: str = "") -> Address:
        """As :meth:`listen_udp`, for connections."""
        v6 = self._new("tcp", host, port, advertised)
        try:
            local = await self._tcp.listen(host, port)
        except OSError as error:
            raise ConfigurationError(f"sip tcp {address.join(host, port)}: {error}") from error
        return self._listening("tcp", v6, local, advertised)

    def sent_by(self, protocol: str, remote: Address) -> str:
        """``host:port`` for the Via of a request to a remote address; empty if we do not listen there."""
        return self._sent_by.get((protocol, ":" in remote[0]), "")

    def send(self, data: bytes, protocol: str, remote: Address, failed: Failed | None = None) -> None:
        """Send an encoded request to an IP address. TCP connects if it must."""
        v6 = ":" in remote[0]
        why = "" if _is_ip(remote[0]) else "is no IP address"
        if (protocol, v6) not in self._local:
            why = f"we do not listen to {protocol} there"
        if why:
            self._tcp.fail(TransportError(f"{protocol} {remote[0]}:{remote[1]}: {why}"), failed)
        elif protocol == "udp":
            self._udp[v6].send(data, remote, failed)
        else:
            self._tcp.send(data, remote, self._local["tcp", v6][0], failed)

    def reply(self, data: bytes, via: Via | None, source: Source, failed: Failed | None = None) -> None:
        """Send an encoded response to a request that came from ``source`` with this top Via, None if it is malformed.

        By UDP from the socket that it came to, to its address, and to the port that it came from if it asked for that
        (RFC 3581 section 4), else to the one in Via. By TCP on its connection; if that is gone, on one to the port in
        Via (RFC 3261 section 18.2.2). ``maddr`` and ``received`` of a Via are not believed, only what we saw.
        """
        host = source.remote[0]
        if source.protocol == "udp":
            to = source.remote if via is None or "rport" in via.params else (host, via.port or PORT)
            source.connection.send(data, to, failed)
        elif not source.connection.send(data, source.remote, failed):
            self.send(data, "tcp", (host, (via and via.port) or PORT), failed)

    def respond(self, response: Response, source: Source) -> None:
        """Send a response without a transaction, be the Via that it has from its request malformed or not."""
        try:
            via = response.via
        except MessageError:
            via = None
        self.reply(response.encode(), via, source)

    async def close(self) -> None:
        """Close all sockets. What waits in a connection has two seconds to go."""
        for udp in self._udp.values():
            udp.close()
        await self._tcp.close()
        self._local.clear()
        self._sent_by.clear()

    def _new(self, protocol: str, host: str, port: int, advertised: str) -> bool:
        """Whether it is IPv6. Raises ConfigurationError if there is one of the kind, or nobody could answer it."""
        where = f"sip {protocol} {address.join(host, port)}"
        try:
            ip = ipaddress.ip_address(host)
        except ValueError:
            raise ConfigurationError(f"{where}: must be an IP address") from None
        if ip.is_unspecified and not advertised:
            raise ConfigurationError(f"{where}: needs an advertised address, for no peer can answer to this one")
        v6 = ip.version == 6
        if (protocol, v6) in self._local:
            raise ConfigurationError(f"{where}: there is one already, at {address.join(*self._local[protocol, v6])}")
        return v6

    def _listening(self, protocol: str, v6: bool, local: Address, advertised: str) -> Address:
        self._local[protocol, v6] = local
        self._sent_by[protocol, v6] = advertised or address.join(*local)
        return local

    def _take_datagram(self, data: bytes, source: Source) -> None:
        if len(data) <= 4 and not data.strip(b"\r\n\0"):
            self.stats.keepalives += 1
        else:
            self._take(data, source)

    def _take(self, data: bytes, source: Source) -> None:
        self.stats.received += 1
        message: Request | Response | None = None
        try:
            message = parse(data)
            if isinstance(message, Request):
                mark(message, source.remote)
            check(message)
        except MessageError as error:
            if isinstance(message, Request) and error.request_head is None and message.answerable:
                error.request_head = message
            self._bad(error, source)
            return
        if self.receiver is not None:
            self.receiver.on_message(message, source)

    def _bad(self, error: MessageError, source: Source) -> None:
        if error.request_head is not None:
            with contextlib.suppress(MessageError):
                mark(error.request_head, source.remote)
        if self.receiver is not None:
            self.receiver.on_bad(error, source)


def mark(request: Request, remote: Address) -> None:
    """Note in the top Via where a request came from (section 18.2.1, RFC 3581 section 4)."""
    via = request.via
    host, port = remote
    asked = "rport" in via.params
    if via.host == host and not asked:
        return
    params = {**via.params, "received": f"[{host}]" if ":" in host else host}
    if asked:
        params["rport"] = str(port)
    request.replace_top_via(Via(via.transport, via.host, via.port, params))


@functools.lru_cache(maxsize=4096)
def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
