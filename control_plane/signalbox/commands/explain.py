"""``signalbox explain``: which rule decides a call, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from signalbox.api.provisioning.v1 import provisioning_pb2_grpc
from signalbox.api.routing.v1 import routing_pb2, routing_pb2_grpc
from signalbox.commands.connection import ASK, Connection, Service, connects_to
from signalbox.commands.failure import told
from signalbox.commands.output import Format, clean, output_option, print_messages, print_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

_STUBS: dict[Service, Any] = {
    "provisioning": provisioning_pb2_grpc.ProvisioningServiceStub,
    "routing": routing_pb2_grpc.RoutingServiceStub,
}


@click.command()
@click.argument("number")
@click.option("--from", "calling", required=True, metavar="NUMBER", help="The caller.")
@click.option("--trunk", default="", help="Trunk that the call comes from.  [default: any]")
@click.option("--edge", default="", help="Proxy that sends the call on.  [default: none to which a target is dead]")
@click.option("--diversions", type=click.IntRange(min=0), default=0, help="How often it was forwarded before.")
@click.option(
    "--at",
    type=click.DateTime(["%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%MZ"]),
    metavar="TIME",
    help="When the call comes, UTC: 2026-10-01T09:00Z.  [default: now]",
)
@click.option(
    "--count",
    "counts",
    multiple=True,
    metavar="KEY=N",
    help="What is counted then, by the names that the steps give; again for each.  [default: what is counted now]",
)
@click.option(
    f"--{ASK}",
    type=click.Choice(["routing", "provisioning"]),
    default="routing",
    show_default=True,
    help="Whom to ask: a replica, or the provisioning service, which knows who may see what and asks one itself.",
)
@connects_to("routing")
@output_option
def explain(
    number: str,
    calling: str,
    trunk: str,
    edge: str,
    diversions: int,
    at: datetime | None,
    counts: Sequence[str],
    ask: Service,
    connection: Connection,
    output_format: Format,
) -> None:
    """Tell which rule would decide a call to NUMBER, step by step. Nothing is changed."""
    call = routing_pb2.DecideRequest(
        called=number, calling=calling, trunk=trunk, diversions=diversions, edge=edge
    )  # fmt: skip
    request = routing_pb2.ExplainRequest(request=call, counts=dict(map(_count, counts)))
    if at is not None:
        request.time.FromDatetime(at)
    with connection.channel() as channel, told():
        stub = _STUBS[ask](channel)
        response = stub.Explain(request, timeout=connection.timeout_s)
    if output_format != "table":
        print_messages([response], output_format, one=True)
        return
    print_table(["", "step", "finding"], [("→" if s.decisive else "", s.rule, s.finding) for s in response.steps])
    click.echo()
    for line in describe(response.decision):
        click.echo(clean(line))
    age = response.rule_age.ToTimedelta().total_seconds()
    click.echo(f"rules of revision {response.rule_revision}, known to be current {age:.1f} s ago")


def _count(text: str) -> tuple[str, int]:
    key, _, number = text.rpartition("=")
    if not key or not number.isdecimal():
        raise click.BadParameter(f"{text!r}: KEY=N is expected", param_hint="--count")
    return key, int(number)


def describe(decision: routing_pb2.Decision) -> Iterator[str]:
    """A decision for people, a line for each stage."""
    owner = f", number {decision.number} of tenant {decision.tenant}" if decision.number else ""
    if decision.WhichOneof("action") == "reject":
        yield f"reject with {decision.reject.code} {decision.reject.phrase} ({decision.why}{owner})"
        return
    yield f"dial ({decision.why}{owner})"
    for position, stage in enumerate(decision.dial.stages, 1):
        lines = " and ".join(f"{branch.line} at {branch.uri} via {branch.destination}" for branch in stage.branches)
        yield f"  {position}. {lines}, for {stage.ring_time_ms / 1000:g} s{_after(stage)}"


def _after(stage: routing_pb2.Stage) -> str:
    """What follows when no line of the stage took the call."""
    ways = {"busy": stage.on_busy, "no answer": stage.on_no_answer, "failed": stage.on_failed}
    if len(set(ways.values())) == 1:
        return f"; else {_target(stage.on_busy)}" if stage.on_busy else ""
    return "; " + ", ".join(f"{way}: {_target(target)}" for way, target in ways.items())


def _target(target: int) -> str:
    return "the end" if target == 0 else f"{target}." if target < 400 else f"{target}"
