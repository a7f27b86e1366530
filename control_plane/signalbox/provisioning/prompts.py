"""Prompts: what is known of the recordings that callers hear."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.api.types.v1 import types_pb2
from signalbox.domain.flow_check import Kind
from signalbox.provisioning import flow_references, validate_flows
from signalbox.provisioning.collection import Owned

if TYPE_CHECKING:
    from collections.abc import Iterable

    from signalbox.errors import FieldViolation


class Prompts(Owned[types_pb2.Prompt]):
    """All prompts. One that a flow uses cannot be deleted."""

    resource = "prompt"
    message = types_pb2.Prompt

    def _violations(self, rule: types_pb2.Prompt) -> Iterable[FieldViolation]:
        return validate_flows.prompt(rule)

    async def _user(self, rule: types_pb2.Prompt) -> str:
        return await flow_references.user(self._store, Kind.PROMPT, rule.tenant, rule.id, self._clock())
