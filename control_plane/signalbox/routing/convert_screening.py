"""Stored screening lists into those that calls are judged by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.api.types.v1 import screening_pb2, types_pb2
from signalbox.domain.screening import REMOVED, ScreeningLists, ScreeningRules
from signalbox.store import keys
from signalbox.store.screening import page

if TYPE_CHECKING:
    from signalbox.api.types.v1.screening_pb2 import ScreeningList, ScreeningPage


def rules(message: types_pb2.Screening) -> ScreeningRules:
    """Who may call a number, as it is stored with the number."""
    return ScreeningRules(
        tuple(message.blacklists), tuple(message.whitelists), message.whitelist_only, message.refuse_anonymous
    )


def put(lists: ScreeningLists, message: ScreeningList | ScreeningPage) -> None:
    """Put a list, or a page of one, that the store has. Raises DamagedValueError."""
    match message:
        case screening_pb2.ScreeningList():
            lists.put_list(message.tenant, message.id)
        case screening_pb2.ScreeningPage():
            lists.put_page(message.tenant, message.list, message.page, page(message))


def delete(lists: ScreeningLists, key: str) -> None:
    """Delete the list or the page of a key that the store no longer has; a key of nothing else does nothing."""
    if key.startswith(keys.SCREENING_LISTS):
        lists.drop_list(keys.owner(key), keys.last_part(key))
    elif key.startswith(keys.SCREENING_PAGES):
        parts = keys.screening_page_parts(key)
        if parts is not None and parts[2] <= REMOVED:
            lists.drop_page(*parts)
