"""Trunks and the groups that they carry calls in."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from signalbox.api.types.v1 import types_pb2
from signalbox.errors import FieldViolation, InvalidFieldError
from signalbox.provisioning import validate
from signalbox.provisioning.collection import Collection
from signalbox.store import codec, keys

if TYPE_CHECKING:
    from collections.abc import Iterable


class Trunks(Collection[types_pb2.Trunk]):
    """All trunks. No address belongs to two of them; what a group sends calls to has targets."""

    resource = "trunk"
    message = types_pb2.Trunk
    immutable = frozenset({"id"})

    def name(self, rule: types_pb2.Trunk) -> str:
        return rule.id

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
        group = "" if rule.targets else await self._group(rule)
        if group:
            raise InvalidFieldError(
                FieldViolation("trunk.targets", f"is required: trunk group {group} sends calls here")
            )

    async def _user(self, rule: types_pb2.Trunk) -> str:
        group = await self._group(rule)
        return f"trunk_group {group}" if group else ""

    async def _group(self, rule: types_pb2.Trunk) -> str:
        """The first group that the trunk is in; "" if there is none."""
        for entry in (await self._store.list(keys.TRUNK_GROUPS)).entries:
            group = codec.decode(types_pb2.TrunkGroup, entry)
            if any(member.trunk == rule.id for member in group.members):
                return group.id
        return ""


class TrunkGroups(Collection[types_pb2.TrunkGroup]):
    """All trunk groups. No prefix belongs to two of them."""

    resource = "trunk_group"
    message = types_pb2.TrunkGroup
    immutable = frozenset({"id"})

    def name(self, rule: types_pb2.TrunkGroup) -> str:
        return rule.id

    def _fence(self, rule: types_pb2.TrunkGroup) -> str:
        return keys.TRUNK_FENCE

    def _identity(self, rule: types_pb2.TrunkGroup, at: str) -> Iterable[FieldViolation]:
        return validate.identifier(rule.id, f"{at}id")

    def _violations(self, rule: types_pb2.TrunkGroup) -> Iterable[FieldViolation]:
        return validate.trunk_group(rule)

    async def _check_references(self, rule: types_pb2.TrunkGroup) -> None:
        entries = await self._store.get_many([keys.trunk(member.trunk) for member in rule.members])
        violations: list[FieldViolation] = []
        for position, (member, entry) in enumerate(zip(rule.members, entries, strict=True)):
            path = f"trunk_group.members[{position}].trunk"
            if entry is None:
                violations.append(FieldViolation(path, f"there is no trunk {member.trunk}"))
            elif not codec.decode(types_pb2.Trunk, entry).targets:
                violations.append(FieldViolation(path, f"trunk {member.trunk} has no targets"))
        taken: dict[str, str] = {}
        for stored in (await self._store.list(keys.TRUNK_GROUPS)).entries:
            if stored.key != self._key(rule):
                other = self._decode(stored)
                taken.update(dict.fromkeys(other.prefixes, other.id))
        violations += [
            FieldViolation(f"trunk_group.prefixes[{position}]", f"is of trunk group {taken[prefix]}")
            for position, prefix in enumerate(rule.prefixes)
            if prefix in taken
        ]
        validate.require(violations)


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
