"""One cluster for all scenarios; every scenario has service numbers and lines of its own."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest
from signalbox_local.cluster import Cluster
from signalbox_local.layout import Options
from support.site import Site
from support.wire import caller, line, phone  # noqa: F401, fixtures

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECT_TIMEOUT_MS = 1000
"""Shorter than in production: tests wait for it."""


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The cluster, with a tenant and a trunk."""
    settings = {"edge": {"edge": {"kamailio": {"connect_timeout_ms": CONNECT_TIMEOUT_MS}}}}
    with Cluster(tmp_path_factory.mktemp("sip"), Options(name="sip", recorders=0, settings=settings)) as cluster:
        with contextlib.closing(Site(cluster)) as site:
            yield site
            asyncio.run(site.no_transactions())
        assert all(state.pid for state in cluster.states().values()), "a process died"
