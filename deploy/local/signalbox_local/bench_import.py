"""How many rows are imported in a second: a whole CSV file through the command, the service and a real etcd.

Every row is a number with a line of its own; a tenant has a hundred. The cluster has a routing replica, which takes the
changes in meanwhile. The file is imported a second time, which changes nothing.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.provisioning.v1 import provisioning_pb2_grpc
from signalbox.api.types.v1 import types_pb2
from signalbox.settings import CLUSTER_VARIABLE

from signalbox_local import manifest

if TYPE_CHECKING:
    from pathlib import Path

    from signalbox_local.cluster import Cluster

PROCESSES = ("provisioning", "etcd", "routing-1")
ROWS = 100_000
TENANT_ROWS = 100
AT_ONCE = 40
LIMIT_S = 600


def write_file(file: Path, rows: int, first: int = 1_000_000) -> list[str]:
    """Write consecutive numbers from 400 and seven digits on; returns their tenants."""
    tenants = [f"bulk-{n:05d}" for n in range(-(-rows // TENANT_ROWS))]
    with file.open("w", newline="") as target:
        writer = csv.writer(target)
        writer.writerow(["number", "tenant", "lines", "concurrent_calls"])
        for n in range(rows):
            # 7919 has no factor in common with 10**8: every row has another line, in no order.
            line = f"138{n * 7919 % 10**8:08d}"
            writer.writerow([f"400{first + n:07d}", tenants[n // TENANT_ROWS], line, 10])
    return tenants


def import_rows_per_s(cluster: Cluster, directory: Path, rows: int = ROWS) -> dict[str, object]:
    """The figures of one import. Raises RuntimeError if a row is refused."""
    file = prepare(cluster, directory, rows)
    first = _run(cluster, file, f"{rows} created")
    again = _run(cluster, file, f"{rows} unchanged")
    return {"rows": rows, "import_rows_per_s": first["rows_per_s"], "first": first, "again": again}


def prepare(cluster: Cluster, directory: Path, rows: int) -> Path:
    """Write a file of so many rows, and create the tenants that it needs."""
    file = directory / "numbers.csv"
    tenants = write_file(file, rows)
    with cluster.provisioning_channel() as channel:
        stub = provisioning_pb2_grpc.ProvisioningServiceStub(channel)
        for start in range(0, len(tenants), AT_ONCE):
            some = [pb.Object(tenant=types_pb2.Tenant(id=id)) for id in tenants[start : start + AT_ONCE]]
            stub.Apply(pb.ApplyRequest(put=some), timeout=30)
    return file


def command(cluster: Cluster, file: Path) -> tuple[list[str], dict[str, str]]:
    """What imports a file, and its environment."""
    environment = {**os.environ, CLUSTER_VARIABLE: str(cluster.directory / manifest.FILE_NAME)}
    return [sys.executable, "-m", "signalbox", "import", "numbers", str(file)], environment


def _run(cluster: Cluster, file: Path, expected: str) -> dict[str, object]:
    before = {name: cluster.cpu_seconds(name) for name in PROCESSES}
    began, children = time.monotonic(), os.times()
    arguments, environment = command(cluster, file)
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    elapsed, after = time.monotonic() - began, os.times()
    if expected not in done.stdout:
        raise RuntimeError(f"the import ended with {done.returncode}: {done.stdout}{done.stderr}")
    rows = int(expected.split()[0])
    cpu = {name: round(cluster.cpu_seconds(name) - spent, 2) for name, spent in before.items()}
    client = after.children_user + after.children_system - children.children_user - children.children_system
    return {
        "seconds": round(elapsed, 2),
        "rows_per_s": round(rows / elapsed),
        "cpu_s": {**cpu, "command": round(client, 2)},
    }
