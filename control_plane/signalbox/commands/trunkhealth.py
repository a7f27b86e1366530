"""``signalbox trunks health``: which targets of trunks answer which proxy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from signalbox import address
from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.types.v1 import types_pb2
from signalbox.commands.connection import Connection, connects_to
from signalbox.commands.failure import told
from signalbox.commands.output import Format, output_option, print_messages, print_table
from signalbox.commands.ruleoptions import short
from signalbox.commands.rules import PAGE_SIZE, pages

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

COLUMNS = ("trunk", "target", "edge", "state", "since", "code")


@click.command("health")
@connects_to("provisioning")
@output_option
def health(connection: Connection, output_format: Format) -> None:
    """Show which targets of trunks are alive, as every proxy sees it."""
    with connection.channel() as channel, told():
        found = pages(channel, connection.timeout_s, "ListTrunkHealth", "trunk_health", {}, PAGE_SIZE)
        if output_format == "table":
            print_table(COLUMNS, _rows(found))
        else:
            print_messages(found, output_format)


def _rows(trunks: Iterable[pb.TrunkHealth]) -> Iterator[Sequence[str]]:
    for trunk in trunks:
        for one in trunk.targets:
            transport = short(types_pb2.SipTransport, one.target.transport)
            yield (
                trunk.trunk,
                f"{transport}:{address.join(one.target.host, one.target.port)}",
                one.edge,
                short(pb.TargetState, one.state),
                one.since.ToJsonString() if one.HasField("since") else "",
                str(one.code or ""),
            )
