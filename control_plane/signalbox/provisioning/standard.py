"""The standard methods (AIP-131 to 135) of one kind of objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf import empty_pb2

from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.provisioning import listing, validate
from signalbox.provisioning.draft import Draft
from signalbox.provisioning.kinds import Owner
from signalbox.store.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from signalbox.provisioning.access import Principal
    from signalbox.provisioning.collection import Clock
    from signalbox.provisioning.kinds import Kind
    from signalbox.provisioning.writes import Writes
    from signalbox.store.base import Store

    Method = Callable[[Principal, Any], Awaitable[Any]]


class Standard:
    """Makes the handlers of one kind. They take who asks and the request, and return the response."""

    def __init__(self, kind: Kind, store: Store, writes: Writes, clock: Clock) -> None:
        self._kind = kind
        self._store = store
        self._writes = writes
        self._clock = clock

    def methods(self) -> dict[str, Method]:
        """All five, by their names."""
        name = self._kind.name
        return {
            f"Create{name}": self._create,
            f"Get{name}": self._get,
            f"List{name}s": self._list,
            f"Update{name}": self._update,
            f"Delete{name}": self._delete,
        }

    async def _create(self, principal: Principal, request: Any) -> Any:
        async def work(draft: Draft) -> Any:
            return await self._objects(draft, principal).create(getattr(request, self._kind.resource))

        return await self._writes.run(principal, f"Create{self._kind.name}", request, self._kind.message, work)

    async def _get(self, principal: Principal, request: Any) -> Any:
        return await self._stored(principal).get(self._kind.identified(request))

    async def _list(self, principal: Principal, request: Any) -> Any:
        if self._kind.owner is not Owner.NOBODY and (request.tenant or self._kind.owner is Owner.TENANT):
            validate.require(validate.identifier(request.tenant, "tenant"))
        found, token = await listing.page(self._stored(principal), request)
        response = getattr(pb, f"List{self._kind.name}sResponse")
        return response(**{f"{self._kind.resource}s": found}, next_page_token=token)

    async def _update(self, principal: Principal, request: Any) -> Any:
        async def work(draft: Draft) -> Any:
            given = getattr(request, self._kind.resource)
            return await self._objects(draft, principal).update(given, request.update_mask)

        return await self._writes.run(principal, f"Update{self._kind.name}", request, self._kind.message, work)

    async def _delete(self, principal: Principal, request: Any) -> Any:
        fields = type(request).DESCRIPTOR.fields_by_name
        etag = request.etag if "etag" in fields else ""

        async def work(draft: Draft) -> empty_pb2.Empty:
            await self._objects(draft, principal).delete(self._kind.identified(request), etag)
            return empty_pb2.Empty()

        return await self._writes.run(principal, f"Delete{self._kind.name}", request, empty_pb2.Empty, work)

    def _objects(self, draft: Draft, principal: Principal) -> Any:
        return self._kind.within(draft, self._clock, principal)

    def _stored(self, principal: Principal) -> Any:
        """The objects as they are: a draft that is not committed."""
        return self._objects(Draft(self._store, Turns()), principal)
