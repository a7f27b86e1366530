"""``signalbox inventory``: free numbers, and numbers from their reservation to their release."""

from __future__ import annotations

import hashlib
import mimetypes
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from signalbox.api.types.v1 import inventory_pb2, types_pb2
from signalbox.commands import documents
from signalbox.commands.connection import Connection, connects_to
from signalbox.commands.output import Format, clean, output_option, print_messages, print_table
from signalbox.commands.retrying import retries
from signalbox.commands.ruleoptions import etag_option, parse_stage, short
from signalbox.commands.stock import ask, classes, listed, ranges
from signalbox.commands.stocktext import DURATION, NUMBER, amount, contract, grouped, minor, moment
from signalbox.commands.uploads import FILE, KINDS, short_kind, upload
from signalbox.commands.uploads import documents as document_commands

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from google.protobuf.message import Message

    from signalbox.api.provisioning.v1 import inventory_pb2 as pb
    from signalbox.commands.uploads import File

ACROSS = 5
"""Numbers in a line of a search."""
LIMIT = 100
_STATES = {short(inventory_pb2.InventoryState, value): value for value in range(2, 9)}
_REASONS = {short(inventory_pb2.SuspensionReason, value): value for value in range(1, 4)}
_COLUMNS = ("number", "state", "tenant", "range", "class", "minimum a month", "ends (UTC)", "etag")


@click.group()
def inventory() -> None:
    """Find free numbers; reserve, activate, suspend and release numbers; keep ranges and classes."""


inventory.add_command(ranges)
inventory.add_command(classes)
inventory.add_command(document_commands)


def _limit_option(command: Any) -> Any:
    return click.option(
        "--limit", type=click.IntRange(min=1), default=LIMIT, show_default=True, help="Show at most so many."
    )(command)


@inventory.command()
@click.argument("pattern", nargs=-1)
@click.option("--class", "number_class", default="", metavar="ID", help="Only numbers of this class.")
@click.option("--ordinary", is_flag=True, help="Only numbers of no class.")
@click.option("--range", "range_", default="", metavar="ID", help="Only numbers of this range.")
@_limit_option
@connects_to("provisioning")
@output_option
def search(
    pattern: Sequence[str],
    number_class: str,
    ordinary: bool,
    range_: str,
    limit: int,
    connection: Connection,
    output_format: Format,
) -> None:
    """Find free numbers that fit all words of PATTERN: ends:888, AABB, contains:520, without:4, 400????88?."""
    asked = {"pattern": " ".join(pattern), "number_class": number_class, "ordinary": ordinary, "range": range_}
    found: list[pb.FreeNumber] = []
    total = 0
    for page in listed(connection, "SearchNumbers", asked, limit):
        found += page.numbers
        total = page.total_size
    found = found[:limit]
    if output_format != "table":
        print_messages(found, output_format)
        return
    for terms, numbers in _by_terms(found):
        click.echo(terms)
        for start in range(0, len(numbers), ACROSS):
            click.echo("  " + "  ".join(f"{grouped(one):<12}" for one in numbers[start : start + ACROSS]).rstrip())
    click.echo(f"{total:,} free, {len(found):,} shown" if len(found) < total else f"{total:,} free")


def _by_terms(found: Sequence[pb.FreeNumber]) -> Iterator[tuple[str, Sequence[str]]]:
    """Numbers under what they cost, in the order in which terms come first."""
    groups: dict[str, list[str]] = {}
    for one in found:
        parts = [one.terms.number_class or "ordinary"]
        spend = amount(one.terms.minimum_spend, one.terms.currency)
        parts += [f"at least {spend} a month"] if spend else []
        parts += [contract(one.terms)] if one.terms.contract_months else []
        groups.setdefault(", ".join(parts), []).append(one.number)
    yield from groups.items()


@inventory.command()
@click.argument("number", type=NUMBER)
@connects_to("provisioning")
@output_option
def show(number: str, connection: Connection, output_format: Format) -> None:
    """Show a number, with what is attached to its application."""
    one = ask(connection, "GetInventoryNumber", number=number)
    _show(one, output_format)
    if output_format == "table" and one.documents:
        click.echo()
        rows = (
            (
                short_kind(document.kind),
                document.file_name,
                str(document.size_bytes),
                document.content or f"document {document.id}",
            )
            for document in one.documents
        )
        print_table(("document", "file", "bytes", "content"), rows)


@inventory.command("list")
@click.argument("pattern", nargs=-1)
@click.option("--tenant", default="", help="Only those of this tenant.")
@click.option("--state", type=click.Choice(list(_STATES)), help="Only those in this state.")
@click.option("--range", "range_", default="", metavar="ID", help="Only numbers of this range.")
@_limit_option
@connects_to("provisioning")
@output_option
def list_(
    pattern: Sequence[str],
    tenant: str,
    state: str | None,
    range_: str,
    limit: int,
    connection: Connection,
    output_format: Format,
) -> None:
    """Show numbers that are not available."""
    asked = {
        "pattern": " ".join(pattern),
        "tenant": tenant,
        "state": _STATES[state] if state else 0,
        "range": range_,
    }
    pages = listed(connection, "ListInventoryNumbers", asked, limit)
    found = [one for page in pages for one in page.inventory_numbers][:limit]
    if output_format == "table":
        print_table(_COLUMNS, map(_row, found))
    else:
        print_messages(found, output_format)


@inventory.command()
@click.argument("number", type=NUMBER)
@_limit_option
@connects_to("provisioning")
@output_option
def history(number: str, limit: int, connection: Connection, output_format: Format) -> None:
    """Show what happened to a number, the latest first."""
    pages = listed(connection, "ListNumberHistory", {"number": number}, limit)
    events = [event for page in pages for event in page.events][:limit]
    if output_format == "table":
        columns = ("time (UTC)", "what", "then", "tenant", "by", "reason", "documents")
        print_table(columns, map(_event_row, events))
    else:
        print_messages(events, output_format)


def _event_row(event: inventory_pb2.NumberEvent) -> Sequence[str]:
    return (
        moment(event.time),
        short(inventory_pb2.InventoryTransition, event.transition),
        short(inventory_pb2.InventoryState, event.state),
        event.tenant,
        event.actor or "(time)",
        event.reason,
        " ".join(document.file_name for document in event.documents),
    )


def _command(method: str, name: str, help: str, *options: Callable[[Any], Any]) -> None:
    """A transition whose options are fields of its request."""

    def run(number: str, connection: Connection, output_format: Format, **fields: Any) -> None:
        given = {field: value for field, value in fields.items() if value is not None}
        _show(ask(connection, f"{method}Number", number=number, **given), output_format)

    described: Any = etag_option(connects_to("provisioning")(output_option(run)))
    for option in reversed(options):
        described = option(described)
    inventory.command(name, help=help)(click.argument("number", type=NUMBER)(described))


def _for_option(help: str) -> Callable[[Any], Any]:
    return click.option("--for", "duration", type=DURATION, metavar="TIME", help=f"{help}: 90m, 72h, 30d.")


def _choose(context: click.Context, option: click.Parameter, value: str | None) -> int | None:
    return _REASONS[value] if value else None


_reason_option = click.option("--reason", default="", help="Why.")

_command(
    "Reserve",
    "reserve",
    "Reserve a number for a tenant.",
    click.option("--tenant", required=True, help="Tenant that it is for."),
    _for_option("How long  [default: as its range says]"),
)
_command("Approve", "approve", "Approve an application.")
_command("Reject", "reject", "Reject an application: the number is reserved again.", _reason_option)
_command(
    "Suspend",
    "suspend",
    "Suspend a number: calls get 403.",
    click.option("--reason", type=click.Choice(list(_REASONS)), required=True, callback=_choose, help="Why."),
    click.option("--note", default="", help="More about it."),
)
_command("Resume", "resume", "Put a suspended number in service again.")
_command("Withdraw", "withdraw", "Give a number back that was never in service.")
_command("Release", "release", "Take a number out of service for good: calls get 403.", _reason_option)
_command(
    "Quarantine",
    "quarantine",
    "Keep a released number from everybody: calls get 404.",
    _for_option("How long  [default: as its range says]"),
)
_command("Recover", "recover", "Make a number available before its quarantine ends.")


@inventory.command()
@click.argument("number", type=NUMBER)
@click.option(
    "--document",
    "files",
    type=FILE,
    metavar="KIND=FILE",
    multiple=True,
    help="A file that is uploaded and attached; the kind is business-licence, legal-person-id, signed-order or other. "
    "Again for each.",
)
@click.option("--uploaded", metavar="ID", multiple=True, help="A document that was uploaded before. Again for each.")
@click.option(
    "--elsewhere",
    type=(click.Choice(list(KINDS)), click.Path(path_type=Path, dir_okay=False, exists=True), str),
    metavar="KIND FILE URI",
    multiple=True,
    help="A document that is kept elsewhere: its length and SHA-256 are told, and where it is. Again for each.",
)
@click.option("--agree", default="0", metavar="AMOUNT", help="Minimum spend a month that is agreed to, e.g. 2000.00.")
@retries
@etag_option
@connects_to("provisioning")
@output_option
def apply(
    number: str,
    files: Sequence[File],
    uploaded: Sequence[str],
    elsewhere: Sequence[tuple[str, Path, str]],
    agree: str,
    retry_for: float,
    etag: str,
    connection: Connection,
    output_format: Format,
) -> None:
    """Apply for a reserved number."""
    one = ask(connection, "GetInventoryNumber", number=number)
    spend = minor(agree, one.terms.currency, "--agree")
    sent = [upload(connection, one.tenant, kind, file, retry_for).id for kind, file in files]
    given = [inventory_pb2.NumberDocument(id=id) for id in (*sent, *uploaded)]
    given += [_document(kind, file, uri) for kind, file, uri in elsewhere]
    _show(
        ask(connection, "ApplyForNumber", number=number, documents=given, agreed_minimum_spend=spend, etag=etag),
        output_format,
    )


def _document(kind: str, file: Path, uri: str) -> inventory_pb2.NumberDocument:
    content = file.read_bytes()
    return inventory_pb2.NumberDocument(
        kind=KINDS[kind],
        file_name=file.name,
        sha256=hashlib.sha256(content).digest(),
        size_bytes=len(content),
        media_type=mimetypes.guess_type(file.name)[0] or "",
        content=uri,
    )


@inventory.command()
@click.argument("number", type=NUMBER)
@click.option("--stage", "stages", multiple=True, help="As of signalbox numbers create; again for each.")
@click.option("--flow", default="", help="Call flow, instead of stages.")
@click.option("--file", "-f", type=click.File(encoding="utf-8"), help="The number's rule as YAML or JSON.")
@etag_option
@connects_to("provisioning")
@output_option
def activate(
    number: str,
    stages: Sequence[str],
    flow: str,
    file: TextIO | None,
    etag: str,
    connection: Connection,
    output_format: Format,
) -> None:
    """Put an approved number in service, with its rule."""
    if file is not None and (stages or flow):
        raise click.UsageError("--file excludes --stage and --flow")
    fields: Mapping[str, Any] = {}
    if file is not None:
        found = documents.read(file)
        if len(found) != 1:
            raise documents.DocumentError(f"{file.name}: one document is expected, there are {len(found)}")
        fields = {name: value for name, value in found[0].items() if name not in {"kind", *documents.OUTPUT_ONLY}}
    rule = documents.message(types_pb2.Number, dict(fields), "number")
    rule.MergeFrom(types_pb2.Number(stages=map(parse_stage, stages), flow=flow))
    _show(ask(connection, "ActivateNumber", number=number, rule=rule, etag=etag), output_format)


@inventory.command()
@click.argument("range_", metavar="RANGE")
@connects_to("provisioning")
def adopt(range_: str, connection: Connection) -> None:
    """Take the numbers of a range in that have rules already."""
    adopted, conflicts, token = 0, list[str](), ""
    while True:
        piece = ask(connection, "AdoptNumbers", range=range_, page_token=token)
        adopted += piece.adopted
        conflicts += piece.conflicts
        token = piece.next_page_token
        if not token:
            break
    click.echo(f"adopted {adopted:,} numbers")
    for number in conflicts:
        click.echo(f"conflict: {grouped(number)} has a rule that is not as the inventory says", err=True)
    if conflicts:
        raise click.exceptions.Exit(1)


def _show(one: Message, output_format: Format) -> None:
    if output_format == "table":
        print_table(_COLUMNS, [_row(one)])
    else:
        print_messages([one], output_format, one=True)


def _row(one: Any) -> Sequence[str]:
    return (
        grouped(one.number),
        short(inventory_pb2.InventoryState, one.state),
        clean(one.tenant),
        one.range,
        one.terms.number_class,
        amount(one.terms.minimum_spend, one.terms.currency),
        moment(one.end_time) if one.HasField("end_time") else "",
        one.etag,
    )
