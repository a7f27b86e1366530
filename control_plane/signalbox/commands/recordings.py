"""``signalbox recordings``: recordings of calls."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

from signalbox.api.provisioning.v1 import recordings_pb2 as pb
from signalbox.api.provisioning.v1 import recordings_pb2_grpc
from signalbox.api.types.v1 import recordings_pb2
from signalbox.commands import documents
from signalbox.commands.asking import PAGE_SIZE, Api
from signalbox.commands.connection import Connection, connects_to
from signalbox.commands.output import Format, as_dict, clean, output_option, print_messages, print_table
from signalbox.commands.ruleoptions import etag_option, short
from signalbox.commands.stocktext import NUMBER, grouped, moment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

LIMIT = 100
DELETE_S = 60.0
"""Least time that a deletion is waited for, seconds: the object store has to confirm it."""
PAUSE_S = 10.0
"""The same of a pause: the call is looked up and its media node asked."""
FOLLOW_INTERVAL_S = 1.0

Command = TypeVar("Command", bound=Callable[..., Any])

_STATES = {short(recordings_pb2.RecordingState, value): value for value in (1, 2, 3)}
_COLUMNS = ("call", "answered (UTC)", "tenant", "number", "caller", "line", "state", "length", "notes", "etag")
_MOMENT = click.DateTime(["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d"])

API = Api(pb, recordings_pb2_grpc.RecordingServiceStub)


@click.group()
def recordings() -> None:
    """Recordings of calls: find, fetch, play, check, hold and delete them; pause those that are being made."""


tenant_option = click.option("--tenant", default="", help="Tenant whose they are; tenants give their own.")


def filters(command: Command) -> Command:
    """The options that say which recordings; the command is called with the fields of the request as ``asked``."""

    @functools.wraps(command)
    def wrapper(
        *args: Any,
        tenant: str,
        number: str,
        caller: str,
        line: str,
        since: datetime | None,
        until: datetime | None,
        state: str | None,
        flawed: bool,
        **kwargs: Any,
    ) -> Any:
        asked = {"tenant": tenant, "number": number, "caller": caller, "line": line, "flawed": flawed}
        asked |= {"state": _STATES[state]} if state else {}
        for field, given in (("start_time", since), ("end_time", until)):
            asked |= {field: given.replace(tzinfo=UTC)} if given else {}
        return command(*args, asked={name: value for name, value in asked.items() if value}, **kwargs)

    options = (
        tenant_option,
        click.option("--number", type=NUMBER, default="", help="Only calls to this service number."),
        click.option("--caller", default="", help="Only calls from this caller."),
        click.option("--line", default="", metavar="ID", help="Only calls that this line answered."),
        click.option(
            "--since", type=_MOMENT, metavar="TIME", help="Answered at this time or later, UTC: 2026-10-01T09:00."
        ),
        click.option("--until", type=_MOMENT, metavar="TIME", help="Answered before this time, UTC."),
        click.option("--state", type=click.Choice(list(_STATES)), help="Only those in this state."),
        click.option("--flawed", is_flag=True, help="Only those that are partial or missing."),
    )
    described: Any = wrapper
    for option in reversed(options):
        described = option(described)
    return described  # type: ignore[no-any-return]


def found(connection: Connection, asked: Mapping[str, Any], limit: int) -> Iterator[recordings_pb2.Recording]:
    """The latest recordings, at most so many."""
    for page in API.listed(connection, "ListRecordings", asked, limit):
        yield from page.recordings[:limit]
        limit -= len(page.recordings)


@recordings.command("list")
@filters
@click.option("--limit", type=click.IntRange(min=1), default=LIMIT, show_default=True, help="Show at most so many.")
@connects_to("provisioning")
@output_option
def list_(asked: Mapping[str, Any], limit: int, connection: Connection, output_format: Format) -> None:
    """Show recordings, the latest first."""
    all = found(connection, asked, limit)
    if output_format == "table":
        print_table(_COLUMNS, map(_row, all))
    else:
        print_messages(all, output_format)


def _hold_command(name: str, help: str, *, hold: bool) -> None:
    def run(call_id: str, tenant: str, etag: str, connection: Connection, output_format: Format) -> None:
        asked = {"tenant": tenant, "call_id": call_id, "legal_hold": hold, "etag": etag}
        one = API.ask(connection, "SetLegalHold", **asked)
        if output_format == "table":
            print_table(_COLUMNS, [_row(one)])
        else:
            print_messages([one], output_format, one=True)

    described: Any = tenant_option(etag_option(connects_to("provisioning")(output_option(run))))
    recordings.command(name, help=help)(click.argument("call_id")(described))


_hold_command("hold", "Keep a recording whatever its time: legal hold.", hold=True)
_hold_command("unhold", "Lift the legal hold of a recording.", hold=False)


@recordings.command()
@click.argument("call_id")
@tenant_option
@connects_to("provisioning")
def delete(call_id: str, tenant: str, connection: Connection) -> None:
    """Delete a recording before its time: it is gone when this ends."""
    API.ask(_patient(connection, DELETE_S), "DeleteRecording", tenant=tenant, call_id=call_id)
    click.echo(f"deleted recording {clean(call_id)}")


@recordings.command()
@click.argument("call_id")
@tenant_option
@connects_to("provisioning")
def pause(call_id: str, tenant: str, connection: Connection) -> None:
    """Stop recording a living call, sound and digits both."""
    API.ask(_patient(connection, PAUSE_S), "PauseRecording", tenant=tenant, call_id=call_id)
    click.echo(f"paused the recording of {clean(call_id)}")


@recordings.command()
@click.argument("call_id")
@tenant_option
@connects_to("provisioning")
def resume(call_id: str, tenant: str, connection: Connection) -> None:
    """Go on recording a living call."""
    API.ask(_patient(connection, PAUSE_S), "ResumeRecording", tenant=tenant, call_id=call_id)
    click.echo(f"the recording of {clean(call_id)} goes on")


@recordings.command()
@click.option("--call", "call_id", default="", metavar="CALL_ID", help="Only those of this call.")
@tenant_option
@click.option("--after", type=click.IntRange(min=0), default=0, metavar="SEQUENCE", help="Only those after this one.")
@click.option("--follow", "-f", is_flag=True, help="Go on as events come, until interrupted.")
@connects_to("provisioning")
@output_option
def events(call_id: str, tenant: str, after: int, follow: bool, connection: Connection, output_format: Format) -> None:
    """Show what happened to recordings, the oldest first; in JSON an object a line."""
    while True:
        asked = {"tenant": tenant, "call_id": call_id, "after": after, "page_size": PAGE_SIZE}
        page = API.ask(connection, "ListRecordingEvents", **asked).events
        for event in page:
            _print_event(event, output_format)
            after = event.sequence
        if len(page) == PAGE_SIZE:
            continue
        if not follow:
            return
        time.sleep(FOLLOW_INTERVAL_S)


def _patient(connection: Connection, least_s: float) -> Connection:
    """The connection with more time for an answer, unless it has that."""
    return replace(connection, timeout_s=max(connection.timeout_s, least_s))


def _print_event(event: recordings_pb2.RecordingEvent, output_format: Format) -> None:
    if output_format == "json":
        click.echo(json.dumps(as_dict(event), ensure_ascii=False))
    elif output_format == "yaml":
        click.echo("---\n" + documents.text([documents.fields(event)]), nl=False)
    else:
        kind = short(recordings_pb2.RecordingEventKind, event.kind)
        told = (str(event.sequence), moment(event.time), f"{kind:<12}", event.tenant, event.call_id)
        click.echo(clean("  ".join((*told, event.actor or "-", event.detail)).rstrip()))


def _row(one: recordings_pb2.Recording) -> Sequence[str]:
    length = f"{one.duration.ToMilliseconds() / 1000:.1f} s" if one.HasField("duration") else ""
    is_message = one.kind == recordings_pb2.RECORDING_KIND_MESSAGE
    known = (("message", is_message), ("partial", one.partial), ("held", one.legal_hold))
    notes = [word for word, there in known if there]
    return (
        one.call_id,
        moment(one.answer_time),
        one.tenant,
        grouped(one.number),
        one.caller,
        one.line,
        short(recordings_pb2.RecordingState, one.state),
        length,
        " ".join((*notes, *one.reasons)),
        one.etag,
    )
