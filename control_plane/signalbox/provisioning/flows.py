"""Call flows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from signalbox.api.types.v1 import flows_pb2
from signalbox.domain import flow_check
from signalbox.provisioning import flow_references, references, validate_flows
from signalbox.provisioning.versioned import Versioned
from signalbox.store import keys
from signalbox.store.base import Put

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from signalbox.errors import FieldViolation


class Flows(Versioned[flows_pb2.Flow]):
    """All flows. One that a number uses cannot be deleted.

    A draft is checked for its form alone: it may be unfinished, and refer to what does not exist yet. Activation and
    rollback demand a graph that calls can obey.
    """

    resource = "flow"
    message = flows_pb2.Flow
    content = "graph"

    def _violations(self, rule: flows_pb2.Flow) -> Iterable[FieldViolation]:
        yield from validate_flows.flow(rule)
        yield from self._draft_violations(rule)

    def _content_violations(self, content: Any, path: str) -> Iterable[FieldViolation]:
        return validate_flows.form(content, path)

    async def _missing(self, rule: flows_pb2.Flow, content: Any, path: str) -> Iterable[FieldViolation]:
        graph = validate_flows.finished(content)
        known = await flow_references.known(self._store, rule.tenant, graph, self._clock())
        faults = flow_check.validate(graph, known)
        return [*validate_flows.blank(content, path), *validate_flows.placed(faults, path)]

    async def _check_references(self, rule: flows_pb2.Flow) -> None:
        """What a draft refers to is looked at when it is activated."""

    def _index(self, rule: flows_pb2.Flow) -> Sequence[Put]:
        return [Put(keys.flow_index(rule.tenant, rule.id), flow_references.index(rule, self._clock()).encode())]

    async def _user(self, rule: flows_pb2.Flow) -> str:
        return await references.number_with(self._store, self.resource, rule.tenant, rule.id)
