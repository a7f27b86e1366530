"""``signalbox tenants|trunks|lines|…``: the provisioning API on the command line, alike for every kind of object."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import click
from google.protobuf.field_mask_pb2 import FieldMask

from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.provisioning.v1 import provisioning_pb2_grpc
from signalbox.commands import documents
from signalbox.commands.connection import Connection, connects_to
from signalbox.commands.failure import told
from signalbox.commands.kinds import KINDS, OPERATOR, Kind
from signalbox.commands.output import Format, output_option, print_messages, print_table
from signalbox.commands.ruleoptions import etag_option

if TYPE_CHECKING:
    from google.protobuf.message import Message

PAGE_SIZE = 500

Command = TypeVar("Command", bound=Callable[..., Any])
Assignments = Sequence[tuple[Sequence[str], Any]]


def group(kind: Kind) -> click.Group:
    """The commands of one kind: create, get, list, update, delete, and activate and rollback if it has a draft."""
    owners = f" TENANT is {OPERATOR} for the operator's own." if kind.shared else ""
    commands = click.Group(kind.command, help=f"Create, look at, change and delete {kind.words}s.{owners}")
    for make in (_create, _get, _list, _update, _delete, *((_activate, _rollback) if kind.versioned else ())):
        commands.add_command(make(kind))
    return commands


def call(connection: Connection, method: str, **fields: Any) -> Any:
    """One RPC of the provisioning service; a refusal is told and ends the command."""
    request = getattr(pb, f"{method}Request")(**fields)
    with connection.channel() as channel, told():
        stub = provisioning_pb2_grpc.ProvisioningServiceStub(channel)
        return getattr(stub, method)(request, timeout=connection.timeout_s)


def pages(
    channel: Any, timeout_s: float, method: str, items: str, fields: Mapping[str, Any], size: int = PAGE_SIZE
) -> Iterator[Any]:
    """What a list method gives, read page by page."""
    stub = provisioning_pb2_grpc.ProvisioningServiceStub(channel)
    ask = functools.partial(getattr(stub, method), timeout=timeout_s)
    token = ""
    while True:
        page = ask(getattr(pb, f"{method}Request")(**fields, page_size=size, page_token=token))
        yield from getattr(page, items)
        token = page.next_page_token
        if not token:
            return


def _create(kind: Kind) -> click.Command:
    def create(
        connection: Connection, output_format: Format, file: TextIO | None, given: Assignments, **values: Any
    ) -> None:
        fields = _file_fields(kind, file)
        options = kind.fields.given(values)
        missing = [] if file else [f for f in kind.fields.required if f.name not in options]
        if missing:
            raise click.UsageError(f"missing option {' and '.join(field.flags for field in missing)}, or --file")
        for path, value in given:
            _set(fields, path, value)
        rule = documents.message(kind.message, fields, kind.words)
        rule.MergeFrom(kind.message(**kind.identify(values), **options))
        _show(kind, call(connection, f"Create{kind.name}", **{kind.singular: rule}), output_format)

    described = _content_options(kind.fields.options(create=True)(create))
    text = f"Create a {kind.words}."
    return _command("create", text, _arguments(kind, connects_to("provisioning")(output_option(described))))


def _get(kind: Kind) -> click.Command:
    def get(connection: Connection, output_format: Format, **values: Any) -> None:
        _show(kind, call(connection, f"Get{kind.name}", **kind.identify(values)), output_format)

    text = f"Show one {kind.words}."
    return _command("get", text, _arguments(kind, connects_to("provisioning")(output_option(get))))


def _list(kind: Kind) -> click.Command:
    def list_(connection: Connection, output_format: Format, **values: Any) -> None:
        asked = {name: kind.owner(name, value) for name, value in values.items() if value}
        with connection.channel() as channel, told():
            method = f"List{kind.name}s"
            rules = pages(channel, connection.timeout_s, method, kind.plural, asked, PAGE_SIZE)
            if output_format == "table":
                print_table(kind.columns, (kind.row(rule) for rule in rules))
            else:
                print_messages(rules, output_format, kind=kind.name)

    order = click.option(
        "--order-by", default="", help="The id, create_time or update_time, with ' desc' for the reverse."
    )
    only = click.option("--filter", default="", help="Only those that fit: 'display_name = \"A*\"' (AIP-160).")
    described = only(order(connects_to("provisioning")(output_option(list_))))
    for name, argument in kind.parent.items():
        if argument.startswith("--"):
            described = click.option(argument, name, default="", help="Only those of this tenant.")(described)
        else:
            described = click.argument(name, metavar=argument)(described)
    return _command("list", f"Show {kind.words}s.", described)


def _update(kind: Kind) -> click.Command:
    def update(
        connection: Connection,
        output_format: Format,
        etag: str,
        file: TextIO | None,
        given: Assignments,
        **values: Any,
    ) -> None:
        identity = kind.identify(values)
        fields = _file_fields(kind, file)
        options = kind.fields.given(values)
        changed = {*fields, *options, *(".".join(path) for path, _ in given)}
        for path, value in given:
            _set(fields, path, value)
        if not changed:
            raise click.UsageError("nothing to change: give at least one field")
        rule = documents.message(kind.message, fields, kind.words)
        for name in options:
            rule.ClearField(name)
        rule.MergeFrom(kind.message(**identity, **options, etag=etag))
        request = {kind.singular: rule, "update_mask": FieldMask(paths=sorted(changed))}
        _show(kind, call(connection, f"Update{kind.name}", **request), output_format)

    described = etag_option(_content_options(kind.fields.options(create=False)(update)))
    text = f"Change a {kind.words}. Fields that are not given stay as they are."
    return _command("update", text, _arguments(kind, connects_to("provisioning")(output_option(described))))


def _delete(kind: Kind) -> click.Command:
    def delete(connection: Connection, etag: str, **values: Any) -> None:
        identity = kind.identify(values)
        call(connection, f"Delete{kind.name}", **identity, etag=etag)
        click.echo(f"deleted {kind.words} {'/'.join(value or OPERATOR for value in identity.values())}")

    described = etag_option(connects_to("provisioning")(delete))
    return _command("delete", f"Delete a {kind.words}.", _arguments(kind, described))


def _activate(kind: Kind) -> click.Command:
    def activate(connection: Connection, output_format: Format, etag: str, at: Any, **values: Any) -> None:
        request = getattr(pb, f"Activate{kind.name}Request")()
        moment = {}
        if at is not None:
            request.activate_time.FromDatetime(at)
            moment = {"activate_time": request.activate_time}
        rule = call(connection, f"Activate{kind.name}", **kind.identify(values), etag=etag, **moment)
        _show(kind, rule, output_format)

    when = click.DateTime(["%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%MZ"])
    described = click.option(
        "--at", type=when, metavar="TIME", help="When it comes in force, UTC: 2026-10-01T09:00Z.  [default: now]"
    )(etag_option(connects_to("provisioning")(output_option(activate))))
    return _command("activate", f"Put the draft of a {kind.words} in force.", _arguments(kind, described))


def _rollback(kind: Kind) -> click.Command:
    def rollback(connection: Connection, output_format: Format, etag: str, revision: int, **values: Any) -> None:
        rule = call(connection, f"Rollback{kind.name}", **kind.identify(values), revision=revision, etag=etag)
        _show(kind, rule, output_format)

    described = click.argument("revision", type=click.IntRange(min=1))(
        etag_option(connects_to("provisioning")(output_option(rollback)))
    )
    return _command(
        "rollback", f"Put an earlier revision of a {kind.words} in force again.", _arguments(kind, described)
    )


def _command(name: str, text: str, function: Callable[..., Any]) -> click.Command:
    return click.command(name, help=text)(function)


def _arguments(kind: Kind, function: Command) -> Command:
    for name, metavar in reversed(list(kind.identity.items())):
        function = click.argument(name, metavar=metavar)(function)
    return function


def _content_options(function: Command) -> Command:
    """The options for fields that have none of their own."""
    function = click.option(
        "--set",
        "given",
        multiple=True,
        callback=_assignments,
        metavar="FIELD=VALUE",
        help="One field, also one within another: limits.concurrent_calls=20; again for each.",
    )(function)
    return click.option(
        "--file", "-f", type=click.File(encoding="utf-8"), help="Fields as YAML or JSON; - is standard input."
    )(function)


def _file_fields(kind: Kind, file: TextIO | None) -> dict[str, Any]:
    """The fields that a file gives; the object's identity stands on the command line."""
    if file is None:
        return {}
    found = documents.read(file)
    if len(found) != 1:
        raise documents.DocumentError(f"{file.name}: one document is expected, there are {len(found)}")
    fixed = {"kind", "etag", *kind.identity, *documents.OUTPUT_ONLY}
    return {name: value for name, value in found[0].items() if name not in fixed}


def _assignments(context: click.Context, option: click.Parameter, texts: Sequence[str]) -> list[tuple[list[str], Any]]:
    """Paths of fields and their values, of texts ``FIELD.FIELD=VALUE``."""
    assigned = []
    for text in texts:
        path, equals, written = text.partition("=")
        names = path.split(".")
        if not equals or not all(names):
            raise click.BadParameter(f"{text!r}: FIELD=VALUE is expected")
        assigned.append((names, documents.value(written)))
    return assigned


def _set(fields: dict[str, Any], path: Sequence[str], value: Any) -> None:
    """Put a value into nested mappings."""
    *outer, last = path
    for name in outer:
        fields = fields.setdefault(name, {})
        if not isinstance(fields, dict):
            raise click.BadParameter(f"{'.'.join(path)}: {name} has no fields", param_hint="--set")
    fields[last] = value


def _show(kind: Kind, rule: Message, output_format: Format) -> None:
    if output_format == "table":
        print_table(kind.columns, [kind.row(rule)])
    else:
        print_messages([rule], output_format, one=True, kind=kind.name)


GROUPS = {kind.name: group(kind) for kind in KINDS}
"""The commands of each kind, by its name."""
