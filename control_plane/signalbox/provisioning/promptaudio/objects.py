"""The objects that have the audio of prompts: stored before a prompt has them, deleted when none has them any more.

An object is told by its content, so prompts of a tenant may share it. Nobody counts who does: a count can be wrong, a
list of the tenant's prompts cannot. Instead a note in the store says of an object that it may have to go, and when. It
is written before the object is stored, and by whoever takes the object from a prompt; who gives it to a prompt deletes
the note in the same commit. When its time has come the sweep looks whether any prompt has the object, and if none has
makes the note say that it is being deleted, all behind the tenant's fence; then it deletes the object, and last the
note. Whoever dies on the way leaves a note, and the rest to the next sweep of any replica.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from signalbox.api.types.v1 import types_pb2
from signalbox.errors import (
    FieldViolation,
    InvalidFieldError,
    ObjectsUnavailableError,
    SignalboxError,
    StoreUnavailableError,
)
from signalbox.provisioning.draft import Draft, Transactions
from signalbox.provisioning.sweeping import sweeping
from signalbox.provisioning.writer import Plan, repeat
from signalbox.store import codec, keys, promptnames
from signalbox.store.base import Compare, CompareFailedError, Delete, Put
from signalbox.store.objectstore import ObjectMissingError, once

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from signalbox.audio.preparation import Prepared
    from signalbox.provisioning.collection import Clock
    from signalbox.provisioning.writer import Reader
    from signalbox.store.base import Entry, Store
    from signalbox.store.objectsplace import ObjectsPlace
    from signalbox.store.objectstore import ObjectStore

logger = structlog.get_logger(__name__)

GRACE_S = 3600
"""What no prompt has any more stays so long: calls play it. Longer than an upload takes."""
INTERVAL_S = 30.0
PAGE = 100
"""Keys that are read at once."""
AT_ONCE = 50
"""Objects of a tenant that one commit decides on."""
UNUSED_MAX = 2_000
"""Objects of a tenant that wait for their deletion: nobody fills the object store."""
_DOOMED = b"doomed"


class TooManyUnusedError(InvalidFieldError):
    """So much of a tenant's audio waits for its deletion that no more is taken in."""

    def __init__(self) -> None:
        reason = f"has {UNUSED_MAX} objects of audio that no prompt has any more; they are deleted after an hour"
        super().__init__(FieldViolation("tenant", reason))


class GoneError(Exception):
    """An object that a prompt is to get has been deleted meanwhile, or is about to be: store it again."""


async def claimed(store: Reader, tenant: str, files: Sequence[str]) -> tuple[Sequence[Compare], Sequence[Put | Delete]]:
    """What is compared and written so that objects, just stored, stay. Raises GoneError."""
    compares: list[Compare] = []
    writes: list[Put | Delete] = []
    for key in (keys.prompt_object(tenant, file) for file in files):
        entry = await store.get(key)
        if entry is None or entry.value == _DOOMED:
            raise GoneError
        compares.append(Compare(key, entry.revision))
        writes.append(Delete(key))
    return compares, writes


def released(tenant: str, files: Sequence[str], now_s: float) -> Sequence[Put]:
    """What is written when a prompt has objects no more."""
    return [_note(keys.prompt_object(tenant, file), now_s) for file in files]


class PromptObjects:
    """Stores, gives and deletes them."""

    def __init__(
        self, store: Store, objects: ObjectStore, place: ObjectsPlace, clock: Clock, interval_s: float = INTERVAL_S
    ) -> None:
        self._store = store
        self._transactions = Transactions(store)
        self._objects = objects
        self._place = place
        self._clock = clock
        self._interval_s = interval_s

    async def admit(self, tenant: str) -> None:
        """Raise TooManyUnusedError if no more of a tenant's audio is to be made now."""
        if len(await self._store.page(keys.prompt_object(tenant, ""), "", UNUSED_MAX)) == UNUSED_MAX:
            raise TooManyUnusedError

    async def put(self, tenant: str, prepared: Prepared, files: tuple[str, str]) -> None:
        """Store both objects of a prompt, to be claimed within GRACE_S.

        Raises ObjectsUnavailableError, WriteContentionError and what the store raises.
        """
        await self._place.check()
        for file, content in zip(files, (prepared.alaw, prepared.ulaw), strict=True):
            await self._note(keys.prompt_object(tenant, file))
            await self._objects.put(promptnames.object(tenant, file), once(content))

    def get(self, tenant: str, file: str, offset: int) -> AsyncGenerator[bytes, None]:
        """An object's content from a byte on, which it must have. See ObjectStore."""
        return self._objects.get(promptnames.object(tenant, file), offset)

    async def run(self) -> None:
        """Long-lived coroutine."""
        await sweeping(self.sweep, self._interval_s, "prompt_sweep_failed")

    async def sweep(self) -> int:
        """Delete what has to go; returns how many objects that were.

        Raises ObjectsUnavailableError and StoreUnavailableError; what else is wrong with one does not stop the others.
        """
        deleted, after = 0, ""
        while found := await self._store.page(keys.PROMPT_OBJECTS, after, PAGE):
            due: dict[str, list[Entry]] = {}
            for entry in found:
                if entry.value == _DOOMED or int(entry.value) <= self._now():
                    due.setdefault(_tenant(entry), []).append(entry)
            for tenant, entries in due.items():
                for begin in range(0, len(entries), AT_ONCE):
                    deleted += await self._decided(tenant, entries[begin : begin + AT_ONCE])
            after = found[-1].key
        return deleted

    async def _decided(self, tenant: str, due: Sequence[Entry]) -> int:
        try:
            doomed = await self._doomed(tenant, due)
            for entry in doomed:
                await self._delete(entry)
        except (ObjectsUnavailableError, StoreUnavailableError):
            raise
        except SignalboxError as error:
            logger.error("prompt_objects_not_deleted", tenant=tenant, error=str(error))
            return 0
        return len(doomed)

    async def _doomed(self, tenant: str, due: Sequence[Entry]) -> Sequence[Entry]:
        """Those of the notes whose objects no prompt has, as they are once they say so; the others are deleted."""

        async def work(draft: Draft) -> list[str]:
            async def plan() -> Plan[list[str]]:
                had = await _had(draft, tenant)
                compares: list[Compare] = []
                writes: list[Put | Delete] = []
                doomed: list[str] = []
                for entry in due:
                    now = await draft.get(entry.key)
                    if now is None or now.revision != entry.revision:
                        # Stored anew, or claimed.
                        continue
                    compares.append(Compare(entry.key, entry.revision))
                    unused = keys.last_part(entry.key) not in had
                    if unused:
                        doomed.append(entry.key)
                    writes.append(Put(entry.key, _DOOMED) if unused else Delete(entry.key))
                return Plan(doomed, compares, writes)

            return (await draft.write(keys.tenant_fence(tenant), plan))[0]

        doomed, _ = await self._transactions.run(work)
        entries = await self._store.get_many(doomed) if doomed else []
        return [entry for entry in entries if entry is not None and entry.value == _DOOMED]

    async def _delete(self, note: Entry) -> None:
        """Delete an object, of which the note says so, and then the note; nothing if it says so no more."""
        name = promptnames.object(_tenant(note), keys.last_part(note.key))
        await self._place.check()
        if not await self._stands(note):
            # Another has deleted it, and it may have been stored anew since.
            return
        await self._objects.delete(name)
        with suppress(ObjectMissingError):
            await self._objects.head(name)
            if await self._stands(note):
                raise ObjectsUnavailableError(f"object {name} is still there after its deletion")
        with suppress(CompareFailedError):
            await self._store.commit([Compare(note.key, note.revision)], [Delete(note.key)])
            logger.info("prompt_object_deleted", object=name)

    async def _stands(self, note: Entry) -> bool:
        """The note is as it was read."""
        now = await self._store.get(note.key)
        return now is not None and now.revision == note.revision

    async def _note(self, key: str) -> None:
        """Note that an object is about to be stored; one that is being deleted is gone before."""

        async def attempt() -> None:
            entry = await self._store.get(key)
            if entry is not None and entry.value == _DOOMED:
                await self._delete(entry)
                raise CompareFailedError(f"{key} was being deleted")
            await self._store.commit([Compare(key, entry.revision if entry else 0)], [_note(key, self._now())])

        await repeat(attempt)

    def _now(self) -> int:
        return int(self._clock().timestamp())


def _note(key: str, now_s: float) -> Put:
    return Put(key, str(int(now_s) + GRACE_S).encode())


def _tenant(note: Entry) -> str:
    return note.key.removeprefix(keys.PROMPT_OBJECTS).partition("/")[0]


async def _had(store: Reader, tenant: str) -> set[str]:
    """The objects that the prompts of a tenant have."""
    had: set[str] = set()
    after = ""
    while found := await store.page(keys.prompts_of(tenant), after, PAGE):
        for entry in found:
            prompt = codec.decode(types_pb2.Prompt, entry)
            if prompt.HasField("audio"):
                had |= set(promptnames.files(prompt.audio))
        after = found[-1].key
    return had
