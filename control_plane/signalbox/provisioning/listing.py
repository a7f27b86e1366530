"""Lists (AIP-132, AIP-158, AIP-160): pages of objects, filtered and in an order."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from signalbox.errors import FieldViolation, InvalidFieldError
from signalbox.provisioning import filters, pagetoken

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from signalbox.provisioning.collection import Collection, M

PAGE_SIZE_DEFAULT = 100
PAGE_SIZE_MAX = 1_000
PAGE_BYTES_MAX = 2 * 1024 * 1024
"""A page ends early above this size: clients take messages of 4 MiB by default."""
SCAN_MAX = 20_000
"""Objects looked at for one page of a filtered list; it then ends early, and the next page goes on."""
SORT_MAX = 20_000
"""Objects of the longest list that is given in another order than that of its ids: each page reads all of them."""
CHUNK = 500
"""Objects read at once while filtering; then whatever else waits has its turn."""

TIMES = ("create_time", "update_time")

T = TypeVar("T")


async def page(collection: Collection[M], request: Any) -> tuple[list[M], str]:
    """One page for a request of a list method, and the token of the next one ("" after the last).

    Raises InvalidFieldError, and NotFoundError if there is no such tenant.
    """
    name = collection.message.DESCRIPTOR.name
    fields = type(request).DESCRIPTOR.fields_by_name
    parent, condition, order = (
        getattr(request, field) if field in fields else "" for field in ("tenant", "filter", "order_by")
    )
    keep = filters.parse(condition, collection.message.DESCRIPTOR)
    by, backwards = _order(order, collection)
    size = page_size(request.page_size)
    scope = "\0".join((parent, condition, order)) if condition or order else parent
    after = pagetoken.decode(name, scope, request.page_token)
    if by in TIMES or backwards:
        found, place = await _sorted(collection, parent, after, size, keep, by, backwards)
    else:
        found, place = await _scanned(collection, parent, after, size, keep, CHUNK if condition else size + 1)
    if not found and not after:
        await collection.check_parent(parent)
    return found, pagetoken.encode(name, scope, place) if place else ""


def page_size(asked: int, default: int = PAGE_SIZE_DEFAULT, most: int = PAGE_SIZE_MAX) -> int:
    """Objects in a page: as many as were asked for, but not more than there may be (AIP-158)."""
    return min(asked or default, most)


def _order(text: str, collection: Collection[Any]) -> tuple[str, bool]:
    """The field that is ordered by, and whether it is backwards."""
    field, *direction = text.split() or [collection.identity]
    if field not in (collection.identity, *TIMES) or direction not in ([], ["asc"], ["desc"]):
        reason = f'must be {collection.identity}, create_time or update_time, with " desc" for the reverse'
        raise InvalidFieldError(FieldViolation("order_by", reason))
    return field, direction == ["desc"]


async def _scanned(
    collection: Collection[M], parent: str, after: str, size: int, keep: Callable[[M], bool], chunk: int
) -> tuple[list[M], str]:
    """Objects in the order that they are stored in; and the place after which the next page begins."""
    found: list[M] = []
    room, seen = PAGE_BYTES_MAX, 0
    while seen < SCAN_MAX:
        entries = await collection.entries(parent, after, chunk)
        for entry in entries:
            rule = collection.read(entry)
            if keep(rule):
                room -= len(entry.value)
                if len(found) == size or (found and room < 0):
                    return found, after
                found.append(rule)
            after = collection.place(rule)
        if len(entries) < chunk:
            return found, ""
        seen += len(entries)
        await asyncio.sleep(0)
    return found, after


async def _sorted(
    collection: Collection[M],
    parent: str,
    after: str,
    size: int,
    keep: Callable[[M], bool],
    by: str,
    backwards: bool,
) -> tuple[list[M], str]:
    """Objects in another order: all of them are read for each page, and those of the page kept."""
    found: list[tuple[str, int, M]] = []
    position, seen, more = "", 0, False
    while True:
        entries = await collection.entries(parent, position, CHUNK)
        seen += len(entries)
        if seen > SORT_MAX:
            reason = (
                f"is for lists of at most {SORT_MAX} objects; this one is given in the order of {collection.identity}"
            )
            raise InvalidFieldError(FieldViolation("order_by", reason))
        for entry in entries:
            rule = collection.read(entry)
            position = collection.place(rule)
            key = _sort_key(rule, by, position)
            if keep(rule) and (not after or (key < after if backwards else key > after)):
                found.append((key, len(entry.value), rule))
        found.sort(key=lambda one: one[0], reverse=backwards)
        fitting = _fitting(found, size)
        more = more or fitting < len(found)
        del found[fitting:]
        if len(entries) < CHUNK:
            return [rule for _, _, rule in found], found[-1][0] if more else ""
        await asyncio.sleep(0)


def _fitting(found: Sequence[tuple[str, int, Any]], size: int) -> int:
    """How many of the first make a page."""
    room = PAGE_BYTES_MAX
    for count, (_, size_bytes, _) in enumerate(found[:size]):
        room -= size_bytes
        if count and room < 0:
            return count
    return min(size, len(found))


def _sort_key(rule: Any, by: str, place: str) -> str:
    """A text that sorts as the field does, and tells objects of one time apart by their places."""
    return f"{getattr(rule, by).ToNanoseconds():020d} {place}" if by in TIMES else place
