"""What tests of a recorder wait for and prepare."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.api.types.v1 import types_pb2
from signalbox.store import codec, keys
from signalbox.store.base import Put

from support.wait import until

if TYPE_CHECKING:
    from signalbox.store.memory import MemoryStore

    from support.captures_fake import FakeNode


SOUND = bytes(range(256)) * 1000
FOLDER = "recordings/acme/2025/06/15/"


async def gone(node: FakeNode, *call_ids: str) -> None:
    """Wait until the node has nothing left of these calls."""
    await until(lambda: not node.captures.keys() & set(call_ids))


async def tenant(store: MemoryStore, **fields: object) -> None:
    made = types_pb2.Tenant(id="acme", recording=types_pb2.RecordingPolicy(**fields))
    await store.commit([], [Put(keys.tenant("acme"), codec.encode(made))])
