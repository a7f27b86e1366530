"""What a valid region group is. Pure: no store, no clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.domain.numbering import PLAN
from signalbox.domain.regions import PROVINCES
from signalbox.errors import FieldViolation
from signalbox.provisioning import validate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from signalbox.api.types.v1.screening_pb2 import RegionGroup


def region_group(message: RegionGroup) -> Iterator[FieldViolation]:
    """A region group as a request's field ``region_group``. An empty tenant is the operator."""
    yield from validate.owner(message.tenant, "region_group.tenant")
    yield from validate.identifier(message.id, "region_group.id")
    yield from validate.display_name(message.display_name, "region_group.display_name")
    if not message.provinces and not message.area_codes:
        yield FieldViolation("region_group.provinces", "one province or area code at least is required")
    yield from provinces(message.provinces, "region_group.provinces")
    yield from area_codes(message.area_codes, "region_group.area_codes")


def provinces(names: Sequence[str], path: str) -> Iterator[FieldViolation]:
    """Provinces that a rule names, each once."""
    return _names(names, PROVINCES, path, "must be a province by its Chinese name without suffix, like 内蒙古")


def area_codes(codes: Sequence[str], path: str) -> Iterator[FieldViolation]:
    """Area codes that a rule names, each once."""
    return _names(codes, PLAN.area_codes, path, "must be an area code with its 0, like 0471")


def _names(names: Sequence[str], known: AbstractSet[str], path: str, rule: str) -> Iterator[FieldViolation]:
    seen: set[str] = set()
    for position, name in enumerate(names):
        if name not in known:
            yield FieldViolation(f"{path}[{position}]", rule)
        elif name in seen:
            yield FieldViolation(f"{path}[{position}]", f"{name} is there already")
        seen.add(name)
