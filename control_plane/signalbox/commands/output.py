"""What reading commands print: aligned columns for people, JSON or YAML for programs."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click
from google.protobuf import json_format

from signalbox.commands import documents

if TYPE_CHECKING:
    from google.protobuf.message import Message

Format = Literal["table", "json", "yaml"]
Command = TypeVar("Command", bound=Callable[..., Any])

TABLE_PAGE = 500
"""Rows that are aligned with each other."""

_INVISIBLE = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}


def output_option(command: Command) -> Command:
    """The option that chooses between table and JSON."""
    return click.option(
        "--output",
        "-o",
        "output_format",
        type=click.Choice(["table", "json", "yaml"]),
        default="table",
        show_default=True,
        help="For people or for programs.",
    )(command)


def clean(text: str) -> str:
    """Text from a call or an object with everything escaped that a terminal could take as a command."""
    return "".join(
        character.encode("unicode_escape").decode() if unicodedata.category(character) in _INVISIBLE else character
        for character in text
    )


def as_dict(message: Message) -> dict[str, Any]:
    """A message as JSON has it, with the field names of the API."""
    fields = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return {field.name: fields[field.name] for field in message.DESCRIPTOR.fields if field.name in fields}


def print_json(value: object) -> None:
    """One JSON document, indented."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_messages(
    messages: Iterable[Message], output_format: Format, *, one: bool = False, kind: str | None = None
) -> None:
    """Objects for programs, as they come: a JSON array or the one object, or YAML documents.

    With a ``kind`` the documents name it, as `signalbox apply` reads them.
    """
    if output_format == "yaml":
        for position, message in enumerate(messages):
            named = {"kind": kind} if kind else {}
            document = documents.text([{**named, **documents.fields(message)}])
            click.echo(("---\n" if position else "") + document, nl=False)
    elif one:
        for message in messages:
            print_json(as_dict(message))
    else:
        before = "[\n"
        for message in messages:
            click.echo(before + json.dumps(as_dict(message), ensure_ascii=False), nl=False)
            before = ",\n"
        click.echo("[]" if before == "[\n" else "\n]")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Aligned columns under their names. Rows come in pages, each aligned for itself and with those before."""
    widths = [display_width(column) for column in columns]
    page: list[Sequence[str]] = [[column.upper() for column in columns]]
    for row in rows:
        page.append([clean(cell) for cell in row])
        if len(page) == TABLE_PAGE:
            widths = _print_rows(page, widths)
            page = []
    _print_rows(page, widths)


def _print_rows(rows: Sequence[Sequence[str]], widths: Sequence[int]) -> list[int]:
    """Print rows at least as wide as ``widths``; returns the widths used."""
    used = [max(width, *(display_width(row[i]) for row in rows)) if rows else width for i, width in enumerate(widths)]
    for row in rows:
        cells = [cell + " " * (width - display_width(cell)) for cell, width in zip(row, used, strict=True)]
        click.echo("  ".join(cells).rstrip())
    return used


def display_width(text: str) -> int:
    """Columns that the text takes in a terminal: wide characters take two (Unicode UAX #11)."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
