"""From the outbox into the log: nothing is lost and nothing doubled, whatever dies when."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from signalbox.api.types.v1 import audit_pb2, types_pb2
from signalbox.errors import AuditUnavailableError
from signalbox.provisioning.audit import log as files
from signalbox.provisioning.audit.index import NAME
from signalbox.provisioning.audit.outbox import Outbox
from signalbox.provisioning.audit.verify import verify
from signalbox.store import keys
from support.audit_keeper import ALL, Death, Mortal, die, ids, keeper, write

if TYPE_CHECKING:
    from pathlib import Path

    from signalbox.store.memory import MemoryStore


async def test_what_was_committed_is_found_at_once(store: MemoryStore, tmp_path: Path) -> None:
    kept = keeper(store, tmp_path)
    await write(store, "a", "b")
    assert await ids(kept) == ["a", "b"]
    await write(store, "c")
    assert await ids(kept) == ["a", "b", "c"]
    assert not (await store.list(keys.AUDIT_OUTBOX)).entries
    verdict = await kept.verify()
    assert (verdict.records, verdict.first, verdict.last, verdict.faults) == (3, 1, 3, [])
    await kept.close()


async def test_records_say_who_where_what_and_when(store: MemoryStore, tmp_path: Path) -> None:
    kept = keeper(store, tmp_path)
    await write(store, "a")
    [record], _ = await kept.find(ALL, None, 10)
    assert record.actor == audit_pb2.AuditActor(
        name="certificate ops", role=types_pb2.ROLE_OPERATOR, peer="ipv4:192.0.2.1:1"
    )
    assert (record.sequence, record.revision, record.method) == (1, 2, "UpdateLine")
    assert record.commit
    assert await kept.get(1) == record
    assert await kept.get(2) is None
    await kept.close()


@pytest.mark.parametrize("what", ["before", "after", "unknown", "unreachable"])
async def test_a_keeper_that_dies_at_a_commit_loses_and_doubles_nothing(
    store: MemoryStore, tmp_path: Path, what: str
) -> None:
    mortal = Mortal(store)
    kept = keeper(mortal, tmp_path)
    await write(store, "a")
    assert await ids(kept) == ["a"]
    await write(store, "b", "c")
    mortal.next = what
    with suppress(Death):
        await kept.turn()
    die(kept)
    await write(store, "d")
    again = keeper(store, tmp_path)
    assert await ids(again) == ["a", "b", "c", "d"]
    assert not (await again.verify()).faults
    await again.close()


@pytest.mark.parametrize("seed", range(20))
async def test_keepers_that_die_at_any_moment_lose_and_double_nothing(
    store: MemoryStore, tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also within a write, so that only a part of a record is on the disk."""
    chance = random.Random(seed)
    mortal = Mortal(store)
    written = 0
    really = files._write

    def torn(file: Any, content: bytes) -> None:
        if chance.random() < 0.2:
            file.write(content[: chance.randrange(len(content))])
            raise Death
        really(file, content)

    monkeypatch.setattr(files, "_write", torn)
    kept = keeper(mortal, tmp_path)
    for _ in range(30):
        more = chance.randrange(4)
        await write(store, *(str(n) for n in range(written, written + more)))
        written += more
        mortal.next = chance.choice(["", "before", "after", "unknown", "unreachable"])
        try:
            await kept.turn()
        except Death:
            die(kept)
            if chance.random() < 0.3:
                (tmp_path / NAME).unlink(missing_ok=True)
            kept = keeper(mortal, tmp_path)
    monkeypatch.undo()
    mortal.next = ""
    assert await ids(kept) == [str(n) for n in range(written)]
    assert not (await kept.verify()).faults
    await kept.close()


async def test_of_two_replicas_one_keeps_the_log_and_the_other_says_so(store: MemoryStore, tmp_path: Path) -> None:
    waits = Outbox()
    one, other = keeper(store, tmp_path / "one"), keeper(store, tmp_path / "other", waits)
    await one.turn()
    await other.turn()
    assert (one.keeps, other.keeps) == (True, False)
    await write(store, "a")
    await other.turn()
    assert waits.waiting > 100
    with pytest.raises(AuditUnavailableError):
        await ids(other)
    assert await ids(one) == ["a"]
    await other.turn()
    assert waits.waiting == 0
    await one.close()


async def test_another_replica_takes_the_same_directory_over(store: MemoryStore, tmp_path: Path) -> None:
    one, other = keeper(store, tmp_path), keeper(store, tmp_path)
    await write(store, "a")
    await one.turn()
    await other.turn()
    assert (one.keeps, other.keeps) == (True, False)
    await one.close()
    await write(store, "b")
    assert await ids(other) == ["a", "b"]
    await other.close()


async def test_a_log_that_was_cut_is_not_written_again(store: MemoryStore, tmp_path: Path) -> None:
    kept = keeper(store, tmp_path)
    await write(store, "a", "b")
    await kept.turn()
    await kept.close()
    [segment] = files.segments(tmp_path)
    segment.write_bytes(segment.read_bytes()[:-5])
    outbox = Outbox()
    again = keeper(store, tmp_path, outbox)
    await write(store, "c")
    await again.turn()
    assert outbox.waiting > 100, "writes are still refused once too much waits"
    with pytest.raises(AuditUnavailableError):
        await ids(again)
    assert len((await store.list(keys.AUDIT_OUTBOX)).entries) == 1
    [fault] = (await again.verify()).faults[:1]
    assert (fault.sequence, fault.segment) == (2, segment.name)
    head = audit_pb2.AuditHead.FromString((await store.get(keys.AUDIT_HEAD)).value)  # type: ignore[union-attr]
    [fault] = verify(tmp_path, head).faults[:1]
    assert (fault.sequence, fault.segment) == (2, segment.name)
