"""When recordings of tests are due, and what is noted of their deletion."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.store import keys

from support.recordings import ANSWERED_MS

if TYPE_CHECKING:
    from support.recordings import Tapes


SOON_S = 3600
SOON = ANSWERED_MS + SOON_S * 1000


async def notes(api: Tapes) -> list[bytes]:
    """What is noted of deletions that go on."""
    return [one.value for one in (await api.store.list(keys.RECORDING_DELETIONS)).entries]
