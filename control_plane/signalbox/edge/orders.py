"""What operators order at this edge, on its way into the audit log: nothing is done before it is on our disk.

An order is a file until a routing replica has recorded it, whoever is away or dies meanwhile; then it goes. It may be
told twice, under the same id. One that came to nothing, because there is no such call, goes at once; if we die before
that is known it counts.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import struct
from typing import TYPE_CHECKING

import structlog
from google.protobuf.message import DecodeError

from signalbox import account, callreports
from signalbox.api.routing.v1.routing_pb2 import RecordOrderRequest
from signalbox.callreports import ReportsRefusedError
from signalbox.edge.telling import until_taken
from signalbox.files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from signalbox.edge.pool import Pool
    from signalbox.edge.replica import Replica

logger = structlog.get_logger(__name__)

RETRY_S = 1.0

_SUFFIX, _BEGUN, _REFUSED = ".order", ".begun", ".refused"
_CREDENTIALS = struct.Struct("3i")


class Orders:
    """:meth:`run` is the long-lived coroutine."""

    def __init__(self, directory: Path, edge: str, pool: Pool) -> None:
        self._directory = directory
        self._edge = edge
        self._pool = pool
        self._news = asyncio.Event()
        self._delayed = False

    async def keep(self, call_id: str, actor: str) -> Path:
        """Remember that somebody wants a call ended, on disk when this returns. Raises OSError."""
        order = RecordOrderRequest(id=secrets.token_hex(8), edge=self._edge, call_id=call_id, actor=actor)
        order.time.GetCurrentTime()
        file = self._directory / f"{order.time.ToNanoseconds()}-{order.id}{_BEGUN}"
        await asyncio.to_thread(write_atomically, file, order.SerializeToString())
        logger.info("order_taken", call_id=call_id, actor=actor)
        return file

    def settle(self, order: Path, *, done: bool) -> None:
        """What became of an order that was kept. Blocks for a moment. Raises OSError."""
        if done:
            order.rename(order.with_suffix(_SUFFIX))
            self._news.set()
        else:
            order.unlink()

    def recover(self) -> None:
        """At start: what was begun when we died counts as done. Blocks. Raises OSError."""
        for order in self._directory.glob(f"*{_BEGUN}"):
            self.settle(order, done=True)

    def waiting(self) -> list[Path]:
        """The orders that are not recorded yet, the oldest first. Blocks. Raises OSError."""
        return sorted(self._directory.glob(f"*{_SUFFIX}"))

    def counts(self) -> dict[str, int]:
        """How many orders wait, and how many were refused; nothing if that cannot be read. Blocks for a moment."""
        try:
            names = os.listdir(self._directory)
        except FileNotFoundError:
            names = []
        except OSError as error:
            logger.error("orders_not_counted", reason=str(error))
            return {}
        return {
            "waiting": sum(name.endswith(_SUFFIX) for name in names),
            "refused": sum(name.endswith(_REFUSED) for name in names),
        }

    async def run(self) -> None:
        """Long-lived coroutine: hand over what waits, now and whenever there is more."""
        while True:
            self._news.clear()
            try:
                for file in await asyncio.to_thread(self.waiting):
                    await self._hand_over(file)
            except OSError as error:
                logger.error("orders_not_recorded", reason=str(error))
                await asyncio.sleep(RETRY_S)
                continue
            await self._news.wait()

    async def _hand_over(self, file: Path) -> None:
        """Return when an order is recorded, or is none. Raises OSError."""
        try:
            order = RecordOrderRequest.FromString(await asyncio.to_thread(file.read_bytes))
            await self._tell(order)
        except (DecodeError, ReportsRefusedError) as error:
            # Kept for people to look at, out of the way of those behind it.
            logger.error("order_refused", file=str(file), reason=str(error))
            await asyncio.to_thread(file.rename, file.with_suffix(_REFUSED))
        else:
            await asyncio.to_thread(file.unlink)

    async def _tell(self, order: RecordOrderRequest) -> None:
        """Return when a replica has recorded it. Raises ReportsRefusedError."""
        await until_taken(
            self._pool,
            lambda channel: callreports.tell(
                channel, lambda stub: stub.RecordOrder(order, timeout=callreports.TIMEOUT_S)
            ),
            self._delay,
        )
        self._delayed = False

    def _delay(self, replica: Replica, reason: str) -> None:
        if not self._delayed:
            logger.warning("orders_delayed", replica=replica.name, reason=reason)
        self._delayed = True


def actor_of(connection: socket.socket) -> str:
    """Who is at the other end of a UNIX socket, as the kernel says it: "user alice"."""
    told = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, user, _ = _CREDENTIALS.unpack(told)
    return account.of_process(pid, user)
