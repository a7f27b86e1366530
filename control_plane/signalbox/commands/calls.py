"""``signalbox calls``: what happened to calls, read from the event journals of the edges on this machine."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from signalbox.commands.connection import CLUSTER_FILE, cluster_option, find_cluster
from signalbox.commands.eventtext import describe, milliseconds, stamp
from signalbox.commands.output import Format, as_dict, clean, output_option

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from signalbox.api.events.v1 import events_pb2

FOLLOW_INTERVAL_S = 0.2

JOURNAL_NAME = "journal"
"""Directory below an edge's state directory."""

_journals_option = click.option(
    "--journal",
    "journals",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    multiple=True,
    help="Journal directory of an edge; again for each.  [default: those in the cluster file]",
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
    """Show the latest events of all edges in order of time."""
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
    """Show every event of one call. CALL_ID is the call's id in Signalbox or the Call-ID of its caller's side."""
    from signalbox.commands.journals import call_ids, events_of

    where = _journals(journals, cluster)
    found = [events_of(where, call_id)]
    if not found[0]:
        found = [events_of(where, id) for id in sorted(call_ids(where, call_id))]
    if not found:
        raise click.ClickException(f"no call {clean(call_id)} in {', '.join(map(str, where))}")
    for events in found:
        if output_format == "json":
            _print(events, output_format)
        else:
            _print_call(events)


def _journals(directories: Sequence[Path], cluster_file: Path | None) -> Mapping[Path, str]:
    """The journals to read, and the edges that they belong to."""
    if directories:
        return {directory: _edge(directory.resolve()) for directory in directories}
    cluster = find_cluster(cluster_file)
    if cluster is None:
        raise click.UsageError(f"whose calls? Give --cluster or --journal ({CLUSTER_FILE} is not there)")
    if not cluster.journals:
        raise click.UsageError("the cluster file names no journal of an edge")
    return cluster.journals


def _edge(directory: Path) -> str:
    """Name of the edge whose journal is given by hand: that of its state directory."""
    return directory.parent.name if directory.name == JOURNAL_NAME else directory.name


def _print(events: Iterable[events_pb2.CallEvent], output_format: Format) -> None:
    """One line for each event: for people, or a JSON document."""
    for event in events:
        if output_format == "json":
            click.echo(json.dumps(as_dict(event), ensure_ascii=False))
        else:
            what, detail = describe(event)
            click.echo(clean(f"{stamp(event)}  {event.proxy:<10}  {event.call_id:<32}  {what:<11}  {detail}"))


def _print_call(events: Sequence[events_pb2.CallEvent]) -> None:
    """A call as a time line in milliseconds from its first event."""
    begin = milliseconds(events[0])
    click.echo(clean(f"call {events[0].call_id}, begun {stamp(events[0])} UTC"))
    for event in events:
        what, detail = describe(event)
        click.echo(clean(f"{milliseconds(event) - begin:>8} ms  {event.proxy:<10}  {what:<11}  {detail}"))
