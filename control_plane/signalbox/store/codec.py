"""Objects as bytes and back: protobuf messages, one kind for each family of keys.

A stored message carries no etag: its entry's revision is the etag, put in when it is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from google.protobuf.message import DecodeError

from signalbox.api.routing.v1 import routing_pb2
from signalbox.api.types.v1 import flows_pb2, schedules_pb2, screening_pb2, types_pb2
from signalbox.errors import SignalboxError
from signalbox.store import keys

if TYPE_CHECKING:
    from google.protobuf.message import Message

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
Object = Rule | types_pb2.ApiKey | screening_pb2.ScreeningPage | routing_pb2.Edge | routing_pb2.MediaNode
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
    keys.LIVE_EDGES: routing_pb2.Edge,
    keys.LIVE_MEDIA: routing_pb2.MediaNode,
}


class DamagedValueError(SignalboxError):
    """A stored value cannot be what its key says. Skip it, loudly: one bad value must not stop all the others."""

    def __init__(self, key: str, why: str) -> None:
        super().__init__(f"value of {key} is damaged: {why}", key=key)
        self.key = key


def key_of(message: Message) -> str:
    """The key that an object belongs at. Raises TypeError for a message that is not kept in the store."""
    match message:
        case types_pb2.Tenant():
            return keys.tenant(message.id)
        case types_pb2.Trunk():
            return keys.trunk(message.id)
        case types_pb2.TrunkGroup():
            return keys.trunk_group(message.id)
        case types_pb2.ApiKey():
            return keys.api_key(message.tenant, message.id)
        case types_pb2.Line():
            return keys.line(message.tenant, message.id)
        case types_pb2.Number():
            return keys.number(message.number)
        case schedules_pb2.Calendar():
            return keys.calendar(message.tenant, message.id)
        case schedules_pb2.Schedule():
            return keys.schedule(message.tenant, message.id)
        case screening_pb2.RegionGroup():
            return keys.region_group(message.tenant, message.id)
        case flows_pb2.LineGroup():
            return keys.line_group(message.tenant, message.id)
        case flows_pb2.Flow():
            return keys.flow(message.tenant, message.id)
        case types_pb2.Prompt():
            return keys.prompt(message.tenant, message.id)
        case screening_pb2.ScreeningList():
            return keys.screening_list(message.tenant, message.id)
        case screening_pb2.ScreeningPage():
            return keys.screening_page(message.tenant, message.list, message.page)
        case routing_pb2.Edge():
            return keys.live_edge(message.id)
        case routing_pb2.MediaNode():
            return keys.live_media(message.id)
    raise TypeError(f"{type(message).__name__} is not kept in the store")


def encode(message: Message) -> bytes:
    """An object as it is stored: without its etag, and equal objects as equal bytes."""
    stored: Any = message
    if "etag" in message.DESCRIPTOR.fields_by_name and stored.etag:
        stored = type(message)()
        stored.CopyFrom(message)
        stored.etag = ""
    return bytes(stored.SerializeToString(deterministic=True))


def decode(kind: type[ObjectT], entry: Entry) -> ObjectT:
    """The object of an entry, with its etag. Raises DamagedValueError, also for one that belongs at another key."""
    try:
        message = kind.FromString(entry.value)
    except DecodeError as error:
        raise DamagedValueError(entry.key, "not a protobuf message") from error
    belongs = key_of(message)
    if belongs != entry.key:
        raise DamagedValueError(entry.key, f"holds the object of {belongs}")
    if "etag" in kind.DESCRIPTOR.fields_by_name:
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
    for prefix, kind in _FAMILIES.items():
        if key.startswith(prefix):
            return kind
    return None


def encode_media_id(number: int) -> bytes:
    """The number of a media node (1 to 65,535) as stored below keys.MEDIA_IDS."""
    return str(number).encode()


def decode_media_id(entry: Entry) -> int:
    """The number of a media node. Raises DamagedValueError."""
    if not entry.value.isdigit() or not 1 <= int(entry.value) <= MAX_MEDIA_ID:
        raise DamagedValueError(entry.key, f"not a number from 1 to {MAX_MEDIA_ID}")
    return int(entry.value)
