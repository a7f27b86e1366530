"""A proxy for each test module, a fake sidecar and agents for each test, and the steps that most tests share."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from support.kamailio import WORKER_HOST, Kamailio
from support.sidecar_fake import FakeSidecar, branch, dial, reject, stage
from support.sip_agent import Agent, Call, Message, connect
from support.sip_agent_tcp import TcpAgent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator


@pytest.fixture(scope="module")
def proxy() -> Iterator[Kamailio]:
    """A proxy with short timers, so that it is soon seen that no transaction is left."""
    with Kamailio(connect_timeout_ms=700, workers=[WORKER_HOST], transactions_stay_ms=1000) as proxy:
        yield proxy


@pytest.fixture
async def sidecar(proxy: Kamailio) -> AsyncIterator[FakeSidecar]:
    """Its sidecar; refuses all unless the test sets ``decide``."""
    sidecar = await FakeSidecar(proxy, lambda question: reject(404, "Not Found")).start()
    yield sidecar
    sidecar.close()


@pytest.fixture
async def agent(proxy: Kamailio) -> AsyncIterator[Callable[..., Awaitable[Agent]]]:
    """Makes agents that speak to the proxy, or to another one."""
    with contextlib.ExitStack() as stack:

        async def make(to: Kamailio = proxy, host: str = "127.0.0.1") -> Agent:
            agent = await Agent((to.host, to.port)).start(host)
            stack.callback(agent.close)
            return agent

        yield make


@pytest.fixture
async def worker_at(agent: Callable[..., Awaitable[Agent]]) -> AsyncIterator[Callable[[str], Awaitable[Agent]]]:
    """Makes agents that are called over "udp" or "tcp"."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(transport: str) -> Agent:
            worker = await agent()
            if transport == "tcp":
                worker = await TcpAgent(worker.proxy).start()
                stack.push_async_callback(worker.stop)
            return worker

        yield make


@pytest.fixture
def answered(
    sidecar: FakeSidecar, agent: Callable[..., Awaitable[Agent]]
) -> Callable[..., Awaitable[tuple[Agent, Agent, Call, Message]]]:
    """Sets a call up: caller, line, the caller's dialog, and the INVITE as the line got it."""

    async def make(**decision: object) -> tuple[Agent, Agent, Call, Message]:
        caller, line = await agent(), await agent()
        sidecar.decide = lambda question: dial(stage(branch(line.port)), **decision)
        call, invite = await connect(caller, line)
        return caller, line, call, invite

    return make


@pytest.fixture(params=["udp", "tcp"])
async def forger(request: pytest.FixtureRequest, proxy: Kamailio) -> AsyncIterator[Agent]:
    """An agent for requests that must be dropped, over UDP and over TCP."""
    if request.param == "udp":
        agent = await Agent((proxy.host, proxy.port)).start()
        yield agent
        agent.close()
    else:
        agent = await (await TcpAgent((proxy.host, proxy.port)).start()).connect()
        yield agent
        await agent.stop()
