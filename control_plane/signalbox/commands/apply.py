"""``signalbox apply``: brings objects to what a file says, in one step, and shows the difference first."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

import click
import grpc

from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.provisioning.v1 import provisioning_pb2_grpc
from signalbox.commands import documents
from signalbox.commands.connection import Connection, connects_to
from signalbox.commands.failure import told
from signalbox.commands.kinds import BY_NAME, OPERATOR, Kind
from signalbox.commands.output import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.message import Message

_KEPT_OUT = documents.OUTPUT_ONLY | {"etag"}
_FIELD = re.compile(r"(?P<list>put|delete)\[(?P<at>\d+)\]\.\w+\.(?P<field>.+)")
_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


@dataclass(frozen=True)
class Item:
    """An object of the file, and what is stored under its identity."""

    kind: Kind
    wanted: Any
    stored: Any | None

    @property
    def changes(self) -> bool:
        """True if the stored object is another."""
        return self.stored is None or bool(self.difference())

    def difference(self) -> list[str]:
        """The lines of a unified diff, from what is stored to what is wanted."""
        before = _lines(self._in_force()) if self.stored is not None else []
        return list(difflib.unified_diff(before, _lines(self.wanted), "stored", "file", n=2, lineterm=""))[2:]

    def _in_force(self) -> Any:
        """What is stored; a draft that was edited and not activated is not what calls obey."""
        if not self.kind.versioned or self.stored is None:
            return self.stored
        stored = type(self.stored)()
        stored.CopyFrom(self.stored)
        stored.ClearField("draft")
        if stored.revisions:
            last = stored.revisions[-1]
            stored.draft.CopyFrom(last.graph if self.kind.name == "Flow" else last.rules)
        return stored


@click.command()
@click.option(
    "--file",
    "-f",
    "files",
    type=click.File(encoding="utf-8"),
    multiple=True,
    required=True,
    help="Objects as YAML or JSON documents, each with its kind; - is standard input; again for more.",
)
@click.option("--delete", is_flag=True, help="Delete the objects in the files instead.")
@click.option("--dry-run", is_flag=True, help="Show the difference and have it checked; write nothing.")
@connects_to("provisioning")
def apply(files: Sequence[TextIO], delete: bool, dry_run: bool, connection: Connection) -> None:
    """Bring objects to what FILES say: all in one step, or none.

    An object is replaced as a whole: a field that is not in the file gets its default. Drafts of flows and schedules
    are put in force at once. What is not in the files stays as it is.
    """
    wanted = [
        wanted_by(file.name, position, fields)
        for file in files
        for position, fields in enumerate(documents.read(file), 1)
    ]
    if not wanted:
        raise click.UsageError("no object in the files")
    items: list[Item] = []
    request = pb.ApplyRequest()

    def place(field: str) -> str:
        """A field of a request, below the object that it is of."""
        match = _FIELD.fullmatch(field)
        if match:
            return f"{_label(getattr(request, match['list'])[int(match['at'])])}: {match['field']}"
        return f"{wanted[len(items)][0].label(wanted[len(items)][1])}: {field}" if len(items) < len(wanted) else field

    with connection.channel() as channel, told(place):
        stub = provisioning_pb2_grpc.ProvisioningServiceStub(channel)
        for kind, object in wanted:
            items.append(Item(kind, object, stored_by(stub, kind, object, connection.timeout_s)))
        request = _deletion(items) if delete else _replacement(items)
        todo = len(request.put) + len(request.delete)
        if not todo:
            click.echo("nothing to do: everything is as the files say")
            return
        request.validate_only = dry_run
        stub.Apply(request, timeout=max(connection.timeout_s, 30))
    objects = "1 object" if todo == 1 else f"{todo} objects"
    click.echo(f"{objects} checked; nothing was written" if dry_run else f"{objects} written in one step")


def _label(object: pb.Object) -> str:
    """What an object of a request is called."""
    resource = object.WhichOneof("object")
    kind = next(kind for kind in BY_NAME.values() if kind.singular == resource)
    return kind.label(getattr(object, kind.singular))


def wanted_by(name: str, position: int, fields: dict[str, Any]) -> tuple[Kind, Message]:
    """The object of one document. Raises DocumentError."""
    where = f"{name}: document {position}"
    kind = BY_NAME.get(str(fields.get("kind", "")))
    if kind is None:
        raise documents.DocumentError(f"{where}: kind: one of {', '.join(BY_NAME)} is expected")
    content = {name: value for name, value in fields.items() if name != "kind"}
    if kind.shared and content.get("tenant") == OPERATOR:
        content["tenant"] = ""
    return kind, documents.message(kind.message, content, where)


def stored_by(stub: Any, kind: Kind, object: Any, timeout_s: float) -> Any | None:
    """What is stored under the identity of an object, if there is any. Raises RpcError."""
    request = getattr(pb, f"Get{kind.name}Request")(**{name: getattr(object, name) for name in kind.identity})
    try:
        return getattr(stub, f"Get{kind.name}")(request, timeout=timeout_s)
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.NOT_FOUND:
            return None
        raise


def _replacement(items: Sequence[Item]) -> pb.ApplyRequest:
    """Put what differs, on condition that it is still what was compared."""
    request = pb.ApplyRequest()
    for item in items:
        label = clean(item.kind.label(item.wanted))
        if not item.changes:
            click.echo(f"  {label}")
            continue
        click.secho(f"{'~' if item.stored is not None else '+'} {label}", bold=True)
        for line in item.difference():
            click.secho(f"    {clean(line)}", fg=_COLOURS.get(line[:1]))
        if not item.wanted.etag and item.stored is not None:
            item.wanted.etag = item.stored.etag
        getattr(request.put.add(), item.kind.singular).CopyFrom(item.wanted)
    return request


def _deletion(items: Sequence[Item]) -> pb.ApplyRequest:
    """Delete what is there, on condition that it is still what was seen."""
    request = pb.ApplyRequest()
    for item in items:
        label = clean(item.kind.label(item.wanted))
        if item.stored is None:
            click.echo(f"  {label}: is not there")
            continue
        click.secho(f"- {label}", bold=True, fg="red")
        identity = {name: getattr(item.wanted, name) for name in item.kind.identity}
        etag = item.wanted.etag or item.stored.etag
        getattr(request.delete.add(), item.kind.singular).CopyFrom(item.kind.message(**identity, etag=etag))
    return request


def _lines(object: Any) -> list[str]:
    known = {name: value for name, value in documents.fields(object).items() if name not in _KEPT_OUT}
    return documents.text([known]).splitlines()
