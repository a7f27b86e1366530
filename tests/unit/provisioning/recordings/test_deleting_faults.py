"""Recordings are deleted once, whatever dies or fails on the way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from signalbox.api.provisioning.v1 import recordings_pb2 as pb
from signalbox.api.types.v1 import types_pb2
from signalbox.catalog import names
from signalbox.errors import DatabaseUnavailableError, ObjectsUnavailableError
from signalbox.provisioning.access import OPERATOR, Principal
from signalbox.provisioning.audit import outbox
from signalbox.provisioning.recordings.disposal import SWEEPS, UNDELETED, Disposal
from signalbox.provisioning.recordings.retention import ClockDoubtfulError
from signalbox.store.envelope import Vault
from structlog.testing import capture_logs
from support.audit import forget, told, waiting
from support.disposals import SOON, SOON_S, notes
from support.provisioning import Interleaving, refused
from support.recordings import ANSWERED_MS, DAY_MS, facts, tapes
from support.stores import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from signalbox.store.memory import MemoryStore
    from support.clock import Clock
    from support.recordings import Tapes


STEPS = 12
"""Operations on the store, the object store and the catalog that a deletion takes."""


class KilledError(BaseException):
    """The process ends here."""


class Step:
    """Ends the process before one of its steps."""

    def __init__(self, at: int) -> None:
        self.left = at

    def taken(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise KilledError


class Mortal:
    """What a process works with, until it is killed."""

    def __init__(self, what: Any, step: Step) -> None:
        self._what = what
        self._step = step

    @property
    def database(self) -> Any:
        return self._what.database

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._what, name)

        async def step(*arguments: Any, **named: Any) -> Any:
            self._step.taken()
            return await call(*arguments, **named)

        return step


def process(api: Tapes, clock: Clock, at: int) -> Disposal:
    """What deletes in a process that is killed before its step of this number."""
    step = Step(at)
    store, vault, catalog = (Mortal(one, step) for one in (api.store, api.recorder.vault, api.catalog))
    return Disposal(store, vault, lambda: catalog, clock)  # type: ignore[arg-type, return-value]


async def check_gone(api: Tapes, call_id: str, actor: str) -> None:
    """It is, and that is known once."""
    assert api.files() == []
    assert await api.catalog.get(call_id, doomed=True) is None
    records = await waiting(api.store)
    assert told(records) == [("recording", "acme", call_id, "deleted")]
    assert records[0].actor.name == actor
    assert [what for what, *_ in await api.happened(call_id)] == ["deleted"]


async def test_a_sweep_that_is_killed_at_any_step_is_finished_by_the_next(api: Tapes, clock: Clock) -> None:
    clock.advance(SOON_S)
    for step in range(STEPS + 1):
        call_id = f"c{step}"
        await forget(api.store)
        await api.recorder.store(call_id, expire_ms=SOON)
        if step < STEPS:
            with pytest.raises(KilledError):
                await process(api, clock, step).sweep()
        else:
            assert await process(api, clock, 100).sweep() == 1
        await api.service.disposal.sweep()
        await check_gone(api, call_id, "clock")
    assert await notes(api) == [b"done"], "of the one that was killed as the last thing was to be done"


async def test_an_order_that_is_killed_at_any_step_is_forgotten_or_finished(api: Tapes, clock: Clock) -> None:
    boss = Principal(OPERATOR, actor="api-key operator/boss")
    finished = []
    for step in range(STEPS):
        call_id = f"c{step}"
        await forget(api.store)
        await api.recorder.store(call_id)

        async def order(disposal: Disposal, call_id: str) -> None:
            outbox.ORIGIN.set(outbox.Origin(outbox.Outbox(), boss, "DeleteRecording"))
            await disposal.delete(boss, "", call_id)

        with pytest.raises(KilledError):
            await asyncio.create_task(order(process(api, clock, step), call_id))
        await api.service.disposal.sweep()
        finished.append(await api.catalog.get(call_id) is None)
        if not finished[-1]:
            assert len(api.files()) == 2
            assert await waiting(api.store) == []
            await asyncio.create_task(order(api.service.disposal, call_id))
        await check_gone(api, call_id, boss.actor)
    assert finished == sorted(finished), "from its mark on it is finished"
    assert 0 < finished.count(False) < STEPS
    assert await notes(api) == [b"done"]


@pytest.mark.parametrize("seed", range(4))
async def test_several_that_sweep_at_once_delete_it_once(api: Tapes, clock: Clock, seed: int) -> None:
    for number in range(3):
        await api.recorder.store(f"c{number}", b"x", expire_ms=SOON)
    clock.advance(SOON_S)
    vault, catalog = api.recorder.vault, api.catalog
    sweeps = [
        Disposal(Interleaving(api.store, seed * 10 + n), vault, lambda: catalog, clock)  # type: ignore[arg-type]
        for n in range(3)
    ]
    assert sum(await asyncio.gather(*(one.sweep() for one in sweeps))) == 3
    assert api.files() == []
    assert sorted(told(await waiting(api.store))) == [("recording", "acme", f"c{n}", "deleted") for n in range(3)]
    assert sorted(await api.happened()) == [("deleted", f"c{n}", "") for n in range(3)]
    assert await notes(api) == []


async def test_what_the_store_does_not_confirm_is_not_recorded_as_gone(
    api: Tapes, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.recorder.store("c1")

    async def away(self: Any, name: str) -> None:
        raise ObjectsUnavailableError("object store: away")

    with monkeypatch.context() as broken:
        broken.setattr(Vault, "delete", away)
        with refused(grpc.StatusCode.UNAVAILABLE, "OBJECTS_UNAVAILABLE"):
            await api.api.DeleteRecording(pb.DeleteRecordingRequest(call_id="c1"))
        with pytest.raises(ObjectsUnavailableError):
            await api.service.disposal.sweep()
    assert await waiting(api.store) == []
    with refused(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"):
        await api.download("c1")
    assert await api.service.disposal.sweep() == 1
    await check_gone(api, "c1", "anonymous")
    assert await notes(api) == []


@pytest.mark.parametrize("stored", [False, True])
async def test_what_attempts_left_that_were_killed_goes_with_the_recording(api: Tapes, stored: bool) -> None:
    known, vault = facts("c1"), api.recorder.vault

    async def left() -> AsyncIterator[bytes]:
        yield b"what was said"

    for format in (types_pb2.RECORDING_FORMAT_OGG_OPUS, types_pb2.RECORDING_FORMAT_WAV):
        audio = names.audio(known, (await api.catalog.begin(known)).attempt, format)
        await vault.put("acme", audio, left())
        await vault.put("acme", names.metadata(audio), left())
    if stored:
        await api.recorder.store("c1", b"x")
    else:
        await api.catalog.missing("c1", ["media_node_lost"])
    assert len(api.files()) == (6 if stored else 4)
    await api.api.DeleteRecording(pb.DeleteRecordingRequest(call_id="c1"))
    assert api.files() == []


async def test_one_that_cannot_be_deleted_holds_up_no_other(
    api: Tapes, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signalbox.provisioning.recordings.disposal.AT_ONCE", 2)
    for number in range(3):
        await api.recorder.store(f"bad{number}", b"x", expire_ms=SOON)
        await api.recorder.store(f"c{number}", b"x", expire_ms=SOON + 1)
    clock.advance(SOON_S + 1)
    delete = Vault.delete

    async def stuck(self: Any, name: str) -> None:
        if "/bad" in name:
            raise ObjectsUnavailableError(f"object {name} is still there after its deletion")
        await delete(self, name)

    sweep = api.service.disposal.sweep
    incomplete = SWEEPS.labels("incomplete")._value
    before = incomplete.get()
    with monkeypatch.context() as broken, capture_logs() as logs:
        broken.setattr(Vault, "delete", stuck)
        assert await sweep() == 3
        assert await sweep() == 0
        assert (UNDELETED._value.get(), incomplete.get() - before) == (3, 2)
        broken.setattr("signalbox.provisioning.recordings.disposal.UNDELETED_MAX", 2)
        with pytest.raises(ObjectsUnavailableError):
            await sweep()
        assert UNDELETED._value.get() == 2
    told_of = [one["call_id"] for one in logs if one["event"] == "recording_undeletable"]
    assert sorted(told_of) == ["bad0", "bad1", "bad2"], "each once"
    assert await sweep() == 3
    assert UNDELETED._value.get() == 0
    assert api.files() == []


async def test_a_clock_that_leapt_deletes_nothing_but_what_was_begun(
    store: MemoryStore, clock: Clock, tmp_path: Path
) -> None:
    async with tapes(store, tmp_path, clock, elapsed=lambda: 0.0) as api:
        for number in range(2):
            await api.recorder.store(f"c{number}", b"x")
        begun = await api.catalog.get("c0")
        assert begun is not None
        assert await api.catalog.doom(begun)
        clock.advance(181 * 24 * 3600)
        refused_before = SWEEPS.labels("clock")._value.get()
        with pytest.raises(ClockDoubtfulError, match="set by 15638400 s"):
            await api.service.disposal.sweep()
        assert SWEEPS.labels("clock")._value.get() == refused_before + 1
        assert [await api.catalog.get(f"c{number}") is None for number in range(2)] == [True, False]
        # Who restarts the process says that the clock is right.
        again = Disposal(store, api.recorder.vault, lambda: api.catalog, clock, elapsed=lambda: 0.0)
        assert await again.sweep() == 1


@pytest.mark.parametrize("apart_s", [-301, 301])
async def test_the_clock_of_the_database_rules_and_must_agree(
    api: Tapes, clock: Clock, monkeypatch: pytest.MonkeyPatch, apart_s: int
) -> None:
    await api.recorder.store("c1", expire_ms=SOON)
    theirs = SOON - 1

    async def database_clock() -> int:
        return theirs

    monkeypatch.setattr(api.catalog.database, "clock_ms", database_clock)
    clock.advance(SOON_S + apart_s)
    theirs += 1
    with pytest.raises(ClockDoubtfulError, match=rf"{apart_s} s ahead"):
        await api.service.disposal.sweep()
    theirs -= 1
    clock.advance(2 - apart_s)
    assert await api.service.disposal.sweep() == 0
    clock.advance(-10)
    theirs += 1
    assert await api.service.disposal.sweep() == 1


async def test_a_note_whose_lease_has_ended_is_made_anew(
    api: Tapes, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.recorder.store("c1")
    lease = await api.service.disposal._leases.current()
    await store.revoke_lease(lease)
    with refused(grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE"):
        await api.api.DeleteRecording(pb.DeleteRecordingRequest(call_id="c1"))
    await api.api.DeleteRecording(pb.DeleteRecordingRequest(call_id="c1"))
    await check_gone(api, "c1", "anonymous")
    assert await notes(api) == []


async def test_a_sweep_that_fails_is_done_again(api: Tapes, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    await api.recorder.store("c1", expire_ms=SOON)
    clock.advance(SOON_S)
    tried = 0

    def sometimes() -> Any:
        nonlocal tried
        tried += 1
        if tried == 1:
            raise DatabaseUnavailableError("away")
        return api.catalog

    disposal = Disposal(api.store, api.recorder.vault, sometimes, clock, interval_s=0.01)
    running = asyncio.create_task(disposal.run())
    await until(lambda: api.files() == [], "the recording to be deleted")
    running.cancel()
    await asyncio.wait({running})
    assert tried > 1


async def test_retention_counts_from_what_the_recording_says(api: Tapes, clock: Clock) -> None:
    await api.recorder.store("c1", expire_ms=ANSWERED_MS + 180 * DAY_MS)
    clock.advance(180 * 24 * 3600 - 1)
    assert await api.service.disposal.sweep() == 0
    clock.advance(1)
    assert await api.service.disposal.sweep() == 1
