"""What a test call needs of the rules: a tenant, a line, a number and a trunk of its own, there for that long alone."""

from __future__ import annotations

import contextlib
import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
import grpc
from google.protobuf.duration_pb2 import Duration

from signalbox import address
from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.provisioning.v1 import provisioning_pb2_grpc
from signalbox.api.types.v1 import types_pb2
from signalbox.commands.failure import describe
from signalbox.commands.rules import PAGE_SIZE, pages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from signalbox.sip.source import Address

LINE = "line"
MADE_FOR_TESTS = "Of signalbox test-call"
"""Display name of what is made here, and may be removed."""

_RING_S = 20


class NotOursError(click.ClickException):
    """What is to be made is there already, and was not made by a test."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """``id``: of tenant and trunk; ``number`` in national form; ``source``: where the caller calls from."""

    id: str
    number: str
    source: str
    line: Address


class CallRules:
    """Rules of a test call. Methods may raise grpc.RpcError."""

    def __init__(self, channel: grpc.Channel, timeout_s: float, wanted: Wanted) -> None:
        self._channel = channel
        self._stub = provisioning_pb2_grpc.ProvisioningServiceStub(channel)
        self._timeout_s = timeout_s
        self._wanted = wanted
        self.trunk = ""
        """The trunk that our address is of."""
        self.removed = True
        """False if something could not be removed."""

    @contextlib.contextmanager
    def there(self, tell: Callable[[str], None]) -> Iterator[None]:
        """Within, the rules are there. ``tell`` is told what was made and removed.

        What a test that was killed has left under the same id is removed first. Raises NotOursError.
        """
        self._check()
        self._remove()
        try:
            self._make()
            tell(f"made: {', '.join(self._names())}")
            yield
        finally:
            failures = self._remove()
            self.removed = not failures
            for failure in failures:
                tell(f"NOT removed: {failure}")
            if not failures:
                tell("removed: all of it")

    def _names(self) -> Iterator[str]:
        wanted = self._wanted
        yield f"tenant {wanted.id}"
        yield f"line {LINE} at {address.join(*wanted.line)}"
        yield f"number {wanted.number}"
        if self.trunk == wanted.id:
            yield f"trunk {wanted.id} from {wanted.source}"
        else:
            yield f"no trunk: {wanted.source} is of trunk {self.trunk} already"

    def _check(self) -> None:
        """Whether what has our names is ours."""
        wanted = self._wanted
        tenant = self._got("GetTenant", id=wanted.id)
        if tenant is not None and tenant.display_name != MADE_FOR_TESTS:
            raise NotOursError(f"there is a tenant {wanted.id} that no test has made: choose another --id")
        number = self._got("GetNumber", number=wanted.number)
        if number is not None and number.tenant != wanted.id:
            raise NotOursError(f"number {wanted.number} is of tenant {number.tenant}: choose another --number")

    def _make(self) -> None:
        wanted = self._wanted
        self.trunk = self._trunk_of(wanted.source)
        if not self.trunk:
            trunk = types_pb2.Trunk(id=wanted.id, display_name=MADE_FOR_TESTS, source_addresses=[wanted.source])
            self._call("CreateTrunk", trunk=trunk)
            self.trunk = wanted.id
        self._call("CreateTenant", tenant=types_pb2.Tenant(id=wanted.id, display_name=MADE_FOR_TESTS))
        host, port = wanted.line
        line = types_pb2.Line(
            tenant=wanted.id, id=LINE, display_name=MADE_FOR_TESTS, user=LINE, host=host, port=port
        )  # fmt: skip
        self._call("CreateLine", line=line)
        stage = types_pb2.DialStage(lines=[LINE], ring_time=Duration(seconds=_RING_S))
        number = types_pb2.Number(
            number=wanted.number, tenant=wanted.id, stages=[stage], media=types_pb2.MEDIA_MODE_ANCHOR
        )
        self._call("CreateNumber", number=number)

    def _trunk_of(self, source: str) -> str:
        """The id of the trunk that has an address; "" if none has. Raises NotOursError if that takes no calls."""
        own = ipaddress.ip_address(source)
        for trunk in pages(self._channel, self._timeout_s, "ListTrunks", "trunks", {}, PAGE_SIZE):
            if any(own in ipaddress.ip_network(text, strict=False) for text in trunk.source_addresses):
                if trunk.disabled:
                    raise NotOursError(f"{source} is of trunk {trunk.id}, which is disabled")
                return str(trunk.id)
        return ""

    def _remove(self) -> list[str]:
        """Remove what is ours, as far as it goes: what could not be removed, and why."""
        id, failures = self._wanted.id, list[str]()
        trunk = None
        try:
            trunk = self._got("GetTrunk", id=id)
        except grpc.RpcError as error:
            failures.append(f"trunk {id}: {' '.join(describe(error))}")
        steps: list[tuple[str, dict[str, str]]] = [
            ("DeleteNumber", {"number": self._wanted.number}),
            ("DeleteLine", {"tenant": id, "id": LINE}),
            ("DeleteTenant", {"id": id}),
        ]
        if trunk is not None and trunk.display_name == MADE_FOR_TESTS:
            steps.append(("DeleteTrunk", {"id": id}))
        for method, fields in steps:
            try:
                self._got(method, **fields)
            except grpc.RpcError as error:
                what = method.removeprefix("Delete").lower()
                failures.append(f"{what} {' '.join(fields.values())}: {' '.join(describe(error))}")
        return failures

    def _got(self, method: str, **fields: Any) -> Any:
        """As :meth:`_call`; None if there is no such object."""
        try:
            return self._call(method, **fields)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return None
            raise

    def _call(self, method: str, **fields: Any) -> Any:
        request = getattr(pb, f"{method}Request")(**fields)
        return getattr(self._stub, method)(request, timeout=self._timeout_s)
