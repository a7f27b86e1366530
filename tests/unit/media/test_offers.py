"""What a node that leaves has captured is waited for, for a while."""

from __future__ import annotations

import asyncio
from typing import Any

from prometheus_client import CollectorRegistry
from signalbox.media.capture_metrics import CaptureMetrics
from signalbox.media.claims import Claims
from signalbox.media.offers import Offers


class Spool:
    """In place of a Capturing: what lies there turns up when all is taken in."""

    def __init__(self, *arriving: str) -> None:
        self.captures: set[str] = set()
        self.claims = Claims()
        self._arriving = arriving

    async def everything(self) -> bool:
        """As Capturing.everything."""
        self.captures.update(self._arriving)
        return True


def offers(spool: Any) -> Offers:
    return Offers(spool, CaptureMetrics(CollectorRegistry()))


async def test_a_node_without_captures_does_not_wait() -> None:
    async with asyncio.timeout(1):
        assert await offers(Spool()).taken(60)


async def test_captures_are_waited_for_until_recorders_have_them() -> None:
    spool = Spool("call")
    waiting = asyncio.create_task(offers(spool).taken(60))
    done, _ = await asyncio.wait({waiting}, timeout=0.3)
    assert not done
    spool.captures.clear()
    async with asyncio.timeout(5):
        assert await waiting


async def test_a_capture_that_nobody_takes_keeps_no_node() -> None:
    assert not await offers(Spool("call")).taken(0.3)
