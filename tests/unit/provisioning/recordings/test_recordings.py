"""Recordings are found, and given to whom they concern, with a record of it before the first byte."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from signalbox.api.provisioning.v1 import recordings_pb2 as pb
from signalbox.api.types.v1 import recordings_pb2
from signalbox.catalog.catalog import Found
from signalbox.errors import DatabaseUnavailableError
from signalbox.provisioning.access import ADMINISTRATOR, OPERATOR, READER
from signalbox.provisioning.recordings import service as recording_service
from signalbox.provisioning.recordings.service import METHODS, TABLE
from signalbox.store.envelope import PIECE, Vault
from support.audit import forget, waiting
from support.provisioning import As, invalid, reason_of, refused
from support.recordings import ANSWERED_MS, DAY_MS, caller_of, sound, tapes
from support.stores import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from signalbox.store.memory import MemoryStore
    from support.clock import Clock
    from support.recordings import Tapes

STORED, MISSING = recordings_pb2.RECORDING_STATE_STORED, recordings_pb2.RECORDING_STATE_MISSING


def time(milliseconds: int) -> Timestamp:
    made = Timestamp()
    made.FromMilliseconds(milliseconds)
    return made


async def listed(api: Tapes, **asked: Any) -> list[str]:
    """Ids of the calls, over all pages."""
    found: list[str] = []
    while True:
        page = await api.api.ListRecordings(pb.ListRecordingsRequest(**asked))
        found += [one.call_id for one in page.recordings]
        if not page.next_page_token:
            return found
        asked["page_token"] = page.next_page_token


async def test_recordings_are_found_by_what_is_asked_the_latest_first(api: Tapes) -> None:
    await api.recorder.store("c1", answer_ms=ANSWERED_MS)
    await api.recorder.store("c2", answer_ms=ANSWERED_MS + 1000, caller="anonymous", reasons=("media_node_died",))
    await api.recorder.store("c3", tenant="best", answer_ms=ANSWERED_MS + 2000, number="4007654321", line="shop")
    await api.recorder.promise("c4", answer_ms=ANSWERED_MS + 3000)
    await api.recorder.promise("c5", answer_ms=ANSWERED_MS + 4000)
    await api.catalog.missing("c5", ["disk_full"])
    for asked, ids in (
        ({}, ["c5", "c4", "c3", "c2", "c1"]),
        ({"tenant": "acme"}, ["c5", "c4", "c2", "c1"]),
        ({"number": "4007654321"}, ["c3"]),
        ({"caller": "anonymous"}, ["c2"]),
        ({"line": "shop"}, ["c3"]),
        ({"state": STORED}, ["c3", "c2", "c1"]),
        ({"flawed": True}, ["c5", "c2"]),
        ({"start_time": time(ANSWERED_MS + 1000), "end_time": time(ANSWERED_MS + 3000)}, ["c3", "c2"]),
    ):
        assert await listed(api, **asked) == ids, asked
        assert await listed(api, page_size=2, **asked) == ids, asked


async def test_a_page_that_would_be_long_ends_early(api: Tapes, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        await api.recorder.store(f"c{number}", b"x")
    monkeypatch.setattr(recording_service, "PAGE_BYTES_MAX", 500)
    page = await api.api.ListRecordings(pb.ListRecordingsRequest())
    assert 1 <= len(page.recordings) < 5
    assert await listed(api) == [f"c{number}" for number in range(5)]


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"tenant": "A"}, "tenant"),
        ({"number": "x"}, "number"),
        ({"line": "A b"}, "line"),
        ({"caller": "x" * 2000}, "caller"),
        ({"state": 17}, "state"),
        ({"start_time": Timestamp(seconds=-5)}, "start_time"),
        ({"end_time": Timestamp(seconds=10**12)}, "end_time"),
        ({"start_time": time(5000), "end_time": time(5000)}, "end_time"),
        ({"page_token": "x"}, "page_token"),
    ],
)
async def test_a_list_that_makes_no_sense_names_the_field(api: Tapes, fields: dict[str, Any], wrong: str) -> None:
    with invalid() as refusal:
        await api.api.ListRecordings(pb.ListRecordingsRequest(**fields))
    assert list(refusal.fields) == [wrong]


@pytest.mark.parametrize("call_id", ["", "x" * 1025, "a\0b"])
async def test_a_call_is_named_in_order(api: Tapes, call_id: str) -> None:
    for kind, method in (
        (pb.GetRecordingRequest, api.api.GetRecording),
        (pb.SetLegalHoldRequest, api.api.SetLegalHold),
        (pb.DeleteRecordingRequest, api.api.DeleteRecording),
        (pb.PauseRecordingRequest, api.api.PauseRecording),
    ):
        with invalid() as refusal:
            await method(kind(call_id=call_id))  # type: ignore[operator]
        assert list(refusal.fields) == ["call_id"]


@pytest.mark.parametrize("offset", [0, 1, PIECE, PIECE + 1, 199_999, 200_000])
async def test_a_download_begins_where_the_last_one_ended(api: Tapes, offset: int) -> None:
    made = await api.recorder.store("c1", sound())
    assert await api.download("c1", offset) == sound()[offset:]
    found = await api.get("c1")
    assert (found.sha256, found.size_bytes, found.state) == (made.sha256, 200_000, STORED)


async def test_what_it_is_comes_first_and_once(api: Tapes) -> None:
    await api.recorder.store("c1", sound())
    answers = [one async for one in api.api.DownloadRecording(pb.DownloadRecordingRequest(call_id="c1"))]
    assert answers[0].recording == await api.get("c1")
    assert not answers[0].content
    assert not any(one.HasField("recording") for one in answers[1:])


async def test_what_cannot_be_downloaded_says_why(api: Tapes) -> None:
    await api.recorder.store("c1", sound())
    with invalid() as refusal:
        await api.download("c1", 200_001)
    assert refusal.fields == {"offset": "must be at most 200000"}
    with refused(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"):
        await api.download("c2")
    await api.recorder.promise("c3")
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "NOT_STORED") as refusal:
        await api.download("c3")
    assert refusal.metadata["state"] == "promised"
    await api.catalog.missing("c3", ["disk_full"])
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "NOT_STORED"):
        await api.download("c3")
    assert await api.happened() == [("missing", "c3", "")]


async def test_a_recording_that_is_damaged_or_lost_is_told_as_such(api: Tapes) -> None:
    await api.recorder.store("c1", sound())
    audio = next(file for file in api.files() if file.suffix == ".wav")
    content = bytearray(audio.read_bytes())
    content[PIECE + 1000] ^= 1
    audio.write_bytes(content)
    with refused(grpc.StatusCode.DATA_LOSS, "CONTENT_LOST"):
        await api.download("c1")
    audio.unlink()
    with refused(grpc.StatusCode.DATA_LOSS, "CONTENT_LOST"):
        await api.download("c1")


async def test_one_that_is_deleted_while_it_is_read_is_not_there(api: Tapes, monkeypatch: pytest.MonkeyPatch) -> None:
    await api.recorder.store("c1", sound())
    get = Vault.get

    async def late(self: Any, *arguments: Any) -> AsyncGenerator[bytes, None]:
        await api.service.disposal._delete((await api.catalog.get("c1")), "", "")  # type: ignore[arg-type]
        async for piece in get(self, *arguments):
            yield piece

    monkeypatch.setattr(Vault, "get", late)
    with refused(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"):
        await api.download("c1")


async def test_one_that_is_replaced_while_it_is_read_is_not_damaged(
    api: Tapes, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.recorder.store("c1", sound())
    get = Vault.get

    async def late(self: Any, tenant: str, name: str, offset: int = 0) -> AsyncGenerator[bytes, None]:
        known = await api.catalog.get("c1")
        assert known is not None
        monkeypatch.setattr(api.catalog, "get", replaced(Found(known.recording, "another", known.version, 2)))
        await self.delete(name)
        async for piece in get(self, tenant, name, offset):
            yield piece

    def replaced(found: Found) -> Any:
        async def answer(*arguments: Any, **named: Any) -> Found:
            return found

        return answer

    monkeypatch.setattr(Vault, "get", late)
    with refused(grpc.StatusCode.ABORTED, "ETAG_MISMATCH"):
        await api.download("c1")


async def test_an_access_is_recorded_before_the_first_byte(api: Tapes, monkeypatch: pytest.MonkeyPatch) -> None:
    await api.recorder.store("c1", sound())
    read: list[tuple[int, int]] = []
    get = Vault.get

    async def counted(self: Any, tenant: str, name: str, offset: int = 0) -> AsyncGenerator[bytes, None]:
        read.append((len(await waiting(api.store)), len(await api.catalog.events("", "c1", 0, 10))))
        async for piece in get(self, tenant, name, offset):
            yield piece

    monkeypatch.setattr(Vault, "get", counted)
    await api.download("c1", 5)
    assert read == [(1, 2)], "one record, and an event besides that of the recorder"
    (record,) = await waiting(api.store)
    assert (record.change.kind, record.change.tenant, record.change.id) == ("recording", "acme", "c1")
    assert (record.change.read, record.method, record.actor.name) == (True, "DownloadRecording", "anonymous")
    (event,) = (await api.api.ListRecordingEvents(pb.ListRecordingEventsRequest(after=1))).events
    assert (event.actor, event.detail) == ("anonymous", "from byte 5 of 200000")


async def test_who_is_not_recorded_hears_and_does_nothing(api: Tapes) -> None:
    await api.recorder.store("c1", expire_ms=0)
    await api.recorder.promise("c2")
    api.service.outbox._waiting = api.service.outbox._max
    for attempt in (
        api.download("c1"),
        api.api.SetLegalHold(pb.SetLegalHoldRequest(call_id="c1", legal_hold=True)),
        api.api.DeleteRecording(pb.DeleteRecordingRequest(call_id="c1")),
        api.api.PauseRecording(pb.PauseRecordingRequest(call_id="c2")),
    ):
        assert await reason_of(attempt) == "AUDIT_FULL"
    assert await api.happened() == []
    assert len(api.files()) == 2
    assert api.node.asked == []


async def test_whoever_reads_slowly_has_little_waiting_for_it(api: Tapes, monkeypatch: pytest.MonkeyPatch) -> None:
    size = 40 * 1024 * 1024
    await api.recorder.store("c1", bytes(size))
    given = 0
    get = Vault.get

    async def counted(self: Any, *arguments: Any) -> AsyncGenerator[bytes, None]:
        nonlocal given
        async for piece in get(self, *arguments):
            given += len(piece)
            yield piece

    monkeypatch.setattr(Vault, "get", counted)
    call = api.api.DownloadRecording(pb.DownloadRecordingRequest(call_id="c1"))
    await call.read()  # type: ignore[attr-defined]
    await call.read()  # type: ignore[attr-defined]
    before = -1
    while before != given:
        before = given
        await asyncio.sleep(0.2)
    assert given < size // 2, f"{given} bytes were opened for somebody who read one piece"
    call.cancel()


async def test_a_tenant_sees_its_own_alone(api: Tapes) -> None:
    await api.recorder.store("c1")
    await api.recorder.store("c2", tenant="best")
    caller = await caller_of(api, "acme", ADMINISTRATOR)
    await forget(api.store)
    page = await caller.ListRecordings(pb.ListRecordingsRequest(tenant="acme"))
    assert [one.call_id for one in page.recordings] == ["c1"]
    assert await api.download("c1", tenant="acme", api=caller) == sound()
    for attempt in (
        caller.GetRecording(pb.GetRecordingRequest(tenant="acme", call_id="c2")),
        api.download("c2", tenant="acme", api=caller),
        caller.SetLegalHold(pb.SetLegalHoldRequest(tenant="acme", call_id="c2", legal_hold=True)),
        caller.PauseRecording(pb.PauseRecordingRequest(tenant="acme", call_id="c2")),
    ):
        assert await reason_of(attempt) == "RESOURCE_NOT_FOUND"
    assert await reason_of(api.get("c2", tenant="acme")) == "RESOURCE_NOT_FOUND"
    await api.service.outbox.flush(api.store, early=True)
    refusals = [one for one in await waiting(api.store) if one.HasField("refusal")]
    assert {(one.method, one.refusal.id, one.refusal.hidden) for one in refusals} == {
        (method, "c2", True) for method in ("GetRecording", "DownloadRecording", "SetLegalHold", "PauseRecording")
    }


async def test_a_tenant_hears_of_the_operator_not_who_it_is(api: Tapes) -> None:
    await api.recorder.store("c1", sound())
    caller = await caller_of(api, "acme", ADMINISTRATOR)
    boss = await caller_of(api, "", OPERATOR)
    await api.download("c1", tenant="acme", api=caller)
    await api.download("c1", api=boss)
    own = f"api-key acme/k{ADMINISTRATOR}"
    for asking, tenant, names in (
        (caller, "acme", [own, "operator"]),
        (boss, "", [own, f"api-key operator/k{OPERATOR}"]),
    ):
        request = pb.ListRecordingEventsRequest(tenant=tenant, call_id="c1", after=1)
        assert [one.actor for one in (await asking.ListRecordingEvents(request)).events] == names


async def test_events_go_on_after_the_last_one(api: Tapes) -> None:
    for number in range(5):
        await api.recorder.store(f"c{number}", b"x")
    await api.recorder.store("other", b"x", tenant="best")
    found: list[str] = []
    after = 0
    while True:
        asked = pb.ListRecordingEventsRequest(tenant="acme", after=after, page_size=2)
        events = (await api.api.ListRecordingEvents(asked)).events
        found += [one.call_id for one in events]
        if len(events) < 2:
            break
        after = events[-1].sequence
    assert found == [f"c{number}" for number in range(5)]
    assert not (await api.api.ListRecordingEvents(pb.ListRecordingEventsRequest(after=2**64 - 1))).events
    with invalid() as refusal:
        await api.api.ListRecordingEvents(pb.ListRecordingEventsRequest(page_size=1001))
    assert list(refusal.fields) == ["page_size"]


async def test_without_a_database_everything_says_so(store: MemoryStore, clock: Clock, tmp_path: Path) -> None:
    def away() -> Any:
        raise DatabaseUnavailableError("the database has not been reached yet")

    async with tapes(store, tmp_path, clock, catalog=away) as api:
        for attempt in (
            api.get("c1"),
            api.download("c1"),
            api.api.ListRecordings(pb.ListRecordingsRequest()),
            api.api.DeleteRecording(pb.DeleteRecordingRequest(call_id="c1")),
            api.api.SetLegalHold(pb.SetLegalHoldRequest(call_id="c1")),
            api.api.ListRecordingEvents(pb.ListRecordingEventsRequest()),
        ):
            assert await reason_of(attempt) == "DATABASE_UNAVAILABLE"


async def test_a_download_that_is_given_up_ends(api: Tapes, monkeypatch: pytest.MonkeyPatch) -> None:
    await api.recorder.store("c1", bytes(20 * 1024 * 1024))
    ended = asyncio.Event()
    get = Vault.get

    async def told(self: Any, *arguments: Any) -> AsyncGenerator[bytes, None]:
        try:
            async for piece in get(self, *arguments):
                yield piece
        finally:
            ended.set()

    monkeypatch.setattr(Vault, "get", told)
    call = api.api.DownloadRecording(pb.DownloadRecordingRequest(call_id="c1"))
    await call.read()  # type: ignore[attr-defined]
    await call.read()  # type: ignore[attr-defined]
    call.cancel()
    await until(ended.is_set, "the end of what was read")


CASES: dict[str, tuple[set[int], Any]] = {
    "ListRecordings": ({OPERATOR, ADMINISTRATOR, READER}, pb.ListRecordingsRequest()),
    "GetRecording": ({OPERATOR, ADMINISTRATOR, READER}, pb.GetRecordingRequest(call_id="c1")),
    "DownloadRecording": ({OPERATOR, ADMINISTRATOR}, pb.DownloadRecordingRequest(call_id="c1")),
    "SetLegalHold": ({OPERATOR, ADMINISTRATOR}, pb.SetLegalHoldRequest(call_id="c1", legal_hold=True)),
    "DeleteRecording": ({OPERATOR}, pb.DeleteRecordingRequest(call_id="c1")),
    "PauseRecording": ({OPERATOR, ADMINISTRATOR}, pb.PauseRecordingRequest(call_id="c1")),
    "ResumeRecording": ({OPERATOR, ADMINISTRATOR}, pb.ResumeRecordingRequest(call_id="c1")),
    "ListRecordingEvents": ({OPERATOR, ADMINISTRATOR, READER}, pb.ListRecordingEventsRequest()),
}


def test_every_method_is_listed() -> None:
    assert set(CASES) == set(METHODS) == set(TABLE)


async def called(api: Any, method: str, tenant: str) -> str:
    request = type(CASES[method][1])()
    request.CopyFrom(CASES[method][1])
    request.tenant = tenant
    call = getattr(api, method)(request)
    return await reason_of(anext(aiter(call)) if method == "DownloadRecording" else call)


@pytest.mark.parametrize("method", CASES)
async def test_who_may_call_it(api: Tapes, method: str) -> None:
    await api.recorder.store("c1", b"x", expire_ms=ANSWERED_MS + DAY_MS)
    # The one who deletes comes last.
    for role, tenant in ((ADMINISTRATOR, "acme"), (READER, "acme"), (OPERATOR, "")):
        caller = await caller_of(api, tenant, role)
        met = await called(caller, method, "acme")
        assert (met == "PERMISSION_REFUSED") is (role not in CASES[method][0]), (role, met)
        if role != OPERATOR:
            assert await called(caller, method, "best") == "PERMISSION_REFUSED"
            assert await called(caller, method, "") == "PERMISSION_REFUSED"
    assert await called(As(api.api, "sb.acme.x.y"), method, "acme") == "CREDENTIALS_REFUSED"  # type: ignore[arg-type]
