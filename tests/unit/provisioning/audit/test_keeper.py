"""From the outbox into the log: nothing is lost and nothing doubled, whatever dies when."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from signalbox.api.types.v1 import audit_pb2, types_pb2
from signalbox.errors import AuditFullError, AuditUnavailableError, StoreUnavailableError
from signalbox.provisioning.access import OPERATOR, Principal
from signalbox.provisioning.audit import log as files
from signalbox.provisioning.audit.index import NAME, Query
from signalbox.provisioning.audit.keeper import Keeper
from signalbox.provisioning.audit.log import AuditLog, LogUnwritableError
from signalbox.provisioning.audit.outbox import Origin, Outbox
from signalbox.provisioning.audit.verify import verify
from signalbox.settings import AuditSettings
from signalbox.store import keys
from signalbox.store.base import Delete, Put
from signalbox.store.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from signalbox.store.base import Compare

ALL = Query()


class Death(BaseException):
    """The process is killed."""


class Mortal:
    """A store whose user may die just before or just after a commit, or lose its answer."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.next = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    async def commit(self, compares: Sequence[Compare], writes: Sequence[Put | Delete]) -> int:
        what, self.next = self.next, ""
        if what == "before":
            raise Death
        if what == "unreachable":
            raise StoreUnavailableError("no answer")
        revision = await self.store.commit(compares, writes)
        if what == "after":
            raise Death
        if what == "unknown":
            raise StoreUnavailableError("the answer is lost")
        return revision


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def keeper(store: Any, directory: Path, outbox: Outbox | None = None, **settings: Any) -> Keeper:
    return Keeper(store, AuditSettings(directory=directory, **settings), outbox or Outbox())


async def write(store: Any, *ids: str, outbox: Outbox | None = None) -> None:
    """Commits that each change an object."""
    outbox = outbox or Outbox()
    origin = Origin(outbox, Principal(OPERATOR, actor="certificate ops", peer="ipv4:192.0.2.1:1"), "UpdateLine")
    for id in ids:
        entry = outbox.entry(origin, [audit_pb2.AuditChange(kind="line", tenant="acme", id=id)])
        await store.commit([], [entry])


async def ids(keeper: Keeper, query: Query = ALL) -> list[str]:
    """Ids of the objects of all records, the first first."""
    found, _ = await keeper.find(query, None, 100_000)
    return [record.change.id for record in reversed(found)]


def die(keeper: Keeper) -> None:
    """The process is gone, its locks with it."""
    if keeper._log is not None:
        keeper._log.close()


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


async def test_a_full_disk_stops_changes_only_once_too_much_waits(
    store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = Outbox(max_mb=1)
    kept = keeper(store, tmp_path, outbox)
    await write(store, "a", outbox=outbox)
    await kept.turn()

    def full(file: Any, content: bytes) -> None:
        file.write(content[:10])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files, "_write", full)
        written = 0
        with suppress(AuditFullError):
            while written < 20_000:
                await write(store, f"b{written}", outbox=outbox)
                written += 1
                if written % 500 == 0:
                    await kept.turn()
        assert 2_000 < written < 20_000
        with pytest.raises(AuditFullError, match="1 MiB"):
            await write(store, "never", outbox=outbox)
        found, behind = await kept.find(ALL, None, 10)
        assert (len(found), behind) == (1, True)
    await kept.turn()
    await kept.turn()
    await write(store, "c", outbox=outbox)
    found = await ids(kept)
    assert found == ["a", *(f"b{n}" for n in range(written)), "c"]
    assert not (await kept.verify()).faults
    await kept.close()


async def test_segments_are_sealed_and_go_when_they_are_too_old(
    store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = keeper(store, tmp_path, retention_days=1)
    await kept.turn()
    assert kept._log is not None
    kept._log._segment_bytes = 300
    for n in range(9):
        await write(store, str(n))
        await kept.turn()
    segments = files.segments(tmp_path)
    assert len(segments) > 2
    assert {path.stat().st_mode & 0o777 for path in segments[:-1]} == {files.SEALED_MODE}
    assert not (await kept.verify()).faults
    monkeypatch.setattr("signalbox.provisioning.audit.keeper.DAY_NS", 0)
    kept._retained_at = -1e9
    await kept.turn()
    assert files.segments(tmp_path) == segments[-1:]
    verdict = await kept.verify()
    assert (verdict.first, verdict.last, verdict.faults) == (int(segments[-1].stem), 9, [])
    await write(store, "last")
    assert (await ids(kept))[-1] == "last"
    await kept.close()


async def test_an_index_that_is_lost_or_damaged_is_made_anew(store: MemoryStore, tmp_path: Path) -> None:
    kept = keeper(store, tmp_path)
    await write(store, "a", "b")
    await kept.turn()
    await kept.close()
    for damage in (b"", b"nonsense" * 1_000):
        for suffix in ("", "-wal", "-shm"):
            (tmp_path / f"{NAME}{suffix}").unlink(missing_ok=True)
        if damage:
            (tmp_path / NAME).write_bytes(damage)
        again = keeper(store, tmp_path)
        assert await ids(again) == ["a", "b"]
        await again.close()


async def test_an_unwritable_log_is_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.identity(tmp_path)
    log = AuditLog(tmp_path, 1_000_000, 0)
    log.append([audit_pb2.AuditRecord(method="one")])
    tail = log.tail

    def failing(file: Any, content: bytes) -> None:
        file.write(content)
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(files, "_write", failing)
        with pytest.raises(LogUnwritableError):
            log.append([audit_pb2.AuditRecord(method="two")])
    assert log.tail == tail
    log.append([audit_pb2.AuditRecord(method="three")])
    assert [record.method for record in log.after(0)] == ["one", "three"]
    log.close()
    assert not verify(tmp_path, None).faults


async def test_records_beyond_the_head_that_nobody_committed_are_refused(store: MemoryStore, tmp_path: Path) -> None:
    """Whoever can write the disk cannot have a record taken over while nobody looks."""
    kept = keeper(store, tmp_path)
    await write(store, "a")
    await kept.turn()
    await kept.close()
    log = AuditLog(tmp_path, 1_000_000, 1)
    log.append([audit_pb2.AuditRecord(method="DeleteTenant", commit="f" * 16)])
    log.close()
    again = keeper(store, tmp_path)
    await write(store, "b")
    await again.turn()
    found, behind = await again.find(ALL, None, 10)
    assert behind
    assert [record.change.id for record in found] == ["a"]
    assert (await store.get(keys.AUDIT_HEAD)).revision == 4  # type: ignore[union-attr]
    die(again)


async def test_a_question_that_is_given_up_does_not_spoil_the_log(store: MemoryStore, tmp_path: Path) -> None:
    kept = keeper(store, tmp_path)
    await kept.turn()
    written: list[str] = []
    for n in range(30):
        written.append(str(n))
        await write(store, written[-1])
        asking = [asyncio.create_task(ids(kept)) for _ in range(2)]
        for _ in range(n % 15):
            await asyncio.sleep(0)
        for one in asking:
            one.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
    assert await ids(kept) == written
    assert not (await kept.verify()).faults
    await kept.close()


async def test_what_is_no_entry_is_told_as_such(store: MemoryStore, tmp_path: Path) -> None:
    """Somebody has put something into the outbox."""
    kept = keeper(store, tmp_path)
    await store.commit([], [Put(keys.audit_entry("0" * 16, 3), b"\xff\xff\xff")])
    [record], _ = await kept.find(ALL, None, 10)
    assert (record.change.kind, record.change.after.size) == ("key", 3)
    await kept.close()


async def test_a_head_that_is_none_stops_the_log(store: MemoryStore, tmp_path: Path) -> None:
    await store.commit([], [Put(keys.AUDIT_HEAD, b"\xff\xff")])
    kept = keeper(store, tmp_path)
    await kept.turn()
    with pytest.raises(AuditUnavailableError):
        await ids(kept)


async def test_a_log_goes_on_where_the_store_has_lost_its_head(store: MemoryStore, tmp_path: Path) -> None:
    kept = keeper(store, tmp_path)
    await write(store, "a")
    await kept.turn()
    await kept.close()
    await store.commit([], [Delete(keys.AUDIT_HEAD)])
    await write(store, "b")
    again = keeper(store, tmp_path)
    assert await ids(again) == ["a", "b"]
    assert not (await again.verify()).faults
    await again.close()


async def test_a_store_that_is_away_is_waited_for(store: MemoryStore, tmp_path: Path) -> None:
    class Away(Mortal):
        away = True

        async def revisions(self, prefix: str) -> Any:
            if self.away:
                raise StoreUnavailableError("no leader")
            return await self.store.revisions(prefix)

    away = Away(store)
    kept = keeper(away, tmp_path)
    await write(store, "a")
    await kept.turn()
    away.away = False
    await kept.turn()
    assert await ids(kept) == ["a"]
    await kept.close()


@pytest.mark.parametrize("kept_open", [True, False])
async def test_an_index_that_is_damaged_within_is_made_anew(
    store: MemoryStore, tmp_path: Path, kept_open: bool
) -> None:
    kept = keeper(store, tmp_path)
    written = [str(n) for n in range(300)]
    await write(store, *written)
    await kept.turn()
    await kept.close()
    content = bytearray((tmp_path / NAME).read_bytes())
    if kept_open:
        kept = keeper(store, tmp_path)
        await kept.turn()
    for begin in range(4096, len(content), 4096):
        content[begin : begin + 2048] = b"\xff" * 2048
    (tmp_path / NAME).write_bytes(content)
    if not kept_open:
        kept = keeper(store, tmp_path)
    assert await ids(kept) == written
    assert await ids(kept, Query(id="7")) == ["7"]
    await kept.close()


async def test_much_that_waits_is_taken_batch_by_batch(
    store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = Outbox()
    kept = keeper(store, tmp_path, outbox)
    written = [str(n) for n in range(600)]
    await write(store, *written)
    monkeypatch.setattr("signalbox.provisioning.audit.keeper.READ_BYTES", 1)
    outbox.note((await store.revisions(keys.AUDIT_OUTBOX)).written)
    assert await ids(kept) == written
    assert not (await store.list(keys.AUDIT_OUTBOX)).entries
    await kept.close()
