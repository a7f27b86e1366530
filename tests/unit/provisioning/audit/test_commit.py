"""The record of a change is in its commit, and what it says of before is what the commit relies on."""

from __future__ import annotations

import pytest
from signalbox.api.types.v1 import types_pb2
from signalbox.provisioning.draft import Draft, StepTooLargeError
from signalbox.store import codec, keys
from signalbox.store.base import CompareFailedError, Put
from signalbox.store.memory import MemoryStore
from signalbox.store.turns import Turns
from support.audit import told, waiting


def prompt(id: str, size: int) -> Put:
    made = types_pb2.Prompt(tenant="acme", id=id, display_name="x" * size)
    return Put(codec.key_of(made), codec.encode(made))


async def test_a_change_and_its_record_are_of_one_revision() -> None:
    store = MemoryStore()
    draft = Draft(store, Turns())
    draft.add([], [prompt("a", 1), Put("index/something", b"1")])
    revision = await draft.commit()
    [record] = await waiting(store)
    assert (record.revision, told([record])) == (revision, [("prompt", "acme", "a", "created")])
    assert record.actor.name == "clock", "nobody asked for it"


async def test_keys_without_objects_have_no_record() -> None:
    store = MemoryStore()
    draft = Draft(store, Turns())
    draft.add([], [Put("index/something", b"1"), Put("fences/x", b""), Put("requests/_/x", b"")])
    await draft.commit()
    assert await waiting(store) == []


async def test_what_was_before_is_what_the_commit_relies_on() -> None:
    """Also where a method forgot to compare with what it read, or did not read what it writes."""
    store = MemoryStore()
    await store.commit([], [prompt("a", 1)])
    draft = Draft(store, Turns())
    await draft.get(keys.prompt("acme", "a"))
    draft.add([], [prompt("a", 3)])
    await store.commit([], [prompt("a", 2)])
    with pytest.raises(CompareFailedError):
        await draft.commit()
    draft = Draft(store, Turns())
    draft.add([], [prompt("a", 3)])
    await draft.commit()
    [record] = await waiting(store)
    stored = types_pb2.Prompt()
    assert record.change.before.object.Unpack(stored)
    assert stored.display_name == "xx"


async def test_a_large_commit_is_not_refused_for_its_record() -> None:
    store = MemoryStore()
    draft = Draft(store, Turns())
    draft.add([], [prompt(str(n), 480_000) for n in range(3)])
    await draft.commit()
    records = await waiting(store)
    assert [record.change.id for record in records] == ["0", "1", "2"]
    assert all(record.change.after.size > 480_000 for record in records)


async def test_many_changes_are_rather_divided_than_told_in_short() -> None:
    draft = Draft(MemoryStore(), Turns())
    draft.add([], [prompt(str(n), 14_000) for n in range(100)])
    with pytest.raises(StepTooLargeError):
        await draft.commit()
