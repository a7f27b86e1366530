"""Makes sure that the object store is the one that content was put into.

A folder that is not mounted, or a bucket of another name, looks like one from which everything has been deleted. So the
store has an object that says which it is, and etcd knows it: where they differ nothing is stored, and nothing counts as
deleted.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

from signalbox.errors import ObjectsUnavailableError
from signalbox.store import keys
from signalbox.store.base import Compare, CompareFailedError, Put
from signalbox.store.objectstore import ObjectMissingError, once

if TYPE_CHECKING:
    from signalbox.store.base import Store
    from signalbox.store.objectstore import ObjectStore

NAME = "signalbox-objects"
"""The object with the id."""
_MAKING, _MADE = b"making ", b"made "
"""What etcd has before an id: whether the object with it is sure to be there."""


class ObjectsPlace:
    """Knows which object store it should be."""

    def __init__(self, store: Store, objects: ObjectStore) -> None:
        self._store = store
        self._objects = objects

    async def check(self) -> None:
        """Raise ObjectsUnavailableError unless it is that one; the first that is used becomes it.

        Raises what the store raises.
        """
        while True:
            entry = await self._store.get(keys.OBJECTS_ID)
            if entry is not None and entry.value.startswith(_MADE):
                found = await self._found()
                if found != entry.value.removeprefix(_MADE):
                    raise ObjectsUnavailableError(
                        f"this is not the object store that content was put into: {NAME} is missing there, or another's"
                    )
                return
            value = entry.value if entry else b""
            with suppress(CompareFailedError):
                made = await self._next(value)
                await self._store.commit(
                    [Compare(keys.OBJECTS_ID, entry.revision if entry else 0)], [Put(keys.OBJECTS_ID, made)]
                )

    async def _next(self, value: bytes) -> bytes:
        """The step that follows. Whoever dies in between leaves what the next one goes on with."""
        found = await self._found()
        if found is not None:
            return _MADE + found
        if not value:
            return _MAKING + secrets.token_hex(16).encode()
        await self._objects.put(NAME, once(value.removeprefix(_MAKING)))
        return _MADE + value.removeprefix(_MAKING)

    async def _found(self) -> bytes | None:
        try:
            return b"".join([piece async for piece in self._objects.get(NAME)])
        except ObjectMissingError:
            return None
