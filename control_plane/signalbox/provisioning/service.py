"""The RPCs of ``signalbox.api.provisioning.v1``.

The standard methods of all kinds are made from the table of kinds; the others stand here by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.provisioning import access, kinds
from signalbox.provisioning.apikeys import ApiKeys
from signalbox.provisioning.apply import Apply
from signalbox.provisioning.collection import Clock, utc_now
from signalbox.provisioning.passwords import sealing
from signalbox.provisioning.screening_entries import ScreeningEntries
from signalbox.provisioning.serving import Served, Unary
from signalbox.provisioning.standard import Standard
from signalbox.provisioning.trunk_health import TrunkHealth
from signalbox.provisioning.watch import Watch
from signalbox.provisioning.writes import Writes

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from google.protobuf.descriptor import MethodDescriptor

    from signalbox.provisioning.access import Principal
    from signalbox.provisioning.credentials import Authenticator
    from signalbox.provisioning.draft import Draft
    from signalbox.provisioning.kinds import Kind
    from signalbox.store.base import Store

_DESCRIPTOR = pb.DESCRIPTOR.services_by_name["ProvisioningService"]
SERVICE = _DESCRIPTOR.full_name
METHODS: dict[str, MethodDescriptor] = dict(_DESCRIPTOR.methods_by_name)


class ProvisioningService(Served):
    """The service; see the API's description for what each method does."""

    def __init__(
        self,
        store: Store,
        authenticator: Authenticator,
        explain: Unary,
        clock: Clock = utc_now,
        password_key: bytes | None = None,
    ) -> None:
        """``explain`` answers Explain; ``password_key`` seals passwords of callers, None: flows can have none."""
        self._clock = clock
        self._writes = Writes(store)
        self._entries = ScreeningEntries(store)
        unary: dict[str, Unary] = {}
        for kind in kinds.ALL:
            unary |= Standard(kind, store, self._writes, clock).methods()
        # A key never changes: another one is made in its place.
        del unary["UpdateApiKey"]
        for name in ("Schedule", "Flow"):
            unary[f"Activate{name}"] = self._versioned(kinds.BY_NAME[name], "activate")
            unary[f"Rollback{name}"] = self._versioned(kinds.BY_NAME[name], "rollback")
        unary |= {
            "CreateApiKey": self._create_api_key,
            "AddScreeningEntries": self._add_entries,
            "RemoveScreeningEntries": self._remove_entries,
            "ListScreeningEntries": self._list_entries,
            "ListTrunkHealth": TrunkHealth(store),
            "Apply": Apply(self._writes, clock),
            "Explain": explain,
        }
        for name in ("CreateFlow", "UpdateFlow", "Apply"):
            unary[name] = sealing(unary[name], password_key)
        super().__init__(_DESCRIPTOR, access.TABLE, authenticator, unary, {"Watch": Watch(store)})

    def _versioned(self, kind: Kind, verb: str) -> Unary:
        """Activate or roll back an object of a kind."""

        async def handler(principal: Principal, request: Any) -> Any:
            async def work(draft: Draft) -> Any:
                return await getattr(kind.within(draft, self._clock, principal), verb)(request)

            return await self._writes.run(principal, f"{verb}{kind.name}", request, kind.message, work)

        return handler

    async def _create_api_key(self, principal: Principal, request: pb.CreateApiKeyRequest) -> pb.CreateApiKeyResponse:
        def work(draft: Draft) -> Awaitable[pb.CreateApiKeyResponse]:
            return ApiKeys(draft, draft, self._clock, principal.tenant).issue(request.api_key)

        return await self._writes.run(principal, "CreateApiKey", request, pb.CreateApiKeyResponse, work)

    async def _add_entries(
        self, principal: Principal, request: pb.AddScreeningEntriesRequest
    ) -> pb.AddScreeningEntriesResponse:
        def work(draft: Draft) -> Awaitable[pb.AddScreeningEntriesResponse]:
            return self._entries.add(request, draft)

        return await self._writes.run(principal, "AddScreeningEntries", request, pb.AddScreeningEntriesResponse, work)

    async def _remove_entries(
        self, principal: Principal, request: pb.RemoveScreeningEntriesRequest
    ) -> pb.RemoveScreeningEntriesResponse:
        def work(draft: Draft) -> Awaitable[pb.RemoveScreeningEntriesResponse]:
            return self._entries.remove(request, draft)

        return await self._writes.run(
            principal, "RemoveScreeningEntries", request, pb.RemoveScreeningEntriesResponse, work
        )

    async def _list_entries(
        self, principal: Principal, request: pb.ListScreeningEntriesRequest
    ) -> pb.ListScreeningEntriesResponse:
        return await self._entries.list(request)
