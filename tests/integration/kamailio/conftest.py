"""A proxy for each test module, a fake sidecar and agents for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.kamailio import Agent, FakeSidecar, Kamailio, reject

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator


@pytest.fixture(scope="module")
def proxy() -> Iterator[Kamailio]:
    """A proxy with short timers."""
    proxy = Kamailio(connect_timeout_ms=700)
    proxy.start()
    yield proxy
    proxy.stop()


@pytest.fixture
async def sidecar(proxy: Kamailio) -> AsyncIterator[FakeSidecar]:
    """Its sidecar; refuses all unless the test sets ``decide``."""
    sidecar = await FakeSidecar(proxy, lambda question: reject(404, "Not Found")).start()
    yield sidecar
    sidecar.close()


@pytest.fixture
async def agent(proxy: Kamailio) -> AsyncIterator[Callable[[], Awaitable[Agent]]]:
    """Makes agents that speak to the proxy."""
    agents: list[Agent] = []

    async def make() -> Agent:
        agents.append(await Agent((proxy.host, proxy.port)).start())
        return agents[-1]

    yield make
    for one in agents:
        one.close()
