"""``signalbox screening-lists add-entries|remove-entries|entries``: who is on a list.

An entry is written as a number (``13800001234``), a prefix (``139*``), ``province:内蒙古``, ``area:0471`` or
``anonymous``.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any, TextIO

import click
import grpc

from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.provisioning.v1 import provisioning_pb2_grpc
from signalbox.api.types.v1.screening_pb2 import ScreeningEntry
from signalbox.commands.connection import Connection, connects_to
from signalbox.commands.failure import told
from signalbox.commands.kinds import OPERATOR, owner
from signalbox.commands.output import Format, output_option, print_messages
from signalbox.commands.rules import pages

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MOST_AT_ONCE = 10_000
"""Entries in one request; a longer file is written in several."""

_ENTRY = re.compile(r"entries\[(\d+)\]")


def parse(text: str) -> ScreeningEntry:
    """An entry as it is written; what it holds is for the service to check."""
    if text == "anonymous":
        return ScreeningEntry(anonymous=True)
    kind, colon, value = text.partition(":")
    if colon and kind == "province":
        return ScreeningEntry(province=value)
    if colon and kind == "area":
        return ScreeningEntry(area_code=value)
    if text.endswith("*"):
        return ScreeningEntry(prefix=text[:-1])
    return ScreeningEntry(number=text)


def text(entry: ScreeningEntry) -> str:
    """An entry as :func:`parse` takes it."""
    match entry.WhichOneof("match"):
        case "anonymous":
            return "anonymous"
        case "province":
            return f"province:{entry.province}"
        case "area_code":
            return f"area:{entry.area_code}"
        case "prefix":
            return f"{entry.prefix}*"
    return entry.number


def _change(verb: str, done: str) -> click.Command:
    def change(tenant: str, id: str, entries: Sequence[str], file: TextIO | None, connection: Connection) -> None:
        changed = total = 0
        given = itertools.chain(((repr(entry), entry) for entry in entries), _lines(file))
        batch: Sequence[tuple[str, str]] = ()

        def place(field: str) -> str:
            """Where an entry of the batch was given."""
            match = _ENTRY.match(field)
            return batch[int(match[1])][0] if match else field

        with connection.channel() as channel, told(place):
            stub = provisioning_pb2_grpc.ProvisioningServiceStub(channel)
            request = getattr(pb, f"{verb.capitalize()}ScreeningEntriesRequest")
            method = getattr(stub, f"{verb.capitalize()}ScreeningEntries")
            for batch in _batches(given):
                asked = request(tenant=owner(tenant), list=id, entries=[parse(entry) for _, entry in batch])
                try:
                    changed += method(asked, timeout=max(connection.timeout_s, 60)).changed
                except grpc.RpcError:
                    if total:
                        click.echo(f"{done} {changed} of the first {total} entries, then:", err=True)
                    raise
                total += len(batch)
        if not total:
            raise click.UsageError("no entry: give some, or a file")
        click.echo(f"{done} {changed} of {total} entries; the others made no difference")

    described = click.option(
        "--file", "-f", type=click.File(encoding="utf-8"), help="Entries, one a line; - is standard input."
    )(connects_to("provisioning")(change))
    described = click.argument("entries", nargs=-1)(described)
    described = click.argument("tenant")(click.argument("id", metavar="LIST")(described))
    help = (
        f"{verb.capitalize()} ENTRIES: numbers, prefixes (139*), province:内蒙古, area:0471, anonymous. "
        f"TENANT is {OPERATOR} for the operator's lists."
    )
    return click.command(f"{verb}-entries", help=help)(described)


@click.command("entries")
@click.argument("tenant")
@click.argument("id", metavar="LIST")
@connects_to("provisioning")
@output_option
def show(tenant: str, id: str, connection: Connection, output_format: Format) -> None:
    """Show the entries of a list as they are written."""
    with connection.channel() as channel, told():
        found: Iterator[Any] = pages(
            channel,
            connection.timeout_s,
            "ListScreeningEntries",
            "entries",
            {"tenant": owner(tenant), "list": id},
            MOST_AT_ONCE,
        )
        if output_format == "table":
            for entry in found:
                click.echo(text(entry))
        else:
            print_messages(found, output_format)


def _lines(file: TextIO | None) -> Iterator[tuple[str, str]]:
    """The entries of a file, each with where it stands."""
    for number, line in enumerate(file or (), 1):
        entry = line.partition("#")[0].strip()
        if entry:
            yield f"{file.name if file else ''}:{number}", entry


def _batches(entries: Iterable[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    iterator = iter(entries)
    while batch := list(itertools.islice(iterator, MOST_AT_ONCE)):
        yield batch


COMMANDS: tuple[click.Command, ...] = (_change("add", "added"), _change("remove", "removed"), show)
