"""Numbers that go through their life with documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from signalbox.api.provisioning.v1 import inventory_pb2 as stock
from signalbox.store import keys

if TYPE_CHECKING:
    from support.documents import Papers


NUMBER, OTHER = "4001230001", "4001230002"
UNUSED_S = 168 * 3600


async def step(api: Papers, transition: str, number: str = NUMBER, **fields: Any) -> None:
    await getattr(api.inventory, f"{transition}Number")(
        getattr(stock, f"{transition}NumberRequest")(number=number, **fields)
    )


async def nothing_left(api: Papers) -> None:
    for prefix in (keys.DOCUMENTS, keys.DOCUMENTS_DUE):
        assert not (await api.store.list(prefix)).entries
