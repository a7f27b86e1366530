"""``signalbox tenants|trunks|lines|numbers``: the provisioning API on the command line."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click
from google.protobuf.field_mask_pb2 import FieldMask

from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.provisioning.v1 import provisioning_pb2_grpc
from signalbox.api.types.v1 import types_pb2
from signalbox.commands.connection import Connection, connects_to
from signalbox.commands.failure import told
from signalbox.commands.output import Format, as_dict, output_option, print_json, print_json_array, print_table
from signalbox.commands.ruleoptions import (
    LINE_FIELDS,
    NUMBER_FIELDS,
    TENANT_FIELDS,
    TRUNK_FIELDS,
    Fields,
    etag_option,
    short,
    stage_text,
)

if TYPE_CHECKING:
    from google.protobuf.message import Message

PAGE_SIZE = 500

Command = TypeVar("Command", bound=Callable[..., Any])
Row = Callable[[Any], Sequence[str]]


@dataclass(frozen=True)
class Kind:
    """One kind of rule object on the command line."""

    name: str
    """As in the API: "Tenant"."""
    message: type[Message]
    identity: Mapping[str, str]
    """Arguments that name an object: field → what it is called in the help."""
    parent: Mapping[str, str]
    """What a list is about: field of the list request → name of the argument, or of the option if it begins with --."""
    fields: Fields
    columns: Sequence[str]
    row: Row

    @property
    def singular(self) -> str:
        """As in requests: "tenant"."""
        return self.name.lower()

    @property
    def plural(self) -> str:
        """As in responses: "tenants"."""
        return self.singular + "s"


def group(kind: Kind) -> click.Group:
    """The commands create, get, list, update and delete of one kind."""
    commands = click.Group(kind.plural, help=f"Create, look at, change and delete {kind.plural}.")
    for make in (_create, _get, _list, _update, _delete):
        commands.add_command(make(kind))
    return commands


def _create(kind: Kind) -> click.Command:
    def create(connection: Connection, output_format: Format, **values: Any) -> None:
        rule = kind.message(**_identity(kind, values), **kind.fields.given(values))
        _show(kind, _call(connection, f"Create{kind.name}", **{kind.singular: rule}), output_format)

    described = kind.fields.options(required=True)(create)
    return _command(
        "create", f"Create a {kind.singular}.", _arguments(kind, connects_to("provisioning")(output_option(described)))
    )


def _get(kind: Kind) -> click.Command:
    def get(connection: Connection, output_format: Format, **values: Any) -> None:
        _show(kind, _call(connection, f"Get{kind.name}", **_identity(kind, values)), output_format)

    return _command(
        "get", f"Show one {kind.singular}.", _arguments(kind, connects_to("provisioning")(output_option(get)))
    )


def _list(kind: Kind) -> click.Command:
    def list_(connection: Connection, output_format: Format, **values: Any) -> None:
        with connection.channel() as channel, told():
            rules = _pages(kind, channel, connection.timeout_s, {k: v for k, v in values.items() if v})
            if output_format == "json":
                print_json_array(rules)
            else:
                print_table(kind.columns, (kind.row(rule) for rule in rules))

    described = connects_to("provisioning")(output_option(list_))
    for field, argument in kind.parent.items():
        if argument.startswith("--"):
            described = click.option(argument, field, default="", help="Only those of this tenant.")(described)
        else:
            described = click.argument(field, metavar=argument)(described)
    return _command("list", f"Show {kind.plural}.", described)


def _update(kind: Kind) -> click.Command:
    def update(connection: Connection, output_format: Format, etag: str, **values: Any) -> None:
        changed = kind.fields.given(values)
        if not changed:
            raise click.UsageError("nothing to change: give at least one field")
        request = {
            kind.singular: kind.message(**_identity(kind, values), **changed, etag=etag),
            "update_mask": FieldMask(paths=sorted(changed)),
        }
        _show(kind, _call(connection, f"Update{kind.name}", **request), output_format)

    described = etag_option(kind.fields.options(required=False)(update))
    text = f"Change a {kind.singular}. Fields that are not given stay as they are."
    return _command("update", text, _arguments(kind, connects_to("provisioning")(output_option(described))))


def _delete(kind: Kind) -> click.Command:
    def delete(connection: Connection, etag: str, **values: Any) -> None:
        identity = _identity(kind, values)
        _call(connection, f"Delete{kind.name}", **identity, etag=etag)
        click.echo(f"deleted {kind.singular} {'/'.join(identity.values())}")

    described = etag_option(connects_to("provisioning")(delete))
    return _command("delete", f"Delete a {kind.singular}.", _arguments(kind, described))


def _command(name: str, text: str, function: Callable[..., Any]) -> click.Command:
    return click.command(name, help=text)(function)


def _arguments(kind: Kind, function: Command) -> Command:
    for field, metavar in reversed(list(kind.identity.items())):
        function = click.argument(field, metavar=metavar)(function)
    return function


def _identity(kind: Kind, values: Mapping[str, Any]) -> dict[str, str]:
    return {field: values[field] for field in kind.identity}


def _call(connection: Connection, method: str, **fields: Any) -> Any:
    """One RPC of the provisioning service."""
    request = getattr(pb, f"{method}Request")(**fields)
    with connection.channel() as channel, told():
        stub = provisioning_pb2_grpc.ProvisioningServiceStub(channel)
        return getattr(stub, method)(request, timeout=connection.timeout_s)


def _pages(kind: Kind, channel: Any, timeout_s: float, parent: Mapping[str, str]) -> Iterator[Message]:
    stub = provisioning_pb2_grpc.ProvisioningServiceStub(channel)
    call = functools.partial(getattr(stub, f"List{kind.name}s"), timeout=timeout_s)
    token = ""
    while True:
        page = call(getattr(pb, f"List{kind.name}sRequest")(**parent, page_size=PAGE_SIZE, page_token=token))
        yield from getattr(page, kind.plural)
        token = page.next_page_token
        if not token:
            return


def _show(kind: Kind, rule: Message, output_format: Format) -> None:
    if output_format == "json":
        print_json(as_dict(rule))
    else:
        print_table(kind.columns, [kind.row(rule)])


def _tenant_row(tenant: types_pb2.Tenant) -> Sequence[str]:
    return tenant.id, tenant.display_name, tenant.etag


def _trunk_row(trunk: types_pb2.Trunk) -> Sequence[str]:
    state = "disabled" if trunk.disabled else "enabled"
    return trunk.id, trunk.display_name, " ".join(trunk.source_addresses), state, trunk.etag


def _line_row(line: types_pb2.Line) -> Sequence[str]:
    host = f"[{line.host}]" if ":" in line.host else line.host
    address = f"{line.user}@{host}:{line.port or 5060}"
    transport = short(types_pb2.SipTransport, line.transport or types_pb2.SIP_TRANSPORT_UDP)
    identity = short(types_pb2.IdentityPolicy, line.identity_policy or types_pb2.IDENTITY_POLICY_PASS)
    return line.tenant, line.id, line.display_name, address, transport, identity, line.etag


def _number_row(number: types_pb2.Number) -> Sequence[str]:
    state = short(types_pb2.NumberState, number.state or types_pb2.NUMBER_STATE_ACTIVE)
    media = short(types_pb2.MediaMode, number.media or types_pb2.MEDIA_MODE_ANCHOR)
    stages = " then ".join(stage_text(stage) for stage in number.stages)
    return number.number, number.tenant, state, stages, media, number.etag


_ID = {"id": "ID"}
_KINDS = (
    Kind("Tenant", types_pb2.Tenant, _ID, {}, TENANT_FIELDS, ("id", "name", "etag"), _tenant_row),
    Kind("Trunk", types_pb2.Trunk, _ID, {}, TRUNK_FIELDS, ("id", "name", "sources", "state", "etag"), _trunk_row),
    Kind(
        "Line",
        types_pb2.Line,
        {"tenant": "TENANT", "id": "ID"},
        {"tenant": "TENANT"},
        LINE_FIELDS,
        ("tenant", "id", "name", "address", "transport", "identity", "etag"),
        _line_row,
    ),
    Kind(
        "Number",
        types_pb2.Number,
        {"number": "NUMBER"},
        {"tenant": "--tenant"},
        NUMBER_FIELDS,
        ("number", "tenant", "state", "dials", "media", "etag"),
        _number_row,
    ),
)

COMMANDS = tuple(group(kind) for kind in _KINDS)
