"""The RPCs of ``signalbox.api.provisioning.v1.BulkService``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.api.provisioning.v1 import bulk_pb2
from signalbox.provisioning import access
from signalbox.provisioning.bulk_export import Export
from signalbox.provisioning.bulk_import import Import, Room, Roomy
from signalbox.provisioning.bulk_pace import Pace
from signalbox.provisioning.collection import Clock, utc_now
from signalbox.provisioning.serving import Served, Stream
from signalbox.settings import BulkSettings

if TYPE_CHECKING:
    from signalbox.provisioning.credentials import Authenticator
    from signalbox.store.base import Store

_DESCRIPTOR = bulk_pb2.DESCRIPTOR.services_by_name["BulkService"]
SERVICE = _DESCRIPTOR.full_name
METHODS = dict(_DESCRIPTOR.methods_by_name)

COMMIT_OPERATIONS = 4_000
"""Comparisons and writes in a commit of many rows: to be given to a store in which neighbours share pages."""


class BulkService(Served):
    """The service; see the API's description for what each method does."""

    def __init__(
        self,
        store: Store,
        authenticator: Authenticator,
        settings: BulkSettings | None = None,
        room: Room | None = None,
        clock: Clock = utc_now,
    ) -> None:
        """``room``: knows whether the store has room for more; None: it always has."""
        settings = settings or BulkSettings()
        pace = Pace(settings.rows_per_second, settings.slow_commit_ms / 1000)
        streams: dict[str, Stream] = {
            "ImportNumbers": Import(store, pace, clock, room or Roomy(), settings.full_wait_s),
            "ExportNumbers": Export(store),
        }
        super().__init__(_DESCRIPTOR, access.BULK, authenticator, {}, streams)
