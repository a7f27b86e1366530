"""One cluster with voice for all calls; every test has flows, numbers and telephones of its own, and leaves nothing."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from signalbox_local.cluster import Cluster
from signalbox_local.layout import Options
from support.http import HOST
from support.phone import Phone
from support.ports import free_port
from support.site import CALLER_HOST, LINE_HOST
from support.voice_site import VoiceSite, store_spoken

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator


@pytest.fixture(scope="session")
def voice_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VoiceSite]:
    """The cluster, with a tenant, a trunk and prompts. Proxies call one worker by UDP, the other one by TCP."""
    directory = tmp_path_factory.mktemp("voice")
    spoken = store_spoken(directory / "objects")
    gateway = free_port()
    ivr = {"capacity": 50, "messages": {"sender": "http", "url": f"http://{HOST}:{gateway}/"}}
    options = Options(
        name="voice", replicas=1, proxies=2, media_nodes=1, recorders=1, voice_workers=2,
        settings={"ivr": {"ivr": ivr}, "ivr-2": {"ivr": {"transport": "tcp"}}},
    )  # fmt: skip
    with Cluster(directory, options) as cluster, contextlib.closing(VoiceSite(cluster, gateway)) as site:
        site.spoken = spoken
        yield site
        assert all(state.pid for state in cluster.states().values()), "a process died"


@pytest.fixture
async def site(voice_site: VoiceSite) -> AsyncIterator[VoiceSite]:
    """The cluster; after the test nothing of its calls may be left."""
    yield voice_site
    await voice_site.nothing_left()


@pytest.fixture
async def phone(site: VoiceSite) -> AsyncIterator[Callable[..., contextlib.AbstractAsyncContextManager[Phone]]]:
    """Makes telephones: lines unless another host is given."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(host: str = LINE_HOST, **how: object) -> Phone:
            return await stack.enter_async_context(Phone.open(host, **how))  # type: ignore[arg-type]

        yield make  # type: ignore[misc]


@pytest.fixture
async def caller(site: VoiceSite) -> AsyncIterator[Phone]:
    """Who calls."""
    async with Phone.open(CALLER_HOST) as made:
        yield made


@pytest.fixture
async def line(site: VoiceSite) -> AsyncIterator[Phone]:
    """Who is called."""
    async with Phone.open(LINE_HOST) as made:
        yield made
