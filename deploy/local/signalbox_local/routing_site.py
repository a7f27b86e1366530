"""A cluster without proxies whose one routing replica has so many numbers: started, filled, asked, measured."""

from __future__ import annotations

import re
import shutil
import socket
import time
import tomllib
import urllib.request
from typing import TYPE_CHECKING, Any

import lmdb
from signalbox.address import split
from signalbox.settings import EtcdSettings
from signalbox.store.etcd import EtcdStore

from signalbox_local import memory, probes, routing_data, toml
from signalbox_local.cluster import Cluster, ClusterError
from signalbox_local.decide_load import Load, ask
from signalbox_local.layout import Options

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from signalbox_local.memory import Memory
    from signalbox_local.routing_data import DataSet

REPLICA = "routing-1"
WORKERS = (1, 2, 4)
STORE_QUOTA_BYTES = 8 << 30
READY_S = 900.0
POLL_S = 0.05
QUESTIONS_PER_RUN = 150_000
"""Numbers that are drawn for a run; one that asks more begins again."""


class Site:
    """One cluster with one data set, to be used within ``with site.cluster``."""

    def __init__(self, directory: Path, data: DataSet) -> None:
        self.data = data
        options = Options(
            name=f"numbers-{data.count}", replicas=1, proxies=0, media_nodes=0, workers=max(WORKERS),
            store_quota_bytes=STORE_QUOTA_BYTES, settings={"routing": {"routing": {"workers": 1}}},
        )  # fmt: skip
        self.cluster = Cluster(directory, options)
        self.workers = 1
        self._seed = 0

    # --- rules -------------------------------------------------------------------------------------------------

    async def fill(self) -> None:
        """Write the data set into etcd; neither service runs afterwards."""
        for name in (REPLICA, "provisioning"):
            self.cluster.stop_process(name)
        store = EtcdStore.open(EtcdSettings(endpoints=[self.cluster.address("etcd", "client")]))
        try:
            await routing_data.fill(store, self.data)
        finally:
            await store.close()

    def forget(self) -> None:
        """The replica, which is down, has nothing of its own."""
        own = self.cluster.directory / REPLICA
        shutil.rmtree(own)
        own.mkdir(mode=0o700)

    def start(self, workers: int = 1) -> float:
        """Start the replica; returns how long it took until all its workers were ready, seconds.

        Raises ClusterError.
        """
        file = self.cluster.directory / "settings" / f"{REPLICA}.toml"
        given = tomllib.loads(file.read_text())
        file.write_text(toml.dumps(toml.merge(given, {"routing": {"workers": workers}})))
        self.workers = workers
        began = time.monotonic()
        self.cluster.start_process(REPLICA, wait=False)
        for worker in range(workers):
            self._wait_ready(worker, began + READY_S)
        return time.monotonic() - began

    def _wait_ready(self, worker: int, deadline: float) -> None:
        while True:
            try:
                facts = probes.readyz(self.side_door(worker))
            except probes.NotReadyError as error:
                if time.monotonic() > deadline or not self.cluster.pid(REPLICA):
                    raise ClusterError(f"worker {worker} of {self.data.count} numbers is not ready: {error}") from error
                time.sleep(POLL_S)
                continue
            if facts["numbers"] != self.data.count:
                raise ClusterError(f"worker {worker} has {facts['numbers']} of {self.data.count} numbers")
            return

    def wait_kept(self) -> None:
        """Wait until the replica's files have all it knows. Raises ClusterError."""
        deadline = time.monotonic() + READY_S
        while True:
            gauges = self.gauges()
            behind = gauges["directory_map_revision"] < gauges["rule_revision"] or gauges["directory_unwritten"]
            if not behind and (self.cluster.directory / REPLICA / "rules.snapshot").exists():
                return
            if time.monotonic() > deadline:
                raise ClusterError(f"the replica's files are behind: {gauges}")
            time.sleep(0.2)

    def side_door(self, worker: int) -> str:
        """Where a worker tells of itself."""
        host, port = split(self.cluster.address(REPLICA, "metrics"))
        return f"{host}:{port + worker}"

    def gauges(self, worker: int = 0) -> Mapping[str, float]:
        """A worker's metrics without labels, by name."""
        with urllib.request.urlopen(f"http://{self.side_door(worker)}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        return {name: float(value) for name, value in _GAUGE.findall(text)}

    # --- figures -----------------------------------------------------------------------------------------------

    def memory(self) -> Memory:
        """Of all processes of the replica."""
        return memory.of(memory.group(self.cluster.pid(REPLICA)), self.map_file())

    def map_file(self) -> Path:
        """The memory map."""
        return self.cluster.directory / REPLICA / "rules.snapshot.map"

    def tables(self) -> Mapping[str, int]:
        """Bytes of each table of the memory map."""
        return tables(self.map_file())

    async def ask(
        self, batch: int, seconds: float, *, zipf: bool = True, rate: float = 0.0, questions: int = QUESTIONS_PER_RUN
    ) -> dict[str, Any]:
        """One run of questions: what the asker told, and decisions per second and core.

        Raises RuntimeError if a call was not dialled.
        """
        self._seed += 1
        numbers = routing_data.draw(self.data, questions, self._seed, zipf=zipf)
        # What calls hold would be too much for some numbers in the end.
        self._forget_calls()
        load = Load(
            self.cluster.address(REPLICA, "grpc"), batch, seconds, numbers, routing_data.TRUNK, rate=rate,
            seed=self._seed, in_order=True,
        )  # fmt: skip
        before = self.cluster.cpu_seconds(REPLICA)
        told = await ask(load)
        spent = self.cluster.cpu_seconds(REPLICA) - before
        if told["dialled"] != told["decided"]:
            raise RuntimeError(f"{told['decided'] - told['dialled']} of {told['decided']} calls were not dialled")
        return told | {
            "batch": batch,
            "rate": rate,
            "zipf": zipf,
            "per_s": told["decided"] / told["elapsed_s"],
            "per_s_core": told["decided"] / spent,
        }

    def _forget_calls(self) -> None:
        with socket.create_connection(split(self.cluster.address("redis", "redis")), 5.0) as connection:
            connection.sendall(b"FLUSHALL\r\n")
            if not connection.recv(64).startswith(b"+OK"):
                raise ClusterError("redis does not forget")


def tables(file: Path) -> dict[str, int]:
    """Bytes of each table of a memory map."""
    with lmdb.open(str(file), subdir=False, readonly=True, lock=False, max_dbs=16) as env, env.begin() as txn:
        names = [name.decode() for name in txn.cursor().iternext(values=False)]
        found = {}
        for name in names:
            stat = txn.stat(env.open_db(name.encode(), txn, create=False))
            pages = stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
            found[name] = pages * stat["psize"]
        return found


_GAUGE = re.compile(r"^signalbox_routing_(\w+) (\S+)$", re.MULTILINE)
