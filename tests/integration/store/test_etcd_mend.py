"""``signalbox etcd check`` and ``repair`` with a real etcd, from the damage to what clients and auditors see."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import grpc
from click.testing import CliRunner, Result
from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.types.v1 import types_pb2
from signalbox.cli import main
from signalbox.settings import EtcdSettings
from signalbox.store import codec, keys
from signalbox.store.base import Delete, Put
from signalbox.store.etcd import EtcdStore
from signalbox.store.page import LAST
from signalbox.store.paged import PagedStore
from support.audit import waiting
from support.etcd import EtcdServer, own_etcd
from support.provisioning import Example, reason_of, refused, serving

if TYPE_CHECKING:
    from pathlib import Path

    from signalbox.store.base import Store

__all__ = ["own_etcd"]

PAGE = keys.LINES + "acme/" + LAST
NAME = "rules/lines/acme/LAST"


async def run(tmp_path: Path, server: EtcdServer, *arguments: str, code: int = 0) -> Result:
    """A command with the settings of this member."""
    config = tmp_path / "signalbox.toml"
    config.write_text(f"[etcd]\nendpoints = {json.dumps([server.endpoint])}\n")
    result = await asyncio.to_thread(CliRunner().invoke, main, ["etcd", *arguments, "--config", str(config)])
    assert result.exit_code == code, f"{arguments}: {result.exit_code}, {result.output}{result.exception!r}"
    return result


def opened(server: EtcdServer) -> EtcdStore:
    return EtcdStore.open(EtcdSettings(endpoints=[server.endpoint]))


async def lines(store: Store) -> list[str]:
    return [keys.last_part(entry.key) for entry in (await PagedStore(store).list(keys.LINES)).entries]


async def test_a_damaged_page_is_found_shown_and_put_back(tmp_path: Path, own_etcd: EtcdServer) -> None:
    store = opened(own_etcd)
    async with serving(PagedStore(store)) as api:
        await Example.write(api)
        await api.CreateTenant(pb.CreateTenantRequest(tenant=types_pb2.Tenant(id="best")))
        await api.CreateLine(pb.CreateLineRequest(line=Example.line("c", "best")))
        assert "0 values damaged" in (await run(tmp_path, own_etcd, "check")).output
        await store.commit([], [Put(PAGE, b"junk")])
        # What lies in the page, and lists of it, cannot be had, and that is said; all else goes on.
        with refused(grpc.StatusCode.DATA_LOSS, "VALUE_DAMAGED") as refusal:
            await api.GetLine(pb.GetLineRequest(tenant="acme", id="a"))
        assert refusal.metadata == {"key": PAGE}
        assert await reason_of(api.ListLines(pb.ListLinesRequest(tenant="acme"))) == "VALUE_DAMAGED"
        assert await reason_of(api.UpdateLine(pb.UpdateLineRequest(line=Example.line("a")))) == "VALUE_DAMAGED"
        assert await reason_of(api.ListLines(pb.ListLinesRequest(tenant="best"))) == "OK"
        assert await reason_of(api.GetNumber(pb.GetNumberRequest(number="4001234567"))) == "OK"
        told = (await run(tmp_path, own_etcd, "check", code=1)).output
        assert NAME in told
        assert "1 values damaged" in told
        shown = (await run(tmp_path, own_etcd, "repair", NAME)).output
        assert "2 values, as of revision" in shown
        assert "rules/lines/acme/a  " in shown
        assert "nothing was written" in shown
        assert await reason_of(api.ListLines(pb.ListLinesRequest(tenant="acme"))) == "VALUE_DAMAGED"
        assert "written at revision" in (await run(tmp_path, own_etcd, "repair", NAME, "--yes")).output
        assert await lines(store) == ["a", "b", "c"]
        assert "0 values damaged" in (await run(tmp_path, own_etcd, "check")).output
        line = await api.GetLine(pb.GetLineRequest(tenant="acme", id="a"))
        line.display_name = "mended"
        assert await reason_of(api.UpdateLine(pb.UpdateLineRequest(line=line))) == "OK"
        record = next(one for one in await waiting(store) if one.method == "RepairKey")
        assert record.actor.name.startswith("user ")
        assert record.actor.peer.startswith("host ")
        assert (record.change.kind, record.change.id, record.change.before.size) == ("key", NAME, 4)
        assert "is not damaged" in (await run(tmp_path, own_etcd, "repair", "rules/lines/acme/a", code=1)).output
    await store.close()


async def test_what_etcd_has_forgotten_comes_from_a_backup(tmp_path: Path, own_etcd: EtcdServer) -> None:
    store = opened(own_etcd)
    made = [types_pb2.Tenant(id="acme"), Example.line("a"), Example.line("b")]
    await PagedStore(store).commit([], [Put(codec.key_of(one), codec.encode(one)) for one in made])
    await run(tmp_path, own_etcd, "backup", str(tmp_path / "backup.db"))
    revision = await store.commit([], [Put(PAGE, b"junk"), Put(keys.tenant("acme"), b"\xff")])
    await asyncio.to_thread(own_etcd.etcdctl, "compact", str(revision))
    scratch = EtcdServer(tmp_path / "scratch")
    await asyncio.to_thread(scratch.start)
    try:
        await asyncio.to_thread(scratch.restore, tmp_path / "backup.db", tmp_path / "restored")
        for key in (NAME, keys.tenant("acme")):
            told = (await run(tmp_path, own_etcd, "repair", key, "--yes", code=1)).output
            assert "etcd remembers nothing" in told
            told = (await run(tmp_path, own_etcd, "repair", key, "--from", scratch.endpoint, "--yes")).output
            assert f"from {scratch.endpoint}" in told
        assert await lines(store) == ["a", "b"]
        assert "0 values damaged" in (await run(tmp_path, own_etcd, "check")).output
    finally:
        await asyncio.to_thread(scratch.stop)
    await store.close()


async def test_of_backups_named_by_their_time_the_newest_are_kept(tmp_path: Path, own_etcd: EtcdServer) -> None:
    backups = tmp_path / "backups"
    old = [f"etcd-2026-0{month}-01T030000Z.db" for month in (1, 2, 3)]
    others = ["etcd-before-the-migration.db", ".etcd-2026-01-01T030000Z.db.part"]
    backups.mkdir()
    for name in [*old, *others]:
        (backups / name).touch()
    told = (await run(tmp_path, own_etcd, "backup", str(backups), "--keep", "2")).output
    assert told.count("deleted, 2 newer ones are kept") == 2
    left = {one.name for one in backups.iterdir()}
    assert left > {old[2], *others}
    (new,) = left - {old[2], *others}
    listed = [line.split(",")[0] for line in told.splitlines() if line.startswith("there is ")]
    assert listed == [f"there is {new}", f"there is {old[2]}"]
    assert (backups / new).stat().st_size > 10_000
    assert (backups / new).stat().st_mode & 0o777 == 0o600


async def test_a_backup_that_fails_deletes_nothing(tmp_path: Path, own_etcd: EtcdServer) -> None:
    old = tmp_path / "etcd-2026-01-01T030000Z.db"
    old.touch()
    refused_file = (await run(tmp_path, own_etcd, "backup", str(tmp_path), code=2)).output
    assert "is a directory: give a file, or --keep N" in refused_file
    absent = (await run(tmp_path, own_etcd, "backup", str(tmp_path / "absent"), "--keep", "1", code=1)).output
    assert "No such file or directory" in absent
    await asyncio.to_thread(own_etcd.stop)
    away = (await run(tmp_path, own_etcd, "backup", str(tmp_path), "--keep", "1", code=3)).output
    assert f"there is {old.name}" in away
    assert old.exists()


async def test_of_what_nothing_is_left_the_place_is_made_free(tmp_path: Path, own_etcd: EtcdServer) -> None:
    store = opened(own_etcd)
    await store.commit([], [Put(PAGE, b"junk"), Put(keys.tenant("odd"), b"\xff")])
    for key in (NAME, keys.tenant("odd")):
        await run(tmp_path, own_etcd, "repair", key, "--empty", "--yes")
    assert await lines(store) == []
    assert await store.get(keys.tenant("odd")) is None
    both = await run(tmp_path, own_etcd, "repair", NAME, "--empty", "--from", "a:1", code=2)
    assert "exclude each other" in both.output
    await store.commit([], [Delete(PAGE)])
    assert "there is nothing at" in (await run(tmp_path, own_etcd, "repair", NAME, code=1)).output
    await store.close()


async def test_without_etcd_the_commands_say_so(tmp_path: Path, own_etcd: EtcdServer) -> None:
    await asyncio.to_thread(own_etcd.stop)
    for arguments in (["check"], ["repair", NAME]):
        assert "etcd" in (await run(tmp_path, own_etcd, *arguments, code=3)).output
