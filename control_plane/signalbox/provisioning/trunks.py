"""Trunks."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.types.v1 import types_pb2
from signalbox.errors import FieldViolation
from signalbox.provisioning import validate
from signalbox.provisioning.collection import Collection
from signalbox.store import keys

if TYPE_CHECKING:
    from collections.abc import Iterable


class Trunks(Collection[types_pb2.Trunk]):
    """All trunks. No address belongs to two of them."""

    resource = "trunk"
    message = types_pb2.Trunk
    immutable = frozenset({"id"})

    async def list(self, request: pb.ListTrunksRequest) -> pb.ListTrunksResponse:
        """One page, by id."""
        trunks, token = await self._page(keys.TRUNKS, "ListTrunks", "", request.page_size, request.page_token)
        return pb.ListTrunksResponse(trunks=trunks, next_page_token=token)

    def name(self, rule: types_pb2.Trunk) -> str:
        return rule.id

    def _key(self, rule: types_pb2.Trunk) -> str:
        return keys.trunk(rule.id)

    def _fence(self, rule: types_pb2.Trunk) -> str:
        return keys.TRUNK_FENCE

    def _identity(self, rule: types_pb2.Trunk, at: str) -> Iterable[FieldViolation]:
        return validate.identifier(rule.id, f"{at}id")

    def _violations(self, rule: types_pb2.Trunk) -> Iterable[FieldViolation]:
        return validate.trunk(rule)

    async def _check_references(self, rule: types_pb2.Trunk) -> None:
        listing = await self._store.list(keys.TRUNKS)
        others = [self._decode(entry) for entry in listing.entries if entry.key != self._key(rule)]
        validate.require(overlaps(rule, others))


def overlaps(trunk: types_pb2.Trunk, others: Iterable[types_pb2.Trunk]) -> Iterable[FieldViolation]:
    """The addresses of a valid trunk that other valid trunks have too. Pure."""
    taken = sorted(
        (network.version, int(network.network_address), int(network.broadcast_address), text, other.id)
        for other in others
        for text in other.source_addresses
        for network in (validate.source_network(text),)
    )
    for position, text in enumerate(trunk.source_addresses):
        own = validate.source_network(text)
        # Those taken don't overlap each other, so only the last that begins before our end can reach into ours.
        place = bisect_right(taken, (own.version, int(own.broadcast_address), float("inf"), "", "")) - 1
        if place >= 0:
            version, _, end, other_text, id = taken[place]
            if version == own.version and end >= int(own.network_address):
                yield FieldViolation(f"trunk.source_addresses[{position}]", f"overlaps {other_text} of trunk {id}")
