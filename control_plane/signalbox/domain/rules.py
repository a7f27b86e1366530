"""The rules in memory: what was provisioned, indexed for decisions.

The objects are plain and frozen; :class:`Rules` changes by one object at a time, and every change is in force for the
next decision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from signalbox.domain.decided import Why
from signalbox.domain.directory import PlainDirectory
from signalbox.domain.flow import Flow, LineGroup
from signalbox.domain.memo import Memo
from signalbox.domain.objects import Line, Number, Tenant, Trunk, TrunkGroup
from signalbox.domain.prompts import Prompt
from signalbox.domain.regions import RegionGroup
from signalbox.domain.schedules import Calendar, Schedule

if TYPE_CHECKING:
    from collections.abc import Hashable

    from signalbox.domain.decided import Decision
    from signalbox.domain.directory import Directory
    from signalbox.domain.screening import Page, ScreeningList

Owned = Line | LineGroup | Flow | Schedule | Calendar | RegionGroup | Prompt
"""What belongs to a tenant, or if the tenant is "" to the operator."""
Item = Owned | Tenant | Trunk | TrunkGroup | Number
_PLANNED_BY = (Line, LineGroup, Flow)
OwnedT = TypeVar("OwnedT", LineGroup, Flow, Schedule, Calendar, RegionGroup, Prompt)


def decision_key(digits: str, looped: bool) -> Hashable:
    """Of the decision for a number. ``looped``: the call was forwarded too often."""
    return digits, looped


def stages_key(digits: str) -> Hashable:
    """Of the plan of a number's stages."""
    return digits


class Rules:
    """All that was provisioned, and a memo of what was worked out from it.

    What is remembered rests on the lines, line groups and flows of one tenant, on trunk groups, and on what its key
    names: nothing else. So it is forgotten for a tenant at once when one of these changes, for all when a trunk group
    does, and what has a number in its key when that changes.
    """

    __slots__ = (
        "_carrier_lengths", "_carriers", "_directory", "_groups", "_memo", "_tenants", "_trunks", "forgotten",
    )  # fmt: skip

    def __init__(self, directory: Directory | None = None) -> None:
        """``directory``: where what tenants own is kept; by default in here."""
        self._directory: Directory = PlainDirectory() if directory is None else directory
        self.forgotten = 0
        """Grows whenever something changes that remembered decisions may rest on."""
        self._trunks: dict[str, Trunk] = {}
        self._tenants: dict[str, Tenant] = {}
        self._groups: dict[str, TrunkGroup] = {}
        self._carriers: dict[str, TrunkGroup] = {}
        self._carrier_lengths: tuple[int, ...] = ()
        self._memo = Memo()

    @property
    def numbers(self) -> int:
        """How many numbers there are."""
        return self._directory.numbers

    def trunk(self, id: str) -> Trunk | None:
        """A trunk by its id."""
        return self._trunks.get(id)

    def trunks(self) -> list[Trunk]:
        """All trunks, in order of their ids."""
        return [self._trunks[id] for id in sorted(self._trunks)]

    def carrier(self, number: str) -> TrunkGroup | None:
        """The trunk group with the longest prefix of a telephone number in national form."""
        for length in self._carrier_lengths:
            group = self._carriers.get(number[:length])
            if group is not None:
                return group
        return None

    def tenant(self, id: str) -> Tenant:
        """A tenant by its id; one that is not known is like one that was given nothing but its id."""
        return self._tenants.get(id) or Tenant(id)

    def number(self, digits: str) -> Number | None:
        """A service number by its national form."""
        return self._directory.number(digits)

    def line(self, tenant: str, id: str) -> Line | None:
        """A tenant's line by its id."""
        return self._directory.line(tenant, id)

    def owned(self, kind: type[OwnedT], tenant: str, id: str) -> OwnedT | None:
        """An object of a tenant by its kind and id; "" is the operator."""
        found: OwnedT | None = self._directory.owned(kind, tenant, id)
        return found

    def shared(self, kind: type[OwnedT], tenant: str, id: str) -> OwnedT | None:
        """The tenant's own object if it has one of this id, else the operator's."""
        own = self.owned(kind, tenant, id)
        return own if own is not None else self.owned(kind, "", id)

    def screening_list(self, tenant: str, id: str) -> ScreeningList | None:
        """The tenant's own list if it has one of this id, else the operator's; to be asked at once."""
        own = self._directory.screening_list(tenant, id)
        return own if own is not None else self._directory.screening_list("", id)

    def put(self, item: Item, stored: bytes = b"") -> None:
        """Add an object or replace the one of its id. ``stored``: as the store has it, for a directory that keeps it
        so."""
        match item:
            case Number():
                self._forget_number(item.number)
                self._directory.put_number(item)
            case Line():
                self._directory.put_line(item)
                self._forget(item.tenant)
            case Trunk():
                self._trunks[item.id] = item
            case Tenant():
                self._tenants[item.id] = item
            case TrunkGroup():
                self.delete_trunk_group(item.id)
                self._groups[item.id] = item
                self._carriers |= dict.fromkeys(item.prefixes, item)
                self._measure_carriers()
                self._forget_all()
            case _:
                self._directory.put_owned(item, stored)
                if isinstance(item, _PLANNED_BY):
                    self._forget(item.tenant)

    def put_screening_list(self, tenant: str, id: str) -> None:
        """Add a screening list, of the operator for ""."""
        self._directory.put_screening_list(tenant, id)

    def put_screening_page(self, tenant: str, list: str, number: int, page: Page) -> None:
        """Put a page, 0 to REMOVED, of a list that may not be there yet."""
        self._directory.put_screening_page(tenant, list, number, page)

    def delete_trunk(self, id: str) -> None:
        """Delete a trunk; an unknown one is no error, here and below."""
        self._trunks.pop(id, None)

    def delete_trunk_group(self, id: str) -> None:
        """Delete a trunk group."""
        gone = self._groups.pop(id, None)
        for prefix in gone.prefixes if gone is not None else ():
            if self._carriers.get(prefix) is gone:
                del self._carriers[prefix]
        self._measure_carriers()
        self._forget_all()

    def _measure_carriers(self) -> None:
        # The longest first: a prefix that is longer than the number is none of it, and the whole number is looked up.
        self._carrier_lengths = tuple(sorted({len(prefix) for prefix in self._carriers}, reverse=True))

    def delete_tenant(self, id: str) -> None:
        """Delete a tenant; what it owns goes by itself."""
        self._tenants.pop(id, None)

    def delete(self, kind: type[Owned], tenant: str, id: str) -> None:
        """Delete what a tenant owns."""
        if issubclass(kind, Line):
            self._directory.delete_line(tenant, id)
        else:
            self._directory.delete_owned(kind, tenant, id)
        if issubclass(kind, _PLANNED_BY):
            self._forget(tenant)

    def delete_screening_list(self, tenant: str, id: str) -> None:
        """Delete a screening list; its pages go by themselves."""
        self._directory.delete_screening_list(tenant, id)

    def delete_screening_page(self, tenant: str, list: str, number: int) -> None:
        """Delete a page of a screening list."""
        self._directory.delete_screening_page(tenant, list, number)

    def delete_number(self, digits: str) -> None:
        """Delete a number."""
        self._forget_number(digits)
        self._directory.delete_number(digits)

    def forget(self) -> None:
        """Everything may have changed."""
        self._forget_all()

    def _forget_number(self, digits: str) -> None:
        """What is remembered of a number."""
        self.forgotten += 1
        gone = self.number(digits)
        if gone is not None:
            for key in (decision_key(digits, False), decision_key(digits, True), stages_key(digits)):
                self._memo.drop(gone.tenant, key)

    def shrink(self, count: int) -> bool:
        """Let go of some of what is in here, for rules no longer used: to free all at once takes long. False: empty."""
        return all(self._directory.shrink() or self._memo.shrink() for _ in range(count))

    def recall(self, tenant: str, key: Hashable) -> Any:
        """What was remembered under the key, if everything it rests on is as it was; else None."""
        return self._memo.get(tenant, key)

    def remember(self, tenant: str, key: Hashable, found: object) -> None:
        """Keep what was found until something that it rests on changes, if it seems to be wanted again. What rests on a
        number has one of its keys: see :func:`decision_key`, :func:`stages_key`."""
        self._memo.put(tenant, key, found)

    def remembers(self, decision: Decision) -> bool:
        """True if it is this very decision that is remembered for its number."""
        looped = decision.why is Why.LOOP_GUARD
        return self.recall(decision.tenant, decision_key(decision.number, looped)) is decision

    def _forget(self, tenant: str) -> None:
        self.forgotten += 1
        self._memo.drop_all_of(tenant)

    def _forget_all(self) -> None:
        self.forgotten += 1
        self._memo.clear()
