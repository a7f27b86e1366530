"""What the proxies see of the targets of trunks (ListTrunkHealth)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.routing.v1 import routing_pb2
from signalbox.api.types.v1 import types_pb2
from signalbox.provisioning import pagetoken
from signalbox.provisioning.listing import PAGE_BYTES_MAX, page_size
from signalbox.store import codec, keys

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from signalbox.provisioning.access import Principal
    from signalbox.store.base import Entry, Store

    Key = tuple[str, int, types_pb2.SipTransport.ValueType]
    View = tuple[str, Mapping[Key, routing_pb2.DeadTarget]]
    """An edge, and what is dead to it by target."""

METHOD = "TrunkHealth"
SIP_PORT = 5060


class TrunkHealth:
    """Reads trunks, and the registry that the routing service keeps for the edges."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._views: dict[str, tuple[int, View]] = {}
        """Views with the revisions that they were read from, by key: one holds up to 10,000 targets."""

    async def __call__(self, principal: Principal, request: pb.ListTrunkHealthRequest) -> pb.ListTrunkHealthResponse:
        """One page, which ends early if it would be long. Raises InvalidFieldError."""
        after = pagetoken.decode(METHOD, "", request.page_token)
        size = page_size(request.page_size)
        entries = await self._store.page(keys.TRUNKS, keys.trunk(after) if after else "", size + 1)
        views = await self._seen()
        response = pb.ListTrunkHealthResponse()
        room = PAGE_BYTES_MAX
        for position, entry in enumerate(entries):
            trunk = codec.decode(types_pb2.Trunk, entry)
            health = pb.TrunkHealth(trunk=trunk.id, targets=_targets(trunk, views))
            room -= health.ByteSize()
            if position == size or (response.trunk_health and room < 0):
                response.next_page_token = pagetoken.encode(METHOD, "", after)
                break
            if trunk.targets:
                response.trunk_health.append(health)
            after = trunk.id
            await asyncio.sleep(0)
        return response

    async def _seen(self) -> list[View]:
        """What every edge sees. Only what has changed since the last page is decoded."""
        listing = await self._store.list(keys.LIVE_TARGETS)
        views: dict[str, tuple[int, View]] = {}
        for entry in listing.entries:
            known = self._views.get(entry.key)
            if known is None or known[0] != entry.revision:
                known = entry.revision, _view(entry)
                await asyncio.sleep(0)
            views[entry.key] = known
        self._views = views
        return [view for _, view in views.values()]


def _view(entry: Entry) -> View:
    seen = codec.decode(routing_pb2.EdgeTargets, entry)
    return seen.edge, {_key(one.target): one for one in seen.dead}


def _key(target: types_pb2.TrunkTarget) -> Key:
    """Equal for targets that are the same, whatever stands for a default."""
    return target.host, target.port or SIP_PORT, target.transport or types_pb2.SIP_TRANSPORT_UDP


def _targets(trunk: types_pb2.Trunk, views: Sequence[View]) -> Iterator[pb.TargetHealth]:
    """Every target at every edge that looks."""
    checked = not (trunk.disabled or trunk.health_check.disabled)
    for target in trunk.targets:
        key = host, port, transport = _key(target)
        whole = types_pb2.TrunkTarget(host=host, port=port, transport=transport)
        if not checked or not views:
            yield pb.TargetHealth(target=whole, state=pb.TARGET_STATE_UNCHECKED)
            continue
        for edge, dead in views:
            health = pb.TargetHealth(target=whole, edge=edge, state=pb.TARGET_STATE_ALIVE)
            if (found := dead.get(key)) is not None:
                health.state, health.code = pb.TARGET_STATE_DEAD, found.code
                health.since.CopyFrom(found.since)
            yield health
