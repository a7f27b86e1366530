"""A network in memory between transaction layers: datagrams are lost, doubled and overtake each other as told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox import address
from signalbox.sip.message import Request
from signalbox.sip.parser import parse
from signalbox.sip.source import Source
from signalbox.sip.stats import Stats
from signalbox.sip.transport import mark
from signalbox.sip.uri import PORT
from signalbox.sip.validate import check

if TYPE_CHECKING:
    from collections.abc import Callable

    from signalbox.sip.headers import Via
    from signalbox.sip.message import Response
    from signalbox.sip.source import Address, Failed, Receiver

    from support.sip_world import VirtualClock

Fate = tuple[float, ...]
"""After how many seconds copies of a datagram arrive; none if it is lost."""


class Network:
    """Carries datagrams between the carriers that are in it. ``fates``: gives the fate of the next one."""

    def __init__(self, clock: VirtualClock, fates: Callable[[], Fate]) -> None:
        self.clock = clock
        self._fates = fates
        self._carriers: dict[Address, LossyCarrier] = {}

    def carrier(self, local: Address) -> LossyCarrier:
        """Another host in the network."""
        made = self._carriers[local] = LossyCarrier(self, local)
        return made

    def carry(self, data: bytes, protocol: str, origin: Address, to: Address) -> None:
        """Let a datagram meet its fate. A stream loses nothing, and keeps the order."""
        target = self._carriers.get(to)
        if target is None:
            return
        for delay in self._fates() if protocol == "udp" else (0.01,):
            self.clock.call_later(delay, lambda: target.take(data, protocol, origin))


class LossyCarrier:
    """One host's transports."""

    def __init__(self, network: Network, local: Address) -> None:
        self.stats = Stats()
        self.receiver: Receiver | None = None
        self.local = local
        self._network = network

    def sent_by(self, protocol: str, remote: Address) -> str:
        return address.join(*self.local)

    def send(self, data: bytes, protocol: str, remote: Address, failed: Failed | None = None) -> None:
        self.stats.sent += 1
        self._network.carry(data, protocol, self.local, remote)

    def reply(self, data: bytes, via: Via | None, source: Source, failed: Failed | None = None) -> None:
        remote = source.remote if via is None or "rport" in via.params else (source.remote[0], via.port or PORT)
        self.send(data, source.protocol, remote, failed)

    def respond(self, response: Response, source: Source) -> None:
        self.reply(response.encode(), response.via, source)

    def take(self, data: bytes, protocol: str, origin: Address) -> None:
        """A message arrives."""
        message = parse(data)
        if isinstance(message, Request):
            mark(message, origin)
        check(message)
        assert self.receiver is not None
        self.receiver.on_message(message, Source(protocol, origin, self.local, self))  # type: ignore[arg-type]
