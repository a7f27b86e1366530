"""Passwords of callers on their way into flows: sealed before anything else looks at a request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from signalbox.domain import passwords
from signalbox.provisioning.validate_nodes import is_password

if TYPE_CHECKING:
    from collections.abc import Iterable

    from signalbox.api.types.v1 import flows_pb2
    from signalbox.provisioning.access import Principal
    from signalbox.provisioning.serving import Unary


def sealing(handler: Unary, key: bytes | None) -> Unary:
    """A method that writes flows, told of no password. Without a key requests are left as they are, and refused for
    passwords that they have."""
    if key is None:
        return handler

    async def sealed(principal: Principal, request: Any) -> Any:
        for flow in _flows(request):
            seal(flow, key)
        return await handler(principal, request)

    return sealed


def _flows(request: Any) -> Iterable[flows_pb2.Flow]:
    """The flows that a request is to write."""
    if "flow" in request.DESCRIPTOR.fields_by_name:
        return [request.flow] if request.HasField("flow") else []
    return [one.flow for one in request.put if one.HasField("flow")]


def seal(flow: flows_pb2.Flow, key: bytes) -> None:
    """Put seals in place of the passwords of a draft. What is no password stays for who checks the request."""
    for node in flow.draft.nodes:
        if node.WhichOneof("node") == "password" and is_password(node.password.digits):
            place = f"{flow.id}/{node.id}"
            node.password.sealed = passwords.seal(key, flow.tenant, place, node.password.digits)
            node.password.ClearField("digits")
