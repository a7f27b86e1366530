"""Objects that are edited as a draft, activated at once or at a set time, and rolled back: flows and schedules.

A kind derives from :class:`Versioned` in place of :class:`~signalbox.provisioning.collection.Collection`. Its message
has a field ``draft`` and output-only ``revisions``, each with ``number``, ``activate_time``, ``create_time`` and the
content itself, in the field that :attr:`Versioned.content` names. What the kind adds to what every collection has:

- ``_content_violations``: what is wrong with a content on its own, with full paths below ``path``;
- ``_missing``: which references of a content lead nowhere, the same way. Called under the tenant's fence.

Both are asked when a draft is written, when it is activated (others may have changed since), and when it is rolled back
to. Who deletes what contents refer to asks :func:`contents_in_use` of each object.

Revisions are kept by number, which is also the order of their times. Numbers are never given twice: a revision is taken
back only by a rollback, which adds one of a higher number in the same step.
"""

from __future__ import annotations

from abc import abstractmethod
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import structlog
from google.protobuf.timestamp_pb2 import Timestamp

from signalbox.api.types.v1 import flows_pb2, schedules_pb2
from signalbox.domain import revisions
from signalbox.errors import FieldViolation, InvalidFieldError, NotFoundError
from signalbox.provisioning import validate
from signalbox.provisioning.collection import Owned
from signalbox.provisioning.writer import Plan
from signalbox.store import codec
from signalbox.store.base import Compare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from google.protobuf.message import Message

    from signalbox.api.provisioning.v1 import provisioning_pb2 as pb

logger = structlog.get_logger(__name__)

REVISIONS_KEPT = 20
"""Newest revisions that are kept for rollbacks, besides those in force or to come, and those that calls go on with."""
CALLS_GO_ON_S = validate.CALL_DURATION_MAX_S + 3600
"""A superseded revision is kept for so long: a call goes on with the one it began with, and may ring for an hour."""
REVISIONS_KEPT_BYTES = 512 * 1024
"""Of both fewer are kept if they are larger than this together: an object is written in one commit."""
CONTENT_BYTES_MAX = 64 * 1024
"""Largest draft."""
TO_COME_MAX = 10
"""Most revisions that are to come."""

CLOCKS_DIFFER = timedelta(seconds=1)
"""What another replica activated that is so little to come was activated at once, by a clock ahead of ours."""

LATEST_SECONDS = 253_402_300_799
"""End of the year 9999, the last moment of a Timestamp."""

V = TypeVar("V", bound=schedules_pb2.Schedule | flows_pb2.Flow)


def contents_in_use(rule: schedules_pb2.Schedule | flows_pb2.Flow, content: str, now: datetime) -> list[Any]:
    """The draft, and the contents that are in force at ``now`` or will be: what they refer to must stay."""
    first = revisions.needed_from(_times(rule), now.timestamp())
    found = [getattr(revision, content) for revision in rule.revisions[first:]]
    return [rule.draft, *found] if rule.HasField("draft") else found


class Versioned(Owned[V]):
    """All objects of one kind that has drafts and revisions."""

    content: ClassVar[str]
    """The field of a revision that holds what the draft was."""

    @abstractmethod
    def _content_violations(self, content: Any, path: str) -> Iterable[FieldViolation]:
        """What is wrong with a draft or a revision's content, on its own."""

    @abstractmethod
    async def _missing(self, rule: V, content: Any, path: str) -> Iterable[FieldViolation]:
        """References of a content of this object that lead nowhere."""

    def _draft_violations(self, rule: V) -> Iterable[FieldViolation]:
        """What is wrong with the draft of an object in a request: a part of ``_violations``. No draft is no error."""
        path = f"{self.resource}.draft"
        if rule.HasField("draft"):
            if rule.draft.ByteSize() > CONTENT_BYTES_MAX:
                yield FieldViolation(path, f"must not be larger than {CONTENT_BYTES_MAX // 1024} KiB as protobuf")
            yield from self._content_violations(rule.draft, path)

    async def _check_references(self, rule: V) -> None:
        if rule.HasField("draft"):
            validate.require(await self._missing(rule, rule.draft, f"{self.resource}.draft"))

    async def activate(self, request: pb.ActivateScheduleRequest | pb.ActivateFlowRequest) -> V:
        """Make the draft a revision that is in force from the request's time on, without one: at once.

        A draft that is as the newest revision changes nothing. Raises InvalidFieldError without a draft, for one that
        is not valid as things are now, and for a time that has passed or does not follow all that is to come.
        """
        at = request.activate_time if request.HasField("activate_time") else None

        async def change(rule: V) -> None:
            if not rule.HasField("draft"):
                raise InvalidFieldError(FieldViolation("draft", "is required: there is nothing to activate"))
            await self._check_content(rule, rule.draft, "draft")
            self._append_draft(rule, at)

        return await self._change("rule_activated", self._named(request), request.etag, change)

    async def rollback(self, request: pb.RollbackScheduleRequest | pb.RollbackFlowRequest) -> V:
        """Put the content of an earlier revision in force at once, as a new revision, and take back what was to come.

        The draft stays as it is. Nothing changes if the content is in force and nothing is to come. Raises
        NotFoundError for a revision that is not kept, InvalidFieldError for one that is to come, and for one that is
        not valid as things are now.
        """
        if not request.revision:
            raise InvalidFieldError(FieldViolation("revision", "is required"))

        async def change(rule: V) -> None:
            kept = {revision.number: revision for revision in rule.revisions}
            chosen = kept.get(request.revision)
            if chosen is None:
                raise NotFoundError(f"{self.resource} revision", f"{self.name(rule)}/{request.revision}")
            now = self._now(rule)
            if _nanoseconds(chosen) > _timestamp(now).ToNanoseconds():
                raise InvalidFieldError(FieldViolation("revision", "is to come, not an earlier one"))
            content = getattr(chosen, self.content)
            await self._check_content(rule, content, "revision")
            self._restore(rule, content, now)

        return await self._change("rule_rolled_back", self._named(request), request.etag, change)

    def _append_draft(self, rule: V, at: Timestamp | None) -> None:
        now = self._now(rule)
        begin = _timestamp(now) if at is None else at
        newest = rule.revisions[-1] if rule.revisions else None
        _check_time(rule, now, begin, "activate_time")
        if newest is None or getattr(newest, self.content) != rule.draft:
            self._append(rule, rule.draft, now, begin, newest.number + 1 if newest else 1)

    def _restore(self, rule: V, content: Message, now: datetime) -> None:
        newest = rule.revisions[-1]
        to_come = _to_come(rule, now)
        if not to_come and getattr(newest, self.content) == content:
            return
        number = newest.number + 1
        again = type(content)()
        again.CopyFrom(content)
        if to_come:
            del rule.revisions[-to_come:]
        self._append(rule, again, now, _timestamp(now), number)

    def _append(self, rule: V, content: Any, now: datetime, begin: Timestamp, number: int) -> None:
        revision = rule.revisions.add(number=number, activate_time=begin, create_time=_timestamp(now))
        getattr(revision, self.content).CopyFrom(content)
        times = _times(rule)
        needed = revisions.needed_from(times, now.timestamp())
        used = revisions.needed_from(times, now.timestamp() - CALLS_GO_ON_S)
        first, room = len(rule.revisions), REVISIONS_KEPT_BYTES
        while first > min(used, max(0, len(rule.revisions) - REVISIONS_KEPT)):
            room -= rule.revisions[first - 1].ByteSize()
            if room < 0:
                break
            first -= 1
        first = min(first, needed)
        if first > used:
            # A change of the rules must not have to wait for calls of yesterday.
            newest = rule.revisions[first - 1].number
            logger.warning("revisions_given_up", object=f"{self.resource} {self.name(rule)}", up_to_revision=newest)
        del rule.revisions[:first]

    def _now(self, rule: V) -> datetime:
        """The present, but not before a revision that has just been activated."""
        now = self._clock()
        newest = rule.revisions[-1].activate_time.ToDatetime(tzinfo=UTC) if rule.revisions else now
        return newest if now < newest <= now + CLOCKS_DIFFER else now

    async def _check_content(self, rule: V, content: Any, path: str) -> None:
        validate.require(self._content_violations(content, path))
        validate.require(await self._missing(rule, content, path))

    def _named(
        self,
        request: (
            pb.ActivateScheduleRequest | pb.ActivateFlowRequest | pb.RollbackScheduleRequest | pb.RollbackFlowRequest
        ),
    ) -> V:
        return self.message(tenant=request.tenant, id=request.id)

    async def _change(self, event: str, identity: V, etag: str, change: Callable[[V], Any]) -> V:
        """Write what ``change`` makes of the stored object."""
        validate.require(self._identity(identity, ""))
        fence = await self._stored_fence(identity)

        async def plan() -> Plan[V]:
            entry, stored = await self._stored(identity, fence, etag)
            rule: Any = self.message()
            rule.CopyFrom(stored)
            await change(rule)
            if rule == stored:
                return Plan(stored)
            rule.update_time.FromDatetime(max(self._clock(), stored.update_time.ToDatetime(tzinfo=UTC)))
            return Plan(rule, [Compare(entry.key, entry.revision)], await self._rewritten(rule))

        return await self._write(event, fence, plan)


def _check_time(rule: schedules_pb2.Schedule | flows_pb2.Flow, now: datetime, begin: Timestamp, path: str) -> None:
    """Raise InvalidFieldError unless a new revision may be in force from ``begin`` on."""
    if not (begin.seconds <= LATEST_SECONDS and 0 <= begin.nanos < 1_000_000_000):
        raise InvalidFieldError(FieldViolation(path, "is no time"))
    if begin.ToNanoseconds() < _timestamp(now).ToNanoseconds():
        raise InvalidFieldError(FieldViolation(path, "is in the past; leave it out to activate at once"))
    to_come = _to_come(rule, now)
    if not to_come:
        return
    newest = rule.revisions[-1]
    if begin.ToNanoseconds() <= _nanoseconds(newest):
        until = newest.activate_time.ToJsonString()
        reason = f"must be after {until}, when revision {newest.number} comes in force; a rollback takes that back"
        raise InvalidFieldError(FieldViolation(path, reason))
    if to_come >= TO_COME_MAX:
        raise InvalidFieldError(FieldViolation(path, f"{to_come} revisions are to come already, the most there may be"))


def _to_come(rule: schedules_pb2.Schedule | flows_pb2.Flow, now: datetime) -> int:
    """How many of the newest revisions are not yet in force."""
    present = _timestamp(now).ToNanoseconds()
    return sum(_nanoseconds(revision) > present for revision in rule.revisions)


def _times(rule: schedules_pb2.Schedule | flows_pb2.Flow) -> list[float]:
    return [codec.seconds(revision.activate_time) for revision in rule.revisions]


def _nanoseconds(revision: schedules_pb2.ScheduleRevision | flows_pb2.FlowRevision) -> int:
    return revision.activate_time.ToNanoseconds()


def _timestamp(moment: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp
