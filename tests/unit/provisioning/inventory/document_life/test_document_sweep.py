"""What is left of documents is swept, whatever dies meanwhile and whoever sweeps, too."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import structlog
from signalbox.api.provisioning.v1 import documents_pb2 as pb
from signalbox.api.provisioning.v1 import inventory_pb2 as stock
from signalbox.api.provisioning.v1 import provisioning_pb2
from signalbox.api.types.v1 import inventory_pb2, types_pb2
from signalbox.errors import ObjectsUnavailableError, StoreUnavailableError
from signalbox.provisioning.inventory import disposal
from signalbox.provisioning.inventory.disposal import Disposal
from signalbox.provisioning.inventory.uploading import ABANDONED_S
from signalbox.store import keys
from signalbox.store.base import Put
from support.audit import forget, told, waiting
from support.document_life import NUMBER, OTHER, UNUSED_S, nothing_left, step
from support.documents import PDF, PNG, RETENTION_S, check_counts, open_vault, papers, parts, sha256
from support.inventory import WANTED, Network
from support.provisioning import Example, invalid, reason_of, refused
from support.stores import until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from signalbox.store.base import Compare, Delete
    from signalbox.store.memory import MemoryStore
    from support.clock import Clock
    from support.documents import Papers


async def test_content_of_an_upload_that_was_never_committed_is_swept(api: Papers, clock: Clock) -> None:
    class Dying:
        """A store that dies when a document is to be written."""

        def __getattr__(self, name: str) -> Any:
            return getattr(api.store, name)

        async def commit(self, compares: Sequence[Compare], writes: Sequence[Put | Delete]) -> int:
            if any(write.key.startswith(keys.DOCUMENTS) for write in writes):
                raise StoreUnavailableError("dead")
            return await api.store.commit(compares, writes)

    async with papers(Dying(), api.folder, clock) as dying:  # type: ignore[arg-type]
        with refused(grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE"):
            await dying.upload(PDF)
    assert len(api.files()) == 1
    await api.service.disposal.sweep()
    assert len(api.files()) == 1, "it might still be committed"
    clock.advance(ABANDONED_S)
    await api.service.disposal.sweep()
    assert api.files() == []
    assert not (await api.store.list(keys.UPLOADS)).entries


async def test_the_second_of_two_same_uploads_leaves_nothing_behind(api: Papers, store: MemoryStore) -> None:
    made = await api.upload(PDF)
    await api.upload(PDF)
    assert len(api.files()) == 1
    assert await api.download(made.id) == PDF
    assert not (await store.list(keys.UPLOADS)).entries


async def test_a_second_copy_that_cannot_be_deleted_at_once_is_swept(
    api: Papers, store: MemoryStore, clock: Clock
) -> None:
    await api.upload(PDF)
    vault = Failing(open_vault(store, api.folder), after=False)
    api.service.disposal._vault = vault  # type: ignore[assignment]
    await api.upload(PDF)
    assert len(api.files()) == 2
    vault.failing = False
    clock.advance(ABANDONED_S)
    await api.service.disposal.sweep()
    assert len(api.files()) == 1


class Failing:
    """An object store that fails to delete, before or after it has."""

    def __init__(self, vault: Any, *, after: bool) -> None:
        self._vault = vault
        self._after = after
        self.failing = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._vault, name)

    async def delete(self, name: str) -> None:
        if self._after or not self.failing:
            await self._vault.delete(name)
        if self.failing:
            raise ObjectsUnavailableError("away")


@pytest.mark.parametrize("after", [False, True])
async def test_a_deletion_that_was_broken_off_is_finished(
    api: Papers, store: MemoryStore, clock: Clock, after: bool
) -> None:
    made = await api.upload(PDF)
    named = (await api.three())[1:]
    vault = Failing(open_vault(store, api.folder), after=after)
    api.service.disposal._vault = vault  # type: ignore[assignment]
    request = pb.DeleteDocumentRequest(tenant="acme", id=made.id)
    with refused(grpc.StatusCode.UNAVAILABLE, "OBJECTS_UNAVAILABLE"):
        await api.api.DeleteDocument(request)
    records = told(await waiting(store))
    assert ("document", "acme", made.id, "deleted") not in records, "it is not told before it is so"
    for call in (lambda: api.get(made.id), lambda: api.download(made.id)):
        with refused(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"):
            await call()
    with invalid() as refusal:
        await api.apply(NUMBER, [inventory_pb2.NumberDocument(id=made.id), *named])
    assert refusal.fields == {"documents[0].id": "does not exist"}
    sweeper = Disposal(store, vault, clock, interval_s=0.01)  # type: ignore[arg-type]
    with structlog.testing.capture_logs() as logs:
        running = asyncio.create_task(sweeper.run())
        await until(lambda: any(log["event"] == "document_sweep_failed" for log in logs), "a failed sweep")
        vault.failing = False
        await until(lambda: any(log["event"] == "document_deleted" for log in logs), "a sweep")
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    assert ("document", "acme", made.id, "deleted") in told(await waiting(store))
    assert len(api.files()) == 2


async def test_a_document_whose_deletion_was_broken_off_may_be_uploaded_again(api: Papers, store: MemoryStore) -> None:
    made = await api.upload(PDF)
    vault = Failing(open_vault(store, api.folder), after=False)
    api.service.disposal._vault = vault  # type: ignore[assignment]
    with refused(grpc.StatusCode.UNAVAILABLE, "OBJECTS_UNAVAILABLE"):
        await api.api.DeleteDocument(pb.DeleteDocumentRequest(tenant="acme", id=made.id))
    with refused(grpc.StatusCode.UNAVAILABLE, "OBJECTS_UNAVAILABLE"):
        await api.upload(PDF)
    vault.failing = False
    again = await api.api.UploadDocument(parts(PDF, sha256=sha256(PDF)))
    assert again.id == made.id
    assert await api.download(made.id) == PDF


async def test_one_that_cannot_be_read_does_not_stop_the_others(
    api: Papers, store: MemoryStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disposal, "AT_ONCE", 2)
    made = [await api.upload(PDF, kind=kind) for kind in range(4)]
    kept = [(key, store._entries[key]) for key in (keys.document("acme", made[0].id),)]
    await store.commit([], [Put(kept[0][0], b"damaged")])
    clock.advance(UNUSED_S)
    with structlog.testing.capture_logs() as logs:
        assert await api.service.disposal.sweep() == 3
    (told_once,) = [log for log in logs if log["event"] == "document_not_deleted"]
    assert made[0].id in told_once["key"]
    await store.commit([], [Put(key, entry.value) for key, entry in kept])
    assert await api.service.disposal.sweep() == 1
    await nothing_left(api)


@pytest.mark.parametrize("key", [keys.document_count("acme"), keys.data_key("acme")])
async def test_what_is_kept_of_a_tenant_and_cannot_be_read_stops_neither_sweep_nor_process(
    api: Papers, store: MemoryStore, clock: Clock, key: str
) -> None:
    await api.upload(PDF)
    entry = await store.get(key)
    assert entry is not None
    await store.commit([], [Put(key, b"\xff")])
    with refused(grpc.StatusCode.DATA_LOSS, "VALUE_DAMAGED"):
        await api.upload(PNG)
    clock.advance(UNUSED_S)
    await api.service.disposal.sweep()
    await store.commit([], [Put(key, entry.value)])
    await api.service.disposal.sweep()
    await nothing_left(api)


async def test_a_folder_that_is_not_mounted_deletes_nothing(api: Papers, store: MemoryStore, clock: Clock) -> None:
    made = await api.upload(PDF)
    away = api.folder.rename(api.folder.with_name("away"))
    api.folder.mkdir()
    clock.advance(UNUSED_S)
    await forget(store)
    with pytest.raises(ObjectsUnavailableError, match="not the object store"):
        await api.service.disposal.sweep()
    with refused(grpc.StatusCode.UNAVAILABLE, "OBJECTS_UNAVAILABLE"):
        await api.upload(PNG)
    assert ("document", "acme", made.id, "deleted") not in told(await waiting(store))
    api.folder.rmdir()
    away.rename(api.folder)
    assert await api.service.disposal.sweep() == 1
    assert api.files() == []


async def test_several_replicas_that_sweep_delete_once(api: Papers, store: MemoryStore, clock: Clock) -> None:
    for content in (PDF, PNG):
        await api.upload(content)
    clock.advance(UNUSED_S)
    await forget(store)
    vault = open_vault(store, api.folder)
    await asyncio.gather(*(Disposal(store, vault, clock).sweep() for _ in range(3)))
    deleted = [one for one in told(await waiting(store)) if one[3] == "deleted"]
    assert len(deleted) == len(set(deleted)) == 2
    await nothing_left(api)


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_several_do_at_once_uses_are_those_of_applications(
    store: MemoryStore, clock: Clock, tmp_path: Path, seed: int
) -> None:
    folder = tmp_path / "objects"
    async with papers(store, folder, clock) as calm:
        await calm.fill()
        await calm.rules.CreateLine(provisioning_pb2.CreateLineRequest(line=Example.line("a")))
        named = await calm.three()
    network = Network(store, seed, failing=0.03)
    async with (
        papers(network, folder, clock) as one,  # type: ignore[arg-type]
        papers(network, folder, clock) as two,  # type: ignore[arg-type]
    ):
        chance = random.Random(seed)

        async def writer(api: Papers, own: random.Random) -> set[str]:
            told = set()
            for _ in range(40):
                number = own.choice((NUMBER, OTHER))
                told.add(await reason_of(own.choice(moves(api, number, named))()))
            return told

        found = await asyncio.gather(*(writer(api, random.Random(chance.random())) for api in (one, two, one, two)))
    told = set().union(*found)
    assert "OK" in told
    assert told <= {*WANTED, "INVALID_FIELD"}
    clock.advance(2 * RETENTION_S)
    async with papers(store, folder, clock) as calm:
        await check_counts(store)
        await calm.service.disposal.sweep()
        await check_counts(store)
        left = (await store.list(keys.DOCUMENTS)).entries
        assert len(calm.files()) == len(left), "content is there for documents and for nothing else"


def moves(api: Papers, number: str, named: Sequence[inventory_pb2.NumberDocument]) -> list[Any]:
    """What one may do to a number, or to what it needs."""

    def made(name: str, **fields: Any) -> Any:
        return lambda: step(api, name, number, **fields)

    async def applied() -> None:
        await api.inventory.ApplyForNumber(stock.ApplyForNumberRequest(number=number, documents=named))

    return [
        made("Reserve", tenant="acme"),
        applied,
        applied,
        made("Approve"),
        made("Activate", rule=types_pb2.Number(stages=[types_pb2.DialStage(lines=["a"])])),
        made("Reject", reason="x"),
        made("Withdraw"),
        made("Release"),
        made("Quarantine"),
        made("Recover"),
        lambda: api.upload(PDF),
        lambda: api.api.DeleteDocument(pb.DeleteDocumentRequest(tenant="acme", id=named[1].id)),
        lambda: api.upload(PNG, kind=2),
    ]
