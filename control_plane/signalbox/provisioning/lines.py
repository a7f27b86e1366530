"""Lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.api.types.v1 import types_pb2
from signalbox.domain.flow_check import Kind
from signalbox.provisioning import flow_references, line_groups, references, validate
from signalbox.provisioning.collection import Owned

if TYPE_CHECKING:
    from collections.abc import Iterable

    from signalbox.errors import FieldViolation


class Lines(Owned[types_pb2.Line]):
    """All lines. One that a number, a flow or a line group dials cannot be deleted."""

    resource = "line"
    message = types_pb2.Line

    def _violations(self, rule: types_pb2.Line) -> Iterable[FieldViolation]:
        return validate.line(rule)

    async def _user(self, rule: types_pb2.Line) -> str:
        store, tenant, id = self._store, rule.tenant, rule.id
        return (
            await references.number_with(store, "line", tenant, id)
            or await line_groups.group_with(store, tenant, id)
            or await flow_references.user(store, Kind.LINE, tenant, id, self._clock())
        )
