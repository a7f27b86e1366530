"""The catalog of recordings over SQLite and PostgreSQL: what is promised, stored, missing, held and deleted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from signalbox.api.types.v1 import recordings_pb2 as pb
from signalbox.catalog.catalog import MARK_DAYS, Catalog, Found, Position, Query
from signalbox.errors import EtagMismatchError, InvalidFieldError, NotFoundError
from signalbox.settings.shared import DatabaseSettings
from support.catalogs import (
    DAY_MS,
    capture,
    emptied,
    facts,
    memory_path,  # noqa: F401  (a fixture)
    opened,
    promise,
    rendered,
    store,
)
from support.postgres import postgres_server  # noqa: F401  (a fixture)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

STORED, MISSING = pb.RECORDING_STATE_STORED, pb.RECORDING_STATE_MISSING
EVENT_STORED, EVENT_MISSING = pb.RECORDING_EVENT_KIND_STORED, pb.RECORDING_EVENT_KIND_MISSING
EVENT_HELD, EVENT_DELETED = pb.RECORDING_EVENT_KIND_HOLD_CHANGED, pb.RECORDING_EVENT_KIND_DELETED
EVER_MS = 10**14


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, memory_path: Path) -> DatabaseSettings:  # noqa: F811
    """A database."""
    if request.param == "sqlite":
        return DatabaseSettings(url=f"sqlite:///{memory_path}/signalbox.db")
    made: DatabaseSettings = request.getfixturevalue("postgres_server").database()
    return made


@pytest.fixture
async def catalog(settings: DatabaseSettings) -> AsyncIterator[Catalog]:
    """An empty one."""
    async with opened(settings) as made:
        await emptied(made)
        yield made


async def get(catalog: Catalog, call_id: str = "c1") -> Found:
    found = await catalog.get(call_id)
    assert found is not None
    return found


async def kinds(catalog: Catalog) -> list[int]:
    return [event.kind for event in await catalog.events("", "", 0, 100)]


async def ids(catalog: Catalog, limit: int = 100, after: Position | None = None, **asked: object) -> list[str]:
    return [one.call_id for one in await catalog.find(Query(**asked), limit, after)]  # type: ignore[arg-type]


async def test_what_is_promised_is_listed_with_what_is_known_of_the_call(catalog: Catalog) -> None:
    await catalog.ping()
    await catalog.promise([])
    await catalog.promise([promise("c1", 1_234), promise("c2", media_node=7)])
    found = await get(catalog)
    recording = found.recording
    assert (recording.tenant, recording.number, recording.caller) == ("acme", "4006001234", "13800138000")
    assert (recording.line, recording.media_node, recording.answer_time.ToMilliseconds()) == ("desk", 3, 1_234)
    assert (recording.state, recording.etag, found.object) == (pb.RECORDING_STATE_PROMISED, "1", "")
    assert await catalog.facts("c1") == facts("c1", 1_234)
    assert await catalog.facts("unknown") is None
    assert await catalog.get("unknown") is None
    assert await catalog.get("c1", "other") is None
    assert await catalog.get("c1", "acme") == found
    assert await catalog.nodes() == [3, 7]


async def test_promises_of_a_node_are_listed_page_by_page_once_they_are_old(catalog: Catalog) -> None:
    await catalog.promise([promise(call_id, 1_000) for call_id in ("a", "B", "c", "D")])
    await catalog.promise([promise("young", 5_000), promise("elsewhere", media_node=4)])
    await store(catalog, facts("c"))
    assert await catalog.promised(3, 5_000, "", 2) == ["B", "D"]
    assert await catalog.promised(3, 5_000, "D", 2) == ["a"]


async def test_a_promise_told_again_changes_nothing_whatever_became_of_it(catalog: Catalog) -> None:
    told = [promise(call_id) for call_id in ("open", "stored", "missing", "deleted")]
    await catalog.promise(told)
    await catalog.promise([*told, told[0]])
    await store(catalog, facts("stored"))
    await catalog.missing("missing", ["node_lost"])
    gone = await store(catalog, facts("deleted"), expire_ms=1)
    assert await catalog.doom(gone)
    assert await catalog.forget(gone, "", "")
    before = await catalog.find(Query(), 10, None)
    await catalog.promise(told)
    assert await catalog.find(Query(), 10, None) == before
    assert sorted(one.call_id for one in before) == ["missing", "open", "stored"]
    assert await catalog.promised(3, EVER_MS, "", 10) == ["open"]
    assert await catalog.facts("deleted") is None


async def test_promises_told_by_several_at_once_are_taken_once(catalog: Catalog) -> None:
    told = [promise(f"c{number}") for number in range(50)]
    await asyncio.gather(*(catalog.promise(part) for part in (told, told[::-1], told[25:] + told[:25])))
    assert len(await catalog.promised(3, EVER_MS, "", 100)) == 50


@pytest.mark.parametrize(
    ("broken", "field"),
    [
        (promise(""), "promises[1].facts.call_id"),
        (promise("nul\0"), "promises[1].facts.call_id"),
        (promise("x" * 1025), "promises[1].facts.call_id"),
        (promise(answer_ms=-1_000), "promises[1].facts.answer_time"),
        (promise(sequence=2**63), "sequence"),
    ],
)
async def test_a_promise_that_no_row_can_hold_is_refused_with_its_place(
    catalog: Catalog, broken: object, field: str
) -> None:
    with pytest.raises(InvalidFieldError) as refused:
        await catalog.promise([promise("good"), broken])  # type: ignore[list-item]
    assert refused.value.violations[0].field == field
    assert await catalog.get("good") is None


async def test_callers_may_call_themselves_anything(catalog: Catalog) -> None:
    odd, long = "a\0b'\"%", "\N{GRINNING FACE}" * 5_000
    await catalog.promise([promise("odd", caller=odd), promise("long", caller=long)])
    assert (await get(catalog, "odd")).recording.caller == odd
    assert await ids(catalog, caller=odd) == ["odd"]
    assert await ids(catalog, caller=long) == ["long"]
    assert await catalog.get("a\0") is None
    assert await catalog.events("a\0", "b\0", 0, 1) == []


async def test_a_recording_is_stored_with_an_event(catalog: Catalog) -> None:
    await catalog.promise([promise()])
    begun = await catalog.begin(facts())
    assert (begun.attempt, begun.stored) == (1, None)
    assert await catalog.finish(rendered(facts(), 9_000), 1, "recordings/x.1.ogg")
    found = await get(catalog)
    assert (found.recording.state, found.object, found.recording.size_bytes) == (STORED, "recordings/x.1.ogg", 1_000)
    assert found.recording.etag == "2"
    assert found.recording.expire_time.ToMilliseconds() == 9_000
    [event] = await catalog.events("acme", "c1", 0, 10)
    assert (event.kind, event.tenant, event.call_id, event.actor) == (EVENT_STORED, "acme", "c1", "")
    assert event.time.seconds > 1_700_000_000
    assert await catalog.nodes() == []


async def test_a_capture_that_comes_before_its_promise_is_stored_all_the_same(catalog: Catalog) -> None:
    await store(catalog, facts())
    await catalog.promise([promise()])
    assert (await get(catalog)).recording.state == STORED


async def test_only_the_latest_attempt_stores(catalog: Catalog) -> None:
    await catalog.promise([promise()])
    first, second = await catalog.begin(facts()), await catalog.begin(facts())
    assert (first.attempt, second.attempt) == (1, 2)
    assert not await catalog.finish(rendered(facts()), 1, "one")
    assert await catalog.finish(rendered(facts()), 2, "two")
    assert not await catalog.finish(rendered(facts()), 1, "one")
    assert (await get(catalog)).object == "two"
    assert await kinds(catalog) == [EVENT_STORED]


async def test_attempts_begun_at_once_have_different_numbers(catalog: Catalog) -> None:
    begun = await asyncio.gather(*(catalog.begin(facts()) for _ in range(10)))
    assert sorted(one.attempt for one in begun) == list(range(1, 11))


async def test_an_attempt_that_did_not_hear_that_it_had_stored_hears_it_when_it_says_so_again(catalog: Catalog) -> None:
    await store(catalog, facts())
    assert await catalog.finish(rendered(facts()), 1, "c1.1.ogg")
    assert not await catalog.finish(rendered(facts()), 1, "another")
    assert await kinds(catalog) == [EVENT_STORED]


async def test_what_is_stored_is_only_to_be_confirmed(catalog: Catalog) -> None:
    found = await store(catalog, facts())
    begun = await catalog.begin(facts())
    assert (begun.attempt, begun.stored) == (1, found.recording)


async def test_what_was_deleted_is_only_to_be_confirmed_and_never_stored_again(catalog: Catalog) -> None:
    found = await store(catalog, facts())
    assert await catalog.doom(found)
    doomed = await catalog.begin(facts())
    assert doomed.stored == found.recording
    assert await catalog.forget(found, "", "")
    deleted = await catalog.begin(facts())
    assert deleted.stored == pb.Recording(call_id="c1")
    assert not await catalog.finish(rendered(facts()), deleted.attempt, "again")
    assert await ids(catalog) == []


async def test_what_is_captured_later_replaces_what_is_stored_once_it_is_stored_itself(catalog: Catalog) -> None:
    first, both = capture(100), capture(100, 50)
    assert (await catalog.begin(facts(), first)).attempt == 1
    assert await catalog.finish(rendered(facts()), 1, "one", first)
    assert (await catalog.begin(facts(), first)).stored is not None
    again = await catalog.begin(facts(), both)
    assert (again.attempt, again.stored, again.object) == (2, None, "one")
    assert (await get(catalog)).object == "one"
    assert not await catalog.finish(rendered(facts()), 1, "two", both)
    assert await catalog.finish(rendered(facts()), 2, "two", both)
    assert await catalog.finish(rendered(facts()), 2, "two", both)
    found = await get(catalog)
    assert (found.object, found.attempt) == ("two", 2)
    assert (await catalog.begin(facts(), both)).stored == found.recording
    assert await kinds(catalog) == [EVENT_STORED, EVENT_STORED]


async def test_what_is_captured_later_of_a_deleted_recording_is_not_stored(catalog: Catalog) -> None:
    assert (await catalog.begin(facts(), capture(100))).attempt == 1
    assert await catalog.finish(rendered(facts()), 1, "one", capture(100))
    assert (await catalog.begin(facts(), capture(100, 50))).attempt == 2
    assert await catalog.doom(await get(catalog))
    assert not await catalog.finish(rendered(facts()), 2, "two", capture(100, 50))
    assert (await catalog.begin(facts(), capture(100, 50))).stored is not None


async def test_of_what_is_captured_after_the_rest_is_gone_there_is_a_flaw(catalog: Catalog) -> None:
    assert (await catalog.begin(facts(), capture(100))).attempt == 1
    assert await catalog.finish(rendered(facts()), 1, "one", capture(100))
    begun = await catalog.begin(facts(), capture(50, start_ms=9_000))
    assert begun.stored is not None
    assert begun.severed
    assert [await catalog.flaw("c1", "captured_later") for _ in range(2)] == [True, False]
    found = await get(catalog)
    assert (found.recording.partial, list(found.recording.reasons)) == (True, ["captured_later"])
    assert await ids(catalog, flawed=True) == ["c1"]
    assert (await catalog.events("", "c1", 0, 10))[-1].detail == "captured_later"
    assert not await catalog.flaw("unknown", "captured_later")


async def test_attempts_are_counted_on_in_the_mark_of_what_was_deleted(catalog: Catalog) -> None:
    await catalog.begin(facts())
    await catalog.tidied("c1", 2)
    assert (await catalog.begin(facts())).tidied == 0
    await catalog.tidied("c1", 1)
    await catalog.tidied("c1", 0)
    found = await store(catalog, facts())
    assert await catalog.doom(found)
    assert await catalog.forget(found, "", "")
    begun = await catalog.begin(facts())
    assert (begun.attempt, begun.tidied, begun.object) == (3, 1, "")


async def test_what_is_missing_says_why_and_when_its_row_goes(catalog: Catalog) -> None:
    await catalog.promise([promise()])
    assert await catalog.missing("c1", ["node_lost", "disk_full"], 9_000)
    found = await get(catalog)
    assert (found.recording.state, list(found.recording.reasons)) == (MISSING, ["node_lost", "disk_full"])
    assert (found.object, found.recording.etag) == ("", "2")
    assert await catalog.due(8_999, 10) == []
    assert await catalog.due(9_000, 10) == [found]
    [event] = await catalog.events("", "c1", 0, 10)
    assert (event.kind, event.tenant, event.detail) == (EVENT_MISSING, "acme", "node_lost, disk_full")


async def test_only_what_is_promised_becomes_missing(catalog: Catalog) -> None:
    await store(catalog, facts())
    await catalog.promise([promise("c2")])
    assert await catalog.missing("c2", ["node_lost"])
    assert [await catalog.missing(call_id, ["again"]) for call_id in ("c1", "c2", "unknown")] == [False] * 3
    assert await kinds(catalog) == [EVENT_STORED, EVENT_MISSING]


async def test_what_is_found_after_all_is_stored_and_no_longer_flawed(catalog: Catalog) -> None:
    await catalog.promise([promise()])
    begun = await catalog.begin(facts())
    assert await catalog.missing("c1", ["node_lost"])
    assert await ids(catalog, flawed=True) == ["c1"]
    assert await catalog.finish(rendered(facts()), begun.attempt, "found")
    assert (await get(catalog)).recording.state == STORED
    assert await ids(catalog, flawed=True) == []
    assert await kinds(catalog) == [EVENT_MISSING, EVENT_STORED]


async def test_recordings_are_found_by_what_is_known_of_them(catalog: Catalog) -> None:
    await catalog.promise(
        [
            promise("tenant", tenant="other"),
            promise("number", number="95000"),
            promise("caller", caller="anonymous"),
            promise("line", line="home"),
            promise("early", 500),
            promise("late", 9_000),
        ]
    )
    await store(catalog, facts("partial"), partial=True, reasons=["media_node_died"])
    await catalog.missing("early", ["node_lost"])
    assert await ids(catalog, tenant="other") == ["tenant"]
    assert await ids(catalog, number="95000") == ["number"]
    assert await ids(catalog, caller="anonymous") == ["caller"]
    assert await ids(catalog, line="home", tenant="acme") == ["line"]
    assert await ids(catalog, end_ms=1_000) == ["early"]
    assert await ids(catalog, start_ms=9_000) == ["late"]
    assert await ids(catalog, start_ms=500, end_ms=9_000, tenant="acme", number="4006001234") == [
        *("caller", "line", "partial", "early")
    ]
    assert await ids(catalog, state=STORED) == ["partial"]
    assert await ids(catalog, state=MISSING) == ["early"]
    assert await ids(catalog, flawed=True) == ["partial", "early"]
    assert await ids(catalog, tenant="other", flawed=True) == []


async def test_pages_of_recordings_follow_each_other_the_latest_first(catalog: Catalog) -> None:
    times = {"a": 2_000, "B": 2_000, "c": 3_000, "D": 2_000, "e": 1_000}
    await catalog.promise([promise(call_id, answer_ms) for call_id, answer_ms in times.items()])
    seen: list[str] = []
    after = None
    while page := await catalog.find(Query(tenant="acme"), 2, after):
        seen += [one.call_id for one in page]
        after = Position(page[-1].answer_time.ToMilliseconds(), page[-1].call_id)
    assert seen == ["c", "B", "D", "a", "e"]


async def test_a_hold_is_set_and_lifted_by_whoever_knows_the_version(catalog: Catalog) -> None:
    found = await store(catalog, facts(), expire_ms=1)
    held = await catalog.hold(found, True, "operator/ann")
    assert (held.legal_hold, held.etag) == (True, "3")
    with pytest.raises(EtagMismatchError, match="you have etag 2, stored is 3"):
        await catalog.hold(found, False, "operator/ann")
    now = await get(catalog)
    assert now.recording == held
    assert await catalog.hold(now, True, "operator/bob") == held
    assert not (await catalog.hold(now, False, "operator/ann")).legal_hold
    told = [(event.actor, event.detail) for event in await catalog.events("", "", 0, 10) if event.kind == EVENT_HELD]
    assert told == [("operator/ann", "set"), ("operator/ann", "lifted")]


async def test_a_hold_outlives_that_its_recording_is_stored(catalog: Catalog) -> None:
    await catalog.promise([promise()])
    await catalog.hold(await get(catalog), True, "")
    assert (await store(catalog, facts(), expire_ms=1)).recording.legal_hold
    assert await catalog.due(EVER_MS, 10) == []


async def test_what_is_held_is_neither_due_nor_deleted(catalog: Catalog) -> None:
    await catalog.hold(await store(catalog, facts(), expire_ms=1), True, "")
    held = await get(catalog)
    assert await catalog.due(EVER_MS, 10) == []
    assert not await catalog.doom(held)
    assert not await catalog.forget(held, "", "")
    assert await get(catalog) == held


async def test_what_is_being_deleted_is_given_to_nobody_and_can_be_held_no_more(catalog: Catalog) -> None:
    found = await store(catalog, facts(), expire_ms=5_000)
    assert await catalog.doom(found)
    assert await catalog.doom(found)
    assert await catalog.get("c1") is None
    assert await catalog.get("c1", "acme", doomed=True) == found
    assert await ids(catalog) == []
    with pytest.raises(NotFoundError):
        await catalog.hold(found, True, "")


async def test_a_deletion_that_was_begun_is_due_at_once_and_first(catalog: Catalog) -> None:
    await store(catalog, facts("old"), expire_ms=1)
    found = await store(catalog, facts(), expire_ms=EVER_MS)
    assert await catalog.doom(found)
    assert [one.recording.call_id for one in await catalog.due(10, 10)] == ["c1", "old"]
    assert await catalog.due(10, 1) == [found]


async def test_only_the_version_that_was_looked_at_is_deleted(catalog: Catalog) -> None:
    await catalog.promise([promise()])
    open_ = await get(catalog)
    assert not await catalog.doom(open_)
    assert await catalog.missing("c1", ["node_lost"], 1)
    [missing] = await catalog.due(10, 10)
    found = await store(catalog, facts(), expire_ms=1)
    assert [await catalog.doom(missing), await catalog.forget(missing, "", "")] == [False, False]
    assert await get(catalog) == found


async def test_a_capture_that_turns_up_while_its_row_is_deleted_stays_out(catalog: Catalog) -> None:
    await catalog.promise([promise()])
    begun = await catalog.begin(facts())
    assert await catalog.missing("c1", ["node_lost"], 1)
    assert await catalog.doom(await get(catalog))
    assert not await catalog.finish(rendered(facts()), begun.attempt, "late")


async def test_of_what_was_deleted_a_mark_without_personal_data_stays_for_a_while(catalog: Catalog) -> None:
    found = await store(catalog, facts(), expire_ms=1)
    assert await catalog.doom(found)
    assert await catalog.forget(found, "operator/ann", "by order")
    assert not await catalog.forget(found, "operator/ann", "by order")
    event = (await catalog.events("acme", "c1", 0, 10))[-1]
    assert (event.kind, event.actor, event.detail) == (EVENT_DELETED, "operator/ann", "by order")
    assert await catalog.get("c1", doomed=True) is None
    assert await catalog.due(event.time.ToMilliseconds() + MARK_DAYS * DAY_MS - 60_000, 10) == []
    assert (await catalog.begin(facts())).stored is not None
    assert await catalog.due(event.time.ToMilliseconds() + MARK_DAYS * DAY_MS + 60_000, 10) == []
    assert (await catalog.begin(facts())).stored is None


async def test_events_are_read_on_by_tenant_or_call(catalog: Catalog) -> None:
    for tenant, call_id in (("acme", "c1"), ("other", "c2"), ("acme", "c3"), ("acme", "c1")):
        await catalog.event(pb.RECORDING_EVENT_KIND_ACCESSED, tenant, call_id, "operator/ann", "bytes 0 to 99")
    read = await catalog.events("", "", 0, 10)
    assert [event.call_id for event in read] == ["c1", "c2", "c3", "c1"]
    assert (read[0].kind, read[0].detail) == (pb.RECORDING_EVENT_KIND_ACCESSED, "bytes 0 to 99")
    assert await catalog.events("acme", "", 0, 10) == [read[0], read[2], read[3]]
    assert await catalog.events("", "c1", 0, 10) == [read[0], read[3]]
    assert await catalog.events("acme", "c2", 0, 10) == []
    assert await catalog.events("", "", read[1].sequence, 1) == [read[2]]


async def test_who_follows_the_events_misses_none_that_many_write_at_once(catalog: Catalog) -> None:
    seen: list[str] = []

    async def write(writer: int) -> None:
        for number in range(10):
            await catalog.event(pb.RECORDING_EVENT_KIND_ACCESSED, "acme", f"{writer}-{number}", "", "")

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        for writer in range(4):
            group.create_task(write(writer))
        after = 0
        while len(seen) < 40:
            for event in await catalog.events("", "", after, 7):
                assert event.sequence > after
                after = event.sequence
                seen.append(event.call_id)
    assert len(set(seen)) == 40
