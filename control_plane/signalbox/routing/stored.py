"""Stored rules of every kind into what decisions are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError

from signalbox.api.types.v1 import flows_pb2, schedules_pb2, screening_pb2, types_pb2
from signalbox.domain.flow import Flow, LineGroup
from signalbox.domain.objects import Line
from signalbox.domain.prompts import Prompt
from signalbox.domain.regions import RegionGroup
from signalbox.domain.rules import Item
from signalbox.domain.schedules import Calendar, Schedule
from signalbox.domain.screening import Page
from signalbox.routing import convert, convert_flows, convert_prompts, convert_regions, convert_schedules
from signalbox.store import codec, keys, screening
from signalbox.store.mapfile import MAX_KEY, fits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from signalbox.domain.rules import Owned
    from signalbox.store.base import Entry

Rule = Item | screening_pb2.ScreeningList | Page | None
"""What an entry of the store is to decisions; None: nothing."""

OWNED: Mapping[str, type[Owned]] = {
    keys.LINES: Line,
    keys.LINE_GROUPS: LineGroup,
    keys.FLOWS: Flow,
    keys.SCHEDULES: Schedule,
    keys.CALENDARS: Calendar,
    keys.REGION_GROUPS: RegionGroup,
    keys.PROMPTS: Prompt,
}
"""Kinds by the beginning of their keys."""
KEYS: Mapping[type[Owned], Callable[[str, str], str]] = {
    Line: keys.line,
    LineGroup: keys.line_group,
    Flow: keys.flow,
    Schedule: keys.schedule,
    Calendar: keys.calendar,
    RegionGroup: keys.region_group,
    Prompt: keys.prompt,
}
"""The key of an object by its kind."""

_READERS: Mapping[type[codec.Object | None], Callable[[Any], Rule]] = {
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
    types_pb2.Prompt: convert_prompts.prompt,
    screening_pb2.ScreeningList: lambda message: message,
    screening_pb2.ScreeningPage: screening.page,
}


_KNOWN: Mapping[type[Owned], tuple[Callable[[bytes], Any], Callable[[Any], Owned]]] = {
    LineGroup: (flows_pb2.LineGroup.FromString, convert_flows.line_group),
    Flow: (flows_pb2.Flow.FromString, convert_flows.known_flow),
    Schedule: (schedules_pb2.Schedule.FromString, convert_schedules.schedule),
    Calendar: (schedules_pb2.Calendar.FromString, convert_schedules.calendar),
    RegionGroup: (screening_pb2.RegionGroup.FromString, convert_regions.region_group),
    Prompt: (types_pb2.Prompt.FromString, convert_prompts.prompt),
}


def read_known(kind: type[Owned], key: str, value: bytes) -> Owned:
    """What :func:`read_rule` has read before, by its kind and key: quicker. Raises DamagedValueError."""
    decode, read = _KNOWN[kind]
    try:
        return read(decode(value))
    except DecodeError as error:
        raise codec.DamagedValueError(key, "not a protobuf message") from error


def read_rule(entry: Entry) -> Rule:
    """What an entry is to decisions. Raises DamagedValueError."""
    if not fits(entry.key):
        raise codec.DamagedValueError(entry.key, f"its key is longer than {MAX_KEY} bytes")
    message = codec.decode_any(entry)
    read = _READERS.get(type(message))
    return read(message) if read is not None else None
