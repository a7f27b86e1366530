"""``signalbox api-keys``: credentials for the provisioning API."""

from __future__ import annotations

from typing import Any

import click

from signalbox.api.types.v1 import types_pb2
from signalbox.commands.connection import Connection, connects_to
from signalbox.commands.failure import told
from signalbox.commands.kinds import OPERATOR, owner
from signalbox.commands.output import Format, as_dict, output_option, print_json, print_messages, print_table
from signalbox.commands.rules import call, pages

ROLES = {
    "operator": types_pb2.ROLE_OPERATOR,
    "administrator": types_pb2.ROLE_TENANT_ADMINISTRATOR,
    "reader": types_pb2.ROLE_TENANT_READER,
}
_NAMES = {value: name for name, value in ROLES.items()}
_COLUMNS = ("owner", "id", "name", "role", "expires (UTC)")


@click.group("api-keys")
def api_keys() -> None:
    """Create, look at and delete API keys. TENANT is - for the operator's own."""


@api_keys.command()
@click.argument("tenant")
@click.argument("id")
@click.option("--role", type=click.Choice(list(ROLES)), required=True, help="What its bearer may do.")
@click.option(
    "--expires",
    type=click.DateTime(["%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d"]),
    metavar="TIME",
    help="When it ends to be good, UTC: 2027-01-01 or 2027-01-01T09:00:00Z.  [default: never]",
)
@click.option("--display-name", default="", help="Name shown to people.")
@connects_to("provisioning")
@output_option
def create(
    tenant: str,
    id: str,
    role: str,
    expires: Any,
    display_name: str,
    connection: Connection,
    output_format: Format,
) -> None:
    """Create an API key and show its secret, this once."""
    key = types_pb2.ApiKey(tenant=owner(tenant), id=id, role=ROLES[role], display_name=display_name)
    if expires is not None:
        key.expire_time.FromDatetime(expires)
    created = call(connection, "CreateApiKey", api_key=key)
    if output_format == "table":
        print_table(_COLUMNS, [_row(created.api_key)])
        click.echo(f"\nsecret, not shown again: {created.secret}")
    elif output_format == "json":
        print_json(as_dict(created))
    else:
        print_messages([created], output_format)


@api_keys.command()
@click.argument("tenant")
@click.argument("id")
@connects_to("provisioning")
@output_option
def get(tenant: str, id: str, connection: Connection, output_format: Format) -> None:
    """Show an API key, without its secret."""
    key = call(connection, "GetApiKey", tenant=owner(tenant), id=id)
    if output_format == "table":
        print_table(_COLUMNS, [_row(key)])
    else:
        print_messages([key], output_format, one=True)


@api_keys.command("list")
@click.argument("tenant")
@connects_to("provisioning")
@output_option
def list_(tenant: str, connection: Connection, output_format: Format) -> None:
    """Show the API keys of a tenant."""
    with connection.channel() as channel, told():
        keys = pages(channel, connection.timeout_s, "ListApiKeys", "api_keys", {"tenant": owner(tenant)})
        if output_format == "table":
            print_table(_COLUMNS, map(_row, keys))
        else:
            print_messages(keys, output_format)


@api_keys.command()
@click.argument("tenant")
@click.argument("id")
@connects_to("provisioning")
def delete(tenant: str, id: str, connection: Connection) -> None:
    """Delete an API key: it opens nothing from then on."""
    call(connection, "DeleteApiKey", tenant=owner(tenant), id=id)
    click.echo(f"deleted API key {tenant}/{id}")


def _row(key: types_pb2.ApiKey) -> tuple[str, ...]:
    expires = f"{key.expire_time.ToDatetime():%Y-%m-%d %H:%M:%S}" if key.HasField("expire_time") else "never"
    return key.tenant or OPERATOR, key.id, key.display_name, _NAMES.get(key.role, "unknown"), expires
