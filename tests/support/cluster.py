"""The whole one-machine cluster for tests: a shared one for tests that only use it, an own one for tests that break it.

::

    async def test_something(cluster: Cluster) -> None: ...          # shared: leave it as you found it
    def test_other(own_cluster: Callable[..., Cluster]) -> None:
        cluster = own_cluster(proxies=1, settings={"edge": {"edge": {"queue_limit": 10}}})
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from signalbox_local.cluster import Cluster
from signalbox_local.layout import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster as `make up` starts it, without rules."""
    with Cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture
def own_cluster(tmp_path: Path) -> Iterator[Callable[..., Cluster]]:
    """Starts clusters with the Options given by keyword; they end with the test."""
    running: list[Cluster] = []

    def start(**options: Any) -> Cluster:
        running.append(Cluster(tmp_path / f"cluster-{len(running) + 1}", Options(**options)))
        running[-1].start()
        return running[-1]

    yield start
    for each in running:
        each.stop()
