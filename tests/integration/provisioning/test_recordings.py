"""Recordings of a real process over etcd, SQLite and a folder: fetched whole whatever breaks, gone when it is time."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from signalbox.api.provisioning.v1 import recordings_pb2 as pb
from signalbox.catalog.catalog import Catalog
from signalbox.cli import main
from signalbox.provisioning.recordings.disposal import Disposal
from signalbox.settings import EtcdSettings, ObjectsSettings
from signalbox.store.envelope import MasterKeys, Vault
from signalbox.store.etcd import EtcdStore
from signalbox.store.memory import MemoryStore
from signalbox.store.objectstore import ObjectStore
from support.ports import free_port
from support.recordings import Recorder, database, sound, tapes
from support.s3 import s3_server
from support.stores import until
from support.tcp import Relay

from .conftest import DEADLINE_S, ProvisioningProcess, environment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from support.etcd import EtcdServer

MIB = 1024 * 1024
LARGE = 8 * MIB


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, etcd_server: EtcdServer) -> Iterator[ProvisioningProcess]:
    """A service that is killed, and started again."""
    process = ProvisioningProcess(tmp_path_factory.mktemp("recordings"), etcd_server.endpoint)
    process.start()
    process.wait_until(ready=True)
    yield process
    process.end()


@dataclass
class Beside:
    """What another process of the same cluster works with."""

    store: EtcdStore
    vault: Vault
    catalog: Catalog
    recorder: Recorder


@asynccontextmanager
async def beside(own: ProvisioningProcess) -> AsyncIterator[Beside]:
    store = EtcdStore.open(EtcdSettings(endpoints=[own.etcd]))
    objects = ObjectStore.open(ObjectsSettings(location=str(own.directory / "objects")))
    vault = Vault.over(objects, store, MasterKeys.read(own.directory / "objects.key"))
    catalog = await Catalog.open(database(own.directory))
    try:
        yield Beside(store, vault, catalog, Recorder(lambda: catalog, vault))
    finally:
        await catalog.close()
        await store.close()


def command(own: ProvisioningProcess, line: str, address: str = "") -> list[str]:
    tls = f"--ca {own.client.ca} --cert {own.client.cert} --key {own.client.key}"
    return [*line.split(), "--api", address or own.address, *tls.split()]


def signalbox(own: ProvisioningProcess, line: str, code: int = 0) -> str:
    """What a command prints, in this process: to start one for each takes long."""
    done = CliRunner().invoke(main, command(own, line), prog_name="signalbox")
    assert done.exit_code == code, f"{line}: {done.output}{done.exception!r}"
    return done.output


def begun(own: ProvisioningProcess, line: str, address: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "signalbox", *command(own, line, address)],
        cwd=own.directory,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


async def test_what_is_fetched_survives_the_death_of_either_side(own: ProvisioningProcess) -> None:
    content = sound(7, LARGE)
    part, whole = own.directory / "c1.wav.part", own.directory / "c1.wav"
    async with beside(own) as other, Relay(own.address) as relay:
        await other.recorder.store("c1", content, expire_ms=milliseconds(datetime.now(UTC) + timedelta(days=10)))
        relay.freeze_after(2 * MIB)
        getting = begun(own, "recordings get c1", relay.endpoint)
        with getting:
            await until(lambda: size(part) > MIB, "a part of it", DEADLINE_S)
            getting.kill()
        held = size(part)
        assert MIB < held < LARGE
        relay.cut()
        relay.thaw()
        relay.freeze_after(2 * MIB)
        again = begun(own, "recordings get c1", relay.endpoint)
        with again:
            await until(lambda: size(part) > held + MIB, "more of it", DEADLINE_S)
            own.kill()
            own.start()
            relay.cut()
            relay.thaw()
            await until(lambda: again.poll() is not None, "all of it", DEADLINE_S + 30)
            assert again.returncode == 0, again.communicate()
        assert hashlib.sha256(whole.read_bytes()).digest() == hashlib.sha256(content).digest()
        assert not part.exists()
        events = await other.catalog.events("", "c1", 1, 10)
        offsets = [int(one.detail.split()[2]) for one in events]
        assert offsets[:2] == [0, held]
        assert all(one > held for one in offsets[2:])
        own.wait_until(ready=True)
        # Before the first byte of each there was a record of it.
        records = json.loads(signalbox(own, "audit list --kind recording -o json"))
        assert [one["change"]["read"] for one in records] == [True] * len(offsets)
        assert "unchanged and complete" in signalbox(own, "audit verify")


async def test_a_recording_from_its_hold_to_its_end(own: ProvisioningProcess) -> None:
    later = datetime.now(UTC) + timedelta(days=1)
    expires = milliseconds(later) - 1
    async with beside(own) as other:
        await other.recorder.store("h1", sound(1), expire_ms=expires, line="shop")
        await other.recorder.store("h2", sound(2), expire_ms=expires, line="shop")
        await other.recorder.store("h3", sound(3), expire_ms=expires, line="shop")
        assert signalbox(own, "recordings verify --line shop") == "3 whole, 0 damaged, 0 not stored\n"
        (file,) = (own.directory / "objects").rglob("h2.*.wav")
        damaged = bytearray(file.read_bytes())
        damaged[-1] ^= 1
        file.write_bytes(damaged)
        assert signalbox(own, "recordings verify --line shop", code=1).endswith("2 whole, 1 damaged, 0 not stored\n")
        signalbox(own, "recordings hold h1")
        signalbox(own, "recordings delete h3")
        # What the next sweep of any replica does, a day later.
        sweep = Disposal(other.store, other.vault, lambda: other.catalog, lambda: later)
        assert await sweep.sweep() == 1
        listed = json.loads(signalbox(own, "recordings list --line shop -o json"))
        assert [(one["call_id"], one["legal_hold"]) for one in listed] == [("h1", True)]
        signalbox(own, "recordings unhold h1")
        assert await sweep.sweep() == 1
        assert not list((own.directory / "objects").rglob("h?.*"))
        records = json.loads(signalbox(own, "audit list --kind recording -o json"))
        gone = [(one["change"]["id"], one["actor"]["name"]) for one in records if is_deletion(one["change"])]
        assert gone == [("h1", "clock"), ("h2", "clock"), ("h3", "certificate client")]
        assert "unchanged and complete" in signalbox(own, "audit verify")


def is_deletion(change: dict[str, Any]) -> bool:
    return change.get("before") is not None and change.get("after") is None


def test_a_service_whose_database_is_away_serves_the_rest(tmp_path: Path, etcd_server: EtcdServer) -> None:
    url = f"postgresql://nobody@127.0.0.1:{free_port()}/none"
    process = ProvisioningProcess(tmp_path, etcd_server.endpoint, database=url)
    process.start()
    try:
        process.wait_until(ready=True)
        signalbox(process, "tenants create without")
        assert "(DATABASE_UNAVAILABLE)" in signalbox(process, "recordings list", code=3)
        assert "database_unreachable" in process.log.read_text()
        assert process.terminate() == 0
    finally:
        process.end()


async def test_a_bucket_does_as_well(tmp_path: Path) -> None:
    content = sound(4, MIB)
    with s3_server(tmp_path) as server:
        async with tapes(MemoryStore(), tmp_path, objects=server.settings()) as api:
            await api.recorder.store("c1", content)
            names = [name for name in server.names() if name.startswith("recordings/")]
            assert sorted(name.rpartition(".")[2] for name in names) == ["json", "wav"]
            for offset in (0, 700_000, MIB):
                assert await api.download("c1", offset) == content[offset:]
            await api.api.DeleteRecording(pb.DeleteRecordingRequest(call_id="c1"))
            assert not [name for name in server.names() if name.startswith("recordings/")]
