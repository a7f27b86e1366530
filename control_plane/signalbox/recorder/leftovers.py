"""Objects that attempts have left which were given up, overtaken or killed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.catalog import names
from signalbox.store.envelope import delete_all

if TYPE_CHECKING:
    from signalbox.api.recording.v1.recording_pb2 import CallFacts
    from signalbox.catalog.catalog import Begun, Catalog
    from signalbox.store.envelope import Vault


class Leftovers:
    """Of one call, as it was when the latest attempt began. All raises what catalog and object store raise."""

    def __init__(self, catalog: Catalog, vault: Vault, call: CallFacts, begun: Begun) -> None:
        self._catalog = catalog
        self._vault = vault
        self._call = call
        self._begun = begun

    async def before(self) -> None:
        """Delete what attempts before this one have left, but not what is stored."""
        attempt = self._begun.attempt
        if self._begun.tidied + 1 < attempt:
            await delete_all(self._vault, self._left(attempt - 1))
            if not self._begun.object:
                await self._catalog.tidied(self._call.call_id, attempt - 1)

    async def replaced(self) -> None:
        """This attempt is stored: delete what the others have left since then, and what was stored before."""
        stored = self._begun.object
        kept = [stored, names.metadata(stored)] if stored else []
        await delete_all(self._vault, [*self._left(self._begun.attempt - 1), *kept])

    async def all(self) -> None:
        """This is no attempt: delete what any has left, but not what is stored."""
        await delete_all(self._vault, self._left(self._begun.attempt))

    def _left(self, last: int) -> list[str]:
        attempts = (names.left(self._call, attempt) for attempt in range(self._begun.tidied + 1, last + 1))
        return [name for left in attempts if self._begun.object not in left for name in left]

    async def of(self, audio: str) -> None:
        """Delete what this attempt has put under a name."""
        await delete_all(self._vault, [audio, names.metadata(audio)])
