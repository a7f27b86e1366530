"""Provisions a company from a program: what a client of the API has to know, in one file.

    .venv/bin/python docs/examples/provision.py var/cluster.json [NUMBERS [ENTRIES]]

Needs the stubs of this package (or others made of proto/), grpcio and grpcio-status. It may be run again: what is as it
should be stays. docs/provisioning.md says why things are done so.
"""

from __future__ import annotations

import json
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.field_mask_pb2 import FieldMask
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.provisioning.v1.provisioning_pb2_grpc import ProvisioningServiceStub
from signalbox.api.routing.v1 import routing_pb2
from signalbox.api.types.v1 import flows_pb2, schedules_pb2, screening_pb2, types_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TENANT = "example"
OBJECTS_IN_A_STEP = 40
ENTRIES_IN_A_REQUEST = 10_000
TIMEOUT_S = 10


def connect(cluster_file: Path) -> grpc.Channel:
    """A channel with the operator's certificate to the cluster that `make up` started."""
    cluster = json.loads(cluster_file.read_text())
    ca, key, cert = (Path(cluster["credentials"][name]).read_bytes() for name in ("ca", "key", "cert"))
    return grpc.secure_channel(cluster["grpc"]["provisioning"][0], grpc.ssl_channel_credentials(ca, key, cert))


def reason(error: Any) -> str:
    """Why a request was refused, for programs: a name of types.v1.ErrorReason."""
    status = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()
    return info.reason if status and any(detail.Unpack(info) for detail in status.details) else ""


def company(numbers: int) -> list[pb.Object]:
    """All objects of the company, what is referred to before what refers to it."""
    ids = [f"line-{n}" for n in range(numbers)]
    lines = [types_pb2.Line(tenant=TENANT, id=id, user=f"{1000 + n}", host="192.0.2.7") for n, id in enumerate(ids)]
    group = flows_pb2.LineGroup(
        tenant=TENANT,
        id="desks",
        distribution=flows_pb2.DISTRIBUTION_ROUND_ROBIN,
        lines=[flows_pb2.DialLine(line=id) for id in ids[:1000]],
    )
    new_year = schedules_pb2.CalendarDay(date="2027-01-01", kind=schedules_pb2.DAY_KIND_HOLIDAY, name="元旦")
    working_hours = schedules_pb2.WeeklyHours(days=[1, 2, 3, 4, 5], start_time="09:00", end_time="18:00")
    rules = schedules_pb2.ScheduleRules(
        calendar="holidays", periods=[schedules_pb2.Period(name="open", weekly=working_hours)]
    )
    by_hours = flows_pb2.ScheduleNode(
        schedule="hours", branches=[flows_pb2.ScheduleBranch(period="open", next="desks")], otherwise="closed"
    )
    graph = flows_pb2.FlowGraph(
        entry="hours",
        nodes=[
            flows_pb2.FlowNode(id="hours", schedule=by_hours),
            flows_pb2.FlowNode(id="desks", dial=flows_pb2.DialNode(line_group="desks")),
            flows_pb2.FlowNode(id="closed", hang_up=flows_pb2.HangUpNode(cause=flows_pb2.HANG_UP_CAUSE_UNAVAILABLE)),
        ],
    )
    service_numbers = [
        types_pb2.Number(
            number=f"400880{n:04d}",
            tenant=TENANT,
            flow="main",
            screening=types_pb2.Screening(blacklists=["pests"]),
            limits=types_pb2.Limits(concurrent_calls=20),
        )
        for n in range(numbers)
    ]
    limits = types_pb2.Limits(concurrent_calls=500, calls_per_second=50)
    return [
        pb.Object(tenant=types_pb2.Tenant(id=TENANT, display_name="Example", limits=limits)),
        *(pb.Object(line=line) for line in lines),
        pb.Object(line_group=group),
        pb.Object(calendar=schedules_pb2.Calendar(tenant=TENANT, id="holidays", days=[new_year])),
        pb.Object(schedule=schedules_pb2.Schedule(tenant=TENANT, id="hours", draft=rules)),
        pb.Object(screening_list=screening_pb2.ScreeningList(tenant=TENANT, id="pests")),
        pb.Object(flow=flows_pb2.Flow(tenant=TENANT, id="main", draft=graph)),
        *(pb.Object(number=number) for number in service_numbers),
    ]


def apply(api: ProvisioningServiceStub, objects: Sequence[pb.Object]) -> int:
    """Put objects, 40 in a step; returns the number of steps.

    A request id makes it safe to send a request again whose answer was lost: it is done once.
    """
    steps = range(0, len(objects), OBJECTS_IN_A_STEP)
    for start in steps:
        request = pb.ApplyRequest(put=objects[start : start + OBJECTS_IN_A_STEP], request_id=str(uuid.uuid4()))
        try:
            api.Apply(request, timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise
            api.Apply(request, timeout=TIMEOUT_S)
    return len(steps)


def refuse(api: ProvisioningServiceStub, callers: Sequence[str]) -> int:
    """Put callers on the blacklist; returns how many were not there yet."""
    changed = 0
    for start in range(0, len(callers), ENTRIES_IN_A_REQUEST):
        some = callers[start : start + ENTRIES_IN_A_REQUEST]
        entries = [screening_pb2.ScreeningEntry(number=caller) for caller in some]
        request = pb.AddScreeningEntriesRequest(tenant=TENANT, list="pests", entries=entries)
        changed += api.AddScreeningEntries(request, timeout=TIMEOUT_S).changed
    return changed


def raise_limit(api: ProvisioningServiceStub, digits: str, by: int) -> types_pb2.Number:
    """Let a number take more calls: read, change, and write only if nobody was there before; else all of it again."""
    while True:
        number = api.GetNumber(pb.GetNumberRequest(number=digits), timeout=TIMEOUT_S)
        number.limits.concurrent_calls += by
        mask = FieldMask(paths=["limits.concurrent_calls"])
        try:
            return api.UpdateNumber(pb.UpdateNumberRequest(number=number, update_mask=mask), timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            if reason(error) != "ETAG_MISMATCH":
                raise


def changes(api: ProvisioningServiceStub, cursor: str) -> Iterator[pb.WatchResponse]:
    """Every change from a cursor on, through breaks of the connection.

    Raises RpcError if it is too late to resume (RESYNC_REQUIRED): watch without a cursor, then list everything.
    """
    while True:
        try:
            for response in api.Watch(pb.WatchRequest(cursor=cursor, tenant=TENANT)):
                cursor = response.cursor
                yield response
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            time.sleep(1)


def explain(api: ProvisioningServiceStub, digits: str, since: str, at: str, **counts: int) -> str:
    """Why a call would end as it does, by rules that are at least those of the etag ``since``."""
    request = routing_pb2.ExplainRequest(
        request=routing_pb2.DecideRequest(called=digits, calling="02812345678"),
        counts={name.replace("_", "/"): count for name, count in counts.items()},
    )
    request.time.FromJsonString(at)
    while True:
        answer = api.Explain(request, timeout=TIMEOUT_S)
        if answer.rule_revision >= int(since):
            return next(f"{step.rule}: {step.finding}" for step in answer.steps if step.decisive)
        time.sleep(0.05)


def as_reader(api: ProvisioningServiceStub) -> list[str]:
    """What the bearer of a key of a tenant's reader gets: its role allows some methods, and its tenant alone."""
    key = types_pb2.ApiKey(tenant=TENANT, id=f"reader-{uuid.uuid4()}", role=types_pb2.ROLE_TENANT_READER)
    made = api.CreateApiKey(pb.CreateApiKeyRequest(api_key=key), timeout=TIMEOUT_S)
    bearer = (("authorization", f"Bearer {made.secret}"),)
    told = []
    for method, request in (
        (api.GetTenant, pb.GetTenantRequest(id=TENANT)),
        (api.DeleteLine, pb.DeleteLineRequest(tenant=TENANT, id="line-0")),
        (api.ListTenants, pb.ListTenantsRequest()),
    ):
        try:
            method(request, metadata=bearer, timeout=TIMEOUT_S)
            told.append("OK")
        except grpc.RpcError as error:
            told.append(reason(error))
    api.DeleteApiKey(pb.DeleteApiKeyRequest(tenant=TENANT, id=key.id), timeout=TIMEOUT_S)
    return told


def main(cluster_file: str, numbers: str = "1000", entries: str = "100000") -> None:
    """Do all of it, and tell what happened."""
    with connect(Path(cluster_file)) as channel:
        api = ProvisioningServiceStub(channel)
        objects = company(int(numbers))
        print(f"{len(objects)} objects in {apply(api, objects)} steps")
        refused = refuse(api, [f"{13_000_000_000 + 37 * n}" for n in range(int(entries))])
        print(f"{refused} callers refused that were not before")

        watched = changes(api, "")
        next(watched)  # The watch has begun: no later change is missed.
        number = raise_limit(api, "4008800000", by=5)
        seen = next(response.changes for response in watched if response.changes)
        print(f"seen: {seen[0].object.WhichOneof('object')} of etag {seen[0].object.number.etag == number.etag}")

        monday, sunday = "2027-01-04T10:00:00+08:00", "2027-01-03T10:00:00+08:00"
        limit = number.limits.concurrent_calls
        print(explain(api, number.number, number.etag, monday))
        print(explain(api, number.number, number.etag, sunday))
        print(explain(api, number.number, number.etag, monday, number_4008800000=limit))
        print(f"a reader: {', '.join(as_reader(api))}")


if __name__ == "__main__":
    main(*sys.argv[1:])
