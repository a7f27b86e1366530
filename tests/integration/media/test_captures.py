"""Captures of a real rtpengine, from the first packet to their deletion."""

from __future__ import annotations

import asyncio
import re
import resource
import subprocess
from typing import TYPE_CHECKING

import grpc
import pytest
from signalbox.api.recording.v1 import recording_pb2
from signalbox.ng import NgClient
from support.capturing import CaptureNode, RecordedCall, metadata, until_seen
from support.provisioning import reason_of, refused
from support.redis import redis_server
from support.rtpengine import Rtpengine
from support.wait import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from support.redis import RedisServer

__all__ = ["redis_server"]

ACTIVE, READY, CLAIMED = (
    recording_pb2.CAPTURE_STATE_ACTIVE,
    recording_pb2.CAPTURE_STATE_READY,
    recording_pb2.CAPTURE_STATE_CLAIMED,
)
PACKET = 16 + 20 + 8 + 12 + 160
"""Bytes of one in a file: record, IPv4, UDP, RTP and 20 ms of A-law."""


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Rtpengine]:
    server = Rtpengine(tmp_path / "rtpengine", recording_dir=tmp_path / "spool").start()
    yield server
    server.stop()


@pytest.fixture
async def captures(node: Rtpengine) -> AsyncIterator[CaptureNode]:
    async with CaptureNode(node) as running:
        yield running


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that is gone leaves no file behind that is still being written: nobody has to wait for it."""
    monkeypatch.setattr("signalbox.media.captures.SETTLE_S", 0.1)


def files(node: Rtpengine) -> list[str]:
    """All that lies in the spool."""
    assert node.recording_dir is not None
    return sorted(str(path.relative_to(node.recording_dir)) for path in node.recording_dir.rglob("*") if path.is_file())


def packets(content: bytes) -> int:
    """How many a file has; one that was cut may end in the midst of one."""
    return (len(content) - 24) // PACKET


def codecs(capture: recording_pb2.Capture) -> list[str]:
    """Those of the sides that are known: a side is known before what it sends."""
    return [side.codec for side in capture.sides if side.codec]


async def until_packets(captures: CaptureNode, call_id: str, count: int, segment: int = 0) -> None:
    """Wait until so many packets are on the disk: rtpengine writes 4,096 bytes at a time."""

    def there(capture: recording_pb2.Capture | None) -> bool:
        if capture is None or len(capture.segments) <= segment:
            return False
        return capture.segments[segment].size_bytes >= 24 + count * PACKET - 4096

    await until_seen(captures, call_id, there)


async def test_the_life_of_a_capture(node: Rtpengine, captures: CaptureNode) -> None:
    waiting = asyncio.create_task(captures.claim())
    async with RecordedCall.open(captures.client, "edge-1-2/3 x") as call:
        await call.speak(60)
        capture = await until_seen(captures, call.id, lambda found: found and len(codecs(found)) == 2)
        assert capture.state == ACTIVE
        assert {(side.local_port, side.tag, side.codec) for side in capture.sides} == {
            (call.targets[0][1], "caller", "PCMA/8000"),
            (call.targets[1][1], "line", "PCMA/8000"),
        }
        assert {side.tag: list(side.endpoints) for side in capture.sides} == dict(
            zip(("caller", "line"), ([own] for own in call.addresses), strict=True)
        )
        assert (await captures.list()).calls == [call.id]
        await until_packets(captures, call.id, 120)
        await call.end()
    claimed = await waiting
    assert claimed.capture.state == CLAIMED
    assert claimed.capture.facts.caller == "13912345678"
    assert claimed.capture.facts.call_id == call.id
    assert claimed.capture.sides == capture.sides
    (segment,) = claimed.capture.segments
    assert segment.whole
    content = await captures.read(claimed.claim, segment.name)
    assert len(content) == segment.size_bytes
    assert packets(content) == 120
    assert await captures.read(claimed.claim, segment.name, 1000) == content[1000:]
    assert await captures.read(claimed.claim, segment.name, 1 << 30) == b""
    listed = await captures.list()
    assert (listed.media_node, listed.calls_known, list(listed.calls)) == (7, True, [])
    assert await captures.claim(wait_ms=0) == recording_pb2.ClaimCaptureResponse()
    await captures.confirm(claimed)
    assert files(node) == []
    await captures.confirm(claimed)
    assert (await captures.list()).captures == []
    assert captures.sample("signalbox_media_captures_confirmed_total") == 1


async def test_what_is_said_in_a_pause_never_comes_to_the_disk(node: Rtpengine, captures: CaptureNode) -> None:
    async with RecordedCall.open(captures.client, "call-1") as call:
        await call.speak(40)
        await until_packets(captures, call.id, 80)
        await captures.pause(call.id)
        await captures.pause(call.id)
        await call.speak(500)
        capture = await captures.capture(call.id)
        assert capture is not None
        assert [segment.whole for segment in capture.segments] == [True]
        assert capture.paused
        # Told by rtpengine, which has the call still: a paused one is never ready.
        assert await captures.claim(wait_ms=700) == recording_pb2.ClaimCaptureResponse()
        await captures.pause(call.id, False)
        await captures.pause(call.id, False)
        await call.speak(40)
        await until_packets(captures, call.id, 80, segment=1)
        await call.end()
        claimed = await captures.claim()
        contents = [await captures.read(claimed.claim, segment.name) for segment in claimed.capture.segments]
    assert [packets(content) for content in contents] == [80, 80]
    assert all(segment.whole for segment in claimed.capture.segments)
    assert not claimed.capture.paused
    assert claimed.capture.facts.line == "line-1"
    lines = [path.read_text().split()[-1] for path in (node.recording_dir or call).rglob("*.txt")]  # type: ignore[union-attr]
    assert lines == [metadata()] * 2


async def test_orders_for_calls_that_are_not_recorded(node: Rtpengine, captures: CaptureNode) -> None:
    with refused(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"):
        await captures.pause("nobody")
    async with RecordedCall.open(captures.client, "call-1", recorded=False) as call:
        with refused(grpc.StatusCode.FAILED_PRECONDITION, "NOT_RECORDED"):
            await captures.pause(call.id, False)
        await captures.pause(call.id)
        # The proxy was slower: that must not undo it.
        await call.record()
        await call.speak(50)
        await captures.pause(call.id)
        await call.speak(50)
        assert await captures.capture(call.id) is None
        await captures.pause(call.id, False)
        await call.speak(20)
        await until_packets(captures, call.id, 40)
        await call.end()
        with refused(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"):
            await captures.pause(call.id, False)
    claimed = await captures.claim()
    assert claimed.capture.facts.tenant == "acme"
    assert [packets(await captures.read(claimed.claim, each.name)) for each in claimed.capture.segments] == [40]
    await captures.confirm(claimed)
    assert files(node) == []
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"):
        await captures.pause("")


async def test_an_rtpengine_without_file_descriptors_says_that_all_is_well(
    node: Rtpengine, captures: CaptureNode
) -> None:
    async with RecordedCall.open(captures.client, "call-1") as call:
        await captures.pause(call.id)
        limits = resource.prlimit(node.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(node.pid, resource.RLIMIT_NOFILE, (1, limits[1]))
        with refused(grpc.StatusCode.UNAVAILABLE, "MEDIA_NODE_UNAVAILABLE"):
            await captures.pause(call.id, False)
        resource.prlimit(node.pid, resource.RLIMIT_NOFILE, limits)
        capture = await captures.capture(call.id)
        assert capture is not None
        assert len(capture.segments) == 1
        await captures.pause(call.id, False)
        capture = await captures.capture(call.id)
        assert capture is not None
        assert [segment.whole for segment in capture.segments] == [True, False]


async def test_a_pause_outlives_the_sidecar(node: Rtpengine) -> None:
    client = await NgClient.connect(node.control)
    async with RecordedCall.open(client, "call-1") as call:
        async with CaptureNode(node) as captures:
            await captures.pause(call.id)
        async with CaptureNode(node) as captures:
            # Nobody but an operator's order may begin again: that goes for a proxy, too.
            await until_seen(captures, call.id)
            await call.record()
            await call.speak(50)
            await asyncio.sleep(0.7)
            assert not [name for name in files(node) if re.search(r"000002|pcaps|tmp", name)]
            await captures.pause(call.id, False)
            await call.speak(50)
            await until_packets(captures, call.id, 100, segment=1)
            await call.end()
            claimed = await captures.claim()
            assert [segment.whole for segment in claimed.capture.segments] == [True, True]
            assert claimed.capture.facts.tenant == "acme"
    client.close()


async def test_a_pause_that_lasts_until_the_end_is_told(node: Rtpengine, captures: CaptureNode) -> None:
    async with RecordedCall.open(captures.client, "call-1") as call:
        await call.speak(40)
        await until_packets(captures, call.id, 80)
        await captures.pause(call.id)
        await call.end()
        claimed = await captures.claim()
    assert claimed.capture.paused
    assert [segment.whole for segment in claimed.capture.segments] == [True]


async def test_a_killed_rtpengine_leaves_what_it_had_written(
    node: Rtpengine, captures: CaptureNode, settled: None
) -> None:
    async with RecordedCall.open(captures.client, "call-1") as call:
        await call.speak(100)
        await until_packets(captures, call.id, 200)
        await until_seen(captures, call.id, lambda found: len(found.sides) == 2)
        node.kill()
        node.restart()
        claimed = await captures.claim()
    assert [segment.whole for segment in claimed.capture.segments] == [False]
    assert not claimed.capture.HasField("facts"), "rtpengine took them along"
    assert len(claimed.capture.sides) == 2
    assert packets(await captures.read(claimed.claim, claimed.capture.segments[0].name)) > 180
    await captures.confirm(claimed)
    assert files(node) == []
    assert captures.sample("signalbox_media_captures_ready_total", whole="false") == 1


async def test_calls_of_an_rtpengine_that_stays_away_are_over_in_time(node: Rtpengine) -> None:
    async with CaptureNode(node, dead_s=2) as captures:
        async with RecordedCall.open(captures.client, "call-1") as call:
            await until_seen(captures, call.id)
        node.kill()
        assert await captures.claim(wait_ms=1000) == recording_pb2.ClaimCaptureResponse()
        listed = await captures.list()
        assert not listed.calls_known
        assert [capture.state for capture in listed.captures] == [ACTIVE]
        assert (await captures.claim()).capture.call_id == "call-1"


async def test_a_call_that_is_there_again_from_redis_loses_nothing(
    tmp_path: Path, redis_server: RedisServer, settled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """rtpengine 10.5 begins the file of such a call anew if there was a re-INVITE, and captures nothing if not."""
    monkeypatch.setattr("signalbox.media.capturing.LIST_S", 1.0)
    node = Rtpengine(
        tmp_path / "rtpengine", redis=f"{redis_server.address}/1", recording_dir=tmp_path / "spool"
    ).start()
    try:
        async with (
            CaptureNode(node) as captures,
            RecordedCall.open(captures.client, "plain") as plain,
            RecordedCall.open(captures.client, "reinvited") as reinvited,
            RecordedCall.open(captures.client, "paused") as paused,
        ):
            calls = [plain, reinvited]
            for call in (*calls, paused):
                await call.speak(100)
                await until_packets(captures, call.id, 200)
            for call in (reinvited, paused):
                await call.connect()
            await captures.pause(paused.id)
            node.kill()
            node.restart()
            for call in calls:
                await until_seen(captures, call.id, lambda found: len(found.segments) == 2)
                await call.speak(100)
                await until_packets(captures, call.id, 200, segment=1)
            assert (await captures.list()).calls == ["paused", "plain", "reinvited"]
            await asyncio.sleep(0.7)
            left = await captures.capture(paused.id)
            assert left is not None
            assert [segment.whole for segment in left.segments] == [True]
            for call in (*calls, paused):
                await call.end()
            claims = {claimed.capture.call_id: claimed for claimed in [await captures.claim() for _ in range(3)]}
            for call in calls:
                claimed = claims[call.id]
                contents = [await captures.read(claimed.claim, each.name) for each in claimed.capture.segments]
                assert packets(contents[0]) > 180
                assert packets(contents[1]) == 200
                assert [segment.whole for segment in claimed.capture.segments] == [False, True]
            for claimed in claims.values():
                await captures.confirm(claimed)
            assert files(node) == []
    finally:
        node.stop()


async def test_the_sidecar_may_be_away_at_any_time(node: Rtpengine) -> None:
    client = await NgClient.connect(node.control)
    async with RecordedCall.open(client, "before") as before, RecordedCall.open(client, "during") as during:
        async with CaptureNode(node) as captures:
            await until_seen(captures, before.id, lambda found: found and found.sides)
            await until_seen(captures, during.id, lambda found: found and found.sides)
            await before.end()
            claimed = await captures.claim()
            assert claimed.capture.call_id == before.id
        async with RecordedCall.open(client, "unseen") as unseen:
            await unseen.speak(10)
            await unseen.end()
        await during.end()
        async with CaptureNode(node) as captures:
            found = [await captures.claim() for _ in range(3)]
            assert sorted(each.capture.call_id for each in found) == ["before", "during", "unseen"]
            assert all(each.capture.segments[0].whole for each in found)
            assert all(each.capture.HasField("facts") for each in found)
            assert {each.capture.call_id for each in found if each.capture.sides} == {"before", "during"}
            request = recording_pb2.ConfirmCaptureRequest(claim=claimed.claim, call_id=before.id)
            assert await reason_of(captures.stub.ConfirmCapture(request)) == "CLAIM_LOST"
            for each in found:
                await captures.confirm(each)
            assert files(node) == []
    client.close()


async def test_recorders_share_captures_and_take_over_what_others_leave(captures: CaptureNode) -> None:
    for number in range(2):
        async with RecordedCall.open(captures.client, f"call-{number}") as call:
            await until_seen(captures, call.id)
            await call.end()
    first, second = await captures.claim(), await captures.claim(lease_ms=1000)
    assert [claimed.capture.call_id for claimed in (first, second)] == ["call-0", "call-1"]
    third = await captures.claim()
    assert third.capture.call_id == "call-1", "its lease ran out"
    renew = recording_pb2.RenewClaimRequest(claim=second.claim, lease_ms=1000)
    assert await reason_of(captures.stub.RenewClaim(renew)) == "CLAIM_LOST"
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "CLAIM_LOST"):
        await captures.read(second.claim, second.capture.segments[0].name)
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "CLAIM_LOST"):
        await captures.confirm(second)
    waiting = asyncio.create_task(captures.claim())
    for claimed, not_before_ms in ((first, 60_000), (third, 200)):
        await captures.stub.ReleaseClaim(
            recording_pb2.ReleaseClaimRequest(claim=claimed.claim, not_before_ms=not_before_ms, reason="full")
        )
    fourth = await waiting
    assert fourth.capture.call_id == "call-1"
    assert await captures.claim(wait_ms=0) == recording_pb2.ClaimCaptureResponse()
    for name in ("../note.json", "note.json", "", "000001-0000000000000000.pcap"):
        with refused(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"):
            await captures.read(fourth.claim, name)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """20 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("may not mount a disk")
    yield disk
    subprocess.run(["umount", disk], check=True)


async def test_a_full_disk(tmp_path: Path, small_disk: Path) -> None:
    """Nothing new is promised in time; a call that was cut goes on in another segment as soon as there is room."""
    node = Rtpengine(tmp_path / "rtpengine", recording_dir=small_disk / "spool").start()
    ballast = small_disk / "ballast"
    try:
        async with (
            CaptureNode(node, free_mb=5) as captures,
            RecordedCall.open(captures.client, "call-1") as call,
        ):
            await until(lambda: captures.promised == [True])
            ballast.write_bytes(bytes(20 * 1024 * 1024 - 150_000))
            await until(lambda: captures.promised == [True, False])
            await call.speak(400)
            assert captures.sample("signalbox_media_spool_free_bytes") is not None
            assert captures.sample("signalbox_media_records") == 0
            ballast.unlink()
            await until_seen(captures, call.id, lambda found: len(found.segments) == 2)
            await call.speak(100)
            await until_packets(captures, call.id, 200, segment=1)
            await until(lambda: captures.promised == [True, False, True])
            await call.end()
            claimed = await captures.claim()
            assert [segment.whole for segment in claimed.capture.segments] == [False, True]
            await captures.confirm(claimed)
            assert files(node) == []
    finally:
        node.stop()


@pytest.mark.parametrize(("lease_ms", "wait_ms"), [(999, 0), (600_001, 0), (1000, 30_001)])
async def test_leases_and_waits_have_limits(captures: CaptureNode, lease_ms: int, wait_ms: int) -> None:
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"):
        await captures.claim(wait_ms, lease_ms)


async def test_thousands_of_captures(node: Rtpengine, settled: None) -> None:
    """As they are after the object store was away for an hour."""
    count = 2000
    assert node.recording_dir is not None
    for number in range(count):
        (node.recording_dir / "pcaps" / f"edge-1-{number}-{number:016x}.pcap").touch()
    async with CaptureNode(node) as captures:
        listed = await captures.list()
        async with asyncio.timeout(30):
            while sum(capture.state == READY for capture in listed.captures) < count:
                await asyncio.sleep(0.1)
                listed = await captures.list()
        assert (await captures.claim()).capture.call_id.startswith("edge-1-")
    assert len({capture.call_id for capture in listed.captures}) == count
