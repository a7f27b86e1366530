"""Which call an order to pause is about, and whether it may be given.

A pause that does not come through leaves the number of a card in a recording. So nothing but the media node's own word
is a refusal: what the database says of a call ("missing", "stored") may be wrong of one that goes on, and its row may
not be there yet. But whose call it is only the row tells, and a pause of somebody else's is an attack. So if there is
no row the operator's order goes to every media node, and a tenant's waits for it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog

from signalbox.api.types.v1 import recordings_pb2
from signalbox.errors import DatabaseUnavailableError, HiddenError, NotFoundError
from signalbox.provisioning import validate as common
from signalbox.provisioning.recordings import records, validate

if TYPE_CHECKING:
    from collections.abc import Callable

    from signalbox.catalog.catalog import Catalog, Found
    from signalbox.provisioning.access import Principal
    from signalbox.provisioning.recordings.captures import Captures

logger = structlog.get_logger(__name__)

ROW_S = 2.0
"""So long a tenant's order waits for the row, and the operator's for the database, seconds."""
FIRST_LOOK_S = 0.05
"""Time between the first two looks for a row. It doubles."""


class Pausing:
    """Orders of operator and tenants. ``catalog`` gives it, or raises DatabaseUnavailableError."""

    def __init__(self, catalog: Callable[[], Catalog], captures: Captures, row_s: float = ROW_S) -> None:
        self._catalog = catalog
        self._captures = captures
        self._row_s = row_s

    async def call(self, principal: Principal, request: Any) -> recordings_pb2.Recording:
        """The call that a request names; of one without a row the operator knows no more than the request says.

        Raises InvalidFieldError, NotFoundError, and DatabaseUnavailableError to tenants alone.
        """
        common.require(validate.named(request))
        if not principal.is_operator:
            return await self._own(request)
        found = await self._known(request.call_id)
        if found is None:
            return recordings_pb2.Recording(tenant=request.tenant, call_id=request.call_id)
        if request.tenant not in ("", found.tenant):
            raise NotFoundError(records.RESOURCE, request.call_id)
        return found

    async def order(self, call: recordings_pb2.Recording, *, paused: bool) -> None:
        """Done when this returns. Raises as Captures does."""
        if call.state == recordings_pb2.RECORDING_STATE_UNSPECIFIED:
            await self._captures.set_paused_anywhere(call.call_id, paused)
        else:
            await self._captures.set_paused(call.media_node, call.call_id, paused)

    async def note(
        self,
        kind: recordings_pb2.RecordingEventKind.ValueType,
        call: recordings_pb2.Recording,
        principal: Principal,
    ) -> None:
        """Make the event of an order that was carried out. Without the database it stays with the audit log's record.

        Whoever gave the order is not told of an error: it would mean that the recording may go on.
        """
        try:
            async with asyncio.timeout(self._row_s):
                await self._catalog().event(kind, call.tenant, call.call_id, records.actor(principal), "")
        except (DatabaseUnavailableError, TimeoutError) as error:
            logger.warning("recording_event_lost", call_id=call.call_id, tenant=call.tenant, error=str(error))

    async def _known(self, call_id: str) -> recordings_pb2.Recording | None:
        """What the database says, if it does at once."""
        try:
            found = await self._look(call_id)
        except DatabaseUnavailableError as error:
            logger.warning("pause_without_database", call_id=call_id, error=str(error))
            return None
        return None if found is None else found.recording

    async def _own(self, request: Any) -> recordings_pb2.Recording:
        """A tenant's own call. Another's takes as long to be refused as one that nobody has."""
        loop = asyncio.get_running_loop()
        deadline, pause_s = loop.time() + self._row_s, FIRST_LOOK_S
        while True:
            found = await self._look(request.call_id)
            if found is not None and found.recording.tenant == request.tenant:
                return found.recording
            left_s = deadline - loop.time()
            if left_s <= 0:
                refusal = NotFoundError if found is None else HiddenError
                raise refusal(records.RESOURCE, request.call_id)
            await asyncio.sleep(min(pause_s, left_s))
            pause_s *= 2

    async def _look(self, call_id: str) -> Found | None:
        """The row, also of what is being deleted. Raises DatabaseUnavailableError."""
        try:
            async with asyncio.timeout(self._row_s):
                return await self._catalog().get(call_id, doomed=True)
        except TimeoutError as error:
            raise DatabaseUnavailableError(f"the database took longer than {self._row_s:g} s") from error
