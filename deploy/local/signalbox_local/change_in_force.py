"""How long after it was committed a change is in force: until calls through each of two proxies obey it.

A number's flow ends each call, with 486 or with 603, and is changed from one to the other again and again through the
provisioning API. From the moment that the answer is there, INVITEs go to both proxies every two milliseconds. The
change is in force at a proxy with the first call after which all calls obeyed, at both proxies with the later one. If
already the first one did, that counts as 0.

The same is measured while an import of 100,000 numbers, each with a line, is under way.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
from google.protobuf.field_mask_pb2 import FieldMask
from signalbox.address import split
from signalbox.api.provisioning.v1 import provisioning_pb2 as api
from signalbox.api.provisioning.v1 import provisioning_pb2_grpc
from signalbox.api.types.v1 import flows_pb2, types_pb2
from signalbox.settings import EtcdSettings
from signalbox.store.etcd import EtcdStore

from signalbox_local import bench_import, probes, routing_data
from signalbox_local.bench import percentile
from signalbox_local.cluster import Cluster, ClusterError
from signalbox_local.layout import Options
from signalbox_local.sip_prober import Prober

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from rich.console import Console

    from signalbox_local.sip_prober import Probe

NUMBER, TENANT = "4009999999", "probed"
CODES = {"busy": 486, "declined": 603}
CAUSES = {"busy": flows_pb2.HANG_UP_CAUSE_BUSY, "declined": flows_pb2.HANG_UP_CAUSE_DECLINED}
QUIET_CHANGES = 300
IMPORTED = 100_000
EVERY_S = 0.002
OBEYED = 16
"""So many calls in a row that obey show that the change is in force, whichever replica was asked."""
ANSWERED_S = 1.0
LIMIT_S = 10.0
PAUSE_S = (0.05, 0.15)
"""Between two changes, so that they fall on no beat of anybody."""
START_S = 600.0
RULES_S = 60.0


@dataclass(frozen=True, slots=True)
class Change:
    """One change: milliseconds until it was in force, at both proxies, and until it was answered."""

    in_force_ms: float
    answered_ms: float
    calls: int
    unanswered: int
    """Calls with another final response than the two, or none."""


def in_force_ms(calls: Sequence[Probe], code: int, answered_at: float) -> float:
    """When all calls through a proxy obeyed, milliseconds after the answer: with the first after the last that did
    not; 0 if all did. Infinite if the last one did not."""
    late = [position for position, call in enumerate(calls) if call.code != code]
    if not late:
        return 0.0
    if late[-1] + 1 == len(calls):
        return float("inf")
    return (calls[late[-1] + 1].sent_at - answered_at) * 1000


class Measurement:
    """Changes one after the other."""

    def __init__(self, channel: grpc.aio.Channel, probers: Sequence[Prober]) -> None:
        self._stub = provisioning_pb2_grpc.ProvisioningServiceStub(channel)
        self._probers = probers
        self._flow = "busy"

    async def change(self) -> Change:
        """One change. Raises RuntimeError if it does not come into force, and grpc.RpcError."""
        self._flow = "declined" if self._flow == "busy" else "busy"
        request = api.UpdateNumberRequest(
            number=types_pb2.Number(number=NUMBER, flow=self._flow), update_mask=FieldMask(paths=["flow"])
        )  # fmt: skip
        began = time.perf_counter()
        await self._stub.UpdateNumber(request, timeout=LIMIT_S)
        answered = time.perf_counter()
        code = CODES[self._flow]
        calls = await asyncio.gather(*(_until_obeyed(prober, code) for prober in self._probers))
        found = max(in_force_ms(some, code, answered) for some in calls)
        await asyncio.sleep(random.uniform(*PAUSE_S))
        every = [call for some in calls for call in some]
        lost = sum(call.code not in CODES.values() for call in every)
        return Change(found, (answered - began) * 1000, len(every), lost)


async def _until_obeyed(prober: Prober, code: int) -> list[Probe]:
    """Call until the last OBEYED calls that were answered all obeyed."""
    calls: list[Probe] = []
    began = time.perf_counter()
    prober.forget()
    while True:
        calls.append(prober.call())
        due = began + len(calls) * EVERY_S
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        last = [call.code for call in calls[-OBEYED - 10 :] if call.code][-OBEYED:]
        if len(last) == OBEYED and set(last) == {code}:
            break
        if time.perf_counter() - began > LIMIT_S:
            raise RuntimeError(f"after {LIMIT_S} s calls still end with {sorted(set(last))}, not {code}")
    await prober.settle(calls, ANSWERED_S)
    while calls[-1].code != code:
        # An answer to one of the last: it was sent before and had to wait.
        calls.append(prober.call())
        await prober.settle(calls[-1:], ANSWERED_S)
        if time.perf_counter() - began > LIMIT_S:
            raise RuntimeError(f"after {LIMIT_S} s calls still end with {calls[-1].code}, not {code}")
    return calls


async def measure(directory: Path, console: Console, numbers: int) -> dict[str, object]:
    """The figures, with so many numbers loaded. Raises ClusterError, RuntimeError, grpc.RpcError."""
    options = Options(
        name="change", replicas=2, workers=2, proxies=2, media_nodes=0, store_quota_bytes=8 << 30
    )  # fmt: skip
    with Cluster(directory, options) as cluster:
        await _fill(cluster, numbers)
        async with _channel(cluster) as channel, contextlib.AsyncExitStack() as stack:
            cluster.wait_for_rules(await _write_rules(channel), timeout_s=RULES_S)
            proxies = [split(cluster.address(name, "sip")) for name in cluster.names("kamailio")]
            probers = [await Prober.open(NUMBER, proxy) for proxy in proxies]
            for prober in probers:
                stack.callback(prober.close)
            measurement = Measurement(channel, probers)
            for _ in range(20):
                await measurement.change()
            quiet = [await measurement.change() for _ in range(QUIET_CHANGES)]
            _tell(console, "quiet", quiet)
            importing, rows_per_s = await _during_import(cluster, directory, measurement)
            _tell(console, "during an import", importing)
    return {
        **figures(quiet),
        "importing": {**figures(importing), "import_rows_per_s": rows_per_s},
        "numbers": numbers,
        "replicas": options.replicas,
        "workers": options.workers,
    }


def figures(changes: Sequence[Change]) -> dict[str, object]:
    """Of some changes."""
    times = [change.in_force_ms for change in changes]
    return {
        "p50": round(percentile(times, 0.5), 1),
        "p99": round(percentile(times, 0.99), 1),
        "max": round(max(times), 1),
        "changes": len(changes),
        "calls": sum(change.calls for change in changes),
        "calls_without_answer": sum(change.unanswered for change in changes),
        "answered_p50": round(percentile([change.answered_ms for change in changes], 0.5), 1),
        "answered_p99": round(percentile([change.answered_ms for change in changes], 0.99), 1),
    }


def _tell(console: Console, what: str, changes: Sequence[Change]) -> None:
    told = figures(changes)
    console.print(f"  change in force, {what}: " + ", ".join(f"{k} {v}" for k, v in told.items()), highlight=False)


async def _during_import(cluster: Cluster, directory: Path, measurement: Measurement) -> tuple[Sequence[Change], int]:
    """Changes as long as an import runs, and its rows per second."""
    file = bench_import.prepare(cluster, directory, IMPORTED)
    command, environment = bench_import.command(cluster, file)
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )  # fmt: skip
    ended = asyncio.create_task(process.communicate())
    try:
        # The first rows are on their way.
        await asyncio.sleep(1.0)
        changes = []
        while not ended.done():
            changes.append(await measurement.change())
        text, _ = await ended
    finally:
        if process.returncode is None:
            process.kill()
            await ended
    if f"{IMPORTED} created" not in text.decode():
        raise RuntimeError(f"the import ended with {process.returncode}: {text.decode()}")
    return changes, round(IMPORTED / (time.monotonic() - began))


async def _fill(cluster: Cluster, numbers: int) -> None:
    """Load the data set while nobody looks, then wait until all have it."""
    others = [*cluster.names("kamailio"), *cluster.names("edge"), "provisioning", *cluster.names("routing")]
    for name in others:
        cluster.stop_process(name)
    store = EtcdStore.open(EtcdSettings(endpoints=[cluster.address("etcd", "client")]))
    try:
        await routing_data.fill(store, routing_data.DataSet(numbers))
    finally:
        await store.close()
    replicas = cluster.names("routing")
    for name in replicas:
        # What they have of the empty store would be good enough to be ready with.
        shutil.rmtree(cluster.directory / name)
        (cluster.directory / name).mkdir(mode=0o700)
    for name in (*replicas, "provisioning"):
        cluster.start_process(name, wait=False)
    cluster.wait_ready(*replicas, "provisioning", timeout_s=START_S)
    _wait_workers(cluster, replicas)
    proxies = (*cluster.names("edge"), *cluster.names("kamailio"))
    for name in proxies:
        cluster.start_process(name, wait=False)
    cluster.wait_ready(*proxies)


def _wait_workers(cluster: Cluster, replicas: Sequence[str]) -> None:
    deadline = time.monotonic() + START_S
    for name in replicas:
        host, port = split(cluster.address(name, "metrics"))
        for worker in range(1, cluster.options.workers):
            while True:
                try:
                    probes.readyz(f"{host}:{port + worker}")
                    break
                except probes.NotReadyError as error:
                    if time.monotonic() > deadline:
                        raise ClusterError(f"worker {worker} of {name} is not ready: {error}") from error
                    time.sleep(0.1)


@contextlib.asynccontextmanager
async def _channel(cluster: Cluster) -> AsyncIterator[grpc.aio.Channel]:
    ca, cert, key = (_read(cluster.credentials[name]) for name in ("ca", "cert", "key"))
    credentials = grpc.ssl_channel_credentials(ca, key, cert)
    async with grpc.aio.secure_channel(cluster.address("provisioning", "grpc"), credentials) as channel:
        yield channel


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


async def _write_rules(channel: grpc.aio.Channel) -> str:
    """A tenant with the number and its two flows; returns the etag of what was written last."""
    stub = provisioning_pb2_grpc.ProvisioningServiceStub(channel)
    request = api.ApplyRequest()
    request.put.add().tenant.id = TENANT
    for id, cause in CAUSES.items():
        flow = request.put.add().flow
        flow.tenant, flow.id = TENANT, id
        flow.draft.entry = "end"
        flow.draft.nodes.add(id="end").hang_up.cause = cause
    await stub.Apply(request, timeout=30)
    for id in CAUSES:
        await stub.ActivateFlow(api.ActivateFlowRequest(tenant=TENANT, id=id), timeout=30)
    number = types_pb2.Number(number=NUMBER, tenant=TENANT, flow="busy")
    number.limits.concurrent_calls = 0
    created: types_pb2.Number = await stub.CreateNumber(api.CreateNumberRequest(number=number), timeout=30)
    return created.etag
