"""Objects as bytes and back: protobuf messages, one kind for each family of keys.

A stored message carries no etag: its entry's revision is the etag, put in when it is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import grpc
from google.protobuf.message import DecodeError

from signalbox.api.routing.v1 import routing_pb2
from signalbox.api.types.v1 import flows_pb2, inventory_pb2, schedules_pb2, screening_pb2, types_pb2
from signalbox.errors import SignalboxError
from signalbox.store import keys

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message
    from google.protobuf.timestamp_pb2 import Timestamp

    from signalbox.store.base import Entry

Rule = (
    types_pb2.Tenant
    | types_pb2.Trunk
    | types_pb2.TrunkGroup
    | types_pb2.Line
    | types_pb2.Number
    | schedules_pb2.Calendar
    | schedules_pb2.Schedule
    | screening_pb2.RegionGroup
    | flows_pb2.LineGroup
    | flows_pb2.Flow
    | types_pb2.Prompt
    | screening_pb2.ScreeningList
)
Stock = inventory_pb2.NumberRange | inventory_pb2.NumberClass
Live = routing_pb2.Edge | routing_pb2.EdgeTargets | routing_pb2.MediaNode | routing_pb2.VoiceWorker
Object = Rule | Stock | inventory_pb2.Document | types_pb2.ApiKey | screening_pb2.ScreeningPage | Live
"""Everything that is kept as a protobuf message."""

ObjectT = TypeVar("ObjectT", bound="Message")

MAX_MEDIA_ID = 65_535
"""Highest number of a media node."""

_FAMILIES: dict[str, type[Object]] = {
    keys.TENANTS: types_pb2.Tenant,
    keys.TRUNKS: types_pb2.Trunk,
    keys.TRUNK_GROUPS: types_pb2.TrunkGroup,
    keys.LINES: types_pb2.Line,
    keys.NUMBERS: types_pb2.Number,
    keys.CALENDARS: schedules_pb2.Calendar,
    keys.SCHEDULES: schedules_pb2.Schedule,
    keys.REGION_GROUPS: screening_pb2.RegionGroup,
    keys.LINE_GROUPS: flows_pb2.LineGroup,
    keys.FLOWS: flows_pb2.Flow,
    keys.PROMPTS: types_pb2.Prompt,
    keys.SCREENING_LISTS: screening_pb2.ScreeningList,
    keys.SCREENING_PAGES: screening_pb2.ScreeningPage,
    keys.NUMBER_RANGES: inventory_pb2.NumberRange,
    keys.NUMBER_CLASSES: inventory_pb2.NumberClass,
    keys.DOCUMENTS: inventory_pb2.Document,
    keys.LIVE_EDGES: routing_pb2.Edge,
    keys.LIVE_TARGETS: routing_pb2.EdgeTargets,
    keys.LIVE_MEDIA: routing_pb2.MediaNode,
    keys.LIVE_VOICE: routing_pb2.VoiceWorker,
}
"""By the first part of their keys, or the first two."""


class DamagedValueError(SignalboxError):
    """A stored value cannot be what its key says. Skip it, loudly: one bad value must not stop all the others.

    What cannot do without it fails with this, rather than take it for absent (docs/etcd.md).
    """

    status = grpc.StatusCode.DATA_LOSS
    reason = types_pb2.VALUE_DAMAGED

    def __init__(self, key: str, why: str) -> None:
        super().__init__(f"value of {key} is damaged: {why}", key=key)
        self.key = key


_KEYS: dict[type[Message], Callable[[Any], str]] = {
    types_pb2.Tenant: lambda one: keys.tenant(one.id),
    types_pb2.Trunk: lambda one: keys.trunk(one.id),
    types_pb2.TrunkGroup: lambda one: keys.trunk_group(one.id),
    types_pb2.ApiKey: lambda one: keys.api_key(one.tenant, one.id),
    types_pb2.Line: lambda one: keys.line(one.tenant, one.id),
    types_pb2.Number: lambda one: keys.number(one.number),
    schedules_pb2.Calendar: lambda one: keys.calendar(one.tenant, one.id),
    schedules_pb2.Schedule: lambda one: keys.schedule(one.tenant, one.id),
    screening_pb2.RegionGroup: lambda one: keys.region_group(one.tenant, one.id),
    flows_pb2.LineGroup: lambda one: keys.line_group(one.tenant, one.id),
    flows_pb2.Flow: lambda one: keys.flow(one.tenant, one.id),
    types_pb2.Prompt: lambda one: keys.prompt(one.tenant, one.id),
    screening_pb2.ScreeningList: lambda one: keys.screening_list(one.tenant, one.id),
    screening_pb2.ScreeningPage: lambda one: keys.screening_page(one.tenant, one.list, one.page),
    inventory_pb2.NumberRange: lambda one: keys.number_range(one.id),
    inventory_pb2.NumberClass: lambda one: keys.number_class(one.id),
    inventory_pb2.Document: lambda one: keys.document(one.tenant, one.id),
    routing_pb2.Edge: lambda one: keys.live_edge(one.id),
    routing_pb2.EdgeTargets: lambda one: keys.live_targets(one.edge),
    routing_pb2.MediaNode: lambda one: keys.live_media(one.id),
    routing_pb2.VoiceWorker: lambda one: keys.live_voice(one.id),
}
_WITH_ETAG = frozenset(kind for kind in _KEYS if "etag" in kind.DESCRIPTOR.fields_by_name)


def key_of(message: Message) -> str:
    """The key that an object belongs at. Raises TypeError for a message that is not kept in the store."""
    key = _KEYS.get(type(message))
    if key is None:
        raise TypeError(f"{type(message).__name__} is not kept in the store")
    return key(message)


def encode(message: Message) -> bytes:
    """An object as it is stored: without its etag, and equal objects as equal bytes."""
    stored: Any = message
    if "etag" in message.DESCRIPTOR.fields_by_name and stored.etag:
        stored = type(message)()
        stored.CopyFrom(message)
        stored.etag = ""
    return bytes(stored.SerializeToString(deterministic=True))


def parse(kind: type[ObjectT], entry: Entry) -> ObjectT:
    """The message of an entry, whether or not it is an object with a key of its own. Raises DamagedValueError."""
    try:
        return kind.FromString(entry.value)
    except DecodeError as error:
        raise DamagedValueError(entry.key, "not a protobuf message") from error


def decode(kind: type[ObjectT], entry: Entry) -> ObjectT:
    """The object of an entry, with its etag. Raises DamagedValueError, also for one that belongs at another key."""
    message = parse(kind, entry)
    belongs = key_of(message)
    if belongs != entry.key:
        raise DamagedValueError(entry.key, f"holds the object of {belongs}")
    if kind in _WITH_ETAG:
        message.etag = str(entry.revision)  # type: ignore[attr-defined]
    return message


def decode_any(entry: Entry) -> Object | None:
    """The object of an entry, its kind told by the key; None for a key of no known family (a newer release's).

    Raises DamagedValueError.
    """
    kind = kind_of(entry.key)
    return decode(kind, entry) if kind else None


def kind_of(key: str) -> type[Object] | None:
    """The kind of object that a key is of; None for one of no known family."""
    first = key.find("/") + 1
    return _FAMILIES.get(key[: key.find("/", first) + 1]) or _FAMILIES.get(key[:first])


def seconds(time: Timestamp) -> float:
    """A point of time as the domain has it: seconds since the epoch, to the nearest float.

    Nanoseconds as a float, divided by another, would be rounded twice. Raises ValueError for a time out of range: it is
    from the year 1 to 9999.
    """
    return time.ToNanoseconds() / 10**9


def encode_media_id(number: int) -> bytes:
    """The number of a media node (1 to 65,535) as stored below keys.MEDIA_IDS."""
    return str(number).encode()


def decode_media_id(entry: Entry) -> int:
    """The number of a media node. Raises DamagedValueError."""
    if not entry.value.isdigit() or not 1 <= int(entry.value) <= MAX_MEDIA_ID:
        raise DamagedValueError(entry.key, f"not a number from 1 to {MAX_MEDIA_ID}")
    return int(entry.value)
