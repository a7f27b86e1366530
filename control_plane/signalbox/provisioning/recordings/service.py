"""The RPCs of ``RecordingService``."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from google.protobuf import empty_pb2

from signalbox.api.provisioning.v1 import recordings_pb2 as pb
from signalbox.api.types.v1 import recordings_pb2
from signalbox.errors import (
    ContentLostError,
    EtagMismatchError,
    FieldViolation,
    HiddenError,
    InvalidFieldError,
    NotFoundError,
    NotStoredError,
    PermissionRefusedError,
)
from signalbox.provisioning import validate as common
from signalbox.provisioning.access import OPERATOR_ONLY, Rule, reads, writes
from signalbox.provisioning.audit import outbox
from signalbox.provisioning.collection import Clock, utc_now
from signalbox.provisioning.listing import PAGE_BYTES_MAX, page_size
from signalbox.provisioning.recordings import records, validate
from signalbox.provisioning.recordings.disposal import Disposal
from signalbox.provisioning.recordings.pausing import ROW_S, Pausing
from signalbox.provisioning.recordings.retention import elapsed_s
from signalbox.provisioning.serving import Served, Stream, Unary

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from google.protobuf.descriptor import MethodDescriptor

    from signalbox.api.types.v1.audit_pb2 import AuditChange
    from signalbox.catalog.catalog import Catalog, Found
    from signalbox.provisioning.access import Principal
    from signalbox.provisioning.credentials import Authenticator
    from signalbox.provisioning.recordings.captures import Captures
    from signalbox.store.base import Store
    from signalbox.store.envelope import Vault

_DESCRIPTOR = pb.DESCRIPTOR.services_by_name["RecordingService"]
SERVICE = _DESCRIPTOR.full_name
METHODS: dict[str, MethodDescriptor] = dict(_DESCRIPTOR.methods_by_name)

HOLD_ATTEMPTS = 5

TABLE: dict[str, Rule] = {
    "ListRecordings": reads(),
    "GetRecording": reads(),
    # What was said is not for everybody who may look at rules.
    "DownloadRecording": writes(),
    "SetLegalHold": writes(),
    "DeleteRecording": OPERATOR_ONLY,
    "PauseRecording": writes(),
    "ResumeRecording": writes(),
    "ListRecordingEvents": reads(),
}


class RecordingService(Served):
    """The service; see the API's description for what each method does."""

    def __init__(
        self,
        store: Store,
        vault: Vault,
        catalog: Callable[[], Catalog],
        captures: Captures,
        authenticator: Authenticator,
        clock: Clock = utc_now,
        row_s: float = ROW_S,
        elapsed: Callable[[], float] = elapsed_s,
    ) -> None:
        """``catalog``: gives it, or raises DatabaseUnavailableError.

        ``row_s``: see Pausing. ``elapsed``: see RetentionClock.
        """
        self._store = store
        self._vault = vault
        self._catalog = catalog
        self._pausing = Pausing(catalog, captures, row_s)
        self.disposal = Disposal(store, vault, catalog, clock, elapsed=elapsed)
        """To be run beside the service."""
        unary: dict[str, Unary] = {
            "ListRecordings": self._list,
            "GetRecording": self._get,
            "SetLegalHold": self._hold,
            "DeleteRecording": self._delete,
            "PauseRecording": self._pause,
            "ResumeRecording": self._resume,
            "ListRecordingEvents": self._events,
        }
        streams: dict[str, Stream] = {"DownloadRecording": self._download}
        super().__init__(_DESCRIPTOR, TABLE, authenticator, unary, streams)

    async def _list(self, principal: Principal, request: pb.ListRecordingsRequest) -> pb.ListRecordingsResponse:
        asked, after = validate.query(request)
        size = page_size(request.page_size)
        found = await self._catalog().find(asked, size + 1, after)
        fitting = _fitting(found, size)
        answer = pb.ListRecordingsResponse(recordings=found[:fitting])
        if fitting < len(found):
            answer.next_page_token = validate.token(asked, found[fitting - 1])
        return answer

    async def _get(self, principal: Principal, request: pb.GetRecordingRequest) -> recordings_pb2.Recording:
        return (await self._there(principal, request)).recording

    async def _there(self, principal: Principal, request: Any) -> Found:
        """The recording that a request names. Raises InvalidFieldError, NotFoundError, DatabaseUnavailableError."""
        common.require(validate.named(request))
        found = await self._catalog().get(request.call_id)
        if found is None:
            raise NotFoundError(records.RESOURCE, request.call_id)
        if request.tenant not in ("", found.recording.tenant):
            refusal = NotFoundError if principal.is_operator else HiddenError
            raise refusal(records.RESOURCE, request.call_id)
        return found

    async def _download(
        self, principal: Principal, request: pb.DownloadRecordingRequest
    ) -> AsyncGenerator[pb.DownloadRecordingResponse, None]:
        try:
            found = await self._there(principal, request)
        except HiddenError as error:
            outbox.origin().refused(error, request)
            raise
        recording = found.recording
        if recording.state != recordings_pb2.RECORDING_STATE_STORED:
            raise NotStoredError(recording.call_id, records.plain(recording.state))
        if request.offset > recording.size_bytes:
            raise InvalidFieldError(FieldViolation("offset", f"must be at most {recording.size_bytes}"))
        await self._recorded(records.change(recording, read=True))
        detail = f"from byte {request.offset} of {recording.size_bytes}"
        await self._event(recordings_pb2.RECORDING_EVENT_KIND_ACCESSED, recording, principal, detail)
        yield pb.DownloadRecordingResponse(recording=recording)
        try:
            async with aclosing(self._vault.get(recording.tenant, found.object, request.offset)) as content:
                async for piece in content:
                    yield pb.DownloadRecordingResponse(content=piece)
        except ContentLostError as error:
            now = await self._catalog().get(recording.call_id)
            if now is None:
                raise NotFoundError(records.RESOURCE, recording.call_id) from error
            if now.object != found.object:
                # More of the call was found and stored in its place.
                etag = now.recording.etag
                raise EtagMismatchError(records.RESOURCE, recording.call_id, recording.etag, etag) from error
            raise

    async def _hold(self, principal: Principal, request: pb.SetLegalHoldRequest) -> recordings_pb2.Recording:
        for attempt in range(1, HOLD_ATTEMPTS + 1):
            found = await self._there(principal, request)
            before = found.recording
            if request.etag not in ("", before.etag):
                raise EtagMismatchError(records.RESOURCE, before.call_id, request.etag, before.etag)
            if before.legal_hold == request.legal_hold:
                return before
            if not request.legal_hold and not principal.is_operator:
                raise PermissionRefusedError("SetLegalHold")
            after = recordings_pb2.Recording()
            after.CopyFrom(before)
            after.legal_hold = request.legal_hold
            await self._recorded(records.changed(before, after))
            try:
                return await self._catalog().hold(found, request.legal_hold, records.actor(principal))
            except EtagMismatchError:
                # It was changed in between.
                if request.etag or attempt == HOLD_ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    async def _delete(self, principal: Principal, request: pb.DeleteRecordingRequest) -> empty_pb2.Empty:
        common.require(validate.named(request))
        await self.disposal.delete(principal, request.tenant, request.call_id)
        return empty_pb2.Empty()

    async def _pause(self, principal: Principal, request: pb.PauseRecordingRequest) -> pb.PauseRecordingResponse:
        await self._set_paused(principal, request, paused=True)
        return pb.PauseRecordingResponse()

    async def _resume(self, principal: Principal, request: pb.ResumeRecordingRequest) -> pb.ResumeRecordingResponse:
        await self._set_paused(principal, request, paused=False)
        return pb.ResumeRecordingResponse()

    async def _set_paused(self, principal: Principal, request: Any, *, paused: bool) -> None:
        call = await self._pausing.call(principal, request)
        await self._recorded(records.change(call, **{"paused" if paused else "resumed": True}))
        await self._pausing.order(call, paused=paused)
        kind = recordings_pb2.RECORDING_EVENT_KIND_PAUSED if paused else recordings_pb2.RECORDING_EVENT_KIND_RESUMED
        await self._pausing.note(kind, call, principal)

    async def _events(
        self, principal: Principal, request: pb.ListRecordingEventsRequest
    ) -> pb.ListRecordingEventsResponse:
        common.require(validate.events(request))
        after, size = min(request.after, validate.SEQUENCE_MAX), page_size(request.page_size)
        found = await self._catalog().events(request.tenant, request.call_id, after, size)
        return pb.ListRecordingEventsResponse(events=[records.told(one, principal) for one in found])

    async def _recorded(self, change: AuditChange) -> None:
        """Return once the audit log is sure to tell of it. Raises AuditFullError and what the store raises."""
        await self._store.commit([], [outbox.origin().entry([change])])

    async def _event(
        self,
        kind: recordings_pb2.RecordingEventKind.ValueType,
        recording: recordings_pb2.Recording,
        principal: Principal,
        detail: str,
    ) -> None:
        await self._catalog().event(kind, recording.tenant, recording.call_id, records.actor(principal), detail)


def _fitting(found: Sequence[recordings_pb2.Recording], size: int) -> int:
    """How many of the first make a page."""
    room = PAGE_BYTES_MAX
    for count, recording in enumerate(found[:size]):
        room -= recording.ByteSize()
        if count and room < 0:
            return count
    return min(size, len(found))
