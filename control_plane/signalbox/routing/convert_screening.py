"""Stored rules of who may call a number into those that calls are judged by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.domain.screening import ScreeningRules

if TYPE_CHECKING:
    from signalbox.api.types.v1 import types_pb2


def rules(message: types_pb2.Screening) -> ScreeningRules:
    """Who may call a number, as it is stored with the number."""
    return ScreeningRules(
        tuple(message.blacklists), tuple(message.whitelists), message.whitelist_only, message.refuse_anonymous
    )
