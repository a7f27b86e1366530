"""The smaller parts of a recorder."""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry
from signalbox.api.routing.v1 import routing_pb2
from signalbox.errors import (
    ClaimLostError,
    ConfigurationError,
    ContentLostError,
    DatabaseUnavailableError,
    InvalidFieldError,
    MediaNodeUnavailableError,
    ObjectsUnavailableError,
    StoreFullError,
    StoreUnavailableError,
)
from signalbox.errors import FieldViolation as Violation
from signalbox.media import lister
from signalbox.recorder import captures, failures, outages, policy
from signalbox.recorder.description import describe
from signalbox.recorder.job import NoFactsError, OvertakenError, SeveredError
from signalbox.recorder.metrics import RecorderMetrics
from signalbox.recorder.nodes import Nodes
from signalbox.recorder.outages import Need, Outages, needed, pause_s
from signalbox.recorder.policy import Policy
from signalbox.recorder.pool import RenderCrashedError
from signalbox.recorder.probe import Probe
from signalbox.recorder.pull import NoRoomError
from signalbox.recorder.render import UnreadableCaptureError
from signalbox.recorder.slots import Slot, Slots
from signalbox.recorder.strikes import Strikes
from signalbox.recorder.troubles import Troubles
from signalbox.recorder.workdir import WorkDir
from signalbox.settings import ClientTlsSettings
from signalbox.store import codec, keys
from signalbox.store.base import Delete, Put
from signalbox.store.codec import DamagedValueError
from structlog.testing import capture_logs
from support.captures_fake import ANSWERED_S, FakeNode, facts
from support.recording_work import rendered
from support.wait import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from signalbox.store.memory import MemoryStore

AWAY = DatabaseUnavailableError("away")


@pytest.mark.parametrize(
    ("error", "kind", "need", "unreadable"),
    [
        (AWAY, "database", Need.DATABASE, False),
        (ObjectsUnavailableError("away"), "objects", Need.OBJECTS, False),
        (StoreUnavailableError("away"), "etcd", Need.ETCD, False),
        (StoreFullError("full"), "etcd", Need.ETCD, False),
        (OSError(errno.ENOSPC, "full"), "work_dir", Need.WORK_DIR, False),
        (ClaimLostError(), "claim_lost", None, False),
        (NoFactsError("none"), "no_facts", None, False),
        (OvertakenError("late"), "overtaken", None, False),
        (UnreadableCaptureError("bad"), "unreadable", None, True),
        (NoRoomError("full"), "no_room", None, False),
        (SeveredError("gone"), "severed", None, True),
        (RenderCrashedError("died"), "render", None, False),
        (MediaNodeUnavailableError(1, "away"), "media_node", None, False),
        (ContentLostError("key", "gone"), "key", None, False),
        (DamagedValueError("key", "bad"), "damaged_value", None, False),
        (InvalidFieldError(Violation("facts", "bad")), "refused", None, False),
        (ZeroDivisionError(), "unexpected", None, False),
        (TimeoutError(), "unexpected", None, False),
    ],
)
def test_every_failure_has_its_kind(error: Exception, kind: str, need: Need | None, unreadable: bool) -> None:
    failure = failures.judged(error, {})
    assert (failure.kind, failure.need, failure.unreadable) == (kind, need, unreadable)
    assert 0 <= failure.wait_s <= failures.LONGEST_S


@pytest.mark.parametrize("error", [RenderCrashedError("died"), ZeroDivisionError()])
def test_what_fails_over_and_over_counts_as_unreadable(error: Exception) -> None:
    crashes = {"render": 2, "unexpected": failures.CRASHES - 4, "database": 100, "media_node": 100}
    assert not failures.judged(error, crashes).unreadable
    assert failures.judged(error, {**crashes, "unexpected": failures.CRASHES - 3}).unreadable


@pytest.mark.parametrize(
    ("error", "longest_s"),
    [
        (OSError(errno.ENOSPC, "full"), failures.LONGEST_S),
        (AWAY, outages.PAUSE_MAX_S),
        (NoRoomError("full"), outages.PAUSE_MAX_S),
        (MediaNodeUnavailableError(1, "away"), failures.LONGEST_S),
    ],
)
def test_a_capture_waits_longer_each_time_it_fails_in_the_same_way(error: Exception, longest_s: float) -> None:
    kind = failures.judged(error, {}).kind
    assert failures.judged(error, {"other": 1000}).wait_s <= 16
    assert longest_s / 2 <= failures.judged(error, {kind: 1000}).wait_s <= longest_s


def test_strikes_are_counted_until_it_succeeds_or_are_forgotten() -> None:
    now = 0.0
    strikes = Strikes(10.0, lambda: now)
    for kind in ("render", "render", "database"):
        strikes.note("c1", kind)
    strikes.note("c2", "render")
    assert (dict(strikes.of("c1")), dict(strikes.of("unknown"))) == ({"render": 2, "database": 1}, {})
    strikes.over("c1")
    strikes.over("c1")
    assert not strikes.of("c1")
    now = 11.0
    strikes.note("c3", "render")
    assert not strikes.of("c2")


def test_pauses_double_up_to_the_longest() -> None:
    assert 0.5 <= pause_s(1) <= 1
    assert 4 <= pause_s(4) <= 8
    assert 30 <= pause_s(1000) <= 60
    assert needed(TimeoutError()) is None


async def test_an_outage_is_told_once_and_work_goes_on_when_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outages, "pause_s", lambda *_: 0.02)
    away = Outages()
    with capture_logs() as logs:
        assert not away.away()
        assert 0 < away.failed(Need.DATABASE, AWAY) < 0.021
        away.failed(Need.DATABASE, AWAY)
        away.probed(Need.DATABASE, AWAY)
        assert list(away.away()) == [Need.DATABASE]
        waiting = asyncio.create_task(away.over())
        await asyncio.sleep(0.05)
        assert not waiting.done()
        away.probed(Need.DATABASE, None)
        await asyncio.wait_for(waiting, 5)
        away.succeeded()
    assert [log["event"] for log in logs] == ["recordings_wait", "recordings_go_on"]


async def test_what_no_probe_sees_is_over_after_its_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outages, "pause_s", lambda *_: 0.02)
    away = Outages()
    with capture_logs() as logs:
        away.failed(Need.WORK_DIR, OSError(errno.ENOSPC, "full"))
        await asyncio.wait_for(away.over(), 5)
        away.failed(Need.WORK_DIR, OSError(errno.ENOSPC, "full"))
        away.succeeded()
        await asyncio.wait_for(away.over(), 5)
    assert [log["event"] for log in logs] == ["recordings_wait", "recordings_go_on"]


async def test_pauses_grow_until_a_job_succeeds(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def noted(strikes: int) -> float:
        asked.append(strikes)
        return 0.0

    monkeypatch.setattr(outages, "pause_s", noted)
    away = Outages()
    for _ in range(3):
        away.failed(Need.OBJECTS, AWAY)
    away.succeeded()
    away.failed(Need.OBJECTS, AWAY)
    assert asked == [1, 2, 3, 1]


async def test_places_are_given_in_turn_and_lent() -> None:
    slots = Slots(1)
    await slots.take()
    place = Slot(slots)
    order: list[str] = []

    async def take(name: str) -> None:
        await slots.take()
        order.append(name)
        slots.give()

    waiting = [asyncio.create_task(take(name)) for name in "ab"]
    idle = asyncio.create_task(slots.some_free())
    await asyncio.sleep(0)
    assert not slots.free
    place.lend()
    place.lend()
    await asyncio.gather(*waiting, idle)
    assert order == ["a", "b"]
    await place.regain()
    assert not slots.free
    place.end()
    assert slots.free


async def test_a_place_that_nobody_takes_after_all_is_free() -> None:
    slots = Slots(1)
    await slots.take()
    impatient = asyncio.create_task(slots.take())
    idle = asyncio.create_task(slots.some_free())
    await asyncio.sleep(0)
    slots.give()
    impatient.cancel()
    await asyncio.wait_for(idle, 5)
    assert slots.free


def test_troubles_end_or_are_forgotten() -> None:
    now = 0.0
    troubles = Troubles(10.0, lambda: now)
    assert troubles.note("c1") == 0
    troubles.note("c2")
    now = 6.0
    assert troubles.note("c1") == 6
    assert (troubles.count(), troubles.count(6.0), troubles.count(7.0)) == (2, 2, 0)
    now = 12.0
    assert troubles.count() == 1
    troubles.over("c1")
    assert troubles.count() == 0


def test_the_work_dir_is_one_recorders_and_emptied_of_its_jobs_alone(tmp_path: Path) -> None:
    (tmp_path / "job-1").mkdir()
    (tmp_path / "job-1" / "0.pcap").touch()
    (tmp_path / "precious").touch()
    taken = WorkDir(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "precious"]
    with pytest.raises(ConfigurationError, match="another recorder's"):
        WorkDir(tmp_path)
    taken.close()
    WorkDir(tmp_path).close()
    with pytest.raises(ConfigurationError, match=r"recorder\.work_dir"):
        WorkDir(tmp_path / "precious")


def test_a_recording_says_when_it_began_paused_and_is_deleted() -> None:
    kept = Policy(retention_ms=86_400_000)
    pauses = ((ANSWERED_S * 1000 + 100, ANSWERED_S * 1000 + 250),)
    made = describe(facts("c1"), rendered(b"x", pauses=pauses), kept, ANSWERED_S * 1000)
    assert made.start_time.ToMilliseconds() == ANSWERED_S * 1000 + 20
    assert [(one.start_time.ToMilliseconds() % 1000, one.end_time.ToMilliseconds() % 1000) for one in made.pauses] == [
        (100, 250)
    ]
    assert made.expire_time.ToMilliseconds() == ANSWERED_S * 1000 + 20 + 1000 + 86_400_000
    assert not made.partial
    last = describe(facts("c1"), rendered(b"x", pauses=pauses), kept, 0, paused_at_end=True).pauses[1]
    assert last.start_time.ToMilliseconds() == ANSWERED_S * 1000 + 20 + 1000
    assert not last.HasField("end_time")
    silent = describe(facts("c1"), rendered(b"", start_ms=0, duration_ms=0), kept, 0)
    assert silent.start_time.ToMilliseconds() == ANSWERED_S * 1000
    assert silent.expire_time.ToMilliseconds() == ANSWERED_S * 1000 + 86_400_000


@pytest.mark.parametrize(
    ("start_ms", "now_ms", "latest_ms"),
    [
        (1, ANSWERED_S * 1000 + 9_000, ANSWERED_S * 1000 + 9_000),
        (1, 1, ANSWERED_S * 1000),
        (ANSWERED_S * 1000 + 50, 1, ANSWERED_S * 1000 + 1_050),
        (1, policy.LATEST_MS - 10, policy.LATEST_MS - 1_000),
    ],
)
def test_no_clock_that_is_behind_has_a_recording_deleted_too_early(start_ms: int, now_ms: int, latest_ms: int) -> None:
    made = describe(facts("c1"), rendered(b"x", start_ms=start_ms), Policy(retention_ms=1_000), now_ms)
    assert made.expire_time.ToMilliseconds() == latest_ms + 1_000


@pytest.fixture
async def nodes(store: MemoryStore) -> AsyncIterator[Nodes]:
    followed = Nodes(store, ClientTlsSettings())
    following = asyncio.create_task(followed.run())
    yield followed
    following.cancel()
    await asyncio.wait([following])
    await followed.close()


async def put(store: MemoryStore, id: str, number: int, address: str, **fields: int) -> None:
    node = routing_pb2.MediaNode(id=id, number=number, captures_address=address, **fields)
    await store.commit([], [Put(keys.live_media(id), codec.encode(node))])


async def test_nodes_are_those_that_capture(store: MemoryStore, nodes: Nodes) -> None:
    await put(store, "media-1", 1, "127.0.0.1:1")
    await put(store, "media-2", 2, "")
    await put(store, "media-3", 3, "nonsense")
    await store.commit([], [Put(keys.live_media("media-4"), b"\xff")])
    await put(store, "media-5", 5, "127.0.0.1:5")
    await until(lambda: nodes.numbered(5) is not None)
    assert [node.id for node in nodes.all()] == ["media-1", "media-5"]
    first = nodes.numbered(1)
    await put(store, "media-1", 1, "127.0.0.1:1", calls=7)
    await put(store, "media-5", 5, "127.0.0.1:55")
    await until(lambda: [node.address for node in nodes.all()] == ["127.0.0.1:1", "127.0.0.1:55"])
    assert nodes.numbered(1) is first
    await store.commit([], [Delete(keys.live_media("media-1"))])
    await until(lambda: nodes.numbered(1) is None)


async def test_a_node_that_is_gone_is_still_there_for_who_works_for_it(store: MemoryStore, nodes: Nodes) -> None:
    async with FakeNode().serving(store) as served:
        await until(lambda: nodes.numbered(1) is not None)
        node = nodes.numbered(1)
        assert node is not None
        node.use()
        await store.commit([], [Delete(keys.live_media(served.id))])
        await until(lambda: node.gone)
        assert (await node.captures.list()).media_node == 1
        await node.leave()
        with pytest.raises(MediaNodeUnavailableError, match="closed"):
            await node.captures.list()


async def test_a_node_has_the_time_to_ask_its_rtpengine_for_what_it_has(
    store: MemoryStore, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert captures.LIST_TIMEOUT_S > 2 * lister.TIMEOUT_S
    monkeypatch.setattr(captures, "LIST_TIMEOUT_S", 0.05)
    async with FakeNode().serving(store) as served:
        await until(lambda: nodes.numbered(1) is not None)
        listing = served.stop("ListCaptures")
        node = nodes.numbered(1)
        assert node is not None
        with pytest.raises(MediaNodeUnavailableError, match="DEADLINE_EXCEEDED"):
            await node.captures.list()
        listing.set()


class Away:
    """What a probe asks, while it is set to fail."""

    error: Exception | None = None

    async def ask(self, *_: object) -> None:
        if self.error:
            raise self.error

    ping = get = check = ask


async def test_readiness_says_what_is_away() -> None:
    catalog, store, place = Away(), Away(), Away()
    away = Outages()
    probe = Probe(catalog, store, place, away, RecorderMetrics(CollectorRegistry()))
    assert not probe.readiness()[0]
    for need in (Need.DATABASE, Need.ETCD, Need.OBJECTS):
        await probe.ask(need)
    assert probe.readiness() == (True, {"database_there": True, "etcd_there": True, "objects_there": True})
    assert probe.database_there
    catalog.error, place.error = AWAY, TimeoutError()
    for need in (Need.DATABASE, Need.OBJECTS):
        await probe.ask(need)
    assert probe.readiness() == (False, {"database_there": False, "etcd_there": True, "objects_there": False})
    assert list(away.away()) == [Need.DATABASE, Need.OBJECTS]
    assert not probe.database_there
    catalog.error = place.error = None
    for need in (Need.DATABASE, Need.OBJECTS):
        await probe.ask(need)
    assert probe.readiness()[0]
    assert not away.away()
