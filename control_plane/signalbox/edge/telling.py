"""Hands routing what one of its replicas must have, whoever is away: reports of calls, orders of operators."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from signalbox.callreports import ReportsNotTakenError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import grpc

    from signalbox.edge.pool import Pool
    from signalbox.edge.replica import Replica

RETRY_S = 0.5
"""Longest pause before another replica is told."""


async def until_taken(
    pool: Pool, tell: Callable[[grpc.aio.Channel], Awaitable[None]], delayed: Callable[[Replica, str], None]
) -> Replica:
    """Tell one replica after the other until one has taken it, and return that one.

    ``tell`` raises ReportsNotTakenError if its replica has not; ``delayed`` hears of the replica and the reason. Other
    errors of ``tell`` pass.
    """
    avoid: Replica | None = None
    while True:
        avoid = replica = await pool.connected(avoid)
        try:
            if replica.channel is None:
                raise ReportsNotTakenError("not connected")
            await tell(replica.channel)
        except ReportsNotTakenError as error:
            delayed(replica, str(error))
            await asyncio.sleep(random.uniform(0, RETRY_S))
        else:
            return replica
