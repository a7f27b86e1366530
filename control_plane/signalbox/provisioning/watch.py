"""Watch: every change of the objects that the caller may see, in order, from a cursor on."""

from __future__ import annotations

from contextlib import aclosing
from itertools import groupby
from typing import TYPE_CHECKING, Any

import structlog

from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.errors import FieldViolation, InvalidFieldError, PermissionRefusedError, ResyncRequiredError
from signalbox.provisioning import access, kinds, pagetoken, validate
from signalbox.store import codec, keys
from signalbox.store.base import CompactedError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Sequence

    from signalbox.provisioning.access import Principal
    from signalbox.store.base import Change, Store

logger = structlog.get_logger(__name__)

_BY_MESSAGE = {kind.message: kind for kind in kinds.PROVISIONED}


class Watch:
    """Streams changes. A cursor is a revision of the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def __call__(self, principal: Principal, request: pb.WatchRequest) -> AsyncGenerator[pb.WatchResponse, None]:
        """The first response tells at once where the watch begins; later ones with changes are of one step each.

        Raises ResyncRequiredError, and StoreUnavailableError: resume from the last cursor.
        """
        if request.tenant:
            validate.require(validate.identifier(request.tenant, "tenant"))
            if not access.sees(principal, request.tenant):
                raise PermissionRefusedError("Watch")
        scope = f"{principal.tenant}\0{request.tenant}"
        after = pagetoken.decode("Watch", scope, request.cursor, "cursor")
        if after and not (after.isascii() and after.isdecimal()):
            raise InvalidFieldError(FieldViolation("cursor", "was not given by a response to this request"))
        revision = int(after) if after else await self._store.revision()
        yield pb.WatchResponse(cursor=pagetoken.encode("Watch", scope, str(revision)))
        try:
            # All keys and not the rules alone: that a number is deleted does not tell whose it was, its index does.
            async with aclosing(self._store.watch("", revision + 1)) as batches:
                async for changes, reached in batches:
                    for step, group in groupby(changes, key=lambda change: change.revision):
                        seen = [one for one in _objects(list(group)) if _concerns(one, principal, request.tenant)]
                        if seen:
                            cursor = pagetoken.encode("Watch", scope, str(step))
                            yield pb.WatchResponse(changes=seen, cursor=cursor)
                    if not changes:
                        yield pb.WatchResponse(cursor=pagetoken.encode("Watch", scope, str(reached)))
        except CompactedError as error:
            raise ResyncRequiredError("what came after the cursor is no longer known: list again") from error


def _objects(changes: Sequence[Change]) -> Iterable[pb.Change]:
    """What the changes of one step are about, as far as it is objects."""
    indexed = {keys.last_part(one.key): keys.owner(one.key) for one in changes if one.key.startswith(keys.NUMBER_INDEX)}
    for change in changes:
        kind = codec.kind_of(change.key)
        if kind is None or kind not in _BY_MESSAGE:
            continue
        try:
            rule: Any = codec.decode(kind, change.entry) if change.entry else _deleted(kind, change.key, indexed)
        except codec.DamagedValueError as error:
            logger.error("watched_value_damaged", key=change.key, error=str(error))
            continue
        yield pb.Change(object=pb.Object(**{_BY_MESSAGE[kind].resource: rule}), deleted=change.entry is None)


def _deleted(kind: Any, key: str, indexed: dict[str, str]) -> Any:
    """The identity of an object that was at a key."""
    described = _BY_MESSAGE[kind]
    id = keys.last_part(key)
    if described.owner is kinds.Owner.NOBODY:
        return kind(id=id)
    if described.owner is kinds.Owner.NUMBERED:
        return kind(number=id, tenant=indexed.get(id, ""))
    return kind(tenant=keys.owner(key), id=id)


def _concerns(change: pb.Change, principal: Principal, tenant: str) -> bool:
    """True if the caller may see it and asks for it."""
    resource = change.object.WhichOneof("object")
    assert resource is not None, "made so in _objects"
    rule: Any = getattr(change.object, resource)
    owner: str | None = None
    if resource == "tenant":
        owner = rule.id
    elif kinds.BY_RESOURCE[resource].owner is not kinds.Owner.NOBODY:
        owner = rule.tenant
    return access.sees(principal, owner) and (not tenant or owner == tenant)
