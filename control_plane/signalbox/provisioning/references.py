"""What objects refer to: kept in indexes beside them, and asked before what they refer to is deleted.

Calendars, region groups and screening lists may be the operator's. The indexes of all tenants would have to be read for
these, so it is counted apart how often a tenant names which.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from signalbox.store import keys
from signalbox.store.base import MAX_OPERATIONS, Delete, Put

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Sequence

    from signalbox.provisioning.writer import Reader


SHARED = {
    "calendar": keys.calendar,
    "region_group": keys.region_group,
    "screening_list": keys.screening_list,
}
"""What may be the operator's: how it is called in indexes, and its key of tenant and id."""


def index(references: Iterable[tuple[str, str]]) -> bytes:
    """An entry of an index: resources and ids, e.g. ``flow:main line:front-desk``. Empty ids are left out."""
    return " ".join(sorted({f"{resource}:{id}" for resource, id in references if id})).encode()


async def number_with(store: Reader, resource: str, tenant: str, id: str) -> str:
    """The first number that refers to an object of its tenant, e.g. "number 4001234567"; "" if none does."""
    for entry in (await store.list(keys.numbers_of(tenant))).entries:
        if f"{resource}:{id}" in entry.value.decode().split():
            return f"number {keys.last_part(entry.key)}"
    return ""


async def counted(store: Reader, tenant: str, before: bytes, after: bytes) -> Sequence[Put | Delete]:
    """What is to be written to ``keys.SHARED_INDEX`` when an entry of one of the tenant's indexes changes."""
    old, new = _shared(before), _shared(after)
    if old == new:
        return ()
    place = keys.shared_index(tenant)
    entry = await store.get(place)
    counts = _counts(entry.value if entry else b"")
    counts.update(new - old)
    counts.subtract(old - new)
    left = " ".join(f"{word}={count}" for word, count in sorted(counts.items()) if count > 0)
    return [Put(place, left.encode()) if left else Delete(place)]


async def relying(store: Reader, kind: str, id: str) -> AsyncGenerator[str, None]:
    """The tenants that name an object of the operator: those that name the id and have none of their own."""
    entries = (await store.list(keys.SHARED_INDEX)).entries
    tenants = [keys.last_part(entry.key) for entry in entries if f"{kind}:{id}" in _counts(entry.value)]
    for start in range(0, len(tenants), MAX_OPERATIONS):
        some = tenants[start : start + MAX_OPERATIONS]
        own = await store.get_many([SHARED[kind](tenant, id) for tenant in some])
        for tenant, entry in zip(some, own, strict=True):
            if entry is None:
                yield tenant


def _shared(index: bytes) -> set[str]:
    """Of the words of an index entry those that may name an object of the operator."""
    return {word for word in index.decode().split() if word.partition(":")[0] in SHARED}


def _counts(index: bytes) -> Counter[str]:
    return Counter({word: int(count) for word, _, count in (one.partition("=") for one in index.decode().split())})
