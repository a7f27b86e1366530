"""An rtpengine for each test module, a worker for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from signalbox_local.rtp_party import RtpParty
from support.ivr_media import Desk, KeyEar, media_node, worker
from support.ports import free_port
from support.rtpengine import Rtpengine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def keys_port() -> int:
    """Where rtpengine tells of keys."""
    return free_port()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, keys_port: int) -> Iterator[Rtpengine]:
    """An rtpengine that no test may harm."""
    directory = tmp_path_factory.mktemp("rtpengine")
    server = Rtpengine(directory, keys=f"127.0.0.1:{keys_port}", recording_dir=directory / "captures").start()
    yield server
    server.stop()


@pytest.fixture
async def desk(server: Rtpengine, keys_port: int, tmp_path: Path) -> AsyncIterator[Desk]:
    """A worker that has this rtpengine alone."""
    async with KeyEar.open(keys_port) as ear, worker(media_node(server.control, records=True)) as nodes:
        yield Desk(server, nodes, ear, tmp_path)


@pytest.fixture
async def caller() -> AsyncIterator[RtpParty]:
    """A caller with A-law."""
    async with RtpParty.open() as party:
        yield party


@pytest.fixture
async def line() -> AsyncIterator[RtpParty]:
    """A line with A-law."""
    async with RtpParty.open() as party:
        yield party
