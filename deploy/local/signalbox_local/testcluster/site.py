"""The rules of the calls, and what kinds of calls there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.api.types.v1 import flows_pb2

from signalbox_local.rules import existing_is_fine
from signalbox_local.testcluster.calls import Kind

if TYPE_CHECKING:
    from signalbox_local.flow_messages import Address
    from signalbox_local.rules import Rules

TENANT, TRUNK, PROMPT = "testcluster", "testcluster-switch", "moment"
LINES = ("testcluster-a", "testcluster-b")
TEXT = ("en", "One moment please.")
KINDS = (
    Kind("short", "4009990001", 44.0, 0.5),
    Kind("voice", "4009990002", 4.0, 1.0),
    Kind("long", "4009990003", 1.5, 40.0),
    Kind("recorded", "4009990004", 0.5, 6.0),
)
"""50 calls a second, of which about 100 are up."""


def write_rules(rules: Rules, switch: Address) -> str:
    """The switch as trunk, lines behind it, and a number for each kind of call. What exists already is left as it is.
    Returns the etag of the number that was written last, empty if it was there. Raises grpc.RpcError."""
    with existing_is_fine():
        rules.tenant(TENANT)
    with existing_is_fine():
        rules.trunk(TRUNK, [switch[0]])
    for line in LINES:
        with existing_is_fine():
            rules.line(TENANT, line, f"{switch[0]}:{switch[1]}")
    with existing_is_fine():
        rules.prompt(TENANT, PROMPT, *TEXT)
    rules.speak(TENANT, PROMPT)
    numbers = {kind.name: kind.number for kind in KINDS}
    with existing_is_fine():
        rules.flow(TENANT, "announce", _flow())
    with existing_is_fine():
        rules.number(TENANT, numbers["short"], [[LINES[0]], [LINES[1]]])
    with existing_is_fine():
        rules.number(TENANT, numbers["long"], [[LINES[0]]])
    with existing_is_fine():
        rules.number(TENANT, numbers["recorded"], [[LINES[0]]], recorded=True)
    etag = ""
    with existing_is_fine():
        etag += rules.number(TENANT, numbers["voice"], flow="announce").etag
    return etag


def _flow() -> list[flows_pb2.FlowNode]:
    announce = flows_pb2.AnnounceNode(prompt=PROMPT, answer=True, next="ring")
    ring = flows_pb2.DialNode(lines=[flows_pb2.DialLine(line=LINES[0])], busy="end", no_answer="end", failed="end")
    end = flows_pb2.HangUpNode(cause=flows_pb2.HANG_UP_CAUSE_BUSY)
    return [
        flows_pb2.FlowNode(id="announce", announce=announce),
        flows_pb2.FlowNode(id="ring", dial=ring),
        flows_pb2.FlowNode(id="end", hang_up=end),
    ]
