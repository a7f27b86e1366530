"""The kinds of objects that the command knows, and how they look in a table."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from signalbox import address
from signalbox.api.types.v1 import flows_pb2, schedules_pb2, screening_pb2, types_pb2
from signalbox.commands.ruleoptions import (
    LINE_FIELDS,
    NUMBER_FIELDS,
    TENANT_FIELDS,
    TRUNK_FIELDS,
    Fields,
    short,
    stage_text,
)

if TYPE_CHECKING:
    from google.protobuf.message import Message

Row = Callable[[Any], Sequence[str]]

_NO_FIELDS = Fields([])
_ID = {"id": "ID"}
_TENANT_AND_ID = {"tenant": "TENANT", "id": "ID"}
_OF_TENANT = {"tenant": "TENANT"}

OPERATOR = "-"
"""Stands for the operator where an owner is named."""


def owner(written: str) -> str:
    """The tenant that is written on a command line; the operator has none."""
    return "" if written == OPERATOR else written


@dataclass(frozen=True)
class Kind:
    """One kind of rule object on the command line."""

    name: str
    """As in the API: "TrunkGroup"."""
    message: type[Message]
    columns: Sequence[str]
    row: Row
    identity: Mapping[str, str] = field(default_factory=lambda: _TENANT_AND_ID)
    """Arguments that name an object: field → what it is called in the help."""
    parent: Mapping[str, str] = field(default_factory=lambda: _OF_TENANT)
    """What a list is about: field of the list request → name of the argument, or of the option if it begins with --."""
    fields: Fields = _NO_FIELDS
    """Those that have options of their own."""
    shared: bool = False
    """The operator may own one, too: written as OPERATOR."""
    versioned: bool = False
    """It has a draft and revisions."""

    @property
    def singular(self) -> str:
        """As in requests: "trunk_group"."""
        return re.sub(r"(?<!^)([A-Z])", r"_\1", self.name).lower()

    @property
    def plural(self) -> str:
        """As in responses: "trunk_groups"."""
        return self.singular + "s"

    @property
    def command(self) -> str:
        """Name of its commands: "trunk-groups"."""
        return self.plural.replace("_", "-")

    @property
    def words(self) -> str:
        """For people: "trunk group"."""
        return self.singular.replace("_", " ")

    def identify(self, values: Mapping[str, Any]) -> dict[str, str]:
        """The fields that name an object, of what was given for the arguments."""
        return {name: self.owner(name, values[name]) for name in self.identity}

    def owner(self, name: str, value: str) -> str:
        """The value of a field that may name the operator."""
        return owner(value) if self.shared and name == "tenant" else value

    def label(self, object: Any) -> str:
        """What an object is called: "line acme/desk"."""
        return f"{self.words} {'/'.join(getattr(object, name) or OPERATOR for name in self.identity)}"


def _tenant(tenant: types_pb2.Tenant) -> Sequence[str]:
    return tenant.id, tenant.display_name, tenant.etag


def _trunk(trunk: types_pb2.Trunk) -> Sequence[str]:
    state = "disabled" if trunk.disabled else "enabled"
    return trunk.id, trunk.display_name, " ".join(trunk.source_addresses), state, trunk.etag


def _trunk_group(group: types_pb2.TrunkGroup) -> Sequence[str]:
    members = (f"{m.trunk}:{m.priority}:{m.weight or 1}" for m in group.members)
    return group.id, group.display_name, " ".join(p or '""' for p in group.prefixes), " ".join(members), group.etag


def _line(line: types_pb2.Line) -> Sequence[str]:
    at = address.join(line.host, line.port or 5060)
    reached = f"{line.user}@{at}" if line.host else line.user
    transport = short(types_pb2.SipTransport, line.transport or types_pb2.SIP_TRANSPORT_UDP)
    identity = short(types_pb2.IdentityPolicy, line.identity_policy or types_pb2.IDENTITY_POLICY_PASS)
    return line.tenant, line.id, line.display_name, reached, transport, identity, line.etag


def _line_group(group: flows_pb2.LineGroup) -> Sequence[str]:
    lines = (f"{line.line}:{line.weight}" if line.weight else line.line for line in group.lines)
    distribution = short(flows_pb2.Distribution, group.distribution or flows_pb2.DISTRIBUTION_SEQUENTIAL)
    return group.tenant, group.id, group.display_name, distribution.replace("_", " "), " ".join(lines), group.etag


def _number(number: types_pb2.Number) -> Sequence[str]:
    state = short(types_pb2.NumberState, number.state or types_pb2.NUMBER_STATE_ACTIVE)
    media = short(types_pb2.MediaMode, number.media or types_pb2.MEDIA_MODE_ANCHOR)
    stages = " then ".join(stage_text(stage) for stage in number.stages)
    dials = f"flow {number.flow}" if number.flow else stages
    return number.number, number.tenant, state, dials, media, number.etag


def _versioned(object: flows_pb2.Flow | schedules_pb2.Schedule) -> Sequence[str]:
    last = object.revisions[-1] if object.revisions else None
    since = f"{last.activate_time.ToDatetime():%Y-%m-%d %H:%M:%S}" if last else ""
    return object.tenant, object.id, object.display_name, str(last.number) if last else "none", since, object.etag


def _calendar(calendar: schedules_pb2.Calendar) -> Sequence[str]:
    return calendar.tenant or OPERATOR, calendar.id, calendar.display_name, str(len(calendar.days)), calendar.etag


def _region_group(group: screening_pb2.RegionGroup) -> Sequence[str]:
    holds = " ".join([*group.provinces, *group.area_codes])
    return group.tenant or OPERATOR, group.id, group.display_name, holds, group.etag


def _screening_list(list_: screening_pb2.ScreeningList) -> Sequence[str]:
    return list_.tenant or OPERATOR, list_.id, list_.display_name, list_.etag


def _prompt(prompt: types_pb2.Prompt) -> Sequence[str]:
    return prompt.tenant, prompt.id, prompt.display_name, prompt.language, heard(prompt), prompt.etag


def heard(prompt: types_pb2.Prompt) -> str:
    """How long a prompt's audio plays, and what it was made of."""
    if not prompt.HasField("audio"):
        return "none"
    source = "file" if prompt.audio.HasField("file") else "text"
    if source == "text" and prompt.audio.speech.text != prompt.text:
        source = "earlier text"
    return f"{prompt.audio.duration_ms / 1000:.1f} s, {source}"


_VERSIONED_COLUMNS = ("tenant", "id", "name", "revision", "in force from (UTC)", "etag")

KINDS = (
    Kind("Tenant", types_pb2.Tenant, ("id", "name", "etag"), _tenant, _ID, {}, TENANT_FIELDS),
    Kind("Trunk", types_pb2.Trunk, ("id", "name", "sources", "state", "etag"), _trunk, _ID, {}, TRUNK_FIELDS),
    Kind("TrunkGroup", types_pb2.TrunkGroup, ("id", "name", "prefixes", "members", "etag"), _trunk_group, _ID, {}),
    Kind(
        "Line",
        types_pb2.Line,
        ("tenant", "id", "name", "address", "transport", "identity", "etag"),
        _line,
        fields=LINE_FIELDS,
    ),
    Kind("LineGroup", flows_pb2.LineGroup, ("tenant", "id", "name", "distribution", "lines", "etag"), _line_group),
    Kind(
        "Number",
        types_pb2.Number,
        ("number", "tenant", "state", "dials", "media", "etag"),
        _number,
        {"number": "NUMBER"},
        {"tenant": "--tenant"},
        NUMBER_FIELDS,
    ),
    Kind("Flow", flows_pb2.Flow, _VERSIONED_COLUMNS, _versioned, versioned=True),
    Kind("Schedule", schedules_pb2.Schedule, _VERSIONED_COLUMNS, _versioned, versioned=True),
    Kind("Calendar", schedules_pb2.Calendar, ("owner", "id", "name", "days", "etag"), _calendar, shared=True),
    Kind(
        "RegionGroup", screening_pb2.RegionGroup, ("owner", "id", "name", "holds", "etag"), _region_group, shared=True
    ),
    Kind("ScreeningList", screening_pb2.ScreeningList, ("owner", "id", "name", "etag"), _screening_list, shared=True),
    Kind("Prompt", types_pb2.Prompt, ("tenant", "id", "name", "language", "audio", "etag"), _prompt),
)

BY_NAME = {kind.name: kind for kind in KINDS}
