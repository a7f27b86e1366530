"""``signalbox audit``: who changed what."""

from __future__ import annotations

import difflib
import functools
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from google.protobuf import json_format

from signalbox.api.provisioning.v1 import audit_pb2 as pb
from signalbox.api.provisioning.v1 import audit_pb2_grpc, inventory_pb2
from signalbox.api.types.v1 import recordings_pb2, types_pb2
from signalbox.commands import documents
from signalbox.commands.connection import Connection, connects_to
from signalbox.commands.failure import REFUSED, told
from signalbox.commands.kinds import KINDS, OPERATOR
from signalbox.commands.output import Format, clean, output_option, print_messages, print_table
from signalbox.commands.ruleoptions import short

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from google.protobuf.timestamp_pb2 import Timestamp

    from signalbox.api.types.v1 import audit_pb2

PAGE_SIZE = 500
LIMIT = 50
VERIFY_S = 600.0
VARIOUS = "(various)"
"""In place of a method: of somebody who tried many things."""
COLUMNS = ("record", "time (UTC)", "actor", "method", "object", "what")

_MOMENT = click.DateTime(["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d"])
_ALWAYS_NEW = {"update_time"}
_ORDERS = {"read": "read", "ended": "ordered to end", "paused": "ordered to pause", "resumed": "ordered to go on"}
"""What may have been done with an object that changed nothing of it."""

STATES = (*(kind.message for kind in KINDS), types_pb2.ApiKey, inventory_pb2.InventoryNumber, recordings_pb2.Recording)
"""What records hold: json_format finds a type by its name only where it has been imported."""


@click.group()
def audit() -> None:
    """Who changed what: the records of the audit log."""


@audit.command("list")
@click.option("--tenant", default="", help="Only what is of this tenant; tenants give their own.")
@click.option("--kind", default="", help="Only objects of this kind: line, number, screening-list, recording.")
@click.option("--id", default="", help="Only the object of this id; of a number its digits.")
@click.option("--actor", default="", help="Only what was done by: 'certificate alice', 'api-key acme/robot'.")
@click.option("--method", default="", help="Only what was asked by this method: UpdateNumber.")
@click.option("--since", type=_MOMENT, metavar="TIME", help="At this time or later, UTC: 2026-10-01T09:00.")
@click.option("--until", type=_MOMENT, metavar="TIME", help="Before this time, UTC.")
@click.option("--refused", is_flag=True, help="Only attempts that were refused.")
@click.option("--limit", type=click.IntRange(min=1), default=LIMIT, show_default=True, help="Show at most so many.")
@connects_to("provisioning")
@output_option
def list_(
    since: datetime | None,
    until: datetime | None,
    limit: int,
    kind: str,
    connection: Connection,
    output_format: Format,
    **asked: Any,
) -> None:
    """Show records, the latest first."""
    request = pb.ListAuditRecordsRequest(kind=kind.replace("-", "_"), page_size=min(limit, PAGE_SIZE), **asked)
    for field, moment in (("begin_time", since), ("end_time", until)):
        if moment is not None:
            getattr(request, field).FromDatetime(moment.replace(tzinfo=UTC))
    with connection.channel() as channel, told():
        found = _records(channel, connection.timeout_s, request, limit)
        if output_format == "table":
            print_table(COLUMNS, map(_row, found))
        else:
            print_messages(found, output_format)


@audit.command()
@click.argument("record", type=click.IntRange(min=1))
@connects_to("provisioning")
@output_option
def show(record: int, connection: Connection, output_format: Format) -> None:
    """Show one record, with what the object was before and is after it. RECORD is its number."""
    with connection.channel() as channel, told():
        stub = audit_pb2_grpc.AuditServiceStub(channel)
        found = stub.GetAuditRecord(pb.GetAuditRecordRequest(sequence=record), timeout=connection.timeout_s)
    if output_format == "table":
        for line in _described(found):
            click.echo(clean(line))
    else:
        print_messages([found], output_format, one=True)


@audit.command()
@connects_to("provisioning")
@output_option
def verify(connection: Connection, output_format: Format) -> None:
    """Read the whole log, and name every record that was changed, taken out or put in. Exits with 1 if one was."""
    with connection.channel() as channel, told():
        stub = audit_pb2_grpc.AuditServiceStub(channel)
        verdict = stub.VerifyAudit(pb.VerifyAuditRequest(), timeout=max(connection.timeout_s, VERIFY_S))
    if output_format == "table":
        _print_verdict(verdict)
    else:
        print_messages([verdict], output_format, one=True)
    if verdict.faults:
        sys.exit(REFUSED)


@audit.command("verify-files")
@click.argument("directory", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--last", metavar="RECORD:SHA256", help="The last record that must be there, as `verify` told it before.")
def verify_files(directory: Path, last: str | None) -> None:
    """The same for a copy of the log's directory, without any service. What was cut off the end is found by --last."""
    from signalbox.api.types.v1.audit_pb2 import AuditHead
    from signalbox.provisioning.audit.verify import read

    head = None
    if last is not None:
        sequence, _, digest = last.partition(":")
        try:
            head = AuditHead(sequence=int(sequence), sha256=bytes.fromhex(digest))
        except ValueError as error:
            raise click.BadParameter(f"{last!r}: RECORD:SHA256 is expected", param_hint="--last") from error
    try:
        verdict = read(directory, head)
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from error
    _print_verdict(verdict)
    if verdict.faults:
        sys.exit(REFUSED)


def _records(
    channel: Any, timeout_s: float, request: pb.ListAuditRecordsRequest, limit: int
) -> Iterator[audit_pb2.AuditRecord]:
    ask = functools.partial(audit_pb2_grpc.AuditServiceStub(channel).ListAuditRecords, timeout=timeout_s)
    left = limit
    while left:
        page = ask(request)
        if page.behind and left == limit:
            click.echo("the audit log cannot be written at present: the latest changes are missing", err=True)
        for record in page.audit_records[:left]:
            left -= 1
            yield record
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


def _print_verdict(verdict: pb.VerifyAuditResponse) -> None:
    which = f"records {verdict.first_sequence} to {verdict.last_sequence}" if verdict.records else "no records"
    if not verdict.faults:
        end = f"\nlast: {verdict.last_sequence}:{verdict.sha256.hex()}" if verdict.records else ""
        click.echo(f"{which}: unchanged and complete{end}")
        return
    for fault in verdict.faults:
        click.echo(f"record {fault.sequence} in {clean(fault.segment)}: {clean(fault.reason)}")
    click.echo(f"{which}: NOT as they were written", err=True)


def _row(record: audit_pb2.AuditRecord) -> Sequence[str]:
    method = record.method or VARIOUS
    return str(record.sequence), _time(record.time), record.actor.name, method, _object(record), _what(record)


def _time(time: Timestamp) -> str:
    return f"{time.ToDatetime():%Y-%m-%d %H:%M:%S}"


def _object(record: audit_pb2.AuditRecord) -> str:
    if record.HasField("refusal"):
        return "/".join(filter(None, (record.refusal.tenant, record.refusal.id)))
    change = record.change
    named = change.id if change.kind == "tenant" else "/".join(filter(None, (change.tenant, change.id)))
    return f"{change.kind.replace('_', ' ')} {named}"


def _what(record: audit_pb2.AuditRecord) -> str:
    """What became of it, in a few words."""
    if record.HasField("refusal"):
        refusal = record.refusal
        times = f", {refusal.times} times until {refusal.last_time.ToDatetime():%H:%M:%S}" if refusal.times > 1 else ""
        others = f", and {refusal.unrecorded} before" if refusal.unrecorded else ""
        return f"refused: {refusal.reason}{times}{others}"
    change = record.change
    if change.HasField("entries"):
        return f"entries: {change.entries.added} added, {change.entries.removed} removed"
    for done, words in _ORDERS.items():
        if getattr(change, done):
            return words
    if not change.HasField("before"):
        return "created"
    if not change.HasField("after"):
        return "deleted"
    before, after = _fields(change.before), _fields(change.after)
    names = [name for name in {**before, **after} if before.get(name) != after.get(name) and name not in _ALWAYS_NEW]
    return f"changed: {', '.join(names)}" if names else "changed"


def _fields(state: audit_pb2.AuditState) -> dict[str, Any]:
    """The fields of an object; of one that was too large what is known of it."""
    told = state.object if state.HasField("object") else state
    known: dict[str, Any] = json_format.MessageToDict(told, preserving_proto_field_name=True)
    known.pop("@type", None)
    return known


def _described(record: audit_pb2.AuditRecord) -> Iterator[str]:
    actor = record.actor
    role = f" ({short(types_pb2.Role, actor.role).replace('_', ' ')})" if actor.role else ""
    yield f"record    {record.sequence}, {_time(record.time)} UTC"
    yield f"actor     {actor.name}{role}{f', from {actor.peer}' if actor.peer else ''}"
    yield f"method    {record.method or VARIOUS}{f', request id {record.request_id}' if record.request_id else ''}"
    yield f"object    {_object(record) or OPERATOR}"
    if record.revision:
        yield f"revision  {record.revision}"
    yield f"what      {_what(record)}"
    change = record.change
    yield from (f"  {entry}" for entry in change.entries.entries)
    before, after = (
        documents.text([_fields(state)]).splitlines() if there else []
        for state, there in ((change.before, change.HasField("before")), (change.after, change.HasField("after")))
    )
    for line in list(difflib.unified_diff(before, after, n=100, lineterm=""))[3:]:
        yield f"  {line}"
