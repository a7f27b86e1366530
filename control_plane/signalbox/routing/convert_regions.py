"""Stored region groups into those that calls are decided by."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from signalbox.domain.numbering import PLAN
from signalbox.domain.regions import PROVINCES, RegionGroup
from signalbox.store import codec

if TYPE_CHECKING:
    from signalbox.api.types.v1 import screening_pb2


def region_group(message: screening_pb2.RegionGroup) -> RegionGroup:
    """A region group as it is stored. Raises DamagedValueError."""
    for names, known, what in (
        (message.provinces, PROVINCES, "province"),
        (message.area_codes, PLAN.area_codes, "area code"),
    ):
        for name in names:
            if name not in known:
                raise codec.DamagedValueError(codec.key_of(message), f"{what} {name!r}")
    return RegionGroup(
        sys.intern(message.tenant), message.id, frozenset(message.provinces), frozenset(message.area_codes)
    )
