"""Ranges of numbers and their classes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from signalbox.api.types.v1 import inventory_pb2
from signalbox.domain.inventory import ORDINARY, State, Terms
from signalbox.domain.numberpattern import Pattern, fits, parse
from signalbox.errors import FieldViolation, InvalidFieldError
from signalbox.provisioning import validate
from signalbox.provisioning.collection import Collection
from signalbox.provisioning.inventory import validate as check
from signalbox.store import codec, keys
from signalbox.store.inventory import Page

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from signalbox.provisioning.writer import Reader

PAGES_AT_ONCE = 500


class NumberRanges(Collection[inventory_pb2.NumberRange]):
    """All ranges. No number is in two of them; one that has numbers in use cannot be deleted."""

    resource = "number_range"
    message = inventory_pb2.NumberRange
    immutable = frozenset({"id", "first", "last"})

    def name(self, rule: inventory_pb2.NumberRange) -> str:
        return rule.id

    def _fence(self, rule: inventory_pb2.NumberRange) -> str:
        return keys.INVENTORY_FENCE

    def _identity(self, rule: inventory_pb2.NumberRange, at: str) -> Iterable[FieldViolation]:
        return validate.identifier(rule.id, f"{at}id")

    def _violations(self, rule: inventory_pb2.NumberRange) -> Iterable[FieldViolation]:
        return check.number_range(rule)

    async def _check_references(self, rule: inventory_pb2.NumberRange) -> None:
        if rule.number_class and await self._store.get(keys.number_class(rule.number_class)) is None:
            reason = f"there is no class {rule.number_class}"
            raise InvalidFieldError(FieldViolation("number_range.number_class", reason))
        others = [other for other in await ranges(self._store) if other.id != rule.id]
        if len(others) >= check.RANGES_MAX:
            raise InvalidFieldError(FieldViolation("number_range.id", f"would be more than {check.RANGES_MAX} ranges"))
        for other in others:
            if len(other.first) == len(rule.first) and other.first <= rule.last and rule.first <= other.last:
                raise InvalidFieldError(FieldViolation("number_range.first", f"overlaps range {other.id}"))
        if sum(map(check.size, (rule, *others))) > check.ALL_NUMBERS_MAX:
            reason = f"makes more than {check.ALL_NUMBERS_MAX} numbers in all ranges"
            raise InvalidFieldError(FieldViolation("number_range.last", reason))

    async def _user(self, rule: inventory_pb2.NumberRange) -> str:
        # Who reserves a number relies on the range as it was read, and on it being open. So once it is not, and that is
        # seen here, what is held is seen too.
        if not rule.disabled:
            return "reservations until it is disabled"
        prefix = keys.inventory_pages(len(rule.first))
        last = prefix + rule.last[:-2]
        after = prefix + str(int(rule.first[:-2]) - 1).zfill(len(rule.first) - 2)
        while True:
            entries = await self._store.page(prefix, after, PAGES_AT_ONCE)
            for entry in entries:
                if entry.key > last:
                    return ""
                for number, holding in Page(keys.last_part(entry.key), entry).numbers():
                    if rule.first <= number <= rule.last and holding.state is not State.AVAILABLE:
                        return f"number {number}, which is {holding.state.name.lower()}"
            if len(entries) < PAGES_AT_ONCE:
                return ""
            after = entries[-1].key


class NumberClasses(Collection[inventory_pb2.NumberClass]):
    """All classes. One that a range names cannot be deleted."""

    resource = "number_class"
    message = inventory_pb2.NumberClass
    immutable = frozenset({"id"})

    def name(self, rule: inventory_pb2.NumberClass) -> str:
        return rule.id

    def _fence(self, rule: inventory_pb2.NumberClass) -> str:
        return keys.INVENTORY_FENCE

    def _identity(self, rule: inventory_pb2.NumberClass, at: str) -> Iterable[FieldViolation]:
        return validate.identifier(rule.id, f"{at}id")

    def _violations(self, rule: inventory_pb2.NumberClass) -> Iterable[FieldViolation]:
        return check.number_class(rule)

    async def _check_references(self, rule: inventory_pb2.NumberClass) -> None:
        others = [other for other in await classes(self._store) if other.id != rule.id]
        if len(others) >= check.CLASSES_MAX:
            reason = f"would be more than {check.CLASSES_MAX} classes"
            raise InvalidFieldError(FieldViolation("number_class.id", reason))
        for other in others:
            if other.rank == rule.rank:
                raise InvalidFieldError(FieldViolation("number_class.rank", f"is that of class {other.id}"))

    async def _user(self, rule: inventory_pb2.NumberClass) -> str:
        for one in await ranges(self._store):
            if one.number_class == rule.id:
                return f"number_range {one.id}"
        return ""


async def ranges(store: Reader) -> Sequence[inventory_pb2.NumberRange]:
    """All ranges, by their ids."""
    entries = await store.page(keys.NUMBER_RANGES, "", check.RANGES_MAX)
    return [codec.decode(inventory_pb2.NumberRange, entry) for entry in entries]


async def classes(store: Reader) -> Sequence[inventory_pb2.NumberClass]:
    """All classes, by their ranks."""
    entries = await store.page(keys.NUMBER_CLASSES, "", check.CLASSES_MAX)
    return sorted((codec.decode(inventory_pb2.NumberClass, entry) for entry in entries), key=lambda one: one.rank)


@dataclass(frozen=True)
class Classes:
    """All classes, to find that of a number."""

    by_rank: tuple[tuple[Terms, tuple[Pattern, ...]], ...]

    @classmethod
    def of(cls, messages: Iterable[inventory_pb2.NumberClass]) -> Classes:
        """In the order of their ranks."""
        ranked = sorted(messages, key=lambda one: one.rank)
        return cls(tuple((terms(one), tuple(map(_parsed, one.patterns))) for one in ranked))

    def terms(self, number: str, fixed: str) -> Terms:
        """The terms of a number; ``fixed``: the class of its range, "" if it has none."""
        for found, patterns in self.by_rank:
            if found.number_class == fixed if fixed else any(fits(pattern, number) for pattern in patterns):
                return found
        return ORDINARY


_parsed = lru_cache(maxsize=2_048)(parse)


def terms(message: inventory_pb2.NumberClass) -> Terms:
    """What numbers of a class cost at least."""
    return Terms(message.id, message.minimum_spend, message.currency, message.contract_months)
