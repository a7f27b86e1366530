"""The rules in memory: what was provisioned, indexed for decisions.

The objects are plain and frozen; :class:`Rules` changes by one object at a time, and every change is in force for the
next decision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from signalbox.domain.flow import Flow, LineGroup
from signalbox.domain.objects import Line, Number, Tenant, Trunk, TrunkGroup
from signalbox.domain.regions import RegionGroup
from signalbox.domain.schedules import Calendar, Schedule
from signalbox.domain.screening import ScreeningLists

if TYPE_CHECKING:
    from signalbox.domain.decided import Decision

MEMO_LIMIT = 50_000
"""Most decisions that are remembered; all are forgotten when it is passed."""

Owned = Line | LineGroup | Flow | Schedule | Calendar | RegionGroup
"""What belongs to a tenant, or if the tenant is "" to the operator."""
Item = Owned | Tenant | Trunk | TrunkGroup | Number
OwnedT = TypeVar("OwnedT", Line, LineGroup, Flow, Schedule, Calendar, RegionGroup)


class Rules:
    """All that was provisioned, and a memo of decisions.

    A decision is remembered for a number if it rests on nothing but the number and lines of its tenant. So the memo
    is kept by tenant, and dropped for a tenant at once when one of its lines changes.
    """

    __slots__ = (
        "_carriers", "_groups", "_memo", "_memo_size", "_numbers", "_owned", "_tenants", "_trunks", "forgotten", "lists"
    )  # fmt: skip

    def __init__(self) -> None:
        self.lists = ScreeningLists()
        self.forgotten = 0
        """Grows whenever something changes that remembered decisions may rest on."""
        self._trunks: dict[str, Trunk] = {}
        self._tenants: dict[str, Tenant] = {}
        self._groups: dict[str, TrunkGroup] = {}
        self._carriers: dict[str, TrunkGroup] = {}
        self._numbers: dict[str, Number] = {}
        self._owned: dict[tuple[type[Any], str], dict[str, Any]] = {}
        self._memo: dict[str, dict[tuple[str, bool], Decision]] = {}
        self._memo_size = 0

    @property
    def numbers(self) -> int:
        """How many numbers there are."""
        return len(self._numbers)

    def trunk(self, id: str) -> Trunk | None:
        """A trunk by its id."""
        return self._trunks.get(id)

    def trunks(self) -> list[Trunk]:
        """All trunks, in order of their ids."""
        return [self._trunks[id] for id in sorted(self._trunks)]

    def carrier(self, number: str) -> TrunkGroup | None:
        """The trunk group with the longest prefix of a telephone number in national form."""
        for length in range(len(number), -1, -1):
            group = self._carriers.get(number[:length])
            if group is not None:
                return group
        return None

    def tenant(self, id: str) -> Tenant:
        """A tenant by its id; one that is not known is like one that was given nothing but its id."""
        return self._tenants.get(id) or Tenant(id)

    def number(self, digits: str) -> Number | None:
        """A service number by its national form."""
        return self._numbers.get(digits)

    def line(self, tenant: str, id: str) -> Line | None:
        """A tenant's line by its id."""
        return self.owned(Line, tenant, id)

    def owned(self, kind: type[OwnedT], tenant: str, id: str) -> OwnedT | None:
        """An object of a tenant by its kind and id; "" is the operator."""
        objects = self._owned.get((kind, tenant))
        return objects.get(id) if objects is not None else None

    def shared(self, kind: type[OwnedT], tenant: str, id: str) -> OwnedT | None:
        """The tenant's own object if it has one of this id, else the operator's."""
        own = self.owned(kind, tenant, id)
        return own if own is not None else self.owned(kind, "", id)

    def put(self, item: Item) -> None:
        """Add an object or replace the one of its id."""
        match item:
            case Number():
                self.delete_number(item.number)
                self._numbers[item.number] = item
            case Trunk():
                self._trunks[item.id] = item
            case Tenant():
                self._tenants[item.id] = item
            case TrunkGroup():
                self.delete_trunk_group(item.id)
                self._groups[item.id] = item
                self._carriers |= dict.fromkeys(item.prefixes, item)
            case _:
                self._owned.setdefault((type(item), item.tenant), {})[item.id] = item
                if isinstance(item, Line):
                    self._forget(item.tenant)

    def delete_trunk(self, id: str) -> None:
        """Delete a trunk; an unknown one is no error, here and below."""
        self._trunks.pop(id, None)

    def delete_trunk_group(self, id: str) -> None:
        """Delete a trunk group."""
        gone = self._groups.pop(id, None)
        for prefix in gone.prefixes if gone is not None else ():
            if self._carriers.get(prefix) is gone:
                del self._carriers[prefix]

    def delete_tenant(self, id: str) -> None:
        """Delete a tenant; what it owns goes by itself."""
        self._tenants.pop(id, None)

    def delete(self, kind: type[Owned], tenant: str, id: str) -> None:
        """Delete what a tenant owns."""
        objects = self._owned.get((kind, tenant), {})
        if objects.pop(id, None) is not None:
            if kind is Line:
                self._forget(tenant)
            if not objects:
                del self._owned[kind, tenant]

    def delete_number(self, digits: str) -> None:
        """Delete a number."""
        self.forgotten += 1
        gone = self._numbers.pop(digits, None)
        if gone is not None:
            memo = self._memo.get(gone.tenant, {})
            for looped in (False, True):
                if memo.pop((digits, looped), None) is not None:
                    self._memo_size -= 1

    def shrink(self, count: int) -> bool:
        """Let go of some of what is in here, for rules no longer used: to free all at once takes long. False: empty."""
        for _ in range(count):
            part: dict[Any, Any] = self._numbers or self._owned or self._memo
            if part:
                part.popitem()
            elif not self.lists.shrink():
                return False
        return True

    def recall(self, number: Number, looped: bool) -> Decision | None:
        """What was decided for the number before, if everything it rests on is as it was."""
        memo = self._memo.get(number.tenant)
        return memo.get((number.number, looped)) if memo is not None else None

    def remember(self, number: Number, looped: bool, decision: Decision) -> None:
        """Keep a decision until something that it rests on changes."""
        if self._memo_size >= MEMO_LIMIT:
            self._memo.clear()
            self._memo_size = 0
        self._memo.setdefault(number.tenant, {})[number.number, looped] = decision
        self._memo_size += 1

    def _forget(self, tenant: str) -> None:
        self.forgotten += 1
        self._memo_size -= len(self._memo.pop(tenant, ()))
