"""Several recorders that have the same captures, over a bucket and a folder."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from signalbox.catalog.catalog import Catalog
from signalbox.settings import DatabaseSettings
from support.captures_fake import FakeNode
from support.etcd import EtcdServer, etcd_server
from support.recording_work import Bench, FakePool
from support.s3 import S3Server, s3_server
from support.stores import open_etcd
from support.wait import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["etcd_server"]

CALLS = 6


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.mark.parametrize("where", ["folder", "bucket"])
async def test_recorders_that_have_the_same_captures_store_each_once(
    tmp_path: Path,
    etcd_server: EtcdServer,
    request: pytest.FixtureRequest,
    where: str,
) -> None:
    server: S3Server | None = request.getfixturevalue("bucket") if where == "bucket" else None
    store = open_etcd(etcd_server, prefix=f"/together-{where}/")
    pools = [FakePool(hold=asyncio.Event()) for _ in range(2)]
    objects = server.settings() if server else None
    try:
        async with (
            FakeNode().serving(store) as node,
            Bench.open(store, tmp_path, pool=pools[0], objects=objects, work="w1", jobs=2, lease_s=600) as first,
            Bench.open(store, tmp_path, pool=pools[1], objects=objects, work="w2", jobs=2, lease_s=600) as second,
        ):
            for number in range(CALLS):
                node.add(f"c{number}")
            first.start()
            await until(lambda: pools[0].at_once == 2)
            # A sidecar that was killed does not know that they are at work.
            node.forget_claims()
            second.start()
            await until(lambda: pools[1].at_once == 2)
            node.forget_claims()
            for pool in pools:
                assert pool.hold is not None
                pool.hold.set()
            await until(lambda: not node.captures, 30.0)
            await first.drain()
            await second.drain()
        left = sorted(server.names()) if server else first.names()
    finally:
        await store.close()
    catalog = await Catalog.open(DatabaseSettings(url=f"sqlite:///{tmp_path / 'signalbox.db'}"))
    stored = [await catalog.get(f"c{number}") for number in range(CALLS)]
    await catalog.close()
    audio = [found.object for found in stored if found is not None]
    assert len(audio) == CALLS
    expected = sorted(name for one in audio for name in (one, one.replace(".ogg", ".json")))
    assert [name for name in left if name.startswith("recordings/")] == expected
