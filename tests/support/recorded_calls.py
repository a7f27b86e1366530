"""Calls that are recorded, through real rtpengines that capture: what is on their disks."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest

from support.kamailio import Kamailio
from support.rtpengine import Rtpengine
from support.sidecar_fake import branch, dial, stage
from support.sip_agent import SDP
from support.wait import until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from signalbox.api.events.v1 import events_pb2

    from support.sidecar_fake import FakeSidecar
    from support.sip_agent import Agent, Call, Message

PLAIN = 3
"""Number of the node that captures nothing."""

DEAD = 9
"""Number of a node that nobody answers for."""


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Rtpengine]]:
    """Two rtpengines that capture, and one that does not."""
    directory = tmp_path_factory.mktemp("rtpengine")
    nodes = [
        Rtpengine(
            directory / f"n{n}",
            port_min=30_000 + 1000 * n,
            recording_dir=None if n == PLAIN else directory / f"n{n}" / "spool",
        ).start()
        for n in (1, 2, PLAIN)
    ]
    yield nodes
    for node in nodes:
        node.stop()


@pytest.fixture(scope="module")
def proxy(nodes: list[Rtpengine]) -> Iterator[Kamailio]:
    """A proxy that knows them, and one more that is dead."""
    table = [(number, f"udp:{node.control}") for number, node in enumerate(nodes, 1)]
    with Kamailio(connect_timeout_ms=700, media_nodes=[*table, (DEAD, "udp:127.0.0.1:9")]) as proxy:
        yield proxy


async def recorded(
    sidecar: FakeSidecar,
    agent: Callable[[], Awaitable[Agent]],
    n1: int = 1,
    n2: int = 2,
    sdp: str = SDP,
    flags: str = "r",
    calling: str = "13800001234",
) -> tuple[Agent, Agent, Call, Message]:
    """Caller, line, call and INVITE of a call that rings and is to be recorded."""
    caller, line = await agent(), await agent()
    sidecar.decide = lambda question: dial(stage(branch(line.port, flags=flags)), media="record", n1=n1, n2=n2)
    call = caller.call(calling=calling)
    caller.invite(call, body=sdp)
    return caller, line, call, await line.expect("INVITE")


def captures(node: Rtpengine, id: str) -> list[str]:
    """Names of the packet files of a call."""
    assert node.recording_dir is not None
    files = (node.recording_dir / "pcaps").iterdir()
    return [unquote(path.stem) for path in files if unquote(path.stem).rpartition("-")[0] == id]


async def capture_metadata(node: Rtpengine, id: str) -> list[str]:
    """What the proxy gave the node with a call, once the capture of that has ended: a text for each."""
    assert node.recording_dir is not None
    directory: Path = node.recording_dir / "metadata"

    def found() -> list[Path]:
        return [path for path in directory.iterdir() if f"rtpengine-meta-{id}-" in unquote(path.name)]

    await until(lambda: bool(found()))
    return [path.read_text().strip().rpartition("\n")[2] for path in found()]


def promises(proxy: Kamailio, call: Call) -> list[events_pb2.CallEvent]:
    """Events of a call that promise its recording."""
    return [event for event in proxy.events(call) if event.HasField("recording_started")]
