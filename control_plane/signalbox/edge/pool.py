"""The routing replicas: found by list or by DNS name, questions spread over those that answer in time."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

import grpc
import structlog

from signalbox import address, renewing, rpc
from signalbox.edge.replica import LATE_LIMIT, Receiver, Replica, State
from signalbox.rpc import LASTING, MAX_MESSAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signalbox.settings import EdgeSettings

logger = structlog.get_logger(__name__)

RESOLVE_INTERVAL_S = 5.0
RESOLVE_SOON_S = 0.5
"""Between two looks for addresses while a replica drains or none is ready: its successor may be there."""
RETIRE_S = 1.0
"""A replica whose address is gone may finish its questions for so long."""
LAST_S = 30.0
"""The last one is asked for so long at most after its address is gone, unless it ends before."""

_OPTIONS: list[tuple[str, str | int]] = [
    *LASTING,
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.enable_http_proxy", 0),
]


class Pool:
    """Keeps ``streams_per_replica`` :class:`Replica` per address. :meth:`run` is the long-lived coroutine."""

    def __init__(self, settings: EdgeSettings) -> None:
        self._settings = settings
        tls = settings.routing_tls
        self._files = rpc.client_files(tls) if tls.enabled else None
        self._entries = [_parse_entry(entry) for entry in settings.routing]
        self._replicas: dict[str, Replica] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ready: list[Replica] = []
        self._suspects: list[Replica] = []
        self._draining: list[Replica] = []
        self._leaving: set[Replica] = set()
        self._resolved: dict[tuple[str, int], list[str]] = {}
        self._turn = 0
        self._any_ready = asyncio.Event()
        self._moving = asyncio.Event()
        self._time = asyncio.get_running_loop().time

    @property
    def replicas(self) -> Sequence[Replica]:
        """All replicas, in any state."""
        return tuple(self._replicas.values())

    @property
    def healthy(self) -> bool:
        """True if at least one replica can be asked."""
        return bool(self._ready or self._suspects or self._draining)

    def pick(self, exclude: Replica | None = None) -> Replica | None:
        """The ready replica with the fewest open questions, in turn among equals.

        If none is ready, one that is late is better than none, and then one that is stopping; but not as a second
        opinion: with ``exclude`` set only ready ones count.
        """
        candidates = self._ready
        if not candidates and exclude is None:
            candidates = self._suspects or self._draining
        count = len(candidates)
        self._turn = turn = self._turn + 1
        best: Replica | None = None
        for step in range(count):
            replica = candidates[(turn + step) % count]
            if replica is not exclude and (best is None or replica.outstanding < best.outstanding):
                best = replica
        return best

    def due_for_trial(self) -> Replica | None:
        """A suspect replica that should get a copy of a question now."""
        if not self._suspects:
            return None
        now = self._time()
        return next((replica for replica in self._suspects if replica.trial_due(now)), None)

    def was_late(self, replica: Replica) -> None:
        """A question to it was not answered in time. The last ready replica stays, however late."""
        replica.late_streak += 1
        if replica.late_streak >= LATE_LIMIT and len(self._ready) > 1:
            replica.suspect()

    async def connected(self, avoid: Replica | None = None) -> Replica:
        """Wait for a replica to watch; another than ``avoid`` if there is one."""
        while True:
            await self._any_ready.wait()
            candidates = self._ready or self._suspects
            if candidates:
                self._turn += 1
                others = [replica for replica in candidates if replica is not avoid] or candidates
                return others[self._turn % len(others)]
            self._any_ready.clear()

    async def run(self, receiver: Receiver) -> None:
        """Long-lived coroutine: follow the addresses, run the replicas."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                wanted = {
                    _name(target, number): (target, server_name)
                    for target, server_name in (await self._addresses()).items()
                    for number in range(1, self._settings.streams_per_replica + 1)
                }
                for name, (target, server_name) in wanted.items():
                    if name not in self._replicas:
                        replica = self._make(name, target, server_name, receiver)
                        self._replicas[name] = replica
                        self._tasks[name] = tasks.create_task(replica.run(), name=f"replica {name}")
                for name in self._replicas.keys() - wanted.keys():
                    tasks.create_task(self._retire(name), name=f"retire {name}")
                with suppress(TimeoutError):
                    async with asyncio.timeout(RESOLVE_INTERVAL_S):
                        await self._moving.wait()
                        await asyncio.sleep(RESOLVE_SOON_S)

    def _make(self, name: str, target: str, server_name: str | None, receiver: Receiver) -> Replica:
        options = list(_OPTIONS)
        server_name = self._settings.routing_tls.server_name or server_name
        if self._files is not None and server_name is not None:
            options.append(("grpc.ssl_target_name_override", server_name))

        def connect() -> grpc.aio.Channel:
            if self._files is None:
                return grpc.aio.insecure_channel(target, options=options)
            return renewing.channel(target, self._files, options)

        return Replica(
            name,
            connect,
            receiver,
            self._sort,
            hedge_after_s=self._settings.hedge_after_ms / 1000,
            timeout_s=self._settings.decide_timeout_ms / 1000,
        )

    async def _retire(self, name: str) -> None:
        """The address is gone from DNS: perhaps before that of its successor has come."""
        replica, task = self._replicas.pop(name), self._tasks.pop(name)
        self._leaving.add(replica)
        replica.drain()
        self._sort()
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_S):
                await self._any_ready.wait()
        await asyncio.sleep(RETIRE_S)
        self._leaving.remove(replica)
        self._sort()
        task.cancel()
        logger.info("replica_retired", replica=name)

    def _sort(self) -> None:
        """A state changed."""
        ready = [replica for replica in self._replicas.values() if replica.state is State.READY]
        self._ready = [replica for replica in ready if not replica.stale] or ready
        self._suspects = [replica for replica in self._replicas.values() if replica.state is State.SUSPECT]
        others = (*self._replicas.values(), *self._leaving)
        self._draining = [replica for replica in others if replica.state is State.DRAINING]
        _let(self._any_ready, bool(self._ready or self._suspects))
        _let(self._moving, bool(self._draining) or not self._ready)

    async def _addresses(self) -> dict[str, str | None]:
        """gRPC target → server name for TLS. A name that cannot be resolved keeps the addresses it had."""
        found: dict[str, str | None] = {}
        for host, port, follow in self._entries:
            if not follow:
                found[address.join(host, port)] = None
                continue
            try:
                infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
            except OSError as error:
                logger.warning("replica_name_unresolved", name=host, reason=str(error))
            else:
                self._resolved[host, port] = [_target(str(peer[0]), port) for *_, peer in infos]
            found |= dict.fromkeys(self._resolved.get((host, port), ()), host)
        return found


def _let(event: asyncio.Event, on: bool) -> None:
    if on:
        event.set()
    else:
        event.clear()


def _name(target: str, number: int) -> str:
    """Name of one connection to an address."""
    return target if number == 1 else f"{target}#{number}"


def _target(host: str, port: int) -> str:
    ip = ipaddress.ip_address(host)
    return f"ipv{ip.version}:{address.join(ip, port)}"


def _parse_entry(entry: str) -> tuple[str, int, bool]:
    """``host:port`` or ``dns:name:port`` as (host, port, follow all addresses)."""
    rest = entry.removeprefix("dns:")
    return *address.split(rest), rest != entry
