"""Prompts: what is known of the recordings that callers hear."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.api.types.v1 import types_pb2
from signalbox.domain.flow_check import Kind
from signalbox.errors import FieldViolation, InUseError
from signalbox.provisioning import flow_references, validate, validate_flows
from signalbox.provisioning.collection import Collection
from signalbox.store import keys

if TYPE_CHECKING:
    from collections.abc import Iterable


class Prompts(Collection[types_pb2.Prompt]):
    """All prompts. One that a flow uses cannot be deleted."""

    resource = "prompt"
    message = types_pb2.Prompt
    immutable = frozenset({"tenant", "id"})

    def name(self, rule: types_pb2.Prompt) -> str:
        return f"{rule.tenant}/{rule.id}"

    def _key(self, rule: types_pb2.Prompt) -> str:
        return keys.prompt(rule.tenant, rule.id)

    def _fence(self, rule: types_pb2.Prompt) -> str:
        return keys.tenant_fence(rule.tenant)

    def _identity(self, rule: types_pb2.Prompt, at: str) -> Iterable[FieldViolation]:
        yield from validate.identifier(rule.tenant, f"{at}tenant")
        yield from validate.identifier(rule.id, f"{at}id")

    def _violations(self, rule: types_pb2.Prompt) -> Iterable[FieldViolation]:
        return validate_flows.prompt(rule)

    async def _check_owner(self, rule: types_pb2.Prompt) -> None:
        await self.check_parent(rule.tenant)

    async def _check_unused(self, rule: types_pb2.Prompt) -> None:
        user = await flow_references.user(self._store, Kind.PROMPT, rule.tenant, rule.id, self._clock())
        if user:
            raise InUseError(self.resource, self.name(rule), user)
