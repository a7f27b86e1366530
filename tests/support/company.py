"""A company in a running cluster: its rules go in through the provisioning API, its calls are seen on the wire."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from google.protobuf import json_format
from signalbox.address import split
from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.routing.v1 import routing_pb2

from support.flows import graph
from support.site import CALLER_HOST, LINE_HOST, TIMEOUT_S, TRUNK, Site, eventually
from support.wire import Phone

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from support.sip_agent import Call, Message

ANSWERS, BUSY, FAILS = 200, 486, 500
"""What a desk does with calls: refuses with a code, unless it is 200."""
RINGS, SILENT = 180, 0
"""Rings until it is cancelled; says nothing at all."""
OK = 200
MANY = {"concurrent_calls": 1000}
MOBILE = "13910001234"
"""Of 北京, area code 010."""
_ids = itertools.count(1)


class Desk(Phone):
    """Takes calls, all in the way that ``does`` says; retransmissions get the same reply again."""

    def __init__(self, name: str, proxy: tuple[str, int], does: int) -> None:
        super().__init__(proxy)
        self.name = name
        self.does = does
        self.invites: dict[str, Message] = {}
        """By Call-ID, in the order in which they came."""

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        super().datagram_received(data, addr)
        message = self.seen[-1]
        if message.code:
            return
        if message.method == "INVITE":
            self.invites.setdefault(message.get("Call-ID"), message)
            self._take(message)
        elif message.method == "CANCEL":
            self.send(self.reply(message, OK, tag=self.name))
            self.send(self.reply(self.invites[message.get("Call-ID")], 487, tag=self.name))
        elif message.method == "BYE":
            self.send(self.reply(message, OK))

    def came(self, call_id: str) -> float:
        """When a call came, by the monotonic clock; 0: it did not."""
        return self.invites[call_id].received_at if call_id in self.invites else 0.0

    def _take(self, invite: Message) -> None:
        if self.does == SILENT:
            return
        if self.does == ANSWERS:
            self.send(self.reply(invite, 180, tag=self.name))
        body = self.sdp() if self.does == ANSWERS else ""
        self.send(self.reply(invite, self.does, tag=self.name, body=body))


class Customer(Phone):
    """Makes calls: acknowledges what they come to."""

    def __init__(self, proxy: tuple[str, int]) -> None:
        super().__init__(proxy)
        self._calls: dict[str, tuple[Call, asyncio.Future[Message]]] = {}
        self._gone: dict[str, asyncio.Future[None]] = {}

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        super().datagram_received(data, addr)
        message = self.seen[-1]
        call_id = message.get("Call-ID")
        if message.code >= OK and message.method == "INVITE":
            call, final = self._calls[call_id]
            if not final.done():
                if message.code < 300:
                    self.answered(call, message)
                    self.send(self.in_dialog(call, "ACK"))
                else:
                    self.ack_failure(call, message)
                final.set_result(message)
        elif message.code >= OK and message.method == "BYE" and not self._gone[call_id].done():
            self._gone[call_id].set_result(None)

    async def ring(self, number: str, calling: str, within: float) -> tuple[Call, Message]:
        """Call; returns the dialog and what was said in the end."""
        call = self.call(number, calling)
        self._calls[call.call_id] = call, asyncio.get_running_loop().create_future()
        self.invite(call, body=self.sdp())
        async with asyncio.timeout(within):
            return call, await self._calls[call.call_id][1]

    async def leave(self, call: Call) -> None:
        """BYE, and wait for its reply."""
        self._gone[call.call_id] = asyncio.get_running_loop().create_future()
        self.send(self.in_dialog(call, "BYE"))
        async with asyncio.timeout(TIMEOUT_S):
            await self._gone[call.call_id]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a caller was told in the end, and what the lines saw of the call."""

    code: int
    line: str
    """The desk that took the call; empty if none did."""
    rang: Sequence[str]
    """The desks that the call came to, in order."""


@dataclass(frozen=True, slots=True)
class Held:
    """A call that goes on."""

    outcome: Outcome
    call: Call
    customer: Customer

    async def hang_up(self) -> None:
        """End it by the caller."""
        await self.customer.leave(self.call)


@dataclass
class Company:
    """A tenant of its own in a cluster. What it writes is known to all replicas and proxies before its next call."""

    site: Site
    id: str = field(default_factory=lambda: f"company-{next(_ids)}")
    desks: dict[str, Desk] = field(default_factory=dict)
    _customers: dict[tuple[int, str], asyncio.Task[Customer]] = field(default_factory=dict)
    """By proxy and own address, as they start: calls may begin at once."""
    _behind: str = ""
    """Etag of the newest write, until it is known everywhere."""

    def close(self) -> None:
        """Close all sockets."""
        for phone in (*self.desks.values(), *(task.result() for task in self._customers.values())):
            phone.close()

    # --- rules -------------------------------------------------------------------------------------------------

    @property
    def api(self) -> Any:
        """The provisioning service."""
        return self.site.provisioning

    def put(self, kind: str, **fields: Any) -> Any:
        """Create or replace an object, of this tenant if its kind has tenants; drafts are activated at once."""
        object = pb.Object()
        message = getattr(object, kind)
        owner = "tenant" in message.DESCRIPTOR.fields_by_name
        json_format.ParseDict({"tenant": self.id, **fields} if owner else fields, message)
        stored = getattr(self.api.Apply(pb.ApplyRequest(put=[object]), timeout=TIMEOUT_S).put[0], kind)
        self.wrote(stored.etag)
        return stored

    def wrote(self, etag: str) -> None:
        """Obey this write in the next call."""
        self._behind = etag

    def number(self, **fields: Any) -> str:
        """A new service number; what it says can be changed with :meth:`put`. Its calls are not limited unless told:
        those that have ended count a moment longer."""
        number = f"4008{next(_ids):06d}"
        self.put("number", number=number, media="MEDIA_MODE_BYPASS", **{"limits": MANY, **fields})
        return number

    def flow(self, entry: str, id: str = "main", **nodes: dict[str, Any]) -> None:
        """A flow in force; nodes as :func:`support.flows.graph` has them."""
        self.put("flow", id=id, draft=json_format.MessageToDict(graph(entry, **nodes)))

    def rings(self, *lines: str, distribution: str = "SEQUENTIAL", ring_time: str = "1s", **fields: Any) -> str:
        """A number that rings these lines by a flow of its own."""
        id = f"flow-{next(_ids)}"
        self.flow("ring", id, ring=dial(*lines, distribution=distribution, ring_time=ring_time))
        return self.number(flow=id, **fields)

    async def desk(self, name: str, does: int = ANSWERS) -> Desk:
        """A phone without a line, e.g. behind a trunk."""
        self.desks[name] = Desk(name, self.site.sip(), does)
        await self.desks[name].start(LINE_HOST)
        return self.desks[name]

    async def line(self, name: str, does: int = ANSWERS, **fields: Any) -> Desk:
        """A line with a phone."""
        desk = await self.desk(name, does)
        self.put("line", id=name, user=name, host=desk.host, port=desk.port, **fields)
        return desk

    async def lines(self, *names: str) -> None:
        """Lines that answer."""
        for name in names:
            await self.line(name)

    # --- calls -------------------------------------------------------------------------------------------------

    async def call(self, number: str, calling: str = MOBILE, *, proxy: int = 1, host: str = CALLER_HOST) -> Outcome:
        """Call, and hang up when answered."""
        held = await self.hold(number, calling, proxy=proxy, host=host)
        if held.outcome.code == OK:
            await held.hang_up()
        return held.outcome

    async def line_of(self, number: str, calling: str = MOBILE, *, proxy: int = 1) -> str:
        """The desk that takes a call, or the code that the caller gets."""
        outcome = await self.call(number, calling, proxy=proxy)
        return outcome.line or str(outcome.code)

    async def hold(self, number: str, calling: str = MOBILE, *, proxy: int = 1, host: str = CALLER_HOST) -> Held:
        """Call, and stay if answered."""
        self.sync()
        customer = await self._customer(proxy, host)
        call, final = await customer.ring(number, calling, within=10)
        line = final.get("To").rpartition("tag=")[2] if final.code == OK else ""
        came = {name: at for name, desk in self.desks.items() if (at := desk.came(call.call_id))}
        return Held(Outcome(final.code, line, sorted(came, key=lambda name: came[name])), call, customer)

    async def _customer(self, proxy: int, host: str) -> Customer:
        starting = self._customers.get((proxy, host))
        if starting is None:
            starting = self._customers[proxy, host] = asyncio.create_task(self._start(proxy, host))
        return await asyncio.shield(starting)

    async def _start(self, proxy: int, host: str) -> Customer:
        customer = Customer(self.site.sip(proxy))
        await customer.start(host)
        return customer

    def sync(self) -> None:
        """Wait until what was written is known everywhere."""
        if self._behind:
            self.site.cluster.wait_for_rules(self._behind)
            self._behind = ""

    # --- what is counted ---------------------------------------------------------------------------------------

    def explain(self, number: str, calling: str = MOBILE, at: datetime | None = None) -> Any:
        """What would become of a call now, or at a time."""
        self.sync()
        request = routing_pb2.ExplainRequest(
            request=routing_pb2.DecideRequest(called=number, calling=calling, trunk=TRUNK)
        )
        if at is not None:
            request.time.FromDatetime(at)
        return self.api.Explain(request, timeout=TIMEOUT_S)

    async def counted(self, number: str, calls: int, name: str = "") -> None:
        """Wait until so many calls count for a limit, by default the number's."""
        name = name or f"number/{number}"
        found: list[str] = []

        def there() -> bool:
            found[:] = [step.finding for step in self.explain(number).steps if step.rule == "limit"]
            return any(finding.startswith(f"{name}: {calls} of") for finding in found)

        await eventually(there, f"{name}: {calls}", lambda: found)


def dial(*lines: str, distribution: str = "SEQUENTIAL", **fields: Any) -> dict[str, Any]:
    """A dial node, e.g. with ``busy="other"``."""
    return {
        "dial": {"lines": [{"line": line} for line in lines], "distribution": f"DISTRIBUTION_{distribution}", **fields}
    }


def hang_up(cause: str = "UNAVAILABLE") -> dict[str, Any]:
    """A hang-up node; it says 480 unless told otherwise."""
    return {"hang_up": {"cause": f"HANG_UP_CAUSE_{cause}"}}


def host_of(desk: Desk) -> dict[str, Any]:
    """Where a trunk sends calls for this desk."""
    host, port = split(desk.address)
    return {"host": host, "port": port}
