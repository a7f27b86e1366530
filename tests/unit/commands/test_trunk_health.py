"""``signalbox trunks health``."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from signalbox.api.routing.v1 import routing_pb2
from signalbox.api.types.v1 import types_pb2
from support import routing

if TYPE_CHECKING:
    from support.commands import Service, Shell

CARRIER = types_pb2.Trunk(
    id="carrier",
    targets=[
        types_pb2.TrunkTarget(host="192.0.2.7"),
        types_pb2.TrunkTarget(host="2001:db8::7", port=5062, transport=types_pb2.SIP_TRANSPORT_TCP),
    ],
)
OTHER = types_pb2.Trunk(id="other", targets=[types_pb2.TrunkTarget(host="192.0.2.8")], disabled=True)


def test_targets_are_shown_as_every_proxy_sees_them(service: Service, shell: Shell) -> None:
    seen = routing_pb2.EdgeTargets(edge="edge-1")
    target = types_pb2.TrunkTarget(host="192.0.2.7", port=5060, transport=types_pb2.SIP_TRANSPORT_UDP)
    seen.dead.add(target=target, code=503).since.FromSeconds(1_800_000_000)
    asyncio.run(routing.put(service.store, CARRIER, OTHER, seen, routing_pb2.EdgeTargets(edge="edge-2")))
    assert shell("trunks health").stdout.splitlines() == [
        "TRUNK    TARGET                  EDGE    STATE      SINCE                 CODE",
        "carrier  udp:192.0.2.7:5060      edge-1  dead       2027-01-15T08:00:00Z  503",
        "carrier  udp:192.0.2.7:5060      edge-2  alive",
        "carrier  tcp:[2001:db8::7]:5062  edge-1  alive",
        "carrier  tcp:[2001:db8::7]:5062  edge-2  alive",
        "other    udp:192.0.2.8:5060              unchecked",
    ]
    told = shell.json("trunks health")
    assert [one["trunk"] for one in told] == ["carrier", "other"]
    assert told[0]["targets"][0]["state"] == "TARGET_STATE_DEAD"


def test_without_trunks_there_is_only_the_head(shell: Shell) -> None:
    assert shell("trunks health").stdout.splitlines() == ["TRUNK  TARGET  EDGE  STATE  SINCE  CODE"]
