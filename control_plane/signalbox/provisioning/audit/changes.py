"""What a commit changes, told object by object: made of the keys that it writes and the entries that it compares with.

Pure. Secrets never get into a change; states that are too large are told by size and SHA-256.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError

from signalbox.api.provisioning.v1 import inventory_pb2 as pb
from signalbox.api.types.v1 import audit_pb2, flows_pb2, schedules_pb2, types_pb2
from signalbox.store import codec, keys
from signalbox.store.base import Entry, Put
from signalbox.store.codec import DamagedValueError
from signalbox.store.inventory import Page, terms_message

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from google.protobuf.message import Message

    from signalbox.domain.inventory import Holding
    from signalbox.store.base import Delete

SECRETS = frozenset({"secret_hash"})
"""Fields that no record has."""
ENTRIES_TOLD = 100
"""So many changed entries of a list are told one by one."""

_AUXILIARY = ("index/", "fences/", "requests/", "numberlog/", keys.SCREENING_PAGES)
"""Keys that hold no object, or parts of one whose changes are told by who plans them."""
_TYPES = "type.googleapis.com/"
_VERSIONED = {_TYPES + kind.DESCRIPTOR.full_name: kind for kind in (flows_pb2.Flow, schedules_pb2.Schedule)}
_ENTRIES = {"n": "number", "p": "prefix", "r": "province", "a": "area code", "x": "anonymous"}


def is_object(key: str) -> bool:
    """True for a key whose value is an object: every change of it is recorded."""
    return not key.startswith(_AUXILIARY)


def of_writes(writes: Iterable[Put | Delete], before: Mapping[str, Entry | None]) -> Sequence[audit_pb2.AuditChange]:
    """A change for each object that is not what it was; ``before``: the stored entries of all objects written."""
    changes: list[audit_pb2.AuditChange] = []
    for write in writes:
        if not is_object(write.key):
            continue
        stored = before[write.key]
        old = stored.value if stored else None
        new = write.value if isinstance(write, Put) else None
        if old == new:
            continue
        if write.key.startswith(keys.INVENTORY_PAGES):
            changes += _numbers(write.key, old, new)
        else:
            changes.append(_change(write.key, old, new))
    return changes


def entries(tenant: str, id: str, changed: Iterable[str], *, adding: bool) -> audit_pb2.AuditChange:
    """The change of a screening list's entries, given as they are stored; ``tenant``: "" for the operator's list."""
    ordered = sorted(changed)
    count = len(ordered)
    told = [f"{_ENTRIES[entry[0]]} {entry[1:]}".rstrip() for entry in ordered] if count <= ENTRIES_TOLD else []
    digest = hashlib.sha256("".join(f"{entry}\n" for entry in ordered).encode()).digest()
    change = audit_pb2.AuditEntries(
        added=count if adding else 0, removed=0 if adding else count, sha256=digest, entries=told
    )
    return audit_pb2.AuditChange(kind="screening_list", tenant=tenant, id=id, entries=change)


def between(before: Message | None, after: Message | None, id: str) -> audit_pb2.AuditChange:
    """The change of an object that is not in the store and has a field ``tenant``; None: it was not, or is no more."""
    newest: Any = before if after is None else after
    kind: Any = type(newest)
    shape = _shape(kind)
    change = audit_pb2.AuditChange(kind=shape.name, tenant=newest.tenant, id=id)
    for state, message in ((change.before, before), (change.after, after)):
        if message is not None:
            _fill(state, shape, message, codec.encode(message))
    return change


def shorten(changes: Sequence[audit_pb2.AuditChange], room: int) -> None:
    """Leave out what there is no room for (bytes): revisions that did not change, then the largest states."""
    size = sum(change.ByteSize() for change in changes)
    if size <= room:
        return
    for change in changes:
        _abridge(change)
    states = [state for change in changes for state in (change.before, change.after) if state.HasField("object")]
    size = sum(change.ByteSize() for change in changes)
    for state in sorted(states, key=lambda one: one.ByteSize(), reverse=True):
        if size <= room:
            return
        size -= state.ByteSize()
        state.CopyFrom(_digest(state.object.value))
        size += state.ByteSize()


def kind_name(message: Message | type[Message]) -> str:
    """What objects of a type are called: "screening_list"."""
    return re.sub(r"(?<!^)([A-Z])", r"_\1", message.DESCRIPTOR.name).lower()


@dataclass(frozen=True)
class _Shape:
    """What there is to know of a type of objects; asked of its descriptor once, which takes long."""

    name: str
    url: str
    secrets: tuple[str, ...]
    id: str
    tenant: str
    """Field with the tenant; "": it has none."""


@cache
def _shape(kind: type[Message]) -> _Shape:
    fields = kind.DESCRIPTOR.fields_by_name
    tenant = "tenant" if "tenant" in fields else "id" if kind is types_pb2.Tenant else ""
    url = _TYPES + kind.DESCRIPTOR.full_name
    return _Shape(
        kind_name(kind), url, tuple(SECRETS.intersection(fields)), "id" if "id" in fields else "number", tenant
    )


def _change(key: str, old: bytes | None, new: bytes | None) -> audit_pb2.AuditChange:
    kind: Any = types_pb2.ApiKey if key.startswith(keys.API_KEYS) else codec.kind_of(key)
    if kind is None:
        # Of a kind that this module knows nothing of: told by its key, rather than not at all.
        return unknown(key, old, new)
    shape = _shape(kind)
    change = audit_pb2.AuditChange(kind=shape.name)
    newest: Any = None
    try:
        for state, value in ((change.before, old), (change.after, new)):
            if value is not None:
                newest = kind.FromString(value)
                _fill(state, shape, newest, value)
    except DecodeError:
        return unknown(key, old, new)
    change.id = getattr(newest, shape.id)
    if shape.tenant:
        change.tenant = getattr(newest, shape.tenant)
    return change


def _numbers(key: str, old: bytes | None, new: bytes | None) -> Iterable[audit_pb2.AuditChange]:
    """The numbers of a page of the inventory that are not what they were."""
    head = key.removeprefix(keys.INVENTORY_PAGES).partition("/")[2]
    try:
        before, after = (Page(head, Entry(key, value, 0, 0)) if value else Page(head) for value in (old, new))
    except DamagedValueError:
        yield unknown(key, old, new)
        return
    for number in sorted({number for page in (before, after) for number, _ in page.numbers()}):
        if before[number] != after[number]:
            tenant = after[number].tenant or before[number].tenant
            change = audit_pb2.AuditChange(kind="inventory_number", tenant=tenant, id=number)
            _hold(change.before, number, before[number])
            _hold(change.after, number, after[number])
            yield change


def _hold(state: audit_pb2.AuditState, number: str, holding: Holding) -> None:
    message = pb.InventoryNumber(
        number=number,
        state=holding.state,  # type: ignore[arg-type]  # the same numbers
        tenant=holding.tenant,
        terms=terms_message(holding.terms),
    )
    for field, moment in (("state_time", holding.since), ("end_time", holding.until)):
        if moment:
            getattr(message, field).FromSeconds(moment)
    _fill(state, _shape(pb.InventoryNumber), message, codec.encode(message))


def unknown(key: str, old: bytes | None, new: bytes | None) -> audit_pb2.AuditChange:
    """A change of a value that cannot be read: sizes and hashes alone."""
    change = audit_pb2.AuditChange(kind="key", id=key)
    for field, value in (("before", old), ("after", new)):
        if value is not None:
            getattr(change, field).CopyFrom(_digest(value))
    return change


def _fill(state: audit_pb2.AuditState, shape: _Shape, message: Any, stored: bytes) -> None:
    if shape.secrets:
        for field in shape.secrets:
            message.ClearField(field)
        stored = codec.encode(message)
    state.object.type_url = shape.url
    state.object.value = stored


def _digest(value: bytes) -> audit_pb2.AuditState:
    return audit_pb2.AuditState(size=len(value), sha256=hashlib.sha256(value).digest())


def _abridge(change: audit_pb2.AuditChange) -> None:
    """Leave revisions out that are the same before and after."""
    kind: Any = _VERSIONED.get(change.before.object.type_url)
    if kind is None or change.after.object.type_url != change.before.object.type_url:
        return
    states = [(state, kind.FromString(state.object.value)) for state in (change.before, change.after)]
    numbered = [{one.number: one.SerializeToString(deterministic=True) for one in m.revisions} for _, m in states]
    same = {number for number, revision in numbered[0].items() if numbered[1].get(number) == revision}
    for state, message in states:
        kept = [revision for revision in message.revisions if revision.number not in same]
        state.abridged = len(kept) < len(message.revisions)
        del message.revisions[:]
        message.revisions.extend(kept)
        state.object.value = codec.encode(message)
