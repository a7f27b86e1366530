"""The rules that past calls rest on, read from the provisioning service as they are needed: as they are, and as they
would be by a draft."""

from __future__ import annotations

import itertools
from collections import Counter, deque
from typing import TYPE_CHECKING, Any

import click
import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.provisioning.v1 import provisioning_pb2_grpc
from signalbox.commands.entries import MOST_AT_ONCE
from signalbox.commands.kinds import BY_NAME
from signalbox.commands.replaydraft import key_of, stored_entries
from signalbox.commands.rules import pages
from signalbox.domain.flow import CallerListNode, DialNode, Flow, LineGroup, RegionNode, ScheduleNode
from signalbox.domain.numbering import national
from signalbox.domain.objects import Line, Member, Number, Target, Trunk, TrunkGroup
from signalbox.domain.rules import Rules
from signalbox.domain.schedules import Schedule
from signalbox.domain.screening import ADDED, REMOVED, Page, page_of
from signalbox.routing import convert, convert_flows, convert_regions, convert_schedules
from signalbox.store.codec import DamagedValueError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from signalbox.commands.replaydraft import Draft, Key
    from signalbox.domain.replay import PastCall
    from signalbox.domain.rules import Item

AT_ONCE = 64
"""Questions to the service that are on their way together."""
LISTED_MAX = 20_000
"""Numbers, or lines, of a tenant that are read as a list rather than one by one."""
MANY = 500
"""Lines of a tenant that are wanted together are worth a list."""
HIDDEN = "not-visible"
"""Id of the trunk and its group that stand for those that a tenant may not see."""

_CONVERTERS: Mapping[str, Callable[[Any], Item]] = {
    "Number": convert.number,
    "Line": convert.line,
    "Trunk": convert.trunk,
    "TrunkGroup": convert.trunk_group,
    "Tenant": convert.tenant,
    "LineGroup": convert_flows.line_group,
    "Flow": convert_flows.flow,
    "Schedule": convert_schedules.schedule,
    "Calendar": convert_schedules.calendar,
    "RegionGroup": convert_regions.region_group,
}
_CONTENTS = {"Flow": "graph", "Schedule": "rules"}
"""Kinds with revisions, and the field that says what is in force with them."""
_NOT_THERE = (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT)
"""A record may name what can be no id: there is none of it."""


class ReplayRules:
    """Rules ``before`` and ``after`` the draft, as far as they were read. Of revisions those in force now are always in
    force.

    ``everything``: what no object of the draft belongs to is read, too. ``now``: epoch, seconds.
    """

    def __init__(self, channel: Any, timeout_s: float, draft: Draft, now: float, *, everything: bool) -> None:
        self._channel = channel
        self._stub = provisioning_pb2_grpc.ProvisioningServiceStub(channel)
        self._timeout_s = timeout_s
        self._draft = draft
        self._tenants = None if everything else draft.tenants
        self._now_ns = int(now * 10**9)
        self._known: set[Key] = set()
        self._concerned: set[str] = set()
        self._groups_read = False
        self._numbers: dict[Key, Any] | None = None
        self.before, self.after = Rules(), Rules()
        self.trunks_hidden = False
        """True: the caller may not see trunks, so all are taken to be in service."""

    def concerns(self, call: PastCall) -> bool:
        """Whether a call that was read for can come to something else."""
        return self._tenants is None or national(call.called) in self._concerned

    def read(self, calls: Iterable[PastCall]) -> None:
        """Read all that these calls rest on. Raises RpcError, and ClickException for a draft that no call can obey."""
        if self._tenants is not None and not self._known:
            self._numbers = self._all_numbers(self._tenants)
        wanted: set[Key] = set()
        for call in calls:
            digits = national(call.called)
            if digits and self._may_concern(("Number", digits)):
                wanted.add(("Number", digits))
            if call.trunk:
                wanted.add(("Trunk", call.trunk))
        while wanted := wanted - self._known:
            self._known |= wanted
            following: set[Key] = set()
            for key, stored in self._stored(sorted(wanted)):
                following.update(self._take(key, stored))
            wanted = following

    def _stored(self, keys: Iterable[Key]) -> Iterator[tuple[Key, Any | None]]:
        """What is stored under keys; None: nothing."""
        asked: deque[tuple[Key, Any]] = deque()
        keys = list(keys)
        listed = dict(self._numbers or {})
        for tenant, count in Counter(key[1] for key in keys if key[0] == "Line").items():
            if count >= MANY:
                listed |= self._list("Line", tenant)
        for key in keys:
            if key in listed:
                yield key, listed[key]
                continue
            asked.append((key, self._ask(key)))
            if len(asked) == AT_ONCE:
                yield self._answer(*asked.popleft())
        while asked:
            yield self._answer(*asked.popleft())

    def _may_concern(self, key: Key) -> bool:
        """False for a number that is of no tenant of the draft, as far as that is known without asking for it."""
        return self._numbers is None or key in self._numbers or key in self._draft

    def _all_numbers(self, tenants: Iterable[str]) -> dict[Key, Any] | None:
        """The numbers of some tenants; None: they are too many to read them all."""
        found: dict[Key, Any] = {}
        for tenant in tenants:
            found |= self._list("Number", tenant)
            if len(found) > LISTED_MAX:
                return None
        return found

    def _list(self, kind: str, tenant: str) -> dict[Key, Any]:
        """Objects of a tenant, LISTED_MAX and one more at most."""
        every = pages(self._channel, self._timeout_s, f"List{kind}s", f"{kind.lower()}s", {"tenant": tenant})
        try:
            return {key_of(kind, one): one for one in itertools.islice(every, LISTED_MAX + 1)}
        except grpc.RpcError as error:
            if error.code() not in _NOT_THERE:
                raise
            return {}

    def _ask(self, key: Key) -> Any:
        name, *identity = key
        fields = dict(zip(BY_NAME[name].identity, identity, strict=True))
        request = getattr(pb, f"Get{name}Request")(**fields)
        return getattr(self._stub, f"Get{name}").future(request, timeout=self._timeout_s)

    def _answer(self, key: Key, asked: Any) -> tuple[Key, Any | None]:
        try:
            return key, asked.result()
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.PERMISSION_DENIED and key[0] == "Trunk":
                self._hide_trunks(key[1])
            elif error.code() not in _NOT_THERE:
                raise
            return key, None

    def _take(self, key: Key, stored: Any | None) -> Iterator[Key]:
        """Put what is stored, and what the draft says of it, into the rules; gives the keys of what it refers to."""
        name = key[0]
        drafted = self._draft.objects[key] if key in self._draft else stored
        if name == "Number":
            if not self._concerns_number(stored, drafted):
                return
            self._concerned.add(key[1])
        if name == "ScreeningList":
            self._take_list(key, stored, drafted)
            return
        before = self._item(name, self._in_force(name, stored)) if stored is not None else None
        after = before
        if key in self._draft:
            after = None if drafted is None else self._item(name, self._to_be(name, drafted, stored), draft=True)
        for rules, item in ((self.before, before), (self.after, after)):
            if item is not None:
                rules.put(item)
                yield from _references(item)
                if isinstance(item, Line) and not item.host:
                    yield from self._trunk_groups()

    def _concerns_number(self, *objects: Any | None) -> bool:
        there = [one for one in objects if one is not None]
        return self._tenants is None or any(
            key_of("Number", one) in self._draft or one.tenant in self._tenants for one in there
        )

    def _take_list(self, key: Key, stored: Any | None, drafted: Any | None) -> None:
        """A screening list with its entries."""
        _, tenant, id = key
        there = [rules for rules, one in ((self.before, stored), (self.after, drafted)) if one is not None]
        for rules in there:
            rules.put_screening_list(tenant, id)
        if stored is not None:
            asked = {"tenant": tenant, "list": id}
            found = pages(self._channel, self._timeout_s, "ListScreeningEntries", "entries", asked, MOST_AT_ONCE)
            for number, page in _pages(stored_entries(found)):
                for rules in there:
                    rules.put_screening_page(tenant, id, number, page)
        if drafted is not None:
            for number, changed in ((ADDED, self._draft.added), (REMOVED, self._draft.removed)):
                self.after.put_screening_page(tenant, id, number, Page.of(changed.get((tenant, id), ())))

    def _trunk_groups(self) -> Iterator[Key]:
        """All trunk groups, and their trunks: the first time."""
        if self._groups_read:
            return
        self._groups_read = True
        try:
            listed = list(pages(self._channel, self._timeout_s, "ListTrunkGroups", "trunk_groups", {}))
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.PERMISSION_DENIED:
                raise
            self._hide_trunks(HIDDEN)
            return
        stored = {key_of("TrunkGroup", group): group for group in listed}
        drafted = {key for key in self._draft.objects if key[0] == "TrunkGroup"}
        for key in sorted(stored.keys() | drafted):
            self._known.add(key)
            yield from self._take(key, stored.get(key))

    def _hide_trunks(self, id: str) -> None:
        self.trunks_hidden = True
        for rules in (self.before, self.after):
            rules.put(Trunk(id, targets=(Target("0.0.0.0"),)))
            if id == HIDDEN:
                rules.put(TrunkGroup(HIDDEN, ("",), (Member(HIDDEN),)))

    def _item(self, name: str, object: Any, *, draft: bool = False) -> Item | None:
        """An object as calls are decided by it; None: it decides nothing."""
        make = _CONVERTERS.get(name)
        try:
            return make(object) if make is not None else None
        except DamagedValueError as error:
            whose = "the draft" if draft else "what is stored"
            why = str(error).partition(" is damaged: ")[2]
            raise click.ClickException(f"{whose} of {BY_NAME[name].label(object)} cannot be obeyed: {why}") from error

    def _in_force(self, name: str, stored: Any) -> Any:
        """The object with no revision but the one that is in force, for ever."""
        if name not in _CONTENTS:
            return stored
        begun = [one for one in stored.revisions if one.activate_time.ToNanoseconds() <= self._now_ns]
        begun.sort(key=lambda one: (one.activate_time.ToNanoseconds(), one.number))
        return self._for_ever(name, stored, begun[-1:])

    def _to_be(self, name: str, drafted: Any, stored: Any | None) -> Any:
        """The object of the draft, with its own draft in force for ever; without one what is in force stays."""
        if name not in _CONTENTS:
            return drafted
        if not drafted.HasField("draft"):
            return self._in_force(name, stored if stored is not None else drafted)
        number = max((one.number for one in stored.revisions), default=0) + 1 if stored is not None else 1
        revision = type(drafted)().revisions.add(number=number, **{_CONTENTS[name]: drafted.draft})
        return self._for_ever(name, drafted, [revision])

    @staticmethod
    def _for_ever(name: str, object: Any, revisions: Iterable[Any]) -> Any:
        made = BY_NAME[name].message(tenant=object.tenant, id=object.id)
        for revision in revisions:
            made.revisions.add().CopyFrom(revision)  # type: ignore[attr-defined]
            made.revisions[-1].activate_time.CopyFrom(Timestamp())  # type: ignore[attr-defined]
        return made


def _pages(entries: Iterable[str]) -> Iterator[tuple[int, Page]]:
    """The pages that a list keeps its entries in."""
    found: dict[int, list[str]] = {}
    for entry in entries:
        found.setdefault(page_of(entry), []).append(entry)
    return ((number, Page.of(those)) for number, those in found.items())


def _references(item: Item) -> Iterator[Key]:
    """What calls rest on that rest on an object. Of what the operator may share both are named."""
    match item:
        case Number():
            yield "Tenant", item.tenant
            yield from (("Line", item.tenant, id) for stage in item.stages for id in stage.lines)
            yield from (("Flow", item.tenant, id) for id in (item.flow, item.over_limit_flow) if id)
            yield from _shared("ScreeningList", item.tenant, item.screening.blacklists, item.screening.whitelists)
        case Flow():
            for revision in item.revisions:
                for node in revision.graph.nodes.values():
                    yield from _of_node(item.tenant, node)
        case LineGroup():
            yield from (("Line", item.tenant, one.line) for one in item.lines)
        case Schedule():
            for _, rules in item.revisions:
                yield from _shared("Calendar", item.tenant, (rules.calendar,) if rules.calendar else ())
        case TrunkGroup():
            yield from (("Trunk", member.trunk) for member in item.members)


def _of_node(tenant: str, node: object) -> Iterator[Key]:
    match node:
        case DialNode():
            yield from (("Line", tenant, one.line) for one in node.lines)
            if node.line_group:
                yield "LineGroup", tenant, node.line_group
        case ScheduleNode():
            yield "Schedule", tenant, node.schedule
        case RegionNode():
            yield from _shared("RegionGroup", tenant, *(branch.groups for branch in node.branches))
        case CallerListNode():
            yield from _shared("ScreeningList", tenant, node.lists)


def _shared(name: str, tenant: str, *ids: Iterable[str]) -> Iterator[Key]:
    for id in itertools.chain(*ids):
        yield name, tenant, id
        yield name, "", id
