"""All that a replica knows: rules, media nodes and proxies, as listings and changes of the store bring them.

A value that cannot be used is passed over, loudly: what was known under its key before stays in force, and
:attr:`Book.damaged` names it until it is mended or deleted.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from signalbox.address import split
from signalbox.api.routing.v1 import routing_pb2
from signalbox.api.types.v1 import screening_pb2
from signalbox.domain import media, voice
from signalbox.domain.media import MediaTable
from signalbox.domain.objects import Trunk
from signalbox.domain.rules import Rules
from signalbox.domain.screening import Page
from signalbox.routing import convert
from signalbox.routing.stored import OWNED, read_rule
from signalbox.store import codec, keys
from signalbox.store.livenodes import LiveNodes
from signalbox.store.mirror import SLICE
from signalbox.store.page import LAST

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from signalbox.domain.directory import Directory
    from signalbox.domain.objects import Target
    from signalbox.routing.stored import Rule
    from signalbox.store.base import Change, Entry, Listing

logger = structlog.get_logger(__name__)


class Book:
    """Rules and live nodes in memory. ``on_edge_change`` is called after every change that the edges must hear of."""

    def __init__(self, on_edge_change: Callable[[], None], directory: Directory | None = None) -> None:
        """``directory``: where what tenants own is kept, whatever rules are in force; by default with the rules."""
        self._on_edge_change = on_edge_change
        self._directory = directory
        self._rules_known = self._live_known = False
        self.rules = Rules(directory)
        self._live_media: LiveNodes[routing_pb2.MediaNode] = LiveNodes("media", media.takes_calls)
        self._live_voice: LiveNodes[routing_pb2.VoiceWorker] = LiveNodes("voice", voice.takes_calls)
        self.voice = voice.Pool()
        """The workers with voice; this one object for ever."""
        self.edges: dict[str, routing_pb2.Edge] = {}
        self.dead: dict[str, frozenset[Target]] = {}
        """The targets that are dead to each edge; this one object for ever."""
        self.media = MediaTable()
        self.damaged: dict[str, str] = {}

    @property
    def media_nodes(self) -> Mapping[str, routing_pb2.MediaNode]:
        """The media nodes that there are, by id (see LiveNodes)."""
        return self._live_media.nodes

    @property
    def voice_addresses(self) -> list[str]:
        """Where workers with voice call lines from, in a fixed order: those too that drain, or have just vanished."""
        return sorted({split(worker.sip_address)[0] for worker in self._live_voice.known})

    @property
    def loaded(self) -> bool:
        """True once rules and live nodes are known, from whatever source."""
        return self._rules_known and self._live_known

    async def reset_rules(self, listing: Listing, damaged: Mapping[str, str] | None = None) -> None:
        """Replace all rules, once the new ones are complete; calls are decided by the old ones until then.

        ``damaged``: what is known already not to be usable of what the listing has not got.
        """
        self._forget_damage(keys.RULES)
        self.damaged |= damaged or {}
        rules = Rules(self._directory)
        for position, entry in enumerate(listing.entries, 1):
            self._take(entry, lambda entry: _put_rule(rules, entry, read_rule(entry)))
            if position % SLICE == 0:
                await asyncio.sleep(0)
        before, self.rules, self._rules_known = self.rules, rules, True
        self._on_edge_change()
        while before.shrink(SLICE):  # noqa: ASYNC110, only lets others have their turn
            await asyncio.sleep(0)

    def change_rules(self, changes: Sequence[Change], read: Mapping[str, Rule] | None = None) -> None:
        """Put and delete some rules; the next decision obeys. ``read``: what has been read of them already, by key."""
        read = read or {}

        def put(entry: Entry) -> bool:
            return _put_rule(self.rules, entry, read[entry.key] if entry.key in read else read_rule(entry))

        seen = False
        for change in changes:
            if change.entry is None:
                self.damaged.pop(change.key, None)
                seen |= _delete_rule(self.rules, change.key)
            else:
                seen |= self._take(change.entry, put)
        if seen:
            self._on_edge_change()

    def reset_live(self, listing: Listing) -> None:
        """Replace all media nodes and proxies, and what these see of targets."""
        self._forget_damage(keys.LIVE)
        self.edges = {}
        self.dead.clear()
        nodes: list[routing_pb2.MediaNode] = []
        workers: list[routing_pb2.VoiceWorker] = []
        for entry in listing.entries:
            self._take(entry, lambda entry: self._put_live(entry, nodes.append, workers.append))
        self._live_media.reset(nodes)
        self._live_voice.reset(workers)
        self._live_known = True
        self._follow_live(True)

    def change_live(self, changes: Sequence[Change]) -> None:
        """Put and delete some media nodes and proxies, and what these see of targets."""
        seen = False
        before = self._to_edges()
        for change in changes:
            if change.entry is None:
                self.damaged.pop(change.key, None)
                seen |= self._delete_live(change.key)
            else:
                seen |= self._take(change.entry, self._put_live_now)
        self._follow_live(seen or before != self._to_edges())

    def _put_live_now(self, entry: Entry) -> bool:
        return self._put_live(entry, self._live_media.put, self._live_voice.put)

    def _put_live(
        self,
        entry: Entry,
        put_media: Callable[[routing_pb2.MediaNode], None],
        put_voice: Callable[[routing_pb2.VoiceWorker], None],
    ) -> bool:
        """True if the edges see a difference that is not one of media nodes."""
        match message := codec.decode_any(entry):
            case routing_pb2.MediaNode():
                put_media(convert.media_node(message))
            case routing_pb2.VoiceWorker():
                put_voice(convert.voice_worker(message))
            case routing_pb2.Edge():
                edge = convert.edge(message)
                last, self.edges[edge.id] = self.edges.get(edge.id), edge
                return edge != last
            case routing_pb2.EdgeTargets():
                self.dead[message.edge] = convert.dead_targets(message)
        return False

    def _delete_live(self, key: str) -> bool:
        id = keys.last_part(key)
        if key.startswith(keys.LIVE_MEDIA):
            self._live_media.delete(id)
            return False
        if key.startswith(keys.LIVE_VOICE):
            self._live_voice.delete(id)
            return False
        if key.startswith(keys.LIVE_EDGES):
            return self.edges.pop(id, None) is not None
        if key.startswith(keys.LIVE_TARGETS):
            self.dead.pop(id, None)
        return False

    def _follow_live(self, seen_by_edges: bool) -> None:
        nodes = self.media_nodes.values()
        if not self.media.fits(nodes):
            self.media = MediaTable(nodes)
        self.voice.set(
            (voice.as_line(one.id, *split(one.sip_address), convert.transport(one.transport)), one.calls / one.capacity)
            for one in self._live_voice.nodes.values()
            if voice.takes_calls(one)
        )
        if seen_by_edges:
            self._on_edge_change()

    def _to_edges(self) -> tuple[object, ...]:
        """What edges are told of nodes and workers: nothing of their live calls and recording."""
        nodes = {
            (node.id, node.number, node.control_address, node.capacity, node.healthy, node.draining)
            for node in self.media_nodes.values()
        }
        return nodes, self.voice_addresses

    def _take(self, entry: Entry, put: Callable[[Entry], bool]) -> bool:
        """Put an entry's object; what is damaged is noted instead."""
        try:
            seen = put(entry)
        except codec.DamagedValueError as error:
            self.damaged[entry.key] = str(error)
            logger.error("stored_value_damaged", key=entry.key, revision=entry.revision, reason=str(error))
            return False
        self.damaged.pop(entry.key, None)
        return seen

    def _forget_damage(self, prefix: str) -> None:
        self.damaged = {key: reason for key, reason in self.damaged.items() if not key.startswith(prefix)}


def _put_rule(rules: Rules, entry: Entry, rule: Rule) -> bool:
    """Put what an entry is. True if the edges see a difference."""
    match rule:
        case Page():
            page = keys.screening_page_parts(entry.key)
            assert page is not None
            rules.put_screening_page(*page, rule)
        case screening_pb2.ScreeningList():
            rules.put_screening_list(rule.tenant, rule.id)
        case None:
            pass
        case _:
            rules.put(rule, entry.value)
    return isinstance(rule, Trunk)


def _delete_rule(rules: Rules, key: str) -> bool:
    id = keys.last_part(key)
    if id == LAST:
        # A page, which was damaged.
        return False
    for prefix, kind in OWNED.items():
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
    elif key.startswith(keys.SCREENING_LISTS):
        rules.delete_screening_list(keys.owner(key), id)
    elif (page := keys.screening_page_parts(key)) is not None and keys.screening_page(*page) == key:
        rules.delete_screening_page(*page)
    return False
