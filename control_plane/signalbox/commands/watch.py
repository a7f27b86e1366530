"""``signalbox watch``: every change of rules, as it is written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.provisioning.v1 import provisioning_pb2_grpc
from signalbox.commands import documents
from signalbox.commands.connection import Connection, connects_to
from signalbox.commands.failure import told
from signalbox.commands.kinds import KINDS
from signalbox.commands.output import Format, as_dict, clean, output_option

if TYPE_CHECKING:
    from collections.abc import Mapping

    from signalbox.commands.kinds import Kind

_KINDS: Mapping[str, Kind] = {kind.singular: kind for kind in KINDS}


@click.command()
@click.option("--tenant", default="", help="Only what this tenant owns.  [default: all that may be seen]")
@click.option("--cursor", default="", help="Where an earlier watch ended.  [default: from now on]")
@click.option("--count", type=click.IntRange(min=1), help="End after so many changes.  [default: when interrupted]")
@connects_to("provisioning")
@output_option
def watch(tenant: str, cursor: str, count: int | None, connection: Connection, output_format: Format) -> None:
    """Show every change of rules as it is written. At the end the cursor is told, to go on from there another time."""
    seen = 0
    with connection.channel() as channel, told():
        stub = provisioning_pb2_grpc.ProvisioningServiceStub(channel)
        try:
            for response in stub.Watch(pb.WatchRequest(cursor=cursor, tenant=tenant)):
                for change in response.changes:
                    _print(change, response.cursor, output_format)
                cursor, seen = response.cursor, seen + len(response.changes)
                if count is not None and seen >= count:
                    break
        finally:
            if cursor:
                click.echo(f"to go on from here: --cursor {cursor}", err=True)


def _print(change: pb.Change, cursor: str, output_format: Format) -> None:
    """One change: a line, a JSON object in a line, or a YAML document."""
    resource = change.object.WhichOneof("object")
    assert resource is not None, "a change is of an object"
    kind, object = _KINDS[resource], getattr(change.object, resource)
    if output_format == "table":
        row = "deleted" if change.deleted else f"etag {object.etag}"
        click.echo(clean(f"{row:<16}  {kind.label(object)}"))
        return
    document = {"cursor": cursor, "deleted": change.deleted, "kind": kind.name, "object": as_dict(object)}
    if output_format == "json":
        click.echo(json.dumps(document, ensure_ascii=False))
    else:
        click.echo("---\n" + documents.text([document]), nl=False)
