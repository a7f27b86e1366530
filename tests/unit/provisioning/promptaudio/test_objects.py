"""Objects of prompts stay while a prompt has them and an hour longer, whoever dies on the way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc
import pytest
from signalbox.api.provisioning.v1 import provisioning_pb2
from signalbox.audio.preparation import prepare
from signalbox.provisioning.promptaudio import making, objects
from signalbox.store import keys, promptnames
from signalbox.store.base import Put
from signalbox.store.objectstore import ObjectStore
from support.prompts import OTHER, SOUND, booth
from support.provisioning import invalid, refused

if TYPE_CHECKING:
    from signalbox.api.types.v1 import types_pb2
    from signalbox.store.memory import MemoryStore
    from support.clock import Clock
    from support.prompts import Booth


def files(prompt: types_pb2.Prompt) -> set[str]:
    return set(promptnames.files(prompt.audio))


async def notes(api: Booth) -> int:
    return len((await api.store.list(keys.PROMPT_OBJECTS)).entries)


async def test_earlier_audio_stays_for_an_hour(api: Booth, clock: Clock) -> None:
    first = await api.upload(SOUND)
    second = await api.upload(OTHER)
    assert api.files() == files(first) | files(second)
    clock.advance(objects.GRACE_S - 1)
    assert await api.service.objects.sweep() == 0
    clock.advance(1)
    assert await api.service.objects.sweep() == 2
    assert api.files() == files(second)
    assert await notes(api) == 0
    assert len(await api.download()) == second.audio.size_bytes


async def test_what_is_deleted_or_removed_goes_too(api: Booth, clock: Clock) -> None:
    await api.upload(SOUND)
    await api.upload(OTHER, id="closed")
    removed = await api.remove()
    assert not removed.HasField("audio")
    assert await api.remove() == removed
    await api.delete("closed")
    clock.advance(objects.GRACE_S)
    assert await api.service.objects.sweep() == 4
    assert api.files() == set()
    assert await notes(api) == 0


async def test_what_another_prompt_has_stays(api: Booth, clock: Clock) -> None:
    first = await api.upload(SOUND)
    second = await api.upload(SOUND, id="closed")
    assert files(first) == files(second) == api.files()
    await api.delete("welcome")
    clock.advance(objects.GRACE_S)
    assert await api.service.objects.sweep() == 0
    assert api.files() == files(second)
    assert await notes(api) == 0, "it has to go no more"
    await api.delete("closed")
    clock.advance(objects.GRACE_S)
    assert await api.service.objects.sweep() == 2
    assert api.files() == set()


async def test_what_comes_back_within_the_hour_stays(api: Booth, clock: Clock) -> None:
    first = await api.upload(SOUND)
    await api.upload(OTHER)
    clock.advance(objects.GRACE_S - 10)
    assert files(await api.upload(SOUND)) == files(first)
    clock.advance(20)
    await api.service.objects.sweep()
    assert files(first) <= api.files()
    assert len(await api.download()) == first.audio.size_bytes


async def test_every_tenant_has_its_own(api: Booth, clock: Clock) -> None:
    await api.create("welcome", tenant="best")
    await api.upload(SOUND)
    await api.upload(SOUND, tenant="best")
    await api.delete()
    clock.advance(objects.GRACE_S)
    assert await api.service.objects.sweep() == 2
    assert {path.parent.name for path in (api.folder / "prompts").rglob("*.wav")} == {"best"}


async def test_what_no_prompt_ever_got_goes_after_an_hour(api: Booth, clock: Clock) -> None:
    # As a replica leaves it that is killed between storing and committing.
    prepared = prepare(SOUND)
    await api.service.objects.put("acme", prepared, promptnames.files(making.described(prepared)))
    assert len(api.files()) == 2
    clock.advance(objects.GRACE_S - 1)
    assert await api.service.objects.sweep() == 0
    clock.advance(1)
    assert await api.service.objects.sweep() == 2
    assert (api.files(), await notes(api)) == (set(), 0)


@pytest.mark.parametrize("step", ["before", "after"])
async def test_a_sweep_that_died_is_gone_on_with(
    api: Booth, clock: Clock, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    await api.upload(SOUND)
    await api.delete()
    clock.advance(objects.GRACE_S)
    delete = ObjectStore.delete

    async def dies(self: ObjectStore, name: str) -> None:
        if step == "after":
            await delete(self, name)
        raise asyncio.CancelledError

    monkeypatch.setattr(ObjectStore, "delete", dies)
    with pytest.raises(asyncio.CancelledError):
        await api.service.objects.sweep()
    monkeypatch.undo()
    assert await api.service.objects.sweep() == 2
    assert (api.files(), await notes(api)) == (set(), 0)


async def test_what_is_being_deleted_is_stored_anew(api: Booth, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    await api.upload(SOUND)
    await api.delete()
    clock.advance(objects.GRACE_S)

    async def dies(self: ObjectStore, name: str) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(ObjectStore, "delete", dies)
    with pytest.raises(asyncio.CancelledError):
        await api.service.objects.sweep()
    monkeypatch.undo()
    made = await api.upload(SOUND, id="closed")
    await api.service.objects.sweep()
    assert api.files() == files(made)
    assert len(await api.download("closed")) == made.audio.size_bytes
    assert await notes(api) == 0


async def test_what_is_stored_anew_while_a_sweep_deletes_the_rest_stays(
    api: Booth, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.upload(SOUND)
    await api.delete()
    clock.advance(objects.GRACE_S)
    delete = ObjectStore.delete

    async def slow(self: ObjectStore, name: str) -> None:
        monkeypatch.undo()
        await delete(self, name)
        await api.upload(SOUND, id="closed")

    monkeypatch.setattr(ObjectStore, "delete", slow)
    await api.service.objects.sweep()
    made = await api.get("closed")
    assert api.files() == files(made)
    assert len(await api.download("closed")) == made.audio.size_bytes
    assert await notes(api) == 0


async def test_a_note_that_another_took_is_written_again(api: Booth, monkeypatch: pytest.MonkeyPatch) -> None:
    put, raced = objects.PromptObjects.put, []

    async def racing(self: objects.PromptObjects, tenant: str, prepared: object, names: tuple[str, str]) -> None:
        await put(self, tenant, prepared, names)  # type: ignore[arg-type]
        raced.append(names)
        if len(raced) == 1:
            monkeypatch.setattr(objects.PromptObjects, "put", put)
            await api.upload(SOUND, id="closed")
            monkeypatch.setattr(objects.PromptObjects, "put", racing)

    monkeypatch.setattr(objects.PromptObjects, "put", racing)
    made = await api.upload(SOUND)
    assert len(raced) == 2
    assert files(made) == files(await api.get("closed")) == api.files()
    assert await notes(api) == 0


async def test_many_uploads_of_the_same_at_once_leave_one(api: Booth, clock: Clock) -> None:
    ids = [f"p-{number}" for number in range(6)]
    for id in ids:
        await api.create(id)
    made = await asyncio.gather(*(api.upload(SOUND, id=id) for id in ids))
    assert len({frozenset(files(one)) for one in made}) == 1
    clock.advance(objects.GRACE_S)
    assert await api.service.objects.sweep() == 0
    assert api.files() == files(made[0])


async def test_what_does_not_go_away_is_not_said_to_have_gone(
    api: Booth, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.upload(SOUND)
    await api.delete()
    clock.advance(objects.GRACE_S)

    async def nothing(self: ObjectStore, name: str) -> None:
        pass

    monkeypatch.setattr(ObjectStore, "delete", nothing)
    with pytest.raises(Exception, match="is still there after its deletion"):
        await api.service.objects.sweep()
    assert await notes(api) == 2
    monkeypatch.undo()
    assert await api.service.objects.sweep() == 2


async def test_a_prompt_that_cannot_be_read_keeps_what_its_tenant_has(api: Booth, clock: Clock) -> None:
    await api.upload(SOUND)
    await api.upload(OTHER)
    await api.create("welcome", tenant="best")
    await api.upload(SOUND, tenant="best")
    await api.rules.DeletePrompt(provisioning_pb2.DeletePromptRequest(tenant="best", id="welcome"))
    await api.store.commit([], [Put(keys.prompt("acme", "damaged"), b"\xff")])
    clock.advance(objects.GRACE_S)
    assert await api.service.objects.sweep() == 2, "those of the other tenant"
    assert {path.parent.name for path in (api.folder / "prompts").rglob("*.wav")} == {"acme"}
    assert await notes(api) == 2


async def test_two_replicas_may_sweep_at_once(api: Booth, store: MemoryStore, clock: Clock) -> None:
    made = await api.upload(SOUND)
    await api.upload(OTHER)
    clock.advance(objects.GRACE_S)
    async with booth(store, api.folder, clock) as other:
        await asyncio.gather(api.service.objects.sweep(), other.service.objects.sweep())
        assert not files(made) & api.files()
        assert await notes(api) == 0


async def test_a_tenant_that_is_gone_leaves_nothing(api: Booth, clock: Clock) -> None:
    await api.upload(SOUND)
    for id in ("welcome", "closed"):
        await api.delete(id)
    await api.rules.DeleteTenant(provisioning_pb2.DeleteTenantRequest(id="acme"))
    with refused(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"):
        await api.upload(SOUND)
    clock.advance(objects.GRACE_S)
    assert await api.service.objects.sweep() == 2
    assert api.files() == set()


async def test_nobody_fills_the_object_store(api: Booth, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "UNUSED_MAX", 4)
    await api.upload(SOUND)
    await api.upload(OTHER)
    await api.remove()
    with invalid() as refusal:
        await api.upload(SOUND)
    reason = "has 4 objects of audio that no prompt has any more; they are deleted after an hour"
    assert refusal.fields == {"tenant": reason}
    await api.create("hello", text="您好", language="zh")
    await api.create("hello", tenant="best", text="您好", language="zh")
    await api.create("hello-2", text="您好", language="zh")
    asked: list[str] = []
    admit = objects.PromptObjects.admit

    async def counting(self: objects.PromptObjects, tenant: str) -> None:
        asked.append(tenant)
        await admit(self, tenant)

    monkeypatch.setattr(objects.PromptObjects, "admit", counting)
    assert await api.service.speaking.catch_up() == 1, "that of the other tenant"
    assert asked == ["acme", "best"], "a tenant with thousands of texts that must wait costs others no time"
    with invalid() as refusal:
        await api.speak("hello")
    assert refusal.fields == {"tenant": reason}
    clock.advance(objects.GRACE_S)
    assert await api.service.objects.sweep() == 4
    assert await api.service.speaking.catch_up() == 2
