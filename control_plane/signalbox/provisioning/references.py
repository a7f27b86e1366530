"""What numbers refer to: kept beside each number, and asked before what they refer to is deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.store import keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from signalbox.provisioning.writer import Reader


def index(references: Iterable[tuple[str, str]]) -> bytes:
    """An entry of keys.NUMBER_INDEX: resources and ids, e.g. ``flow:main line:front-desk``. Empty ids are left out."""
    return " ".join(sorted({f"{resource}:{id}" for resource, id in references if id})).encode()


async def number_with(store: Reader, resource: str, tenant: str, id: str) -> str:
    """The first number that refers to an object of its tenant, e.g. "number 4001234567"; "" if none does."""
    for entry in (await store.list(keys.numbers_of(tenant))).entries:
        if f"{resource}:{id}" in entry.value.decode().split():
            return f"number {keys.last_part(entry.key)}"
    return ""


async def number_with_shared(store: Reader, resource: str, id: str, own: Callable[[str, str], str]) -> str:
    """The first number that refers to an object of the operator, as :func:`number_with`.

    A tenant's own object of that id goes before the operator's; ``own`` makes its key of tenant and id.
    """
    for entry in (await store.list(keys.NUMBER_INDEX)).entries:
        named = f"{resource}:{id}" in entry.value.decode().split()
        if named and await store.get(own(keys.owner(entry.key), id)) is None:
            return f"number {keys.last_part(entry.key)}"
    return ""
