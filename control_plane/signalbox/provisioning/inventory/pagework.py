"""A page of the inventory in a step: what happens to its numbers, with history and counts."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from google.protobuf.timestamp_pb2 import Timestamp

from signalbox.api.types.v1 import inventory_pb2
from signalbox.domain.inventory import Holding, State, Transition
from signalbox.errors import NotFoundError
from signalbox.provisioning.writer import Plan
from signalbox.store import codec, keys
from signalbox.store.base import Compare, CompareFailedError, Delete, Put
from signalbox.store.inventory import Page, appended, state_value, terms_message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signalbox.provisioning.draft import Draft
    from signalbox.provisioning.writer import Reader

_TOLD_TERMS = frozenset({Transition.RESERVE, Transition.APPLY, Transition.ADOPT})


class PageWork:
    """One page, opened for a step. What is recorded goes into the step with :meth:`close`."""

    def __init__(self, draft: Draft, page: Page, chunk: bytes) -> None:
        """``chunk``: that of the history that is written next, as it is."""
        self.page = page
        self._draft = draft
        self._chunk = chunk
        self._chunks: dict[str, bytes] = {}
        self._held: defaultdict[str, int] = defaultdict(int)
        self._reserved: defaultdict[str, int] = defaultdict(int)
        self._checked: set[str] = set()

    @classmethod
    async def open(cls, draft: Draft, number: str) -> PageWork:
        """The page of a number as the step has it."""
        page = Page(number[:-2], await draft.get(keys.inventory_page(number)))
        chunk = await draft.get(keys.number_log(number, page.chunk))
        return cls(draft, page, chunk.value if chunk else b"")

    def record(
        self,
        number: str,
        transition: Transition,
        changed: Holding,
        *,
        actor: str = "",
        reason: str = "",
        documents: Sequence[inventory_pb2.NumberDocument] = (),
    ) -> Holding:
        """What happened to a number; returns it with its new version."""
        before = self.page[number]
        after = self.page.put(number, changed)
        for one, sign in ((before, -1), (after, 1)):
            if one.tenant:
                self._held[one.tenant] += sign
                self._reserved[one.tenant] += sign * (one.state is State.RESERVED)
        if after.tenant and not before.tenant:
            self._checked.add(after.tenant)
        event = inventory_pb2.NumberEvent(
            number=number,
            time=Timestamp(seconds=after.since),
            transition=inventory_pb2.InventoryTransition.ValueType(transition),
            state=state_value(after.state),
            actor=actor,
            tenant=after.tenant or before.tenant,
            reason=reason,
            documents=documents,
            terms=terms_message(after.terms) if transition in _TOLD_TERMS else None,
        )
        self._append(number, event)
        tenant = after.tenant or before.tenant
        self._draft.log("number_changed", 0, number=number, transition=transition.name.lower(), tenant=tenant)
        return after

    def _append(self, number: str, event: inventory_pb2.NumberEvent) -> None:
        value = appended(self._chunk, event)
        if value is None:
            self.page.chunk += 1
            value = appended(b"", event)
        assert value is not None, "an empty chunk takes any event"
        self._chunk = self._chunks[keys.number_log(number, self.page.chunk)] = value

    async def close(self) -> None:
        """Put everything into the step. Raises NotFoundError if a tenant that got a number does not exist."""
        if not self._chunks:
            return
        writes = [Put(self.page.key, self.page.encode())]
        writes += [Put(key, value) for key, value in self._chunks.items()]
        # Whoever writes a chunk has written its page.
        self._draft.add([Compare(self.page.key, self.page.revision)], writes)
        for tenant in sorted({*self._held, *self._checked}):
            await self._count(tenant)

    async def _count(self, tenant: str) -> None:
        held, reserved = self._held[tenant], self._reserved[tenant]

        async def plan() -> Plan[None]:
            if tenant in self._checked and await self._draft.get(keys.tenant(tenant)) is None:
                raise NotFoundError("tenant", tenant)
            count = await holdings(self._draft, tenant)
            if count.held + held < 0 or count.reserved + reserved < 0:
                # Read after somebody else had written the page.
                raise CompareFailedError(f"{self.page.key} is not what tenant {tenant} has")
            count.held += held
            count.reserved += reserved
            key = keys.holdings(tenant)
            return Plan(None, (), [Put(key, count.SerializeToString()) if count.held else Delete(key)])

        if held or reserved:
            await self._draft.write(keys.tenant_fence(tenant), plan)


async def holdings(store: Reader, tenant: str) -> inventory_pb2.TenantHoldings:
    """How many numbers a tenant has. Raises DamagedValueError."""
    entry = await store.get(keys.holdings(tenant))
    return codec.parse(inventory_pb2.TenantHoldings, entry) if entry else inventory_pb2.TenantHoldings()
