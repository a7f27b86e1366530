"""Line groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.api.types.v1 import flows_pb2
from signalbox.domain.flow_check import Kind
from signalbox.errors import FieldViolation
from signalbox.provisioning import flow_references, validate, validate_flows
from signalbox.provisioning.collection import Owned
from signalbox.store import keys
from signalbox.store.base import Put

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from signalbox.provisioning.writer import Reader


class LineGroups(Owned[flows_pb2.LineGroup]):
    """All line groups. One that a flow uses cannot be deleted."""

    resource = "line_group"
    message = flows_pb2.LineGroup

    def _violations(self, rule: flows_pb2.LineGroup) -> Iterable[FieldViolation]:
        return validate_flows.line_group(rule)

    def _index(self, rule: flows_pb2.LineGroup) -> Sequence[Put]:
        lines = " ".join(sorted(one.line for one in rule.lines))
        return [Put(keys.line_group_index(rule.tenant, rule.id), lines.encode())]

    async def _check_references(self, rule: flows_pb2.LineGroup) -> None:
        wanted = [keys.line(rule.tenant, one.line) for one in rule.lines]
        entries = await flow_references.get_all(self._store, wanted)
        validate.require(
            FieldViolation(f"line_group.lines[{i}].line", f"tenant {rule.tenant} has no line {rule.lines[i].line}")
            for i, entry in enumerate(entries)
            if entry is None
        )

    async def _user(self, rule: flows_pb2.LineGroup) -> str:
        return await flow_references.user(self._store, Kind.LINE_GROUP, rule.tenant, rule.id, self._clock())


async def group_with(store: Reader, tenant: str, line: str) -> str:
    """The first line group that a line is in, e.g. "line_group acme/sales"; "" if it is in none."""
    for entry in (await store.list(keys.line_group_index(tenant))).entries:
        if line in entry.value.decode().split():
            return f"line_group {tenant}/{keys.last_part(entry.key)}"
    return ""
