"""The RPCs of ``InventoryService``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from signalbox.api.provisioning.v1 import inventory_pb2 as pb
from signalbox.api.types.v1 import inventory_pb2
from signalbox.domain.inventory import State, Transition
from signalbox.errors import FieldViolation, HiddenError
from signalbox.provisioning import listing
from signalbox.provisioning import validate as common
from signalbox.provisioning.access import NUMBER, OPERATOR_ONLY, Rule, reads, writes
from signalbox.provisioning.collection import Clock, utc_now
from signalbox.provisioning.draft import Draft, Transactions
from signalbox.provisioning.inventory import attachments, history, validate
from signalbox.provisioning.inventory.adoption import Adoption
from signalbox.provisioning.inventory.index import Index
from signalbox.provisioning.inventory.ranges import Classes, NumberClasses, NumberRanges, classes
from signalbox.provisioning.inventory.search import Search
from signalbox.provisioning.inventory.sweeper import Sweeper
from signalbox.provisioning.inventory.transitions import Transitions, Wanted, present, range_of, seen, told
from signalbox.provisioning.kinds import Kind, Owner
from signalbox.provisioning.serving import Served, Unary
from signalbox.provisioning.standard import Standard
from signalbox.provisioning.writes import Writes
from signalbox.store import keys
from signalbox.store.inventory import terms_message
from signalbox.store.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from google.protobuf.descriptor import MethodDescriptor

    from signalbox.provisioning.access import Principal
    from signalbox.provisioning.credentials import Authenticator
    from signalbox.store.base import Store

_DESCRIPTOR = pb.DESCRIPTOR.services_by_name["InventoryService"]
SERVICE = _DESCRIPTOR.full_name
METHODS: dict[str, MethodDescriptor] = dict(_DESCRIPTOR.methods_by_name)

TABLE: dict[str, Rule] = {
    "CreateNumberRange": OPERATOR_ONLY,
    "GetNumberRange": OPERATOR_ONLY,
    "ListNumberRanges": OPERATOR_ONLY,
    "UpdateNumberRange": OPERATOR_ONLY,
    "DeleteNumberRange": OPERATOR_ONLY,
    "CreateNumberClass": OPERATOR_ONLY,
    # What numbers cost and which are free is for all to know who choose one.
    "GetNumberClass": reads(NUMBER),
    "ListNumberClasses": reads(NUMBER),
    "UpdateNumberClass": OPERATOR_ONLY,
    "DeleteNumberClass": OPERATOR_ONLY,
    "SearchNumbers": reads(NUMBER),
    "GetInventoryNumber": reads(NUMBER),
    "ListInventoryNumbers": reads(),
    "ListNumberHistory": reads(NUMBER),
    "ReserveNumber": writes(),
    "ApplyForNumber": writes(NUMBER),
    "ApproveNumber": OPERATOR_ONLY,
    "RejectNumber": OPERATOR_ONLY,
    "ActivateNumber": writes(NUMBER),
    "SuspendNumber": OPERATOR_ONLY,
    "ResumeNumber": OPERATOR_ONLY,
    "WithdrawNumber": writes(NUMBER),
    "ReleaseNumber": writes(NUMBER),
    "QuarantineNumber": OPERATOR_ONLY,
    "RecoverNumber": OPERATOR_ONLY,
    "AdoptNumbers": OPERATOR_ONLY,
}

_RANGES = Kind(NumberRanges, Owner.NOBODY)
_CLASSES = Kind(NumberClasses, Owner.NOBODY)


class _Listed(Standard):
    """The standard methods of a kind of this service."""

    def __init__(self, kind: Kind, plural: str, store: Store, writes: Writes, clock: Clock) -> None:
        super().__init__(kind, store, writes, clock)
        self._plural = plural
        self._response = getattr(pb, f"List{plural}Response")
        self._field = self._response.DESCRIPTOR.fields[0].name

    def methods(self) -> dict[str, Unary]:
        """All five, by their names."""
        made = super().methods()
        del made[f"List{self._kind.name}s"]
        return {**made, f"List{self._plural}": self._list}

    async def _list(self, principal: Principal, request: Any) -> Any:
        found, token = await listing.page(self._stored(principal), request)
        answer = self._response(next_page_token=token)
        getattr(answer, self._field).extend(found)
        return answer


def _reserve(request: pb.ReserveNumberRequest) -> Wanted:
    violations = list(common.identifier(request.tenant, "tenant"))
    duration = _duration(request, validate.RESERVATION_MAX_S, violations)
    common.require(violations)
    return Wanted(request.number, Transition.RESERVE, request.etag, tenant=request.tenant, duration_s=duration)


def _apply(request: pb.ApplyForNumberRequest) -> Wanted:
    common.require(validate.documents(request.documents))
    return Wanted(
        request.number,
        Transition.APPLY,
        request.etag,
        documents=request.documents,
        agreed_spend=request.agreed_minimum_spend,
    )


def _reject(request: pb.RejectNumberRequest) -> Wanted:
    common.require(validate.text(request.reason, "reason"))
    return Wanted(request.number, Transition.REJECT, request.etag, reason=request.reason)


def _activate(request: pb.ActivateNumberRequest) -> Wanted:
    if not request.HasField("rule"):
        common.require([FieldViolation("rule", "is required")])
    return Wanted(request.number, Transition.ACTIVATE, request.etag, rule=request.rule)


def _suspend(request: pb.SuspendNumberRequest) -> Wanted:
    violations = [*common.enums(request, "request"), *validate.text(request.note, "note")]
    if request.reason == inventory_pb2.SUSPENSION_REASON_UNSPECIFIED:
        violations.append(FieldViolation("reason", "is required"))
    common.require(violations)
    reason = inventory_pb2.SuspensionReason.Name(request.reason).removeprefix("SUSPENSION_REASON_").lower()
    told = f"{reason}: {request.note}" if request.note else reason
    return Wanted(request.number, Transition.SUSPEND, request.etag, reason=told)


def _release(request: pb.ReleaseNumberRequest) -> Wanted:
    common.require(validate.text(request.reason, "reason"))
    return Wanted(request.number, Transition.RELEASE, request.etag, reason=request.reason)


def _quarantine(request: pb.QuarantineNumberRequest) -> Wanted:
    violations: list[FieldViolation] = []
    duration = _duration(request, validate.QUARANTINE_MAX_S, violations)
    common.require(violations)
    return Wanted(request.number, Transition.QUARANTINE, request.etag, duration_s=duration)


def _duration(request: Any, most_s: int, violations: list[FieldViolation]) -> int | None:
    if not request.HasField("duration"):
        return None
    violations += validate.duration(request.duration, most_s, "duration")
    return int(request.duration.seconds)


def _plain(transition: Transition) -> Callable[[Any], Wanted]:
    return lambda request: Wanted(request.number, transition, request.etag)


_REQUESTS: dict[str, Callable[[Any], Wanted]] = {
    "ReserveNumber": _reserve,
    "ApplyForNumber": _apply,
    "ApproveNumber": _plain(Transition.APPROVE),
    "RejectNumber": _reject,
    "ActivateNumber": _activate,
    "SuspendNumber": _suspend,
    "ResumeNumber": _plain(Transition.RESUME),
    "WithdrawNumber": _plain(Transition.WITHDRAW),
    "ReleaseNumber": _release,
    "QuarantineNumber": _quarantine,
    "RecoverNumber": _plain(Transition.RECOVER),
}


class InventoryService(Served):
    """The service; see the API's description for what each method does."""

    def __init__(
        self,
        store: Store,
        authenticator: Authenticator,
        clock: Clock = utc_now,
        retention_s: int = attachments.RETENTION_S,
    ) -> None:
        """``retention_s``: how long documents stay when an application is over, or its number released."""
        self._store = store
        self._retention_s = retention_s
        self._clock = clock
        self._writes = Writes(store)
        self._turns = Turns()
        self.index = Index(store)
        """To be run beside the service."""
        self.sweeper = Sweeper(store, self.index, clock, self._turns)
        """To be run beside the service."""
        self._search = Search(store, self.index, clock)
        unary: dict[str, Unary] = {
            **_Listed(_RANGES, "NumberRanges", store, self._writes, clock).methods(),
            **_Listed(_CLASSES, "NumberClasses", store, self._writes, clock).methods(),
            "SearchNumbers": self._free,
            "GetInventoryNumber": self._get,
            "ListInventoryNumbers": self._held,
            "ListNumberHistory": self._history,
            "AdoptNumbers": Adoption(store, Transactions(store), clock, self._turns),
        }
        unary |= {name: self._transition(name, make) for name, make in _REQUESTS.items()}
        super().__init__(_DESCRIPTOR, TABLE, authenticator, unary, {})

    def _transition(self, name: str, make: Callable[[Any], Wanted]) -> Unary:
        async def handler(principal: Principal, request: Any) -> pb.InventoryNumber:
            wanted = make(request)
            common.require(validate.number(request.number))

            def work(draft: Draft) -> Awaitable[pb.InventoryNumber]:
                hint = self.index.range_id
                return Transitions(draft, self._clock, principal, hint, self._retention_s).perform(wanted)

            # Those of this process who come for numbers of one page take turns: they would spoil each other's commits.
            async with self._turns.at(keys.inventory_page(request.number)):
                return await self._writes.run(principal, name, request, pb.InventoryNumber, work)

        return handler

    async def _free(self, principal: Principal, request: pb.SearchNumbersRequest) -> pb.SearchNumbersResponse:
        return await self._search.free(request)

    async def _held(
        self, principal: Principal, request: pb.ListInventoryNumbersRequest
    ) -> pb.ListInventoryNumbersResponse:
        return await self._search.held(request)

    async def _history(
        self, principal: Principal, request: pb.ListNumberHistoryRequest
    ) -> pb.ListNumberHistoryResponse:
        return await history.listed(self._store, principal, request, self.index.range_id)

    async def _get(self, principal: Principal, request: pb.GetInventoryNumberRequest) -> pb.InventoryNumber:
        number = request.number
        found = await range_of(self._store, number, self.index.range_id)
        holding = seen(await present(self._store, number), int(self._clock().timestamp()))
        if holding.state is not State.AVAILABLE and not principal.is_operator and holding.tenant != principal.tenant:
            raise HiddenError("number", number)
        answer = told(number, holding, found)
        if holding.state is State.AVAILABLE:
            known = Classes.of(await classes(self._store))
            answer.terms.CopyFrom(terms_message(known.terms(number, found.number_class)))
        elif holding.tenant:
            answer.documents.extend(await attachments.of_number(self._store, number, holding.tenant))
        return answer
