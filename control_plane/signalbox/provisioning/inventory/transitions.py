"""What is done to numbers: the domain's transitions, carried out in one step with history, counts and rules."""

from __future__ import annotations

import calendar
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from google.protobuf.field_mask_pb2 import FieldMask

from signalbox.api.provisioning.v1 import inventory_pb2 as pb
from signalbox.api.types.v1 import inventory_pb2, types_pb2
from signalbox.domain.inventory import (
    Actor,
    Document,
    Facts,
    Holding,
    RefusedTransitionError,
    State,
    Transition,
    change,
    due,
    over,
)
from signalbox.errors import (
    EtagMismatchError,
    FieldViolation,
    HiddenError,
    InvalidFieldError,
    NotFoundError,
    TransitionRefusedError,
)
from signalbox.provisioning.inventory import attachments, validate
from signalbox.provisioning.inventory.agreement import AgreeingNumbers, state_of
from signalbox.provisioning.inventory.pagework import PageWork, holdings
from signalbox.provisioning.inventory.ranges import Classes, classes, ranges
from signalbox.provisioning.validate import require
from signalbox.provisioning.writer import Plan
from signalbox.store import codec, keys
from signalbox.store.base import Compare
from signalbox.store.inventory import Page, state_value, terms_message

if TYPE_CHECKING:
    from collections.abc import Iterator

    from signalbox.provisioning.access import Principal
    from signalbox.provisioning.collection import Clock
    from signalbox.provisioning.draft import Draft
    from signalbox.provisioning.writer import Reader

RESOURCE = "number"
_RULE_STATES = {
    Transition.SUSPEND: types_pb2.NUMBER_STATE_SUSPENDED,
    Transition.RESUME: types_pb2.NUMBER_STATE_ACTIVE,
    Transition.RELEASE: types_pb2.NUMBER_STATE_SUSPENDED,
}
_ENDS = frozenset({Transition.REJECT, Transition.WITHDRAW, Transition.RELEASE})
"""Where an application is over."""

Hint = Callable[[str], str]
"""The id of the range that a number probably lies in; "": it is not known."""


@dataclass(frozen=True)
class Wanted:
    """What a request asks for."""

    number: str
    transition: Transition
    etag: str = ""
    tenant: str = ""
    duration_s: int | None = None
    documents: Sequence[inventory_pb2.NumberDocument] = ()
    agreed_spend: int = 0
    reason: str = ""
    rule: types_pb2.Number = field(default_factory=types_pb2.Number)


class Transitions:
    """Carries transitions out, in the draft of one request."""

    def __init__(
        self,
        draft: Draft,
        clock: Clock,
        principal: Principal,
        hint: Hint,
        retention_s: int = attachments.RETENTION_S,
    ) -> None:
        """``retention_s``: how long documents stay when an application is over, or its number released."""
        self._draft = draft
        self._clock = clock
        self._principal = principal
        self._hint = hint
        self._retention_s = retention_s
        self._now = int(clock().timestamp())
        self._actor = Actor.OPERATOR if principal.is_operator else Actor.ADMINISTRATOR

    async def perform(self, wanted: Wanted) -> pb.InventoryNumber:
        """Do it. Raises NotFoundError, EtagMismatchError, TransitionRefusedError and InvalidFieldError."""
        number = wanted.number
        if wanted.transition is Transition.RESERVE:
            await self._enter(wanted.tenant)
        found = await range_of(self._draft, number, self._hint)
        work = await PageWork.open(self._draft, number)
        if wanted.transition is Transition.RESERVE:
            self._lapse(work, number)
        holding = work.page[number]
        self._admit(wanted, holding)
        if wanted.etag and wanted.etag != etag(holding):
            raise EtagMismatchError(RESOURCE, number, wanted.etag, etag(holding))
        if wanted.transition is Transition.APPLY:
            given = await attachments.resolved(self._draft, holding.tenant, wanted.documents)
            wanted = replace(wanted, documents=given)
        facts = await self._facts(wanted, holding, found)
        with refusals(number):
            changed = change(holding, wanted.transition, self._actor, facts)
        changed = work.record(
            number,
            wanted.transition,
            changed,
            actor=self._principal.name or self._actor.name.lower(),
            reason=wanted.reason,
            documents=wanted.documents,
        )
        await work.close()
        await self._keep_documents(wanted, holding)
        await self._obey(wanted, changed)
        return told(number, changed, found)

    async def _enter(self, tenant: str) -> None:
        """Read the tenant's fence: what it has reserved must be the same when this is committed."""

        async def plan() -> Plan[None]:
            return Plan(None)

        await self._draft.write(keys.tenant_fence(tenant), plan)

    def _lapse(self, work: PageWork, number: str) -> None:
        """What time has done to the number comes first."""
        holding = work.page[number]
        late = due(holding, self._now)
        if late is not None:
            work.record(number, late, change(holding, late, Actor.CLOCK, Facts(self._now)))

    def _admit(self, wanted: Wanted, holding: Holding) -> None:
        """A number that is neither free nor its own is to a tenant as one that does not exist."""
        tenant = self._principal.tenant
        if not tenant or holding.state is State.AVAILABLE or holding.tenant == tenant:
            return
        if wanted.transition is Transition.RESERVE:
            name = wanted.transition.name.lower()
            raise TransitionRefusedError(RESOURCE, wanted.number, "not available", name, "it must be available")
        raise HiddenError(RESOURCE, wanted.number)

    async def _facts(self, wanted: Wanted, holding: Holding, found: inventory_pb2.NumberRange) -> Facts:
        facts = Facts(
            now=self._now,
            documents=frozenset(map(Document, {one.kind for one in wanted.documents})),
            agreed_spend=wanted.agreed_spend,
            reason=wanted.reason,
            contract_end=months_after(self._clock(), holding.terms.contract_months),
            until=self._now + self._duration(wanted, found),
        )
        match wanted.transition:
            case Transition.RESERVE:
                self._draft.add([Compare(keys.number_range(found.id), int(found.etag))], [])
                known = Classes.of(await classes(self._draft))
                return replace(
                    facts,
                    tenant=wanted.tenant,
                    terms=known.terms(wanted.number, found.number_class),
                    range_open=not found.disabled,
                    reserved=(await holdings(self._draft, wanted.tenant)).reserved,
                    rule=await self._rule(wanted.number),
                )
            case Transition.ACTIVATE:
                return replace(facts, rule=await self._rule(wanted.number))
        return facts

    def _duration(self, wanted: Wanted, found: inventory_pb2.NumberRange) -> int:
        """Of a reservation or a quarantine, seconds."""
        if wanted.transition is Transition.QUARANTINE:
            usual = found.quarantine.seconds or validate.QUARANTINE_DEFAULT_S
        else:
            usual = found.reservation.seconds or validate.RESERVATION_DEFAULT_S
        if wanted.duration_s is None:
            return usual
        if self._principal.tenant and wanted.duration_s > usual:
            raise InvalidFieldError(FieldViolation("duration", f"must be at most {usual} s"))
        return wanted.duration_s

    async def _rule(self, number: str) -> State | None:
        """The state of the number's rule; it must be the same when this is committed."""
        entry = await self._draft.get(keys.number(number))
        self._draft.add([Compare(keys.number(number), entry.revision if entry else 0)], [])
        return None if entry is None else state_of(codec.decode(types_pb2.Number, entry))

    async def _keep_documents(self, wanted: Wanted, before: Holding) -> None:
        """Documents of an application stay until it, or the number that it led to, is over, and some time longer."""
        if wanted.transition is Transition.APPLY:
            await attachments.attach(self._draft, before.tenant, wanted.documents)
        elif wanted.transition in _ENDS and before.state is not State.RESERVED:
            named = await attachments.of_number(self._draft, wanted.number, before.tenant)
            await attachments.detach(self._draft, before.tenant, named, self._now + self._retention_s)

    async def _obey(self, wanted: Wanted, holding: Holding) -> None:
        """Make the number's rule say what the inventory says."""
        numbers = AgreeingNumbers(self._draft, self._draft, self._clock)
        identity = types_pb2.Number(number=wanted.number)
        if wanted.transition is Transition.ACTIVATE:
            await self._create(numbers, wanted, holding.tenant)
        elif wanted.transition in _RULE_STATES:
            identity.state = _RULE_STATES[wanted.transition]
            await numbers.update(identity, FieldMask(paths=["state"]))
        elif wanted.transition is Transition.QUARANTINE:
            await numbers.delete(identity, "")

    async def _create(self, numbers: AgreeingNumbers, wanted: Wanted, tenant: str) -> None:
        if self._principal.tenant and wanted.rule.HasField("limits"):
            raise InvalidFieldError(FieldViolation("rule.limits", "is the operator's to give"))
        rule = types_pb2.Number()
        rule.CopyFrom(wanted.rule)
        rule.number, rule.tenant, rule.state = wanted.number, tenant, types_pb2.NUMBER_STATE_ACTIVE
        try:
            await numbers.create(rule)
        except InvalidFieldError as error:
            inside = (FieldViolation(one.field.replace("number.", "rule.", 1), one.reason) for one in error.violations)
            raise InvalidFieldError(*inside) from error


@contextmanager
def refusals(number: str) -> Iterator[None]:
    """Turn the domain's refusals into ours."""
    try:
        yield
    except RefusedTransitionError as error:
        state, name = error.state.name.lower(), error.transition.name.lower()
        raise TransitionRefusedError(RESOURCE, number, state, name, error.reason) from error


async def range_of(store: Reader, number: str, hint: Hint) -> inventory_pb2.NumberRange:
    """The range that a number lies in, with its etag. Raises InvalidFieldError and NotFoundError."""
    require(validate.number(number))
    probable = hint(number)
    if probable:
        entry = await store.get(keys.number_range(probable))
        if entry is not None:
            found = codec.decode(inventory_pb2.NumberRange, entry)
            if contains(found, number):
                return found
    for found in await ranges(store):
        if contains(found, number):
            return found
    raise NotFoundError(RESOURCE, number)


def contains(found: inventory_pb2.NumberRange, number: str) -> bool:
    """True if a number lies in a range."""
    return len(number) == len(found.first) and found.first <= number <= found.last


async def present(store: Reader, number: str) -> Holding:
    """A number as it is stored."""
    entry = await store.get(keys.inventory_page(number))
    return Page(number[:-2], entry)[number]


def seen(holding: Holding, now: int) -> Holding:
    """A number as it counts: what time has ended is over, though that is not yet written."""
    return Holding(since=holding.until, version=holding.version) if over(holding, now) else holding


def etag(holding: Holding) -> str:
    """The version of a number, as text."""
    return str(holding.version)


def told(number: str, holding: Holding, found: inventory_pb2.NumberRange | None) -> pb.InventoryNumber:
    """A number as the API tells it."""
    message = pb.InventoryNumber(
        number=number,
        state=state_value(holding.state),
        tenant=holding.tenant,
        range=found.id if found else "",
        terms=terms_message(holding.terms),
        etag=etag(holding),
    )
    if holding.since:
        message.state_time.seconds = holding.since
    if holding.until:
        message.end_time.seconds = holding.until
    return message


def months_after(moment: datetime, months: int) -> int:
    """The same day some months later, or the last of its month; seconds since the epoch, 0 for no months."""
    if not months:
        return 0
    year, month = divmod(moment.year * 12 + moment.month - 1 + months, 12)
    day = min(moment.day, calendar.monthrange(year, month + 1)[1])
    return int(moment.astimezone(UTC).replace(year=year, month=month + 1, day=day).timestamp())
