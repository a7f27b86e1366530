"""How a tenant's recordings are kept, as its object says at the time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from signalbox.api.types.v1 import types_pb2
from signalbox.store import codec, keys

if TYPE_CHECKING:
    from signalbox.store.base import Store

DAY_MS = 86_400_000
RETENTION_MS = 180 * DAY_MS
"""Unless the tenant says something else."""
LATEST_MS = 253_402_300_799_999
"""The end of 9999, the latest that a message can say."""


@dataclass(frozen=True, slots=True)
class Policy:
    """``retention_ms``: from the end of the call, or when it was stored if that is later."""

    format: types_pb2.RecordingFormat.ValueType = types_pb2.RECORDING_FORMAT_OGG_OPUS
    retention_ms: int = RETENTION_MS

    def expire_ms(self, *times_ms: int) -> int:
        """When what is of these times is deleted, Unix milliseconds: the latest counts, whoever's clock is behind."""
        return min(max(times_ms) + self.retention_ms, LATEST_MS)


async def policy_of(store: Store, tenant: str) -> Policy:
    """A tenant's; the defaults for one that is no longer there, so that its recordings end some day.

    Raises DamagedValueError and what the store raises.
    """
    entry = await store.get(keys.tenant(tenant))
    if entry is None:
        return Policy()
    recording = codec.decode(types_pb2.Tenant, entry).recording
    return Policy(
        recording.format or types_pb2.RECORDING_FORMAT_OGG_OPUS,
        recording.retention.ToMilliseconds() if recording.HasField("retention") else RETENTION_MS,
    )
