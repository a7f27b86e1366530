"""Calls whose media go through two real rtpengines: their SDP, and the ports that a node holds for them."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import pytest
from signalbox.ng import NgClient, NgRefusedError

from support.kamailio import Kamailio
from support.rtpengine import Rtpengine
from support.sidecar_fake import branch, dial, stage
from support.sip_agent import SDP

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from support.sidecar_fake import FakeSidecar
    from support.sip_agent import Agent, Call, Message

OTHER_SDP = SDP.replace("40000", "41000")
FREED_S = 5.0
"""A node frees what an ended call held within this time."""


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Rtpengine]]:
    """Two rtpengines."""
    directory = tmp_path_factory.mktemp("rtpengine")
    nodes = [Rtpengine(directory / f"n{n}", port_min=30_000 + 1000 * n).start() for n in (1, 2)]
    yield nodes
    for node in nodes:
        node.stop()


@pytest.fixture
def proxy(nodes: list[Rtpengine]) -> Iterator[Kamailio]:
    """A proxy that knows both, and a third that nobody answers for."""
    table = [(1, f"udp:{nodes[0].control}"), (2, f"udp:{nodes[1].control}"), (9, "udp:127.0.0.1:9")]
    with Kamailio(connect_timeout_ms=700, media_nodes=table) as proxy:
        yield proxy


def through(message: Message) -> int:
    """Number of the node that the SDP of a message points to; 0: none."""
    found = re.search(r"m=audio (\d+)", message.body)
    assert found is not None
    port = int(found[1])
    return 1 + (port - 31_000) // 1000 if 31_000 <= port < 33_000 else 0


async def anchored(
    sidecar: FakeSidecar, agent: Callable[[], Awaitable[Agent]], n1: int = 1, n2: int = 2, sdp: str = SDP
) -> tuple[Agent, Agent, Call, Message]:
    """Caller, line, call and INVITE of a call that rings."""
    caller, line = await agent(), await agent()
    sidecar.decide = lambda question: dial(stage(branch(line.port)), media="anchor", n1=n1, n2=n2)
    call = caller.call()
    caller.invite(call, body=sdp)
    return caller, line, call, await line.expect("INVITE")


def known_as(sidecar: FakeSidecar, call: Call) -> str:
    """What a node calls a call: its id in Signalbox."""
    id: str = next(question.raw["id"] for question in sidecar.questions if question.call_id == call.call_id)
    return id


async def ask_node(node: Rtpengine, command: str, **arguments: Any) -> dict[str, Any]:
    """The node's reply to a command. Raises NgRefusedError."""
    client = await NgClient.connect(node.control)
    try:
        return await client.request(command, arguments)
    finally:
        client.close()


async def forget(node: Rtpengine, sidecar: FakeSidecar, call: Call) -> None:
    """The node loses a call, as if it had been started anew."""
    request = {"call-id": known_as(sidecar, call), "from-tag": call.local.partition("tag=")[2], "delete-delay": 0}
    await ask_node(node, "delete", **request)


async def ports(node: Rtpengine, id: str) -> list[int]:
    """Ports that a node holds for a call."""
    try:
        tags = (await ask_node(node, "query", **{"call-id": id}))["tags"]
    except NgRefusedError:
        return []
    return [port for tag in tags.values() for port in held(tag)]


async def ports_freed(node: Rtpengine, id: str) -> None:
    """Wait until a node holds no port for a call."""
    limit = time.monotonic() + FREED_S
    while left := await ports(node, id):
        assert time.monotonic() < limit, left


def held(tag: dict[str, Any]) -> list[int]:
    """Local ports of one party in the answer to a query."""
    return [one["local port"] for media in tag["medias"] for one in media["streams"] if "local port" in one]
