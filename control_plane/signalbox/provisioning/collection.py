"""The standard methods (AIP-131 to 135) over one kind of rule object; each kind says how it differs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import ClassVar, Generic, TypeVar

from google.protobuf.field_mask_pb2 import FieldMask

from signalbox.api.types.v1 import flows_pb2, schedules_pb2, screening_pb2, types_pb2
from signalbox.errors import (
    AlreadyExistsError,
    EtagMismatchError,
    FieldViolation,
    InUseError,
    NotFoundError,
)
from signalbox.provisioning import references, updatemask, validate
from signalbox.provisioning.writer import Plan, PlanWriter, Reader
from signalbox.store import codec, keys
from signalbox.store.base import Compare, Delete, Entry, Put

M = TypeVar("M", bound=codec.Rule | codec.Stock | types_pb2.ApiKey)
OwnedM = TypeVar(
    "OwnedM",
    bound=types_pb2.Line
    | types_pb2.Prompt
    | types_pb2.ApiKey
    | flows_pb2.Flow
    | flows_pb2.LineGroup
    | schedules_pb2.Calendar
    | schedules_pb2.Schedule
    | screening_pb2.RegionGroup
    | screening_pb2.ScreeningList,
)

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The present, UTC."""
    return datetime.now(UTC)


class Collection(ABC, Generic[M]):
    """All objects of one kind. Methods raise the errors that the API's description names for its RPCs."""

    resource: ClassVar[str]
    """What an object is called in errors, and the name of the field that holds one in requests."""
    message: type[M]
    """The type of an object."""
    identity: ClassVar[str] = "id"
    """The field that names it, within its tenant if it has one."""
    immutable: ClassVar[frozenset[str]]
    """Fields that never change."""
    operators: ClassVar[frozenset[str]] = frozenset()
    """Fields that only the operator changes."""

    def __init__(self, store: Reader, writer: PlanWriter, clock: Clock = utc_now, viewer: str = "") -> None:
        """``viewer``: the tenant that asks; "" for the operator, who sees everybody's objects."""
        self._store = store
        self._writer = writer
        self._clock = clock
        self._viewer = viewer

    @abstractmethod
    def name(self, rule: M) -> str:
        """The object's id, for errors and logs."""

    def _key(self, rule: M) -> str:
        """Where it is stored."""
        return codec.key_of(rule)

    @abstractmethod
    def _fence(self, rule: M) -> str:
        """The fence of writes that concern it."""

    @abstractmethod
    def _identity(self, rule: M, at: str) -> Iterable[FieldViolation]:
        """What is wrong with the fields that name it; ``at`` goes before the names."""

    @abstractmethod
    def _violations(self, rule: M) -> Iterable[FieldViolation]:
        """What is wrong with it as a whole, on its own."""

    async def _check_owner(self, rule: M) -> None:
        """Raise NotFoundError if what a new object belongs to does not exist."""

    async def _check_references(self, rule: M) -> None:
        """Raise InvalidFieldError if it does not go with other objects."""

    async def _user(self, rule: M) -> str:
        """What refers to it, e.g. "flow acme/main"; "" if nothing does."""
        return ""

    async def _check_unused(self, rule: M) -> None:
        if user := await self._user(rule):
            raise InUseError(self.resource, self.name(rule), user)

    def _index(self, rule: M) -> Sequence[Put]:
        """Index entries that are written and deleted with it."""
        return ()

    async def _indexed(self, rule: M, *, deleted: bool = False) -> list[Put | Delete]:
        """The writes of its index entries, and of what is counted of them."""
        writes: list[Put | Delete] = []
        for put in self._index(rule):
            entry = await self._store.get(put.key)
            before, after = entry.value if entry else b"", b"" if deleted else put.value
            writes.append(Delete(put.key) if deleted else put)
            writes += await references.counted(self._store, keys.owner(put.key), before, after)
        return writes

    async def _rewritten(self, rule: M) -> list[Put | Delete]:
        """The writes of a changed object."""
        return [self._put(rule), *await self._indexed(rule)]

    async def _stored_fence(self, identity: M) -> str:
        """The fence of a stored object of which the identity is known."""
        return self._fence(identity)

    async def get(self, identity: M) -> M:
        """The object that has the identity's id."""
        validate.require(self._identity(identity, ""))
        return self._decode(await self._entry(identity))

    async def create(self, given: M) -> M:
        """Store a new object. Output-only fields of ``given`` are ignored (AIP-203)."""
        return await self._create(given, self._check_references)

    async def _create(self, given: M, check: Callable[[M], Awaitable[None]]) -> M:
        validate.require(self._violations(given))
        rule = updatemask.without_output_only(given)

        async def plan() -> Plan[M]:
            if await self._store.get(self._key(rule)) is not None:
                raise AlreadyExistsError(self.resource, self.name(rule))
            await self._check_owner(rule)
            await check(rule)
            now = self._clock()
            rule.create_time.FromDatetime(now)
            rule.update_time.FromDatetime(now)
            return Plan(rule, [Compare(self._key(rule), 0)], await self._rewritten(rule))

        return await self._write("rule_created", self._fence(rule), plan)

    async def update(self, given: M, mask: FieldMask) -> M:
        """Change the masked fields. With an etag only if it is the stored one; without a change nothing is written."""
        return await self._update(given, mask, self._check_references)

    async def _update(self, given: M, mask: FieldMask, check: Callable[[M], Awaitable[None]]) -> M:
        validate.require(self._identity(given, f"{self.resource}."))
        fence = await self._stored_fence(given)
        fixed = self.immutable | self.operators if self._viewer else self.immutable

        async def plan() -> Plan[M]:
            entry, stored = await self._stored(given, fence, given.etag)
            rule = updatemask.apply(stored, given, mask, fixed, self.resource)
            validate.require(self._violations(rule))
            await check(rule)
            if rule == stored:
                return Plan(stored)
            rule.update_time.FromDatetime(max(self._clock(), stored.update_time.ToDatetime(tzinfo=UTC)))
            return Plan(rule, [Compare(entry.key, entry.revision)], await self._rewritten(rule))

        return await self._write("rule_updated", fence, plan)

    def check(self, given: M) -> None:
        """Raise InvalidFieldError unless an object in a request is good as far as it goes without any other."""
        validate.require(self._violations(given))

    async def put(self, given: M) -> M:
        """Create the object, or replace it as a whole if it exists. With an etag it must exist, and have this one.

        What it refers to is for the caller to check with :meth:`check_references`, once the rest of its step is
        written too.
        """
        self.check(given)

        async def unchecked(rule: M) -> None:
            pass

        if not given.etag and await self._store.get(self._key(given)) is None:
            return await self._create(given, unchecked)
        return await self._update(given, FieldMask(), unchecked)

    async def check_references(self, rule: M) -> None:
        """Raise InvalidFieldError if a written object does not go with the others, as all of them are now."""

        async def plan() -> Plan[M]:
            await self._check_references(rule)
            return Plan(rule)

        await self._writer.write(self._fence(rule), plan)

    async def delete(self, identity: M, etag: str) -> None:
        """Delete the object; with an etag only if it is the stored one."""
        validate.require(self._identity(identity, ""))
        fence = await self._stored_fence(identity)

        async def plan() -> Plan[M]:
            entry, rule = await self._stored(identity, fence, etag)
            await self._check_unused(rule)
            writes = [Delete(entry.key), *await self._indexed(rule, deleted=True)]
            return Plan(rule, [Compare(entry.key, entry.revision)], writes)

        await self._write("rule_deleted", fence, plan)

    async def entries(self, parent: str, after: str, limit: int) -> Sequence[Entry]:
        """At most ``limit`` entries of a list, in its order, that come after a place ("": from its beginning).

        ``parent`` is the tenant whose objects are listed, "" for objects without one.
        """
        prefix = self._key(self._blank(parent))
        return await self._store.page(prefix, prefix + after if after else "", limit)

    def read(self, entry: Entry) -> M:
        """The object of an entry."""
        return self._decode(entry)

    def place(self, rule: M) -> str:
        """The object's place in its list: its id."""
        return self._key(rule).rpartition("/")[2]

    async def check_parent(self, parent: str) -> None:
        """Raise NotFoundError if there is no such tenant."""
        if parent and await self._store.get(keys.tenant(parent)) is None:
            raise NotFoundError("tenant", parent)

    def _blank(self, parent: str) -> M:
        """An object of the parent without an id: its key is the prefix of all of them."""
        blank = self.message()
        if "tenant" in blank.DESCRIPTOR.fields_by_name:
            setattr(blank, "tenant", parent)  # noqa: B010  # not all kinds have it
        return blank

    async def _entry(self, identity: M) -> Entry:
        entry = await self._store.get(self._key(identity))
        if entry is None:
            raise NotFoundError(self.resource, self.name(identity))
        return entry

    async def _stored(self, identity: M, fence: str, etag: str) -> tuple[Entry, M]:
        """The stored object. Raises NotFoundError, also if it now is behind another fence, and EtagMismatchError."""
        entry = await self._entry(identity)
        rule = self._decode(entry)
        if self._fence(rule) != fence:
            # Deleted, and made anew for another owner, since we looked.
            raise NotFoundError(self.resource, self.name(identity))
        if etag and etag != rule.etag:
            raise EtagMismatchError(self.resource, self.name(identity), etag, rule.etag)
        return entry, rule

    def _decode(self, entry: Entry) -> M:
        return codec.decode(self.message, entry)

    def _put(self, rule: M) -> Put:
        return Put(self._key(rule), codec.encode(rule))

    async def _write(self, event: str, fence: str, plan: Callable[[], Awaitable[Plan[M]]]) -> M:
        """Write, log it unless nothing changed, and return the object with its new etag."""
        rule, revision = await self._writer.write(fence, plan)
        if revision:
            self._writer.log(event, revision, resource=self.resource, id=self.name(rule))
            rule.etag = str(revision)
        return rule


class Owned(Collection[OwnedM]):
    """Objects with an id and a tenant that owns them; ``shared`` ones may be the operator's, with an empty tenant."""

    immutable = frozenset({"tenant", "id"})
    shared: ClassVar[bool] = False

    def name(self, rule: OwnedM) -> str:
        return rule.id if self.shared and not rule.tenant else f"{rule.tenant}/{rule.id}"

    def _fence(self, rule: OwnedM) -> str:
        return keys.tenant_fence(rule.tenant or keys.OPERATOR if self.shared else rule.tenant)

    def _identity(self, rule: OwnedM, at: str) -> Iterable[FieldViolation]:
        owned_by = validate.owner if self.shared else validate.identifier
        yield from owned_by(rule.tenant, f"{at}tenant")
        yield from validate.identifier(rule.id, f"{at}id")

    async def _check_owner(self, rule: OwnedM) -> None:
        await self.check_parent(rule.tenant)


class Shared(Owned[OwnedM]):
    """Objects of tenants and of the operator, whose serve every tenant that has none of the same id."""

    shared = True

    @abstractmethod
    async def _user_of(self, tenant: str, id: str) -> str:
        """What of a tenant refers to an object of this id, e.g. "flow acme/main"; "" if nothing does."""

    async def _user(self, rule: OwnedM) -> str:
        if rule.tenant:
            return await self._user_of(rule.tenant, rule.id)
        async with aclosing(references.relying(self._store, self.resource, rule.id)) as tenants:
            async for tenant in tenants:
                if user := await self._user_of(tenant, rule.id):
                    return user
        return ""
