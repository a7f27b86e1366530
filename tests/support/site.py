"""A running cluster for tests of whole calls: rules of each test's own, and what the processes say of a call."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
import time
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from google.protobuf import duration_pb2
from prometheus_client.parser import text_string_to_metric_families
from signalbox.address import split
from signalbox.api.provisioning.v1 import provisioning_pb2, provisioning_pb2_grpc
from signalbox.api.types.v1 import types_pb2
from signalbox.commands.journals import JournalReader

from support.process import wait_stopped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from signalbox.api.events.v1 import events_pb2
    from signalbox_local.cluster import Cluster

CALLER_HOST = "127.0.0.2"
"""Where callers call from: the address of the trunk."""
LINE_HOST = "127.0.0.3"
STRANGER_HOST = "127.0.0.9"
"""No trunk has this address."""
TENANT = "acme"
TRUNK = "carrier"
TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class LineAt:
    """A line to be provisioned: where it listens and what it is told of the caller."""

    address: str
    """host:port."""
    transport: str = "udp"
    remove_identity: bool = False


class Site:
    """A running cluster with a tenant and a trunk, and service numbers made as tests want them."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._channel = cluster.provisioning_channel()
        self.provisioning = provisioning_pb2_grpc.ProvisioningServiceStub(self._channel)
        self._numbers = itertools.count(1)
        self._rpc = itertools.count(1)
        tenant = types_pb2.Tenant(id=TENANT)
        self.provisioning.CreateTenant(provisioning_pb2.CreateTenantRequest(tenant=tenant), timeout=TIMEOUT_S)
        trunk = types_pb2.Trunk(id=TRUNK, source_addresses=[CALLER_HOST])
        made = self.provisioning.CreateTrunk(provisioning_pb2.CreateTrunkRequest(trunk=trunk), timeout=TIMEOUT_S)
        cluster.wait_for_rules(made.etag)

    def close(self) -> None:
        """Close the connection to the provisioning service."""
        self._channel.close()

    # --- rules -------------------------------------------------------------------------------------------------

    def number(
        self, *stages: Sequence[LineAt | str], ring_s: int = 30, anchored: bool = False, most_calls: int = 0
    ) -> str:
        """A new service number that rings these lines, known to all replicas on return.

        ``most_calls`` at once; 0: without limit, and then nothing is counted either.
        The lines are called ``line-<number>-<n>`` in order, n from 1. Their users are their ids.
        """
        number = f"400{next(self._numbers):07d}"
        ids = itertools.count(1)
        dialled = [[self._line(f"line-{number}-{next(ids)}", line) for line in stage] for stage in stages]
        ring_time = duration_pb2.Duration(seconds=ring_s)
        value = types_pb2.Number(
            number=number,
            tenant=TENANT,
            stages=[types_pb2.DialStage(lines=lines, ring_time=ring_time) for lines in dialled],
            media=types_pb2.MEDIA_MODE_ANCHOR if anchored else types_pb2.MEDIA_MODE_BYPASS,
            limits=types_pb2.Limits(concurrent_calls=most_calls),
        )
        made = self.provisioning.CreateNumber(provisioning_pb2.CreateNumberRequest(number=value), timeout=TIMEOUT_S)
        self.cluster.wait_for_rules(made.etag)
        return number

    def _line(self, id: str, line: LineAt | str) -> str:
        if isinstance(line, str):
            line = LineAt(line)
        host, port = split(line.address)
        value = types_pb2.Line(
            tenant=TENANT,
            id=id,
            user=id,
            host=host,
            port=port,
            transport=types_pb2.SIP_TRANSPORT_TCP if line.transport == "tcp" else types_pb2.SIP_TRANSPORT_UDP,
            identity_policy=(
                types_pb2.IDENTITY_POLICY_REMOVE if line.remove_identity else types_pb2.IDENTITY_POLICY_PASS
            ),
        )
        self.provisioning.CreateLine(provisioning_pb2.CreateLineRequest(line=value), timeout=TIMEOUT_S)
        return id

    # --- what happened -----------------------------------------------------------------------------------------

    def all_events(self) -> list[events_pb2.CallEvent]:
        """The events of all calls through all proxies so far, in order of time."""
        readers = [JournalReader(self.cluster.journal(name), name) for name in self.cluster.names("edge")]
        events = [event for reader in readers for event in reader.read()]
        return sorted(events, key=lambda event: event.time.ToNanoseconds())

    def events(self, sip_call_id: str) -> list[events_pb2.CallEvent]:
        """The events of a call so far, by the Call-ID of the caller's side."""
        events = self.all_events()
        ids = {event.call_id for event in events if event.asked.sip_call_id == sip_call_id}
        return [event for event in events if event.call_id in ids]

    async def events_until(self, sip_call_id: str, *last: str) -> list[events_pb2.CallEvent]:
        """The events of a call as soon as there is one of these kinds."""
        found: list[events_pb2.CallEvent] = []

        def there() -> bool:
            found[:] = self.events(sip_call_id)
            return not set(last).isdisjoint(kinds(found))

        await eventually(there, f"{' or '.join(last)} in the journals", lambda: kinds(found))
        return found

    def metric(self, process: str, name: str, **labels: str) -> float:
        """A Prometheus sample of a process of ours, summed over the labels that are not given; 0 if there is none."""
        url = f"http://{self.cluster.address(process, 'metrics')}/metrics"
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
            text = answer.read().decode()
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    # --- proxies -----------------------------------------------------------------------------------------------

    def sip(self, n: int = 1) -> tuple[str, int]:
        """SIP address of the n-th proxy."""
        return split(self.cluster.address(f"kamailio-{n}", "sip"))

    def rpc(self, n: int, method: str, *parameters: Any) -> Any:
        """Call a JSON-RPC method of the n-th proxy. Raises OSError if it does not answer."""
        directory = self.cluster.directory / f"kamailio-{n}"
        path = directory / f"test-{next(self._rpc)}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.bind(str(path))
            try:
                client.settimeout(TIMEOUT_S)
                request = {"jsonrpc": "2.0", "method": method, "params": list(parameters), "id": 1}
                client.sendto(json.dumps(request).encode(), str(directory / "rpc.sock"))
                reply = json.loads(client.recv(1 << 20))
            finally:
                path.unlink()
        assert "result" in reply, reply
        return reply["result"]

    def counter(self, n: int, name: str) -> int:
        """One of the script's counters at the n-th proxy."""
        return int(self.rpc(n, "cnt.get", "signalbox", name))

    def transactions(self, n: int = 1) -> int:
        """Transactions in memory of the n-th proxy."""
        return int(self.rpc(n, "tm.stats")["current"])

    async def no_transactions(self) -> None:
        """Wait until no proxy that runs holds a transaction. Targets of trunks are asked no more from then on."""
        listed = self.provisioning.ListTrunks(provisioning_pb2.ListTrunksRequest(page_size=1000), timeout=TIMEOUT_S)
        for trunk in (one for one in listed.trunks if one.targets):
            trunk.health_check.disabled = True
            self.provisioning.UpdateTrunk(provisioning_pb2.UpdateTrunkRequest(trunk=trunk), timeout=TIMEOUT_S)
        for n, name in enumerate(self.cluster.names("kamailio"), 1):
            if self.cluster.pid(name):
                await eventually(lambda n=n: self.transactions(n) == 0, f"no transactions in {name}", within=15)

    # --- processes ---------------------------------------------------------------------------------------------

    def make_whole(self) -> None:
        """Start what is dead, and wait until all are ready."""
        for name, state in self.cluster.states().items():
            if not state.pid:
                self.cluster.start_process(name, wait=False)
        self.cluster.wait_ready()

    @contextlib.contextmanager
    def paused(self, *names: str) -> Iterator[None]:
        """Within: these processes are there but do nothing (SIGSTOP)."""
        pids = [self.cluster.pid(name) for name in names]
        for pid in pids:
            os.killpg(pid, signal.SIGSTOP)
        for pid in pids:
            wait_stopped(pid)
        try:
            yield
        finally:
            for pid in pids:
                os.killpg(pid, signal.SIGCONT)

    @contextlib.contextmanager
    def killed(self, *names: str) -> Iterator[None]:
        """Within: these processes are dead (SIGKILL), unless started again; at the end they run."""
        for name in names:
            self.cluster.kill(name)
        try:
            yield
        finally:
            for name in names:
                if not self.cluster.pid(name):
                    self.cluster.start_process(name, wait=False)


async def eventually(
    condition: Callable[[], object],
    what: str,
    saw: Callable[[], object] = lambda: "",
    *,
    within: float = 10.0,
) -> float:
    """Wait until the condition holds; returns the seconds it took. Raises AssertionError that says what was seen."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > within:
            raise AssertionError(f"not within {within} s: {what}; saw {saw()}")
        await asyncio.sleep(0.02)
    return time.monotonic() - begun


def kinds(events: Sequence[events_pb2.CallEvent]) -> list[str]:
    """The kinds of events, in order, without those that tell of dialogs alone."""
    found = [event.WhichOneof("event") or "" for event in events]
    return [kind for kind in found if kind not in ("connected", "dialog_changed")]
