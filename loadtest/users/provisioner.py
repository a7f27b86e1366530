"""Who changes rules while calls run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import gevent
import grpc
from google.protobuf.field_mask_pb2 import FieldMask
from locust import constant_throughput, task
from signalbox.api.provisioning.v1 import bulk_pb2, bulk_pb2_grpc, provisioning_pb2, provisioning_pb2_grpc
from signalbox.api.routing.v1 import routing_pb2_grpc

from loadtest import rows, site
from loadtest.figures import PROVISIONING
from loadtest.users.asking import Asking

if TYPE_CHECKING:
    from locust.env import Environment
    from signalbox.api.types.v1 import types_pb2

EDIT_S = 10.0
IMPORT_S = 60.0
IN_FORCE_S = 10.0
"""A change that nobody obeys by then is a failure."""
ASK_EVERY_S = 0.002
ROWS = 200
FIRST_ROW = 9_000
"""Ranks of the numbers that are edited and imported: behind all that are called."""
EDITED = site.RANKS_MOST - 1


class Provisioner(Asking):
    """Edits a number and looks when routing obeys, and imports numbers now and then, as provisioning systems do."""

    part = PROVISIONING
    fixed_count = 1
    wait_time = constant_throughput(1)

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._lines = 1

    def on_start(self) -> None:
        """Connect, and create the number that is edited."""
        channel = self.of_run.provisioning()
        self._stub = provisioning_pb2_grpc.ProvisioningServiceStub(channel)
        self._bulk = bulk_pb2_grpc.BulkServiceStub(channel)
        self._stub.Apply(
            provisioning_pb2.ApplyRequest(put=[provisioning_pb2.Object(number=self._number())]), timeout=EDIT_S
        )

    @task(9)
    def edit(self) -> None:
        """Change what a number rings, and see the next decision obey."""
        self._lines = 3 - self._lines
        request = provisioning_pb2.UpdateNumberRequest(number=self._number(), update_mask=FieldMask(paths=["stages"]))
        began = time.perf_counter()
        try:
            self._stub.UpdateNumber(request, timeout=EDIT_S)
        except grpc.RpcError as error:
            self.tell(rows.EDIT, began, error.code().name)
            return
        self.tell(rows.EDIT, began)
        if self.of_run.has_routing:
            began = time.perf_counter()
            self.tell(rows.IN_FORCE, began, self._wait())

    @task(1)
    def import_numbers(self) -> None:
        """Bring numbers to what rows say."""
        numbers = [site.number(self.site, FIRST_ROW + at, site.LINE) for at in range(ROWS)]
        request = bulk_pb2.ImportNumbersRequest(
            options=bulk_pb2.ImportOptions(), rows=[bulk_pb2.NumberRow(number=number) for number in numbers]
        )
        began = time.perf_counter()
        refused = 0
        try:
            for response in self._bulk.ImportNumbers(iter([request]), timeout=IMPORT_S):
                refused += sum(result.outcome == bulk_pb2.IMPORT_OUTCOME_REFUSED for result in response.results)
        except grpc.RpcError as error:
            self.tell(rows.IMPORT, began, error.code().name)
        else:
            self.tell(rows.IMPORT, began, f"{refused} of {ROWS} rows were refused" if refused else "")

    def _wait(self) -> str:
        """Ask until a decision obeys; empty, or what was wrong."""
        stub = routing_pb2_grpc.RoutingServiceStub(self.of_run.routing())
        deadline = time.monotonic() + IN_FORCE_S
        while True:
            try:
                decision = stub.Decide(self.question(EDITED), timeout=EDIT_S).decision
            except grpc.RpcError as error:
                return str(error.code().name)
            if len(decision.dial.stages) == self._lines:
                return ""
            if time.monotonic() > deadline:
                return f"not in force after {IN_FORCE_S:.0f} s"
            gevent.sleep(ASK_EVERY_S)

    def _number(self) -> types_pb2.Number:
        """The one that is edited, as it is to be."""
        return site.number(self.site, EDITED, *((site.LINE,) if self._lines == 1 else (site.BUSY, site.LINE)))
