"""Numbers whose rules say what the inventory says.

A number that the inventory has in service has a rule of the same tenant and state, and one in another state has none.
Whoever writes a rule is held to that, the inventory too, which writes its page first in the same step. A number that
the inventory does not know, or has as available, may be given a rule by the operator: it can be adopted later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.api.types.v1 import types_pb2
from signalbox.domain.inventory import RULE_STATES, State, over
from signalbox.errors import TransitionRefusedError
from signalbox.provisioning.numbers import Numbers
from signalbox.provisioning.writer import Plan
from signalbox.store import keys
from signalbox.store.inventory import Page

if TYPE_CHECKING:
    from signalbox.store.base import Delete, Put


class AgreeingNumbers(Numbers):
    """All numbers; see Numbers."""

    async def _indexed(self, rule: types_pb2.Number, *, deleted: bool = False) -> list[Put | Delete]:
        # Tenants write neither state nor tenant, and neither create nor delete.
        if not self._viewer:
            await self._agree(rule, deleted)
        return await super()._indexed(rule, deleted=deleted)

    async def _agree(self, rule: types_pb2.Number, deleted: bool) -> None:
        """Raise TransitionRefusedError unless the inventory has the number so, when this is committed."""
        key = keys.inventory_page(rule.number)

        async def plan() -> Plan[None]:
            entry = await self._store.get(key)
            if entry is not None:
                check(rule, Page(rule.number[:-2], entry), int(self._clock().timestamp()), deleted=deleted)
            return Plan(None)

        # The page is its own fence: it must still be so when the rule is written.
        await self._writer.write(key, plan)


def check(rule: types_pb2.Number, page: Page, now: int, *, deleted: bool = False) -> None:
    """Raise TransitionRefusedError unless the rule may be written, or deleted, as things are in the number's page.

    ``now`` in seconds since the epoch.
    """
    holding = page[rule.number]
    wanted = RULE_STATES.get(holding.state)
    if deleted:
        agrees = wanted is None
    elif holding.state is State.AVAILABLE or over(holding, now):
        agrees = True
    else:
        agrees = (state_of(rule), rule.tenant) == (wanted, holding.tenant)
    if not agrees:
        why = "its tenant and state are the inventory's to change"
        action = "delete" if deleted else "write"
        raise TransitionRefusedError("number", rule.number, holding.state.name.lower(), action, why)


def state_of(rule: types_pb2.Number) -> State:
    """The state of a rule as the inventory calls it."""
    return State.SUSPENDED if rule.state == types_pb2.NUMBER_STATE_SUSPENDED else State.ACTIVE
