"""The command line and the client against a real rtpengine."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING

import pytest
from signalbox.bencode import encode
from signalbox.ng import NgClient, NgRefusedError, NgUnreachableError
from support.redis import RedisServer, redis_server
from support.rtpengine import STRICT, Rtpengine, media_address, ng_client, rtpengine, sdp
from support.wait import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["ng_client", "redis_server", "rtpengine"]

CALL = {"call-id": "call-1", "from-tag": "caller"}


class Side:
    """A socket of one side of a call; ``heard`` are the payloads that came."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.sequence = 0

    @property
    def sdp(self) -> str:
        return sdp(*self.socket.getsockname())

    def say(self, target: tuple[str, int], payload: bytes) -> None:
        self.sequence += 1
        header = struct.pack("!BBHII", 0x80, 8, self.sequence, self.sequence * 160, 1)
        self.socket.sendto(header + payload * 160, target)

    def heard(self) -> list[bytes]:
        payloads = []
        while True:
            try:
                payloads.append(self.socket.recv(2048)[12:13])
            except BlockingIOError:
                return payloads


@pytest.fixture
def sides() -> Iterator[tuple[Side, Side, Side]]:
    """Caller, line, and a stranger."""
    made = (Side(), Side(), Side())
    yield made
    for side in made:
        side.socket.close()


async def connect(client: NgClient, caller: Side, line: Side) -> tuple[tuple[str, int], tuple[str, int]]:
    """Set a call up; returns where the caller and where the line has to send."""
    offer = await client.request("offer", {**CALL, "sdp": caller.sdp, "flags": STRICT, "ICE": "remove"})
    answer = {**CALL, "to-tag": "line", "sdp": line.sdp, "flags": STRICT, "ICE": "remove"}
    reply = await client.request("answer", answer)
    return media_address(str(reply["sdp"])), media_address(str(offer["sdp"]))


async def test_calls_are_counted_and_deleted_at_once(ng_client: NgClient, sides: tuple[Side, Side, Side]) -> None:
    assert await ng_client.calls() == 0
    await connect(ng_client, *sides[:2])
    assert await ng_client.calls() == 1
    await ng_client.request("delete", CALL)
    assert await ng_client.calls() == 0


async def test_a_refusal_of_the_real_one(ng_client: NgClient) -> None:
    with pytest.raises(NgRefusedError):
        await ng_client.request("answer", {"call-id": "unknown", "from-tag": "x", "to-tag": "y", "sdp": "v=0"})
    with pytest.raises(NgRefusedError):
        await ng_client.request("dance")


async def test_a_repeated_request_is_not_done_twice(rtpengine: Rtpengine, sides: tuple[Side, Side, Side]) -> None:
    """The reply to the first attempt is lost: the second one gets the same ports."""
    message = b"cookie-1 " + encode({"command": "offer", **CALL, "sdp": sides[0].sdp, "ICE": "remove"})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as raw:
        raw.connect(("127.0.0.1", rtpengine.port))
        raw.settimeout(5)
        replies = []
        for _ in range(2):
            raw.send(message)
            replies.append(raw.recv(65_535))
    assert replies[0] == replies[1]


async def test_a_stranger_neither_hears_nor_is_heard(ng_client: NgClient, sides: tuple[Side, Side, Side]) -> None:
    """Learning off and strict source: RTP comes from and goes to the addresses of the SDP alone."""
    caller, line, stranger = sides
    for_caller, for_line = await connect(ng_client, caller, line)
    for _ in range(100):
        stranger.say(for_caller, b"X")
        stranger.say(for_line, b"X")
        caller.say(for_caller, b"C")
        line.say(for_line, b"L")
        await asyncio.sleep(0.002)
    heard: dict[str, list[bytes]] = {"caller": [], "line": [], "stranger": []}

    def all_arrived() -> bool:
        for name, side in zip(heard, sides, strict=True):
            heard[name] += side.heard()
        return len(heard["caller"]) >= 100 and len(heard["line"]) >= 100

    await until(all_arrived)
    assert heard == {"caller": [b"L"] * 100, "line": [b"C"] * 100, "stranger": []}


async def test_a_killed_rtpengine_is_unreachable_at_once(rtpengine: Rtpengine, ng_client: NgClient) -> None:
    await ng_client.ping(1)
    rtpengine.kill()
    with pytest.raises(NgUnreachableError):
        await ng_client.request("ping", timeout_s=5)


async def test_calls_outlive_the_process_with_redis(
    tmp_path: Path, redis_server: RedisServer, sides: tuple[Side, Side, Side]
) -> None:
    server = Rtpengine(tmp_path / "rtpengine", redis=f"{redis_server.address}/0").start()
    client = await NgClient.connect(server.control)
    try:
        caller, line, _ = sides
        for_caller, _ = await connect(client, caller, line)
        server.kill()
        server.start()
        assert await client.calls() == 1
        heard: list[bytes] = []

        def arrived() -> bool:
            caller.say(for_caller, b"C")
            heard.extend(line.heard())
            return bool(heard)

        await until(arrived)
    finally:
        client.close()
        server.stop()


async def test_redis_away_costs_no_call(
    tmp_path: Path, redis_server: RedisServer, sides: tuple[Side, Side, Side]
) -> None:
    server = Rtpengine(tmp_path / "rtpengine", redis=f"{redis_server.address}/0").start()
    client = await NgClient.connect(server.control)
    try:
        redis_server.stop()
        await connect(client, *sides[:2])
        assert await client.calls() == 1
        server.restart()
        await connect(client, *sides[:2])
    finally:
        client.close()
        server.stop()
