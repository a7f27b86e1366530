"""All that a replica knows: rules, media nodes and proxies, as listings and changes of the store bring them.

A value that cannot be used is passed over, loudly: what was known under its key before stays in force, and
:attr:`Book.damaged` names it until it is mended or deleted.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog

from signalbox.api.routing.v1 import routing_pb2
from signalbox.api.types.v1 import flows_pb2, schedules_pb2, screening_pb2, types_pb2
from signalbox.domain.flow import Flow, LineGroup
from signalbox.domain.media import MediaTable
from signalbox.domain.objects import Line
from signalbox.domain.regions import RegionGroup
from signalbox.domain.rules import Rules
from signalbox.domain.schedules import Calendar, Schedule
from signalbox.routing import convert, convert_flows, convert_regions, convert_schedules, convert_screening
from signalbox.store import codec, keys
from signalbox.store.mirror import SLICE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from signalbox.domain.rules import Item, Owned
    from signalbox.store.base import Change, Entry, Listing

logger = structlog.get_logger(__name__)


class Book:
    """Rules and live nodes in memory. ``on_edge_change`` is called after every change that the edges must hear of."""

    def __init__(self, on_edge_change: Callable[[], None]) -> None:
        self._on_edge_change = on_edge_change
        self._rules_known = self._live_known = False
        self.rules = Rules()
        self.media_nodes: dict[str, routing_pb2.MediaNode] = {}
        self.edges: dict[str, routing_pb2.Edge] = {}
        self.media = MediaTable()
        self.damaged: dict[str, str] = {}

    @property
    def loaded(self) -> bool:
        """True once rules and live nodes are known, from whatever source."""
        return self._rules_known and self._live_known

    async def reset_rules(self, listing: Listing) -> None:
        """Replace all rules, once the new ones are complete; calls are decided by the old ones until then."""
        self._forget_damage(keys.RULES)
        rules = Rules()
        for position, entry in enumerate(listing.entries, 1):
            self._take(entry, lambda message: _put_rule(rules, message))
            if position % SLICE == 0:
                await asyncio.sleep(0)
        before, self.rules, self._rules_known = self.rules, rules, True
        self._on_edge_change()
        while before.shrink(SLICE):  # noqa: ASYNC110, only lets others have their turn
            await asyncio.sleep(0)

    def change_rules(self, changes: Sequence[Change]) -> None:
        """Put and delete some rules; the next decision obeys."""
        seen = False
        for change in changes:
            if change.entry is None:
                self.damaged.pop(change.key, None)
                seen |= _delete_rule(self.rules, change.key)
            else:
                seen |= self._take(change.entry, lambda message: _put_rule(self.rules, message))
        if seen:
            self._on_edge_change()

    def reset_live(self, listing: Listing) -> None:
        """Replace all media nodes and proxies."""
        self._forget_damage(keys.LIVE)
        self.media_nodes, self.edges = {}, {}
        for entry in listing.entries:
            self._take(entry, self._put_live)
        self._live_known = True
        self._follow_live(True)

    def change_live(self, changes: Sequence[Change]) -> None:
        """Put and delete some media nodes and proxies."""
        seen = False
        for change in changes:
            if change.entry is None:
                self.damaged.pop(change.key, None)
                seen |= self._delete_live(change.key)
            else:
                seen |= self._take(change.entry, self._put_live)
        self._follow_live(seen)

    def _put_live(self, message: codec.Object | None) -> bool:
        """True if the edges see a difference: they are not told of a node's live calls."""
        match message:
            case routing_pb2.MediaNode():
                node = convert.media_node(message)
                before, self.media_nodes[node.id] = self.media_nodes.get(node.id), node
                return before is None or _without_calls(before) != _without_calls(node)
            case routing_pb2.Edge():
                edge = convert.edge(message)
                last, self.edges[edge.id] = self.edges.get(edge.id), edge
                return edge != last
        return False

    def _delete_live(self, key: str) -> bool:
        id = keys.last_part(key)
        if key.startswith(keys.LIVE_MEDIA):
            return self.media_nodes.pop(id, None) is not None
        if key.startswith(keys.LIVE_EDGES):
            return self.edges.pop(id, None) is not None
        return False

    def _follow_live(self, seen_by_edges: bool) -> None:
        nodes = self.media_nodes.values()
        if not self.media.fits(nodes):
            self.media = MediaTable(nodes)
        if seen_by_edges:
            self._on_edge_change()

    def _take(self, entry: Entry, put: Callable[[codec.Object | None], bool]) -> bool:
        """Put an entry's object; what is damaged is noted instead."""
        try:
            seen = put(codec.decode_any(entry))
        except codec.DamagedValueError as error:
            self.damaged[entry.key] = str(error)
            logger.error("stored_value_damaged", key=entry.key, revision=entry.revision, reason=str(error))
            return False
        self.damaged.pop(entry.key, None)
        return seen

    def _forget_damage(self, prefix: str) -> None:
        self.damaged = {key: reason for key, reason in self.damaged.items() if not key.startswith(prefix)}


def _put_rule(rules: Rules, message: codec.Object | None) -> bool:
    """True if the edges see a difference. A kind of object that decides nothing is passed over."""
    if isinstance(message, screening_pb2.ScreeningList | screening_pb2.ScreeningPage):
        convert_screening.put(rules.lists, message)
        return False
    made = _CONVERTERS.get(type(message))
    if made is not None:
        rules.put(made(message))
    return isinstance(message, types_pb2.Trunk)


def _delete_rule(rules: Rules, key: str) -> bool:
    id = keys.last_part(key)
    for prefix, kind in _OWNED.items():
        if key.startswith(prefix):
            rules.delete(kind, keys.owner(key), id)
            return False
    if key.startswith(keys.NUMBERS):
        rules.delete_number(id)
    elif key.startswith(keys.TENANTS):
        rules.delete_tenant(id)
    elif key.startswith(keys.TRUNK_GROUPS):
        rules.delete_trunk_group(id)
    elif key.startswith(keys.TRUNKS):
        rules.delete_trunk(id)
        return True
    else:
        convert_screening.delete(rules.lists, key)
    return False


_CONVERTERS: Mapping[type[codec.Object | None], Callable[[Any], Item]] = {
    types_pb2.Number: convert.number,
    types_pb2.Line: convert.line,
    types_pb2.Trunk: convert.trunk,
    types_pb2.TrunkGroup: convert.trunk_group,
    types_pb2.Tenant: convert.tenant,
    flows_pb2.LineGroup: convert_flows.line_group,
    flows_pb2.Flow: convert_flows.flow,
    schedules_pb2.Schedule: convert_schedules.schedule,
    schedules_pb2.Calendar: convert_schedules.calendar,
    screening_pb2.RegionGroup: convert_regions.region_group,
}

_OWNED: Mapping[str, type[Owned]] = {
    keys.LINES: Line,
    keys.LINE_GROUPS: LineGroup,
    keys.FLOWS: Flow,
    keys.SCHEDULES: Schedule,
    keys.CALENDARS: Calendar,
    keys.REGION_GROUPS: RegionGroup,
}


def _without_calls(node: routing_pb2.MediaNode) -> tuple[object, ...]:
    return node.id, node.number, node.control_address, node.capacity, node.healthy, node.draining
