"""The audit log of real processes over a real etcd: killed at any instant, on a full disk, tampered with."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import resource
import shutil
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc
from signalbox.api.provisioning.v1 import audit_pb2, audit_pb2_grpc
from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.types.v1 import types_pb2
from signalbox.provisioning.audit.chain import frames
from signalbox.provisioning.audit.log import segments
from signalbox.store import keys
from signalbox.store.paged import PagedStore
from support.provisioning import Example, Stub
from support.stores import open_etcd

from .conftest import ProvisioningProcess, environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from signalbox.api.types.v1.audit_pb2 import AuditRecord
    from support.etcd import EtcdServer

DEADLINE_S = 30.0
TIMEOUT_S = 10.0

SMALL = """
    audit.outbox_max_mb = 1
    [log]
    level = "error"
"""
"""Little may wait, and the process's own file stays short."""


@contextmanager
def running(directory: Path, etcd: EtcdServer, **arguments: Any) -> Iterator[ProvisioningProcess]:
    directory.mkdir(exist_ok=True)
    process = ProvisioningProcess(directory, etcd.endpoint, **arguments)
    process.start()
    try:
        process.wait_until(ready=True)
        yield process
    finally:
        process.end()


def until(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what} did not come")


def create(stub: Stub, *ids: str) -> None:
    for id in ids:
        stub.CreateLine(pb.CreateLineRequest(line=Example.line(id)), timeout=TIMEOUT_S)


def records(process: ProvisioningProcess, **asked: Any) -> list[AuditRecord]:
    """All records, the first first."""
    found: list[AuditRecord] = []
    with process.channel() as channel:
        stub = audit_pb2_grpc.AuditServiceStub(channel)
        request = audit_pb2.ListAuditRecordsRequest(page_size=1_000, **asked)
        while True:
            page = stub.ListAuditRecords(request, timeout=TIMEOUT_S)
            found += page.audit_records
            request.page_token = page.next_page_token
            if not request.page_token:
                return found[::-1]


def verify(process: ProvisioningProcess) -> audit_pb2.VerifyAuditResponse:
    with process.channel() as channel:
        stub = audit_pb2_grpc.AuditServiceStub(channel)
        verdict: audit_pb2.VerifyAuditResponse = stub.VerifyAudit(audit_pb2.VerifyAuditRequest(), timeout=TIMEOUT_S)
        return verdict


def lines(etcd: EtcdServer) -> dict[str, int]:
    """The lines that the store has, and the revisions that created them."""

    async def read() -> dict[str, int]:
        store = PagedStore(open_etcd(etcd, prefix="/signalbox/"))
        try:
            found = await store.list(keys.lines_of("acme"))
        finally:
            await store.close()
        return {keys.last_part(entry.key): entry.create_revision for entry in found.entries}

    return asyncio.run(read())


class Writers:
    """Create lines through all replicas, one after the other each, whatever becomes of single requests."""

    def __init__(self, processes: Sequence[ProvisioningProcess]) -> None:
        self.answered: list[str] = []
        self._ids = itertools.count()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(one,)) for one in processes for _ in range(3)]

    def __enter__(self) -> Writers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _write(self, process: ProvisioningProcess) -> None:
        with process.channel() as channel:
            while not self._stop.is_set():
                id = f"line-{next(self._ids)}"
                try:
                    create(Stub(channel), id)
                except grpc.RpcError:
                    time.sleep(0.02)
                else:
                    self.answered.append(id)


def the_same(found: Sequence[AuditRecord], stored: dict[str, int]) -> None:
    """Every line has one record, of its own revision, and every record its line, in order."""
    told = [(one.change.id, one.revision) for one in found if one.method == "CreateLine"]
    assert sorted(told) == sorted(stored.items())
    assert [one.sequence for one in found] == list(range(1, len(found) + 1))
    assert [one.revision for one in found] == sorted(one.revision for one in found)


def test_killed_at_any_instant_it_loses_and_doubles_nothing(own_etcd: EtcdServer, tmp_path: Path) -> None:
    chance = random.Random(1)
    with running(tmp_path, own_etcd) as process:
        with process.channel() as channel:
            Stub(channel).CreateTenant(pb.CreateTenantRequest(tenant=types_pb2.Tenant(id="acme")), timeout=TIMEOUT_S)
        with Writers([process]) as writers:
            for _ in range(6):
                seen = len(writers.answered)
                until(lambda seen=seen: len(writers.answered) > seen + 5, "an answer")
                # The log is written once a second: also within that.
                time.sleep(chance.uniform(0, 1.2))
                process.kill()
                process.start()
                process.wait_until(ready=True)
        stored = lines(own_etcd)
        assert set(writers.answered) <= set(stored)
        assert len(stored) > 40
        the_same(records(process), stored)
        assert not verify(process).faults


def asking(keeper: ProvisioningProcess) -> str:
    """Settings of a replica that asks another one for the log."""
    return f"""
        audit.replicas = ["{keeper.address}"]
        audit.tls.ca_file = "{keeper.client.ca}"
        audit.tls.cert_file = "{keeper.client.cert}"
        audit.tls.key_file = "{keeper.client.key}"
    """


def test_two_replicas_write_one_log_and_both_answer_from_it(own_etcd: EtcdServer, tmp_path: Path) -> None:
    with running(tmp_path / "one", own_etcd) as one:
        with one.channel() as channel:
            Stub(channel).CreateTenant(pb.CreateTenantRequest(tenant=types_pb2.Tenant(id="acme")), timeout=TIMEOUT_S)
        with running(tmp_path / "other", own_etcd, settings=asking(one)) as other:
            with Writers([one, other]) as writers:
                until(lambda: len(writers.answered) > 150, "150 lines")
                one.kill()
                seen = len(writers.answered)
                until(lambda: len(writers.answered) > seen + 50, "lines while the log is away")
                one.start()
                one.wait_until(ready=True)
            stored = lines(own_etcd)
            found = records(one)
            the_same(found, stored)
            assert records(other) == found
            assert verify(other).records == len(found)


def test_a_replica_that_does_not_keep_the_log_asks_the_one_that_does(own_etcd: EtcdServer, tmp_path: Path) -> None:
    with running(tmp_path / "one", own_etcd) as one:
        with one.channel() as channel:
            Stub(channel).CreateTenant(pb.CreateTenantRequest(tenant=types_pb2.Tenant(id="acme")), timeout=TIMEOUT_S)
        records(one)
        with running(tmp_path / "other", own_etcd, settings=asking(one)) as other:
            with other.channel() as channel:
                create(Stub(channel), "a")
            assert [record.method for record in records(other)] == ["CreateTenant", "CreateLine"]
            assert {record.actor.name for record in records(other)} == {"certificate client"}
            assert verify(other).records == 2


def test_a_full_disk_stops_changes_late_and_nothing_is_lost(own_etcd: EtcdServer, tmp_path: Path) -> None:
    with running(tmp_path, own_etcd, settings=SMALL) as process, process.channel() as channel:
        stub = Stub(channel)
        stub.CreateTenant(pb.CreateTenantRequest(tenant=types_pb2.Tenant(id="acme")), timeout=TIMEOUT_S)
        count = itertools.count()

        def write() -> None:
            put = [pb.Object(line=Example.line(f"line-{next(count)}", display_name="x" * 60)) for _ in range(30)]
            stub.Apply(pb.ApplyRequest(put=put), timeout=TIMEOUT_S)

        def refused() -> Any:
            try:
                write()
            except grpc.RpcError as error:
                return error
            return None

        for _ in range(20):
            write()
        before = records(process)
        [segment] = segments(tmp_path / "audit")
        # No file may grow beyond what the log has now.
        assert process.process is not None
        limit = segment.stat().st_size
        resource.prlimit(process.process.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        written = 0
        while (refusal := refused()) is None:
            written += 1
            assert written < 2_000
        assert refusal.code() is grpc.StatusCode.RESOURCE_EXHAUSTED, refusal
        assert "audit log" in refusal.details()
        assert written > 50, "it goes on for a while"
        assert "signalbox_audit_log_fault 1.0" in process.get("/metrics")
        assert stub.GetTenant(pb.GetTenantRequest(id="acme"), timeout=TIMEOUT_S).id == "acme"
        resource.prlimit(process.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)

        until(lambda: refused() is None, "a change")
        found = records(process)
        stored = lines(own_etcd)
        told = [one.change.id for one in found if one.change.kind == "line"]
        assert sorted(told) == sorted(stored)
        assert found[: len(before)] == before
        assert not verify(process).faults
        until(lambda: "signalbox_audit_log_fault 0.0" in process.get("/metrics"), "the end of the fault")


def command(process: ProvisioningProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    client = process.client
    connection = ["--api", process.address, "--ca", client.ca, "--cert", client.cert, "--key", client.key]
    if arguments[1] == "verify-files":
        connection = []
    return subprocess.run(
        [sys.executable, "-m", "signalbox", *arguments, *map(str, connection)],
        env=environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_tampering_is_found_by_the_command(own_etcd: EtcdServer, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    with running(tmp_path / "one", own_etcd) as process:
        with process.channel() as channel:
            Stub(channel).CreateTenant(pb.CreateTenantRequest(tenant=types_pb2.Tenant(id="acme")), timeout=TIMEOUT_S)
            create(Stub(channel), "a", "b", "c")
        told = command(process, "audit", "verify")
        assert told.returncode == 0, told.stderr
        assert told.stdout.startswith("records 1 to 4: unchanged and complete\nlast: 4:")
        last = told.stdout.split("last: ")[1].strip()
        directory = process.directory / "audit"
        shutil.copytree(directory, copy)
        assert command(process, "audit", "verify-files", str(copy), "--last", last).returncode == 0
        [segment] = segments(directory)
        with segment.open("rb") as file:
            third = [one.offset for one in frames(file)][2]
        content = segment.read_bytes()
        segment.write_bytes(content[:third] + content[third:].replace(b"certificate client", b"certificate nobody", 1))
        found = command(process, "audit", "verify", "-o", "json")
        assert found.returncode == 1
        assert [fault["sequence"] for fault in json.loads(found.stdout)["faults"]] == ["3"]
        [copied] = segments(copy)
        copied.write_bytes(copied.read_bytes()[:-30])
        cut = command(process, "audit", "verify-files", str(copy), "--last", last)
        assert cut.returncode == 1
        assert "record 4 in" in cut.stdout
