"""Every part is killed again and again while calls are recorded: none is lost unnoticed, none is kept twice.

CHAOS_SECONDS in the environment says how long parts are killed; the minute that is asked for takes too long for every
run of all tests.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import time
from typing import TYPE_CHECKING

import grpc
import pytest
from signalbox.api.provisioning.v1 import recordings_pb2, recordings_pb2_grpc
from signalbox.api.recording.v1 import recording_pb2, recording_pb2_grpc
from signalbox.api.types.v1 import recordings_pb2 as types
from signalbox.commands.journals import JournalReader
from signalbox.ng import NgClient, NgRefusedError
from signalbox_local import g711, tones
from signalbox_local.audio import random_digits
from signalbox_local.cluster import Cluster
from signalbox_local.layout import Options
from signalbox_local.rules import Rules
from signalbox_local.sipp import SCENARIOS, Sipp, SippOptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path

SECONDS = float(os.environ.get("CHAOS_SECONDS", "15"))
TENANT, NUMBER = "acme", "4001234567"
CALLER_HOST, LINE_HOST = "127.0.0.2", "127.0.0.3"
RATE, TALK_S = 8.0, 6.0
"""48 calls at once."""
EVERY_S = 0.7
FORGOTTEN_S = 20.0
"""After this time calls that nobody can end are ended at rtpengine: with redis their dialogs are gone, which edges end
calls by, and the sidecar waits 5 minutes before it ends such a call at its node."""
SETTLE_S = 150.0
"""Longest from the last kill until nothing is left to do; machines that run tests are slow."""
TIMEOUT_S = 10.0
SETTINGS = {
    # Whoever lost his BYE with a proxy says nothing any more.
    "media": {"media": {"dead_after_s": 4, "lease_ttl_s": 3}},
    "recorder": {"recorder": {"lease_s": 3.0}},
}
VICTIMS = (
    *("recorder-1", "media-1", "rtpengine-1", "edge-1", "recorder-2", "routing-1", "kamailio-1", "provisioning"),
    *("media-2", "redis", "recorder-1", "rtpengine-2", "edge-2", "routing-2", "recorder-2", "kamailio-2", "etcd"),
)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two of everything that there may be two of."""
    with Cluster(tmp_path_factory.mktemp("chaos"), Options(name="chaos", recorders=2, settings=SETTINGS)) as running:
        yield running


async def test_calls_recorded_are_recordings_whole_or_marked(cluster: Cluster, tmp_path: Path) -> None:
    async with conversations(cluster, tmp_path):
        await asyncio.sleep(TALK_S)
        killed = await asyncio.to_thread(kill_again_and_again, cluster, SECONDS)
        await asyncio.to_thread(mend, cluster)
        await asyncio.sleep(TALK_S)
    rows = await asyncio.to_thread(settled, cluster)
    promised = await asyncio.to_thread(promises, cluster)
    by_state = {state: sum(row.state == state for row in rows) for state in types.RecordingState.values()}
    print(f"{killed} killed; {len(promised)} promised, {len(rows)} rows, by state {by_state}, "
          f"{sum(row.partial for row in rows)} partial")  # fmt: skip
    assert len(promised) > SECONDS
    ids = [row.call_id for row in rows]
    assert len(ids) == len(set(ids))
    assert promised <= set(ids)
    stored = [row for row in rows if row.state == types.RECORDING_STATE_STORED]
    assert all(row.reasons for row in rows if row not in stored or row.partial)
    assert objects(cluster) == {(row.call_id, kind) for row in stored for kind in ("audio", "metadata")}
    assert len(stored) > len(rows) / 2


@contextlib.asynccontextmanager
async def conversations(cluster: Cluster, workdir: Path) -> AsyncIterator[None]:
    """Within: calls to a number that are recorded, in which both sides talk."""
    for who in ("caller", "line"):
        digits = random_digits(int(TALK_S * 1000 / (tones.TONE_MS + tones.GAP_MS)) - 2)
        (workdir / f"{who}.alaw").write_bytes(g711.encode(tones.render(digits)))
    common = {"workdir": workdir, "timeout_s": 0, "max_open": 1000}
    async with contextlib.AsyncExitStack() as stack:
        line = await stack.enter_async_context(
            await Sipp.start(
                SippOptions(
                    SCENARIOS / "uas_audio.xml", name="line", host=LINE_HOST, stay_ms=int(TALK_S * 2000), **common
                )
            )
        )
        with Rules.of(cluster) as rules:
            rules.tenant(TENANT)
            rules.trunk("carrier", [CALLER_HOST])
            rules.line(TENANT, "desk", line.address)
            number = rules.number(TENANT, NUMBER, [["desk"]], recorded=True)
        await asyncio.to_thread(cluster.wait_for_rules, number.etag)
        for name in cluster.names("kamailio"):
            options = SippOptions(
                SCENARIOS / "uac_audio.xml", name=f"callers-{name}", host=CALLER_HOST, stay_ms=int(TALK_S * 1000),
                target=cluster.address(name, "sip"), service=NUMBER, rate=RATE / 2, keys={"caller": "13800001234"},
                **common,
            )  # fmt: skip
            await stack.enter_async_context(await Sipp.start(options))
        yield


def kill_again_and_again(cluster: Cluster, seconds: float) -> int:
    """Kill one part after the other, each as soon as it is its turn and it is up, and start it again at once."""
    end, count, turns = time.monotonic() + seconds, 0, itertools.cycle(VICTIMS)
    while time.monotonic() < end:
        victim = next(turns)
        if cluster.is_ready(victim):
            cluster.kill(victim)
            count += 1
            cluster.start_process(victim, wait=False)
        time.sleep(EVERY_S)
    return count


def mend(cluster: Cluster) -> None:
    """Everything is up."""
    for name, state in cluster.states().items():
        if not state.pid:
            cluster.start_process(name, wait=False)
    cluster.wait_ready(timeout_s=60.0)


def settled(cluster: Cluster) -> list[types.Recording]:
    """All rows, once none is open and no media node has a capture; and what proxies promised has been told."""
    begun, forgotten = time.monotonic(), False
    while True:
        rows, left = recordings(cluster), captures(cluster)
        known = {row.call_id for row in rows}
        open_rows = [row.call_id for row in rows if row.state == types.RECORDING_STATE_PROMISED]
        untold = promises(cluster) - known
        if not open_rows and not left and not untold:
            return rows
        if left and not forgotten and time.monotonic() > begun + FORGOTTEN_S:
            forgotten = True
            asyncio.run(end_calls(cluster, left))
        assert time.monotonic() < begun + SETTLE_S, f"promised: {open_rows}; captures: {left}; not told: {untold}"
        time.sleep(0.5)


def recordings(cluster: Cluster) -> list[types.Recording]:
    """All that are listed."""
    rows: list[types.Recording] = []
    token = ""
    with cluster.provisioning_channel() as channel:
        stub = recordings_pb2_grpc.RecordingServiceStub(channel)
        while True:
            request = recordings_pb2.ListRecordingsRequest(tenant=TENANT, page_size=1000, page_token=token)
            page = stub.ListRecordings(request, timeout=TIMEOUT_S)
            rows += page.recordings
            token = page.next_page_token
            if not token:
                return rows


def captures(cluster: Cluster) -> list[str]:
    """Ids of calls that media nodes have captures of."""
    left = []
    for name in cluster.names("media"):
        with grpc.insecure_channel(cluster.address(name, "captures")) as channel:
            stub = recording_pb2_grpc.CaptureServiceStub(channel)
            answer = stub.ListCaptures(recording_pb2.ListCapturesRequest(), timeout=TIMEOUT_S)
            left += [capture.call_id for capture in answer.captures]
    return left


async def end_calls(cluster: Cluster, ids: Sequence[str]) -> None:
    """End calls at the rtpengines that have them."""
    for name in cluster.names("rtpengine"):
        client = await NgClient.connect(cluster.address(name, "ng"))
        for id in ids:
            with contextlib.suppress(NgRefusedError):
                await client.request("delete", {"call-id": id, "delete-delay": 0})
        client.close()


def promises(cluster: Cluster) -> set[str]:
    """Ids of the calls that proxies have promised to record, by their journals."""
    readers = [JournalReader(cluster.journal(name), name) for name in cluster.names("edge")]
    events = [event for reader in readers for event in reader.read()]
    return {event.call_id for event in events if event.WhichOneof("event") == "recording_started"}


def objects(cluster: Cluster) -> set[tuple[str, str]]:
    """What is in the object store: call ids, and whether audio or metadata. Each at most once."""
    found = []
    for file in (cluster.directory / "objects" / "recordings").rglob("*"):
        if file.is_file():
            call_id, _, suffix = file.name.rpartition(".")
            found.append((call_id.rpartition(".")[0], "metadata" if suffix == "json" else "audio"))
    assert len(found) == len(set(found)), sorted(found)
    return set(found)
