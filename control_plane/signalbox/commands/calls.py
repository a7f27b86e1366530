"""``signalbox calls``: what happened to calls, read from the event journals of edges and workers on this machine."""

from __future__ import annotations

import csv
import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from signalbox.commands import documents
from signalbox.commands.connection import CLUSTER_FILE, Cluster, cluster_option, find_cluster
from signalbox.commands.eventtext import describe, milliseconds, stamp
from signalbox.commands.failure import UnreachableError
from signalbox.commands.output import Format, as_dict, clean, output_option

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from signalbox.api.events.v1 import events_pb2

FOLLOW_INTERVAL_S = 0.2

_MOMENT = click.DateTime(["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d"])

JOURNAL_NAME = "journal"
"""Directory below the state directory of an edge or a worker."""

_journals_option = click.option(
    "--journal",
    "journals",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    multiple=True,
    help="Journal directory of an edge or a worker; again for each.  [default: those in the cluster file]",
)


@click.group()
def calls() -> None:
    """Look at calls: what was asked, decided, tried, and how it ended."""


@calls.command()
@click.option("--follow", "-f", is_flag=True, help="Go on as events come, until interrupted.")
@click.option("--lines", "-n", type=click.IntRange(min=0), default=20, show_default=True, help="Events to begin with.")
@_journals_option
@cluster_option
@output_option
def tail(follow: bool, lines: int, journals: Sequence[Path], cluster: Path | None, output_format: Format) -> None:
    """Show the latest events of all edges and workers in order of time."""
    from signalbox.commands.journals import JournalReader, in_order

    readers = [JournalReader(directory, proxy) for directory, proxy in _journals(journals, cluster).items()]
    latest = in_order(reader.latest(lines) for reader in readers)
    _print(latest[-lines:] if lines else (), output_format)
    while follow:
        _print(in_order(reader.read() for reader in readers), output_format)
        time.sleep(FOLLOW_INTERVAL_S)


@calls.command()
@click.argument("call_id")
@_journals_option
@cluster_option
@output_option
def show(call_id: str, journals: Sequence[Path], cluster: Path | None, output_format: Format) -> None:
    """Show every event of one call. CALL_ID is the call's id in Signalbox or the Call-ID of its caller's side.

    With those of the lines that a worker with voice called for it, and which are calls of their own: "leg 1" and so on.
    """
    from signalbox.commands.journals import call_ids, events_of

    where = _journals(journals, cluster)
    found = [events_of(where, call_id)]
    if not found[0]:
        found = [events_of(where, id) for id in sorted(call_ids(where, call_id))]
    if not found:
        raise click.ClickException(f"no call {clean(call_id)} in {', '.join(map(str, where))}")
    for events in found:
        if output_format == "table":
            _print_call(events)
        else:
            _print(events, output_format)


@calls.command()
@click.argument("call_id")
@click.option(
    "--door",
    "doors",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    multiple=True,
    help="UNIX socket of an edge, edge.sock; again for others to ask.  [default: those in the cluster file]",
)
@cluster_option
def hangup(call_id: str, doors: Sequence[Path], cluster: Path | None) -> None:
    """End a call, whichever proxy it goes through. CALL_ID is the call's id in Signalbox."""
    from signalbox.commands.door import DoorClosedError, hang_up

    for door in doors or _doors(cluster):
        try:
            told = hang_up(door, call_id)
        except DoorClosedError as error:
            click.echo(f"{door}: {error}", err=True)
            continue
        if told.refusal:
            raise click.ClickException(clean(told.refusal))
        click.echo(clean(f"{call_id} is ended: the caller said {told.caller}, the line {told.line}"))
        return
    raise UnreachableError("no edge could be asked")


def _doors(cluster_file: Path | None) -> Sequence[Path]:
    cluster = _cluster(cluster_file, "which edge? Give --cluster or --door")
    if not cluster.doors:
        raise click.UsageError("the cluster file names no socket of an edge")
    return cluster.doors


@calls.command()
@click.option("--format", "kind", type=click.Choice(["csv", "json"]), default="csv", show_default=True)
@click.option(
    "--since", type=_MOMENT, metavar="TIME", help="Calls that began at this time or later, UTC: 2026-10-01T09:00."
)
@click.option("--until", type=_MOMENT, metavar="TIME", help="Calls that began before this time, UTC.")
@click.option("--all", "unended", is_flag=True, help="Calls too whose end has not been seen.")
@click.option(
    "--file", "-o", type=click.File("w", encoding="utf-8", atomic=True), default="-", help="Not to standard output."
)
@_journals_option
@cluster_option
def export(
    kind: str,
    since: datetime | None,
    until: datetime | None,
    unended: bool,
    file: TextIO,
    journals: Sequence[Path],
    cluster: Path | None,
) -> None:
    """Write one record for each call that has ended: CSV with a head line, or a JSON object a line.

    Fields that end with _ms are milliseconds: begin, ring, answer and end since 1970 UTC, 0 if it never came to that;
    post_dial_delay from the INVITE to the first 18x or 2xx, talk from the answer to the end. "tried" names the lines
    in their order, each with the code with which it failed: "desk=486 mobile".
    """
    from signalbox.commands.callrecords import FIELDS, records
    from signalbox.commands.journals import JournalReader, in_order

    readers = [JournalReader(directory, proxy) for directory, proxy in _journals(journals, cluster).items()]
    first, last = _milliseconds(since, 0), _milliseconds(until, sys.maxsize)
    table = csv.DictWriter(file, FIELDS)
    if kind == "csv":
        table.writeheader()
    for record in records(in_order(reader.read() for reader in readers)):
        if first <= record.begin_ms < last and (record.ended or unended):
            if kind == "csv":
                # A caller's text must not end a line, nor be a command to the terminal that shows the file.
                table.writerow({name: clean(str(value)) for name, value in record.as_dict().items()})
            else:
                file.write(json.dumps(record.as_dict(), ensure_ascii=False) + "\n")


def _milliseconds(moment: datetime | None, default: int) -> int:
    return default if moment is None else int(moment.replace(tzinfo=UTC).timestamp() * 1000)


def _journals(directories: Sequence[Path], cluster_file: Path | None) -> Mapping[Path, str]:
    """The journals to read, and the edges and workers that they belong to."""
    if directories:
        return {directory: _edge(directory.resolve()) for directory in directories}
    cluster = _cluster(cluster_file, "whose calls? Give --cluster or --journal")
    if not cluster.journals:
        raise click.UsageError("the cluster file names no journal")
    return cluster.journals


def _cluster(file: Path | None, question: str) -> Cluster:
    cluster = find_cluster(file)
    if cluster is None:
        raise click.UsageError(f"{question} ({CLUSTER_FILE} is not there)")
    return cluster


def _edge(directory: Path) -> str:
    """Name of the edge or worker whose journal is given by hand: that of its state directory."""
    return directory.parent.name if directory.name == JOURNAL_NAME else directory.name


def _print(events: Iterable[events_pb2.CallEvent], output_format: Format) -> None:
    """One line for each event, for people or as JSON, or one YAML document."""
    for event in events:
        if output_format == "json":
            click.echo(json.dumps(as_dict(event), ensure_ascii=False))
        elif output_format == "yaml":
            click.echo("---\n" + documents.text([documents.fields(event)]), nl=False)
        else:
            what, detail = describe(event)
            click.echo(clean(f"{stamp(event)}  {event.proxy:<10}  {event.call_id:<32}  {what:<11}  {detail}"))


def _print_call(events: Sequence[events_pb2.CallEvent]) -> None:
    """A call as a time line in milliseconds from its first event."""
    begin = milliseconds(events[0])
    click.echo(clean(f"call {events[0].call_id}, begun {stamp(events[0])} UTC"))
    legs = {events[0].call_id: ""}
    for event in events:
        what, detail = describe(event)
        detail = legs.setdefault(event.call_id, f"leg {len(legs)}: ") + detail
        click.echo(clean(f"{milliseconds(event) - begin:>8} ms  {event.proxy:<10}  {what:<11}  {detail}"))
