"""``signalbox inventory ranges|classes``: what numbers there are, and what they cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from google.protobuf.field_mask_pb2 import FieldMask

from signalbox.api.provisioning.v1 import inventory_pb2 as pb
from signalbox.api.provisioning.v1 import inventory_pb2_grpc
from signalbox.api.types.v1 import inventory_pb2
from signalbox.commands.asking import PAGE_SIZE, Api
from signalbox.commands.connection import Connection, connects_to
from signalbox.commands.output import Format, output_option, print_messages, print_table
from signalbox.commands.ruleoptions import etag_option
from signalbox.commands.stocktext import DURATION, NUMBER, amount, contract, grouped, minor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from google.protobuf.message import Message

_API = Api(pb, inventory_pb2_grpc.InventoryServiceStub)
ask, listed = _API.ask, _API.listed
"""The inventory."""


@click.group("ranges")
def ranges() -> None:
    """Ranges of numbers."""


@click.group("classes")
def classes() -> None:
    """Classes of numbers, and what they cost at least."""


class _Kind:
    """What ranges and classes differ in."""

    def __init__(
        self,
        name: str,
        plural: str,
        field: str,
        columns: Sequence[str],
        row: Callable[[Any], Sequence[str]],
    ) -> None:
        self.name, self.plural, self.field, self.columns, self.row = name, plural, field, columns, row

    def show(self, one: Message, output_format: Format) -> None:
        """Print one."""
        if output_format == "table":
            print_table(self.columns, [self.row(one)])
        else:
            print_messages([one], output_format, one=True)

    def create(self, connection: Connection, output_format: Format, made: Message) -> None:
        """Create one and show it."""
        self.show(ask(connection, f"Create{self.name}", **{self.field: made}), output_format)

    def update(self, connection: Connection, output_format: Format, changed: Any, paths: Sequence[str]) -> None:
        """Change some fields of one and show it."""
        if not paths:
            raise click.UsageError("nothing to change: give at least one field")
        fields = {self.field: changed, "update_mask": FieldMask(paths=paths)}
        self.show(ask(connection, f"Update{self.name}", **fields), output_format)

    def add_common(self, group: click.Group) -> None:
        """The commands that are alike for both."""

        def get(id: str, connection: Connection, output_format: Format) -> None:
            self.show(ask(connection, f"Get{self.name}", id=id), output_format)

        def list_(connection: Connection, output_format: Format) -> None:
            pages = listed(connection, f"List{self.plural}", {}, 10 * PAGE_SIZE)
            field = getattr(pb, f"List{self.plural}Response").DESCRIPTOR.fields[0].name
            found = [one for page in pages for one in getattr(page, field)]
            if output_format == "table":
                print_table(self.columns, map(self.row, found))
            else:
                print_messages(found, output_format)

        def delete(id: str, connection: Connection, etag: str) -> None:
            ask(connection, f"Delete{self.name}", id=id, etag=etag)
            click.echo(f"deleted {self.field.replace('_', ' ')} {id}")

        id = click.argument("id")
        group.command("get", help="Show one.")(id(connects_to("provisioning")(output_option(get))))
        group.command("list", help="Show all.")(connects_to("provisioning")(output_option(list_)))
        group.command("delete", help="Delete one.")(id(etag_option(connects_to("provisioning")(delete))))


def _range_row(one: Any) -> Sequence[str]:
    state = "disabled" if one.disabled else "enabled"
    return one.id, one.display_name, grouped(one.first), grouped(one.last), one.number_class, state, one.etag


def _class_row(one: Any) -> Sequence[str]:
    patterns = " | ".join(one.patterns)
    return one.id, str(one.rank), patterns, amount(one.minimum_spend, one.currency), contract(one), one.etag


_RANGE = _Kind(
    "NumberRange", "NumberRanges", "number_range", ("id", "name", "first", "last", "class", "state", "etag"), _range_row
)
_CLASS = _Kind(
    "NumberClass",
    "NumberClasses",
    "number_class",
    ("id", "rank", "patterns", "minimum a month", "contract", "etag"),
    _class_row,
)
_RANGE.add_common(ranges)
_CLASS.add_common(classes)


def _range_options(command: Any) -> Any:
    for option in reversed(
        (
            click.option("--class", "number_class", metavar="ID", help="Class that all its numbers have."),
            click.option("--disabled/--enabled", default=None, help="Whether its free numbers are found and reserved."),
            click.option("--reservation", type=DURATION, metavar="TIME", help="How long reservations hold: 72h."),
            click.option("--quarantine", type=DURATION, metavar="TIME", help="How long quarantines last: 180d."),
            click.option("--display-name", help="Name shown to people."),
        )
    ):
        command = option(command)
    return command


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value not in (None, ())}


@ranges.command("create")
@click.argument("id")
@click.argument("first", type=NUMBER)
@click.argument("last", type=NUMBER)
@_range_options
@connects_to("provisioning")
@output_option
def _create_range(connection: Connection, output_format: Format, **fields: Any) -> None:
    """Create the range of the numbers from FIRST to LAST."""
    _RANGE.create(connection, output_format, inventory_pb2.NumberRange(**_given(fields)))


@ranges.command("update")
@click.argument("id")
@_range_options
@etag_option
@connects_to("provisioning")
@output_option
def _update_range(id: str, etag: str, connection: Connection, output_format: Format, **fields: Any) -> None:
    """Change a range."""
    given = _given(fields)
    _RANGE.update(connection, output_format, inventory_pb2.NumberRange(id=id, etag=etag, **given), list(given))


def _class_options(command: Any) -> Any:
    for option in reversed(
        (
            click.option("--pattern", "patterns", multiple=True, help="Its numbers fit one of these; again for each."),
            click.option("--rank", type=click.IntRange(min=0), help="Of classes that fit, the lowest rank counts."),
            click.option("--minimum-spend", metavar="AMOUNT", help="A month: 2000.00; with --currency."),
            click.option("--currency", metavar="CODE", help="ISO 4217: CNY."),
            click.option("--contract-months", type=click.IntRange(min=0), help="How long contracts run at least."),
            click.option("--display-name", help="Name shown to people."),
        )
    ):
        command = option(command)
    return command


def _class_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    given = _given(fields)
    if "minimum_spend" in given:
        if "currency" not in given:
            raise click.UsageError("--minimum-spend needs --currency")
        given["minimum_spend"] = minor(given["minimum_spend"], given["currency"], "--minimum-spend")
    return given


@classes.command("create")
@click.argument("id")
@_class_options
@connects_to("provisioning")
@output_option
def _create_class(connection: Connection, output_format: Format, **fields: Any) -> None:
    """Create a class."""
    _CLASS.create(connection, output_format, inventory_pb2.NumberClass(**_class_fields(fields)))


@classes.command("update")
@click.argument("id")
@_class_options
@etag_option
@connects_to("provisioning")
@output_option
def _update_class(id: str, etag: str, connection: Connection, output_format: Format, **fields: Any) -> None:
    """Change a class."""
    given = _class_fields(fields)
    _CLASS.update(connection, output_format, inventory_pb2.NumberClass(id=id, etag=etag, **given), list(given))
