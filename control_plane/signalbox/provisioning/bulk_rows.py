"""Rows of an import: what each comes to, given what is stored. A batch of rows is read, planned and written together.

Each row stands by itself: one that is refused leaves no trace, and the others of its batch are written. Whatever a row
relies on is read after the fence of its tenant, which the commit compares, as every write of rules does (writer.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from signalbox.api.provisioning.v1 import bulk_pb2
from signalbox.api.types.v1 import types_pb2
from signalbox.errors import (
    FieldViolation,
    HiddenError,
    InvalidFieldError,
    NotFoundError,
    PermissionRefusedError,
    SignalboxError,
)
from signalbox.provisioning import references, updatemask, validate
from signalbox.provisioning.flow_references import get_all
from signalbox.provisioning.inventory import agreement
from signalbox.provisioning.numbers import Numbers, indexed, named
from signalbox.store import codec, keys
from signalbox.store.base import Compare, Put
from signalbox.store.inventory import Page

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import datetime

    from google.protobuf.descriptor import Descriptor
    from google.protobuf.field_mask_pb2 import FieldMask

    from signalbox.provisioning.access import Principal
    from signalbox.provisioning.draft import Draft
    from signalbox.store.base import Entry

ROW_LINES_MAX = 16
ROW_BYTES_MAX = 32 * 1024
"""Of a row whose names are looked up at all."""

CREATED = bulk_pb2.IMPORT_OUTCOME_CREATED
UPDATED = bulk_pb2.IMPORT_OUTCOME_UPDATED
UNCHANGED = bulk_pb2.IMPORT_OUTCOME_UNCHANGED
REFUSED = bulk_pb2.IMPORT_OUTCOME_REFUSED

M = TypeVar("M", types_pb2.Number, types_pb2.Line)


class Mask:
    """Which fields of a kind of objects an import gives: its own, and fields of these ("limits.concurrent_calls")."""

    def __init__(self, kind: Descriptor, given: FieldMask | None, path: str, identity: Collection[str]) -> None:
        """``given`` None: all fields. Raises InvalidFieldError for what is no field; ``path`` is that of the mask."""
        everything = given is None or list(given.paths) == ["*"]
        paths = [field.name for field in kind.fields] if given is None or everything else list(given.paths)
        validate.require(
            FieldViolation(f"{path}.paths[{position}]", f"{kind.name} has no field {name!r}")
            for position, name in enumerate(paths)
            if not _is_field(kind, name)
        )
        fixed = {*identity, *updatemask.OUTPUT_ONLY}
        self._taken = sorted(name for name in set(paths) - fixed if "." not in name)
        inner = [name.split(".") for name in paths if "." in name and name.partition(".")[0] not in self._taken]
        self._inner = {outer: sorted({b for a, b in inner if a == outer}) for outer, _ in inner}
        self._left = sorted({field.name for field in kind.fields} - {*self._taken, *self._inner})

    def apply(self, stored: M, given: M) -> M:
        """A copy of ``stored`` with the masked fields of ``given``."""
        merged: Any = type(stored)()
        merged.CopyFrom(stored)
        part: Any = type(given)()
        part.CopyFrom(given)
        for name in self._taken:
            merged.ClearField(name)
        for name in self._left:
            part.ClearField(name)
        for outer, names in self._inner.items():
            self._inside(merged, part, outer, names)
        merged.MergeFrom(part)
        changed: M = merged
        return changed

    def _inside(self, merged: Any, part: Any, outer: str, names: Sequence[str]) -> None:
        """Take fields of a field: none of ``merged``, and no others of ``part``, are left."""
        if merged.HasField(outer):
            before = getattr(merged, outer)
            kept = bool(before.ListFields())
            for name in names:
                before.ClearField(name)
            if kept and not before.ListFields():
                merged.ClearField(outer)
        if part.HasField(outer):
            given = getattr(part, outer)
            for field in given.DESCRIPTOR.fields:
                if field.name not in names:
                    given.ClearField(field.name)
            if not given.ListFields():
                part.ClearField(outer)


def _is_field(kind: Descriptor, path: str) -> bool:
    name, dot, inner = path.partition(".")
    field = kind.fields_by_name.get(name)
    if field is None or not dot:
        return field is not None
    within = field.message_type
    # Times and durations, and repeated fields, are given as a whole.
    if within is None or field.is_repeated or within.file.package == "google.protobuf":
        return False
    return inner in within.fields_by_name


@dataclass(frozen=True)
class Options:
    """How the rows of an import are taken."""

    principal: Principal
    number_mask: Mask
    line_mask: Mask
    validate_only: bool
    rows_per_second: int

    @classmethod
    def of(cls, principal: Principal, given: bulk_pb2.ImportOptions) -> Options:
        """The options of a request. Raises InvalidFieldError."""

        def mask(field: str, kind: Any, identity: Sequence[str]) -> Mask:
            paths = getattr(given, field) if given.HasField(field) else None  # type: ignore[arg-type]
            return Mask(kind.DESCRIPTOR, paths, f"options.{field}", identity)

        return cls(
            principal,
            mask("number_mask", types_pb2.Number, ("number", "tenant")),
            mask("line_mask", types_pb2.Line, ("tenant", "id")),
            given.validate_only,
            given.rows_per_second,
        )


class Batch:
    """Rows on their way into a draft."""

    def __init__(self, draft: Draft, options: Options, now: datetime) -> None:
        self._draft = draft
        self._options = options
        self._viewer = options.principal.tenant
        self._now = types_pb2.Number()
        self._now.create_time.FromDatetime(now)
        self._pages: dict[str, Page | None] = {}
        self._stored: dict[str, Entry | None] = {}
        self._written: dict[str, bytes] = {}
        self._fenced: set[str] = set()
        self.refused: list[tuple[bulk_pb2.NumberRow, SignalboxError]] = []
        """Rows that were refused for want of rights, and how: for the audit log."""

    async def plan(self, rows: Sequence[bulk_pb2.NumberRow]) -> list[bulk_pb2.ImportResult]:
        """What becomes of each row. What they write is in the draft then."""
        await self._read([row for row in rows if row.ByteSize() <= ROW_BYTES_MAX])
        results = []
        for row in rows:
            try:
                results.append(bulk_pb2.ImportResult(outcome=await self._row(row)))
            except SignalboxError as error:
                results.append(refusal(error))
                if isinstance(error, (PermissionRefusedError, HiddenError)):
                    self.refused.append((row, error))
        return results

    async def _read(self, rows: Sequence[bulk_pb2.NumberRow]) -> None:
        """Read what the rows are about and what they refer to; first the fences, so that they cover the rest."""
        tenants = dict.fromkeys(row.number.tenant for row in rows)
        first = [key(tenant) for tenant in tenants for key in (keys.tenant_fence, keys.tenant)]
        rest: dict[str, None] = {}
        for row in rows:
            number = row.number
            rest[keys.number(number.number)] = None
            rest[keys.inventory_page(number.number)] = None
            rest |= dict.fromkeys(keys.line(number.tenant, line.id) for line in row.lines)
            rest |= dict.fromkeys(place for _, _, places in named(number) for place in places)
        for wanted in (first, sorted(rest)):
            self._stored |= zip(wanted, await get_all(self._draft, wanted), strict=True)

    async def _row(self, row: bulk_pb2.NumberRow) -> bulk_pb2.ImportOutcome.ValueType:
        """Plan one row. Raises what it is refused for, and has written nothing then."""
        if row.ByteSize() > ROW_BYTES_MAX:
            raise InvalidFieldError(FieldViolation("number", f"is larger than {ROW_BYTES_MAX // 1024} KiB"))
        tenant = row.number.tenant
        if self._viewer not in ("", tenant):
            raise PermissionRefusedError("ImportNumbers")
        before = self._object(types_pb2.Number, keys.number(row.number.number))
        number = self._number(row, before)
        if not self._there(keys.tenant(tenant)):
            raise NotFoundError("tenant", tenant)
        lines = self._lines(row)
        self._check_references(number, before, {codec.key_of(line) for line, _ in lines})
        changed = [line for line, old in lines if line != old]
        if number == before and not changed:
            return UNCHANGED
        writes = [self._put(line, old) for line, old in lines if line != old]
        if number != before:
            self._agree(number)
            writes.append(self._put(number, before))
            writes += await self._index(number, before)
        self._add(tenant, writes)
        return UPDATED if before is not None else CREATED

    def _number(self, row: bulk_pb2.NumberRow, before: types_pb2.Number | None) -> types_pb2.Number:
        """The number as it will be, valid by itself."""
        given = row.number
        if before is None:
            if self._viewer:
                raise NotFoundError("number", given.number)
            validate.require(validate.number(given))
            return updatemask.without_output_only(given)
        if before.tenant != given.tenant:
            if self._viewer:
                raise HiddenError("number", given.number)
            raise InvalidFieldError(FieldViolation("number.tenant", f"cannot be changed: it is {before.tenant}"))
        number = self._options.number_mask.apply(before, given)
        if self._viewer:
            for name in sorted(Numbers.operators):
                if getattr(number, name) != getattr(before, name) or _has(number, name) != _has(before, name):
                    raise InvalidFieldError(FieldViolation(f"number.{name}", "cannot be changed"))
        validate.require(validate.number(number))
        return number

    def _lines(self, row: bulk_pb2.NumberRow) -> list[tuple[types_pb2.Line, types_pb2.Line | None]]:
        """The lines of a row as they will be, valid by themselves, and as they were."""
        if len(row.lines) > ROW_LINES_MAX:
            raise InvalidFieldError(FieldViolation("lines", f"must have at most {ROW_LINES_MAX} entries"))
        validate.require(validate.different([line.id for line in row.lines], "lines", "line", ".id"))
        lines = []
        for position, given in enumerate(row.lines):
            line = updatemask.without_output_only(given)
            if line.tenant not in ("", row.number.tenant):
                raise InvalidFieldError(FieldViolation(f"lines[{position}].tenant", "must be the number's, or empty"))
            line.tenant = row.number.tenant
            before = self._object(types_pb2.Line, keys.line(line.tenant, line.id))
            if before is not None:
                line = self._options.line_mask.apply(before, line)
            if line != before:
                validate.require(
                    FieldViolation(f"lines[{position}].{one.field.removeprefix('line.')}", one.reason)
                    for one in validate.line(line)
                )
            lines.append((line, before))
        return lines

    def _check_references(
        self, number: types_pb2.Number, before: types_pb2.Number | None, new: Collection[str]
    ) -> None:
        # What it referred to before cannot have gone.
        known = {place for _, _, places in named(before) for place in places} if before is not None else set()
        validate.require(
            FieldViolation(path, f"tenant {number.tenant} has no {what}")
            for path, what, places in named(number)
            if not any(place in new or place in known or self._there(place) for place in places)
        )

    def _agree(self, number: types_pb2.Number) -> None:
        """Raise TransitionRefusedError unless the inventory has the number so, when this is committed."""
        if self._viewer:
            # Tenants write neither state nor tenant.
            return
        key = keys.inventory_page(number.number)
        if key not in self._pages:
            entry = self._stored[key]
            self._pages[key] = Page(number.number[:-2], entry) if entry else None
            self._draft.add([Compare(key, self._revision(key))], [])
        page = self._pages[key]
        if page is not None:
            agreement.check(number, page, self._now.create_time.seconds)

    async def _index(self, number: types_pb2.Number, before: types_pb2.Number | None) -> Iterable[Any]:
        """The writes of the number's index entry, where it changes, and of what is counted of it."""
        old, new = (indexed(before) if before is not None else b""), indexed(number)
        if before is not None and old == new:
            return ()
        put = Put(keys.number_of(number.tenant, number.number), new)
        return [put, *await references.counted(self._draft, number.tenant, old, new)]

    def _put(self, rule: M, before: M | None) -> Put:
        rule.update_time.CopyFrom(self._now.create_time)
        if before is None:
            rule.create_time.CopyFrom(self._now.create_time)
        elif rule.update_time.ToNanoseconds() < before.update_time.ToNanoseconds():
            rule.update_time.CopyFrom(before.update_time)
        return Put(codec.key_of(rule), codec.encode(rule))

    def _add(self, tenant: str, writes: Sequence[Any]) -> None:
        """Put a row's writes into the draft, on condition that all is still as it was read."""
        compares = []
        fence = keys.tenant_fence(tenant)
        if tenant not in self._fenced:
            self._fenced.add(tenant)
            compares.append(Compare(fence, self._revision(fence)))
            writes = [Put(fence, b""), *writes]
        compares += [
            Compare(write.key, self._revision(write.key))
            for write in writes
            if write.key in self._stored and write.key not in self._written and write.key != fence
        ]
        self._draft.add(compares, writes)
        self._written |= {write.key: write.value for write in writes if isinstance(write, Put)}

    def _revision(self, key: str) -> int:
        entry = self._stored[key]
        return entry.revision if entry else 0

    def _there(self, key: str) -> bool:
        return key in self._written or self._stored.get(key) is not None

    def _object(self, kind: type[M], key: str) -> M | None:
        """An object as the rows before have left it, without its etag."""
        if key in self._written:
            return kind.FromString(self._written[key])
        entry = self._stored.get(key)
        if entry is None:
            return None
        found = codec.decode(kind, entry)
        found.ClearField("etag")
        return found


def refusal(error: SignalboxError) -> bulk_pb2.ImportResult:
    """The result of a row that was refused."""
    result = bulk_pb2.ImportResult(outcome=REFUSED, reason=error.reason)  # type: ignore[arg-type]
    if isinstance(error, InvalidFieldError):
        for one in error.violations:
            result.violations.add(field=one.field, description=one.reason)
    else:
        result.message = str(error)
    return result


def _has(message: Any, name: str) -> bool:
    field = message.DESCRIPTOR.fields_by_name[name]
    return bool(field.message_type is not None and message.HasField(name))
