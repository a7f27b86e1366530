"""The rules of a load test: a tenant, its numbers, lines that are ours, and the trunk that callers come from.

Each process that makes calls has a site of its own, with numbers of its own, so that several do not meet.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from signalbox.api.provisioning.v1 import prompts_pb2, prompts_pb2_grpc, provisioning_pb2, provisioning_pb2_grpc
from signalbox.api.types.v1 import flows_pb2, types_pb2
from signalbox_local.rules import dial_stages, key_then_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import grpc

    from loadtest.engine.messages import Address
    from loadtest.model.traffic import Model, Plan

FIRST_NUMBER = 4_007_000_000
"""Numbers 400 70w nnnn: w of the process, nnnn of the rank."""
RANKS_MOST = 10_000
SITES_MOST = 100
OBJECTS_AT_ONCE = 40
TIMEOUT_S = 20.0
SPEAK_S = 60.0
RING_S = 60
"""Longer than any caller's patience: whoever gives up is the caller."""
LINE, BUSY, PROMPT, FLOW = "line", "busy", "welcome", "welcome"
TEXT = "Welcome. Press one to be connected."

Object = provisioning_pb2.Object


@dataclass(frozen=True, slots=True)
class Site:
    """Of one process that makes calls. ``index``: which one, from 0 on."""

    index: int
    caller_host: str
    line: Address

    @property
    def tenant(self) -> str:
        """Id of its tenant."""
        return f"loadtest-{self.index}"

    @property
    def trunk(self) -> str:
        """Id of the trunk; processes that call from one address share it."""
        return "loadtest-" + self.caller_host.replace(".", "-").replace(":", "-")

    def number(self, rank: int) -> str:
        """The number of a rank, in national form. Raises ValueError for more than there are."""
        if not (0 <= rank < RANKS_MOST and 0 <= self.index < SITES_MOST):
            raise ValueError(f"there is no number of rank {rank} at site {self.index}")
        return str(FIRST_NUMBER + self.index * RANKS_MOST + rank)


def objects(site: Site, model: Model) -> list[Object]:
    """All rules, in the order in which they can be written."""
    tenant = site.tenant
    found = [
        Object(tenant=types_pb2.Tenant(id=tenant, display_name="Load test")),
        Object(trunk=types_pb2.Trunk(id=site.trunk, source_addresses=[site.caller_host])),
    ]
    found += [
        Object(line=types_pb2.Line(tenant=tenant, id=id, user=id, host=site.line[0], port=site.line[1]))
        for id in (LINE, BUSY)
    ]
    if "menu" in model.kinds:
        found.append(Object(prompt=types_pb2.Prompt(tenant=tenant, id=PROMPT, language="en", text=TEXT)))
        found.append(Object(flow=flows_pb2.Flow(tenant=tenant, id=FLOW, draft=_menu())))
    found += [Object(number=_of_kind(site, rank, kind)) for rank, kind in enumerate(model.kinds)]
    return found


def identities(found: Sequence[Object]) -> list[Object]:
    """What has to be named to delete them, in the order in which they can be. The trunk stays: others may call from
    there."""
    names: list[Object] = []
    for one in reversed(found):
        match one.WhichOneof("object"):
            case "tenant":
                names.append(Object(tenant=types_pb2.Tenant(id=one.tenant.id)))
            case "line":
                names.append(Object(line=types_pb2.Line(tenant=one.line.tenant, id=one.line.id)))
            case "prompt":
                names.append(Object(prompt=types_pb2.Prompt(tenant=one.prompt.tenant, id=one.prompt.id)))
            case "flow":
                names.append(Object(flow=flows_pb2.Flow(tenant=one.flow.tenant, id=one.flow.id)))
            case "number":
                names.append(Object(number=types_pb2.Number(number=one.number.number)))
    return names


def write(channel: grpc.Channel, site: Site, model: Model) -> None:
    """Write the rules, whatever of them is there already, and have the announcement spoken. Raises grpc.RpcError."""
    stub = provisioning_pb2_grpc.ProvisioningServiceStub(channel)
    for some in _parts(objects(site, model)):
        stub.Apply(provisioning_pb2.ApplyRequest(put=some), timeout=TIMEOUT_S)
    if "menu" in model.kinds:
        speaker = prompts_pb2_grpc.PromptServiceStub(channel)
        speaker.SpeakPrompt(prompts_pb2.SpeakPromptRequest(tenant=site.tenant, id=PROMPT), timeout=SPEAK_S)


def remove(channel: grpc.Channel, site: Site, model: Model) -> None:
    """Delete what :func:`write` wrote, and all numbers that the tenant has got since. Raises grpc.RpcError."""
    stub = provisioning_pb2_grpc.ProvisioningServiceStub(channel)
    some_of_them = provisioning_pb2.ListNumbersRequest(tenant=site.tenant, page_size=OBJECTS_AT_ONCE)
    while numbers := stub.ListNumbers(some_of_them, timeout=TIMEOUT_S).numbers:
        names = identities([Object(number=number) for number in numbers])
        stub.Apply(provisioning_pb2.ApplyRequest(delete=names), timeout=TIMEOUT_S)
    others = [one for one in objects(site, model) if one.WhichOneof("object") != "number"]
    for some in _parts(identities(others)):
        stub.Apply(provisioning_pb2.ApplyRequest(delete=some), timeout=TIMEOUT_S)


def probe(plan: Plan) -> Plan:
    """The same caller's shortest call to a line that answers."""
    return replace(
        plan, kind="direct", line="answers", alerting_s=0.0, ring_s=0.05, hold_s=0.5, patience_s=5.0, keys=""
    )


def number(site: Site, rank: int, *lines: str) -> types_pb2.Number:
    """A number that rings lines one after the other, or none yet. Its calls are not limited (else to ten)."""
    return types_pb2.Number(
        number=site.number(rank),
        tenant=site.tenant,
        stages=dial_stages([[line] for line in lines], RING_S),
        limits=types_pb2.Limits(concurrent_calls=0),
    )


def _of_kind(site: Site, rank: int, kind: str) -> types_pb2.Number:
    if kind == "menu":
        with_flow = number(site, rank)
        with_flow.flow = FLOW
        return with_flow
    rings = number(site, rank, *((BUSY, LINE) if kind == "second_line" else (LINE,)))
    if kind == "recorded":
        rings.media = types_pb2.MEDIA_MODE_RECORD
    return rings


def _menu() -> flows_pb2.FlowGraph:
    return flows_pb2.FlowGraph(entry="ask", nodes=key_then_line(PROMPT, LINE, repeats=2, ring_s=RING_S))


def _parts(found: Sequence[Object]) -> Iterator[Sequence[Object]]:
    for start in range(0, len(found), OBJECTS_AT_ONCE):
        yield found[start : start + OBJECTS_AT_ONCE]
