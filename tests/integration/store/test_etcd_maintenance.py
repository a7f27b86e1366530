"""The care of etcd's members: ``signalbox etcd``, and the way back from a backup."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result
from signalbox.cli import main
from signalbox.settings import EtcdSettings
from signalbox.store import etcd_maintenance
from signalbox.store.base import Put
from signalbox.store.etcd_maintenance import DamagedCopyError, Maintenance, Member, Quota
from signalbox.store.mirror import Mirror
from support.etcd import EtcdServer
from support.stores import DEADLINE_S, open_etcd, until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from pathlib import Path

    from signalbox.store.base import Change, Listing, Store


def run(tmp_path: Path, servers: Sequence[EtcdServer], line: str, code: int = 0) -> Result:
    """A command with the settings of these members."""
    config = tmp_path / "signalbox.toml"
    config.write_text(f"[etcd]\nendpoints = {json.dumps([server.endpoint for server in servers])}\n")
    arguments = ["etcd", *line.split(), "--config", str(config)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == code, f"{arguments}: {result.exit_code}, {result.output}{result.exception!r}"
    return result


def grow(*servers: EtcdServer, mebibytes: int = 8) -> None:
    """Write one key again and again, and have it forgotten by all members."""

    async def write() -> None:
        store = open_etcd(*servers)
        for _ in range(mebibytes):
            revision = await store.commit([], [Put("large", b"x" * 1024**2)])
        await asyncio.to_thread(servers[0].etcdctl, "compact", str(revision), "--physical")
        maintenance = Maintenance(EtcdSettings(endpoints=[server.endpoint for server in servers]))
        for server in servers:
            async with asyncio.timeout(DEADLINE_S):
                one = await maintenance.status(server.endpoint)
                while one.used_bytes > one.size_bytes / 2:
                    # What came free is counted with the writes that follow.
                    await store.commit([], [Put("small", b"")])
                    await asyncio.sleep(0.1)
                    one = await maintenance.status(server.endpoint)
        await maintenance.close()
        await store.close()

    asyncio.run(write())


def test_members_are_defragmented_one_by_one(tmp_path: Path, etcd_cluster: list[EtcdServer]) -> None:
    grow(*etcd_cluster)
    told = run(tmp_path, etcd_cluster, "status").output
    assert told.count("3.") >= 3
    assert told.count("leader") == 1
    lines = run(tmp_path, etcd_cluster, "defrag").output.splitlines()
    assert len(lines) == 3
    assert all(" MiB" in line and "from" in line for line in lines)
    leader = next(line.split()[0] for line in told.splitlines() if "leader" in line)
    assert lines[-1].startswith(leader)
    assert run(tmp_path, etcd_cluster, "defrag").output.count("nothing to do") == 3
    etcd_cluster[1].stop()
    assert "nothing is done while a member is away" in run(tmp_path, etcd_cluster, "defrag", code=3).output
    assert etcd_cluster[1].endpoint in run(tmp_path, etcd_cluster, "status", code=1).output


def test_a_member_that_does_not_come_back_is_told(
    tmp_path: Path, own_etcd: EtcdServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    grow(own_etcd)
    monkeypatch.setattr(etcd_maintenance, "CATCH_UP_S", 0.0)
    assert "has not caught up" in run(tmp_path, [own_etcd], "defrag", code=3).output


def test_an_alarm_is_told(tmp_path: Path) -> None:
    server = EtcdServer(tmp_path / "m1", quota_bytes=4 * 1024**2).start()
    try:
        with contextlib.suppress(Exception):
            grow(server)
        assert "NOSPACE" in run(tmp_path, [server], "status", code=1).output

        async def lacking() -> str:
            maintenance = Maintenance(EtcdSettings(endpoints=[server.endpoint]))
            reason = await Quota(maintenance, 2**40, 0.9).lacking()
            await maintenance.close()
            return reason

        assert "alarm NOSPACE" in asyncio.run(lacking())
    finally:
        server.stop()


class Copy:
    """What a mirror tells its owner."""

    def __init__(self, store: Store) -> None:
        self.values: dict[str, bytes] = {}
        self.resets = 0
        self.mirror = Mirror(store, "p/", on_reset=self.reset, on_changes=self.change, retry_s=0.05)

    async def reset(self, listing: Listing) -> None:
        self.resets += 1
        self.values = {entry.key: entry.value for entry in listing.entries}

    async def change(self, changes: Sequence[Change], revision: int) -> None:
        for change in changes:
            self.values.pop(change.key, None)
            if change.entry is not None:
                self.values[change.key] = change.entry.value


async def test_replicas_follow_an_etcd_that_was_put_back_to_a_backup(tmp_path: Path, own_etcd: EtcdServer) -> None:
    store = open_etcd(own_etcd, request_timeout_s=0.5)
    copy = Copy(store)
    following = asyncio.create_task(copy.mirror.run())
    try:
        for n in range(20):
            await store.commit([], [Put(f"p/{n}", b"kept")])
        file = tmp_path / "backup.db"
        await asyncio.to_thread(run, tmp_path, [own_etcd], f"backup {file}")
        assert file.stat().st_mode & 0o777 == 0o600
        for n in range(10, 30):
            await store.commit([], [Put(f"p/{n}", b"lost")])
        await until(lambda: copy.values.get("p/29") == b"lost", "the last change")
        await asyncio.to_thread(own_etcd.restore, file, tmp_path / "restored")
        await until(lambda: copy.resets == 2 and copy.values == {f"p/{n}": b"kept" for n in range(20)}, "the old state")
        await store.commit([], [Put("p/new", b"")])
        await until(lambda: "p/new" in copy.values, "a change after it")
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await store.close()


async def test_a_replica_does_not_take_the_revisions_of_a_restored_etcd_for_those_it_knows(
    tmp_path: Path, own_etcd: EtcdServer
) -> None:
    """On 3.4 revisions are given again, to other changes. One follower stays connected, one comes back late."""
    store = open_etcd(own_etcd, prefix="/restored/", request_timeout_s=10)
    before = await store.cluster()
    await store.commit([], [Put("p/0", b"kept")])
    file = tmp_path / "backup.db"
    await asyncio.to_thread(run, tmp_path, [own_etcd], f"backup {file}")
    connected, late = Copy(store), Copy(store)
    tasks = [asyncio.create_task(one.mirror.run()) for one in (connected, late)]
    try:
        for n in range(10):
            await store.commit([], [Put(f"p/{n}", b"lost")])
        await until(lambda: all(one.values.get("p/9") == b"lost" for one in (connected, late)), "the last change")
        tasks[1].cancel()
        known = late.mirror.revision
        await asyncio.to_thread(own_etcd.restore, file, tmp_path / "restored")
        other = open_etcd(own_etcd, prefix="/restored/", request_timeout_s=10)
        # Asked again until it answers; commits are not.
        await other.revision()
        for n in range(20, 40):
            await other.commit([], [Put(f"p/{n}", b"other")])
        assert await other.revision() > known, "beyond what was known, so that the revision alone tells nothing"
        assert await other.cluster() != before
        await other.close()
        tasks.append(asyncio.create_task(late.mirror.run()))
        expected = {"p/0": b"kept", **{f"p/{n}": b"other" for n in range(20, 40)}}
        await until(lambda: connected.values == late.values == expected, "the restored state")
        await store.commit([], [Put("p/new", b"")])
        await until(lambda: all("p/new" in one.values for one in (connected, late)), "a change after it")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await store.close()


def test_a_backup_that_cannot_be_taken_or_written(tmp_path: Path, own_etcd: EtcdServer) -> None:
    assert "No such file" in run(tmp_path, [own_etcd], f"backup {tmp_path}/no/b.db", code=1).output
    own_etcd.stop()
    run(tmp_path, [own_etcd], f"backup {tmp_path}/b.db", code=3)
    assert not list(tmp_path.glob("*b.db*"))


async def test_a_copy_that_is_cut_short_is_refused(own_etcd: EtcdServer, monkeypatch: pytest.MonkeyPatch) -> None:
    maintenance = Maintenance(EtcdSettings(endpoints=[own_etcd.endpoint]))
    stubs, *_ = await maintenance._connections[own_etcd.endpoint].ready()
    whole = stubs.maintenance.Snapshot

    async def cut(*arguments: object, **options: object) -> AsyncGenerator[object, None]:
        pieces = [piece async for piece in whole(*arguments, **options)]
        for piece in pieces[:-1]:
            yield piece

    monkeypatch.setattr(stubs.maintenance, "Snapshot", cut)
    with pytest.raises(DamagedCopyError):
        async for _ in maintenance.snapshot(own_etcd.endpoint):
            pass
    await maintenance.close()


class Members:
    """Members that say what they are told to."""

    def __init__(self, *members: Member) -> None:
        self.members = members
        self.looks = 0

    async def all(self) -> dict[str, Member]:
        self.looks += 1
        return {member.endpoint: member for member in self.members}


def member(size: int, used: int, quota: int = 0, *alarms: str) -> Member:
    return Member("m1", "3.4", size, used, quota, leads=True, has_leader=True, applied=1, revision=1, alarms=alarms)


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (member(94, 80), ""),
        (member(94, 81), "of its quota in use (m1)"),
        (member(96, 10), "defragment it"),
        (member(1_000, 700, 1_000), "defragment it"),
        (member(900, 700, 1_000), ""),
        (member(1, 1, 0, "NOSPACE"), "alarm NOSPACE"),
    ],
)
async def test_when_nothing_more_should_be_written(one: Member, reason: str) -> None:
    quota = Quota(Members(member(1, 1), one), 100, 0.8)  # type: ignore[arg-type]
    told = await quota.lacking()
    assert reason in told
    assert bool(told) is bool(reason)


class Time:
    """Goes by when it is told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_members_are_looked_at_once_in_a_while() -> None:
    members, clock = Members(member(1, 1)), Time()
    quota = Quota(members, 100, 0.8, clock)  # type: ignore[arg-type]
    for clock.now in (0.0, 0.5, 0.9, 1.0, 1.5, 2.0):
        assert await quota.lacking() == ""
        await asyncio.sleep(0)
    assert members.looks == 3


async def test_a_member_that_does_not_answer_holds_nobody_up_while_enough_is_known() -> None:
    members, clock = Members(member(100, 100)), Time()
    quota = Quota(members, 100, 0.8, clock)  # type: ignore[arg-type]
    assert await quota.lacking()
    answered = asyncio.Event()

    async def late() -> dict[str, Member]:
        await answered.wait()
        return {"m1": member(1, 1)}

    members.all = late  # type: ignore[method-assign]
    clock.now = 4.0
    assert await quota.lacking(), "as it was seen 4 s ago"
    clock.now = 6.0
    waiting = asyncio.create_task(quota.lacking())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    answered.set()
    assert await waiting == ""
