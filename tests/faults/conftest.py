"""One cluster for all faults; every test finds it whole, and whatever it broke is mended after it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import pytest
from signalbox_local.cluster import Cluster
from signalbox_local.layout import Options
from support.site import Site
from support.wire import Phone, caller, line, phone  # noqa: F401, fixtures

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

SETTINGS = {
    "edge": {"edge": {"kamailio": {"connect_timeout_ms": 1000}}},
    # The first proxy is silent to strangers, the second is not; and it waits long enough for a test to decide.
    "edge-2": {"edge": {"kamailio": {"unknown_source": "403", "decision_timeout_ms": 2000}}},
    "routing": {"routing": {"snapshot_interval_s": 0.2}},
}


@pytest.fixture(scope="session")
def faulty_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The cluster, with a tenant and a trunk."""
    with (
        Cluster(tmp_path_factory.mktemp("faults"), Options(name="faults", recorders=0, settings=SETTINGS)) as cluster,
        contextlib.closing(Site(cluster)) as site,
    ):
        yield site


@pytest.fixture
async def site(faulty_site: Site) -> AsyncIterator[Site]:
    """The cluster, whole before the test and after it."""
    yield faulty_site
    faulty_site.make_whole()
    for n in (1, 2):
        await _trusts_all_replicas(faulty_site, n)


async def _trusts_all_replicas(site: Site, n: int) -> None:
    """Call until the n-th sidecar uses every replica: one that was late is tried again only by calls."""
    deadline = time.monotonic() + 30
    while set(site.cluster.facts(f"edge-{n}")["replicas"].values()) != {"ready"}:
        assert time.monotonic() < deadline, site.cluster.facts(f"edge-{n}")
        with contextlib.closing(await Phone(site.sip(n)).start()) as probe:
            call = probe.call("4009999999")
            probe.invite(call, body=probe.sdp())
            probe.ack_failure(call, await probe.expect(404))
        await asyncio.sleep(0.1)
