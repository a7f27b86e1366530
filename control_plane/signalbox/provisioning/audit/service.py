"""The RPCs of the audit log. A replica that does not keep it asks those that may."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
from grpc_status import rpc_status

from signalbox import rpc
from signalbox.api.provisioning.v1 import audit_pb2 as pb
from signalbox.api.provisioning.v1 import audit_pb2_grpc
from signalbox.api.types.v1 import audit_pb2, types_pb2
from signalbox.errors import AuditUnavailableError, FieldViolation, InvalidFieldError, NotFoundError, PassedOnError
from signalbox.provisioning import access, pagetoken
from signalbox.provisioning.access import WITHIN
from signalbox.provisioning.audit.index import Query, owner
from signalbox.provisioning.audit.verify import told
from signalbox.provisioning.listing import page_size
from signalbox.provisioning.serving import Served, Unary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.timestamp_pb2 import Timestamp

    from signalbox.provisioning.access import Principal
    from signalbox.provisioning.audit.keeper import Keeper
    from signalbox.provisioning.credentials import Authenticator
    from signalbox.settings import AuditSettings

PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX = 100, 1_000
PAGE_BYTES = 1_000_000
ASK_S = 10.0
VERIFY_S = 600.0
NANOSECONDS_MAX = 2**63 - 1

_DESCRIPTOR = pb.DESCRIPTOR.services_by_name["AuditService"]
SERVICE = _DESCRIPTOR.full_name

TABLE = {
    "ListAuditRecords": access.reads(),
    "GetAuditRecord": access.reads(WITHIN),
    "VerifyAudit": access.OPERATOR_ONLY,
}


class Others:
    """The replicas that may keep the log, asked with our own certificate: that of an operator."""

    def __init__(self, settings: AuditSettings) -> None:
        """To be called within the event loop. Raises ConfigurationError if a file cannot be read."""
        self._channels = [rpc.channel(replica, settings.tls) for replica in settings.replicas]

    async def ask(self, method: str, request: Any, timeout_s: float, cause: AuditUnavailableError) -> Any:
        """The answer of the first that keeps the log. Raises ``cause`` if none does, and PassedOnError."""
        asked = type(request)()
        asked.CopyFrom(request)
        asked.local = True
        for channel in self._channels:
            try:
                return await getattr(audit_pb2_grpc.AuditServiceStub(channel), method)(asked, timeout=timeout_s)
            except grpc.aio.AioRpcError as error:
                if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                    continue
                passed = rpc_status.from_call(error)  # type: ignore[arg-type]  # it has what is needed
                if passed is None:
                    raise cause from error
                raise PassedOnError(error.code(), passed) from error
        raise cause

    async def close(self) -> None:
        """Close connections."""
        for channel in self._channels:
            await channel.close()


class AuditService(Served):
    """The service; see the API's description for what each method does."""

    def __init__(self, keeper: Keeper, others: Others, authenticator: Authenticator) -> None:
        self._keeper = keeper
        self._others = others
        unary: dict[str, Unary] = {
            "ListAuditRecords": self._list,
            "GetAuditRecord": self._get,
            "VerifyAudit": self._verify,
        }
        super().__init__(_DESCRIPTOR, TABLE, authenticator, unary, {})

    async def _list(self, principal: Principal, request: pb.ListAuditRecordsRequest) -> pb.ListAuditRecordsResponse:
        query, parent = _query(request)
        after = pagetoken.decode("ListAuditRecords", parent, request.page_token)
        size = page_size(request.page_size, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX)
        response: pb.ListAuditRecordsResponse
        try:
            found, behind = await self._keeper.find(query, int(after) if after else None, size + 1)
        except AuditUnavailableError as error:
            response = await self._ask("ListAuditRecords", request, ASK_S, error)
        else:
            fitting = _fitting(found, size)
            token = ""
            if fitting < len(found):
                token = pagetoken.encode("ListAuditRecords", parent, str(found[fitting - 1].sequence))
            response = pb.ListAuditRecordsResponse(audit_records=found[:fitting], next_page_token=token, behind=behind)
        for record in response.audit_records:
            _veil(record, principal)
        return response

    async def _get(self, principal: Principal, request: pb.GetAuditRecordRequest) -> audit_pb2.AuditRecord:
        missing = NotFoundError("audit_record", str(request.sequence))
        if request.sequence > NANOSECONDS_MAX:
            raise missing
        try:
            record = await self._keeper.get(request.sequence)
        except AuditUnavailableError as error:
            record = await self._ask("GetAuditRecord", request, ASK_S, error)
        if record is None or not access.sees(principal, owner(record) or None):
            raise missing
        _veil(record, principal)
        return record

    async def _verify(self, principal: Principal, request: pb.VerifyAuditRequest) -> pb.VerifyAuditResponse:
        try:
            verdict = await self._keeper.verify()
        except AuditUnavailableError as error:
            answer: pb.VerifyAuditResponse = await self._ask("VerifyAudit", request, VERIFY_S, error)
            return answer
        return told(verdict)

    async def _ask(self, method: str, request: Any, timeout_s: float, error: AuditUnavailableError) -> Any:
        if request.local:
            raise error
        return await self._others.ask(method, request, timeout_s, error)


def _query(request: pb.ListAuditRecordsRequest) -> tuple[Query, str]:
    """What is asked for, and a text that tells it from any other question. Raises InvalidFieldError."""
    query = Query(
        request.tenant,
        request.kind,
        request.id,
        request.actor,
        request.method,
        _moment(request.begin_time, "begin_time") if request.HasField("begin_time") else None,
        _moment(request.end_time, "end_time") if request.HasField("end_time") else None,
        request.refused,
    )
    return query, repr(query)


def _moment(time: Timestamp, field: str) -> int:
    try:
        return min(time.ToNanoseconds(), NANOSECONDS_MAX)
    except ValueError as error:
        raise InvalidFieldError(FieldViolation(field, "is no time")) from error


def _fitting(found: Sequence[audit_pb2.AuditRecord], size: int) -> int:
    """How many of the first make a page."""
    room = PAGE_BYTES
    for count, record in enumerate(found[:size]):
        room -= record.ByteSize()
        if count and room < 0:
            return count
    return min(size, len(found))


def _veil(record: audit_pb2.AuditRecord, principal: Principal) -> None:
    """A tenant learns of others who acted on what is its own no more than what they are."""
    if principal.is_operator or record.actor.tenant == principal.tenant:
        return
    if record.actor.role == types_pb2.ROLE_OPERATOR:
        record.actor.name = "operator"
    record.actor.peer = ""
    record.request_id = ""
