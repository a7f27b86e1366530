"""Apply: several objects in one step."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.errors import FieldViolation, InvalidFieldError, NotFoundError
from signalbox.provisioning import access, kinds
from signalbox.provisioning.validate import require
from signalbox.provisioning.versioned import Versioned
from signalbox.store import codec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from signalbox.provisioning.access import Principal
    from signalbox.provisioning.collection import Clock
    from signalbox.provisioning.draft import Draft
    from signalbox.provisioning.kinds import Kind
    from signalbox.provisioning.writes import Writes

OBJECTS_MAX = 40
"""In one request: each is up to three keys, and a step holds 128."""

_ORDER = {kind.name: place for place, kind in enumerate(kinds.PROVISIONED)}


@dataclass(frozen=True)
class _Item:
    """One object of a request."""

    path: str
    kind: Kind
    object: Any


class Apply:
    """Puts in the order of the kinds, so that an object finds what it refers to; then deletes in the reverse order.

    Whether objects go together is asked at the end: what counts is what all of them come to, so an address may move
    from one trunk to another, or two trunks change theirs, in whatever order they stand in the request.
    """

    def __init__(self, writes: Writes, clock: Clock) -> None:
        self._writes = writes
        self._clock = clock

    async def __call__(self, principal: Principal, request: pb.ApplyRequest) -> pb.ApplyResponse:
        """Write and delete all objects of the request, or none."""
        put, delete = _items(request.put, "put"), _items(request.delete, "delete")
        _check(put, delete)

        async def work(draft: Draft) -> pb.ApplyResponse:
            done: dict[str, Any] = {}
            for item in sorted(put, key=_rank):
                done[item.path] = await self._put(draft, principal, item)
            for item in sorted(delete, key=_rank, reverse=True):
                await self._delete(draft, principal, item)
            for item in put:
                with _placed(item):
                    objects = item.kind.within(draft, self._clock, principal)
                    await objects.check_references(done[item.path])
            return pb.ApplyResponse(put=[pb.Object(**{item.kind.resource: done[item.path]}) for item in put])

        return await self._writes.run(principal, "Apply", request, pb.ApplyResponse, work)

    async def _put(self, draft: Draft, principal: Principal, item: _Item) -> Any:
        objects = item.kind.within(draft, self._clock, principal)
        _admit(principal, "Update", item)
        with _placed(item):
            objects.check(item.object)
            try:
                await objects.get(item.kind.identified(item.object))
            except NotFoundError:
                _admit(principal, "Create", item)
            stored = await objects.put(item.object)
        if isinstance(objects, Versioned) and stored.HasField("draft"):
            activate = getattr(pb, f"Activate{item.kind.name}Request")
            with _placed(item, f".{item.kind.resource}"):
                stored = await objects.activate(activate(tenant=stored.tenant, id=stored.id))
        return stored

    async def _delete(self, draft: Draft, principal: Principal, item: _Item) -> None:
        method = f"Delete{item.kind.name}"
        identity = {field: getattr(item.object, field) for field in item.kind.identity}
        access.check(principal, method, getattr(pb, f"{method}Request")(**identity))
        objects = item.kind.within(draft, self._clock, principal)
        with _placed(item, f".{item.kind.resource}"):
            await objects.delete(item.kind.identified(item.object), item.object.etag)


def _items(objects: Iterable[pb.Object], where: str) -> Sequence[_Item]:
    """The objects of a request. Raises InvalidFieldError for one that is none."""
    items = []
    for position, object in enumerate(objects):
        resource = object.WhichOneof("object")
        path = f"{where}[{position}]"
        if resource is None:
            raise InvalidFieldError(FieldViolation(path, "must have an object"))
        items.append(_Item(path, kinds.BY_RESOURCE[resource], getattr(object, resource)))
    return items


def _check(put: Sequence[_Item], delete: Sequence[_Item]) -> None:
    """Raise InvalidFieldError for too many objects, and for one that is there twice."""
    if not 1 <= len(put) + len(delete) <= OBJECTS_MAX:
        raise InvalidFieldError(FieldViolation("put", f"must be 1 to {OBJECTS_MAX} objects together with delete"))
    seen: dict[str, str] = {}
    violations = []
    for item in (*put, *delete):
        first = seen.setdefault(codec.key_of(item.object), item.path)
        if first != item.path:
            violations.append(FieldViolation(item.path, f"is the same object as {first}"))
    require(violations)


def _admit(principal: Principal, verb: str, item: _Item) -> None:
    """Raise PermissionRefusedError unless the caller might do it by the method of its own."""
    method = f"{verb}{item.kind.name}"
    access.check(principal, method, getattr(pb, f"{method}Request")(**{item.kind.resource: item.object}))


def _rank(item: _Item) -> int:
    return _ORDER[item.kind.name]


@contextmanager
def _placed(item: _Item, within: str = "") -> Iterator[None]:
    """Put the paths of fields in errors below the object's."""
    try:
        yield
    except InvalidFieldError as error:
        at = f"{item.path}{within}"
        violations = (FieldViolation(f"{at}.{one.field}", one.reason) for one in error.violations)
        raise InvalidFieldError(*violations) from error
