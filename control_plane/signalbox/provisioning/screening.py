"""Screening lists, apart from their entries (:mod:`signalbox.provisioning.screening_entries`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.api.types.v1 import screening_pb2
from signalbox.domain.flow_check import Kind
from signalbox.domain.screening import REMOVED
from signalbox.provisioning import flow_references, references, validate, validate_screening
from signalbox.provisioning.collection import Shared
from signalbox.provisioning.writer import Plan
from signalbox.store import keys
from signalbox.store.base import Compare, Delete

if TYPE_CHECKING:
    from collections.abc import Iterable

    from signalbox.errors import FieldViolation


class ScreeningLists(Shared[screening_pb2.ScreeningList]):
    """All lists, of tenants and of the operator (tenant ""). One that a number or flow uses cannot be deleted."""

    resource = "screening_list"
    message = screening_pb2.ScreeningList

    async def delete(self, identity: screening_pb2.ScreeningList, etag: str) -> None:
        """Delete the list with its entries; with an etag only if it is the stored one."""
        validate.require(self._identity(identity, ""))
        fence = self._fence(identity)

        async def plan() -> Plan[screening_pb2.ScreeningList]:
            entry, rule = await self._stored(identity, fence, etag)
            await self._check_unused(rule)
            # Read before the pages: one that is written after that fails the commit, and is not left behind.
            entries_fence = keys.screening_fence(rule.tenant, rule.id)
            written = await self._store.get(entries_fence)
            pages = [keys.screening_page(rule.tenant, rule.id, number) for number in range(REMOVED + 1)]
            stored = [page.key for page in await self._store.get_many(pages) if page is not None]
            return Plan(
                rule,
                [Compare(entry.key, entry.revision), Compare(entries_fence, written.revision if written else 0)],
                [Delete(key) for key in (entry.key, entries_fence, *stored)],
            )

        await self._write("rule_deleted", fence, plan)

    def _violations(self, rule: screening_pb2.ScreeningList) -> Iterable[FieldViolation]:
        return validate_screening.screening_list(rule)

    async def _user_of(self, tenant: str, id: str) -> str:
        number = await references.number_with(self._store, self.resource, tenant, id)
        return number or await flow_references.user(self._store, Kind.SCREENING_LIST, tenant, id, self._clock())
