"""``signalbox recorder`` as a process of its own, and what it has put into a folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from signalbox.catalog.catalog import Catalog
from signalbox.settings import DatabaseSettings, EtcdSettings, ObjectsSettings
from signalbox.store.envelope import MasterKeys, Vault
from signalbox.store.etcd import EtcdStore
from signalbox.store.objectstore import ObjectStore

from support.ports import free_port
from support.process import ServerProcess, readiness

if TYPE_CHECKING:
    from signalbox.api.types.v1.recordings_pb2 import Recording

START_TIMEOUT_S = 30.0


@dataclass
class RecorderProcess(ServerProcess):
    """On free ports, logging into a file. ``settings`` go into the environment: ``{"RECORDER__JOBS": 2}``."""

    directory: Path
    etcd: str
    settings: dict[str, Any] = field(default_factory=dict)
    database: DatabaseSettings | None = None
    """By default a file."""

    def __post_init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self.port, self.metrics_port = free_port(), free_port()
        self.log = self.directory / "recorder.log"
        self.objects = self.directory / "objects"
        self.master_key = self.directory / "objects.key"
        self.work_dir = self.directory / "work"
        self.prefix = f"/{self.directory.name}/"
        self.database = self.database or DatabaseSettings(url=f"sqlite:///{self.directory / 'signalbox.db'}")

    @property
    def address(self) -> str:
        """gRPC host:port."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Process id."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> RecorderProcess:
        """Start it; :meth:`wait_ready` tells when it works."""
        assert self.database is not None
        given = {
            "ETCD__ENDPOINTS": json.dumps([self.etcd]),
            "ETCD__PREFIX": self.prefix,
            "DATABASE__URL": self.database.url,
            "OBJECTS__LOCATION": self.objects,
            "OBJECTS__MASTER_KEY_FILE": self.master_key,
            "RECORDER__LISTEN": self.address,
            "RECORDER__WORK_DIR": self.work_dir,
            "RECORDER__METRICS__LISTEN": f"127.0.0.1:{self.metrics_port}",
            "RECORDER__LEASE_S": 1,
            **self.settings,
        }
        environment = {key: value for key, value in os.environ.items() if not key.startswith("SIGNALBOX_")}
        environment |= {f"SIGNALBOX_{key}": str(value) for key, value in given.items()}
        environment["PYTHONPATH"] = os.pathsep.join(sys.path)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "signalbox", "recorder"], stdout=log, stderr=log, env=environment
            )
        return self

    def wait_ready(self, ready: bool = True) -> dict[str, Any]:
        """Wait until /readyz says so; returns what it says. Raises TimeoutError with the log."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while (told := self.facts()).get("ready") is not ready:
            if time.monotonic() > deadline or not self.running:
                raise TimeoutError(f"not ready={ready}: {told} {self.log.read_text()[-4000:]}")
            time.sleep(0.02)
        return told

    def facts(self) -> dict[str, Any]:
        """What /readyz tells; empty if nobody answers."""
        return readiness(self.metrics_port)

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log's events of a name."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("event") == name]

    def terminate(self) -> int:
        """SIGTERM; returns the exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(START_TIMEOUT_S)

    def renderers(self) -> list[int]:
        """Process ids of its processes that render."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def names(self) -> list[str]:
        """Names of all objects of recordings."""
        found = (one for one in self.objects.glob("recordings/**/*") if one.is_file())
        return sorted(str(one.relative_to(self.objects)) for one in found)

    def store(self) -> EtcdStore:
        """What it has in etcd."""
        return EtcdStore.open(EtcdSettings(endpoints=[self.etcd], prefix=self.prefix))

    async def recording(self, call_id: str) -> Recording | None:
        """What is known of the recording of a call."""
        assert self.database is not None
        catalog = await Catalog.open(self.database)
        try:
            found = await catalog.get(call_id)
            return found.recording if found else None
        finally:
            await catalog.close()

    async def content(self, tenant: str, name: str) -> bytes:
        """An object's content."""
        store = self.store()
        objects = ObjectStore.open(ObjectsSettings(location=str(self.objects)))
        vault = Vault.over(objects, store, MasterKeys.read(self.master_key))
        try:
            return b"".join([piece async for piece in vault.get(tenant, name)])
        finally:
            await store.close()
