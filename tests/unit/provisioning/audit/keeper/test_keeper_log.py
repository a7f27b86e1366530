"""A log whose disk is full, whose files are damaged or old, or whose store is away."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from signalbox.api.types.v1 import audit_pb2
from signalbox.errors import AuditFullError, AuditUnavailableError, StoreUnavailableError
from signalbox.provisioning.audit import log as files
from signalbox.provisioning.audit.index import NAME, Query
from signalbox.provisioning.audit.log import AuditLog, LogUnwritableError
from signalbox.provisioning.audit.outbox import Outbox
from signalbox.provisioning.audit.verify import verify
from signalbox.store import keys
from signalbox.store.base import Delete, Put
from support.audit_keeper import ALL, Mortal, die, ids, keeper, write

if TYPE_CHECKING:
    from pathlib import Path

    from signalbox.store.memory import MemoryStore


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
