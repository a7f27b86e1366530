"""How long a drain lasts, and what the proxy is told meanwhile."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from signalbox.edge.control import ProxyRefusedError, ProxyUnreachableError
from signalbox.edge.drain import Drain
from signalbox.settings import EdgeSettings, KamailioSettings

if TYPE_CHECKING:
    from pathlib import Path

TOLD = ("htable.seti", "health", "draining", 1)


class Proxy:
    """Its control socket: so many (current, waiting) transactions at each question, the last again and again."""

    def __init__(self, *open: tuple[int, int] | Exception) -> None:
        self.open = [*open]
        self.told: list[tuple[str | int, ...]] = []
        self.asked = 0

    async def call(self, method: str, *parameters: str | int) -> Any:
        """As Control.call."""
        if method != "tm.stats":
            self.told.append((method, *parameters))
            return None
        self.asked += 1
        now = self.open.pop(0) if len(self.open) > 1 else self.open[0]
        if isinstance(now, Exception):
            raise now
        return {"current": now[0], "waiting": now[1]}


async def drained(proxy: Proxy, **settings: Any) -> tuple[Drain, float]:
    """A drain that is over, and how long it took, seconds."""
    fake: Any = proxy
    drain = Drain(EdgeSettings(**settings), fake)
    began = asyncio.get_running_loop().time()
    async with asyncio.timeout(10):
        await drain.run()
    return drain, asyncio.get_running_loop().time() - began


async def test_without_a_time_nothing_is_drained() -> None:
    proxy = Proxy((5, 0))
    drain, _ = await drained(proxy, drain_min_s=5)
    assert not drain.begun
    assert proxy.told == []


async def test_it_lasts_until_no_transaction_is_open() -> None:
    """Those that wait for retransmissions alone are over."""
    proxy = Proxy((7, 4), (5, 4), (4, 4))
    drain, _ = await drained(proxy, drain_s=60)
    assert drain.begun
    assert proxy.told == [TOLD]
    assert proxy.asked == 3


async def test_it_lasts_so_long_that_who_probes_has_learnt() -> None:
    _, seconds = await drained(Proxy((0, 0)), drain_s=60, drain_min_s=0.4)
    assert 0.4 <= seconds < 5


async def test_it_is_over_with_calls_left_when_its_time_is() -> None:
    _, seconds = await drained(Proxy((1, 0)), drain_s=0.3)
    assert 0.3 <= seconds < 5


async def test_the_least_time_is_never_more_than_the_most() -> None:
    _, seconds = await drained(Proxy((0, 0)), drain_s=0.3, drain_min_s=60)
    assert seconds < 5


@pytest.mark.parametrize("error", [ProxyUnreachableError("gone"), ProxyRefusedError("tm.stats", 500, "no")])
async def test_a_proxy_that_is_gone_is_not_waited_for(error: Exception) -> None:
    drain, seconds = await drained(Proxy((3, 0), error), drain_s=60, drain_min_s=30)
    assert drain.begun
    assert seconds < 5


async def test_a_proxy_that_somebody_else_ends_is_left_alone(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec("sleep", "60")
    try:
        (tmp_path / "kamailio.pid").write_text(str(process.pid))
        fake: Any = Proxy((0, 0))
        await Drain(EdgeSettings(kamailio=KamailioSettings(runtime_dir=tmp_path)), fake).end_proxy()
        assert process.returncode is None
    finally:
        process.kill()
        await process.wait()
