"""Calls to telephone numbers pass over targets of trunks that do not answer OPTIONS."""

from __future__ import annotations

import asyncio
import contextlib
import itertools

import pytest
from signalbox.address import split
from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.routing.v1 import routing_pb2
from signalbox_local.sipp import Sipp, SippOptions
from support.company import MOBILE, Desk, host_of
from support.scenario import SHARED
from support.site import LINE_HOST, TIMEOUT_S, TRUNK, eventually

_segments = itertools.count(1000)
CHECK = {"interval": "5s", "failures": 2, "successes": 2}
NOTICED_S = 25.0
"""Longer than two failures can take: twice the interval and the time for a reply."""
PROXIES = ("edge-1", "edge-2")


class Carrier(Desk):
    """A target that answers OPTIONS of some proxies only: it cannot be reached from the others."""

    def __init__(self, name, proxy, does=200):
        super().__init__(name, proxy, does)
        self.hears = set()
        """Addresses of proxies, host:port."""
        self.options = []

    def datagram_received(self, data, addr):
        super().datagram_received(data, addr)
        message = self.seen[-1]
        if message.method == "OPTIONS" and not message.code:
            self.options.append(message)
            if f"{addr[0]}:{addr[1]}" in self.hears:
                self.send(self.reply(message, 200))


@pytest.fixture
async def carriers(company, site):
    """Makes targets that all proxies reach."""

    async def make(*names):
        for name in names:
            carrier = company.desks[name] = Carrier(name, site.sip())
            carrier.hears = {f"{host}:{port}" for host, port in (site.sip(1), site.sip(2))}
            await carrier.start(LINE_HOST)
        return [company.desks[name] for name in names]

    return make


def trunk(company, name, target, **fields):
    """A trunk of one target that is asked often."""
    company.put("trunk", **{"id": f"{company.id}-{name}", "targets": [target], "health_check": CHECK, **fields})


def group(company, *names):
    """Trunks by name, each tried when the one before fails; returns a service number that rings a line there."""
    prefix = f"138{next(_segments)}"
    members = [{"trunk": f"{company.id}-{name}", "priority": at} for at, name in enumerate(names)]
    company.put("trunk_group", id=f"{company.id}-{prefix}", prefixes=[prefix], members=members)
    company.put("line", id="mobile", user=f"{prefix}5678")
    return company.rings("mobile")


def states(company):
    """Of each trunk of the company its first target, by trunk and proxy."""
    response = company.api.ListTrunkHealth(pb.ListTrunkHealthRequest(page_size=1000), timeout=TIMEOUT_S)
    return {
        (one.trunk.removeprefix(f"{company.id}-"), at.edge): pb.TargetState.Name(at.state).removeprefix("TARGET_STATE_")
        for one in response.trunk_health
        for at in one.targets[: len(PROXIES)]
        if one.trunk.startswith(f"{company.id}-")
    }


async def becomes(company, name, state, *proxies):
    """Wait until the target of a trunk is dead or alive at these proxies."""
    wanted = {(name, proxy): state for proxy in proxies or PROXIES}
    await eventually(
        lambda: wanted.items() <= states(company).items(), str(wanted), lambda: states(company), within=NOTICED_S
    )


async def tried(company, number, proxy=1):
    """Where a call was sent, in order, and the tag of who took it or the code that the caller got."""
    held = await company.hold(number, proxy=proxy)
    if held.outcome.code == 200:
        await held.hang_up()
    last = "answered" if held.outcome.code == 200 else "failed"
    events = await company.site.events_until(held.call.call_id, last)
    uris = [event.line_tried.uri.rpartition("@")[2] for event in events if event.HasField("line_tried")]
    return uris, held.outcome.line or str(held.outcome.code)


def explained(company, number, edge):
    """What the explanation says of dead targets, for a call that a proxy sends on."""
    company.sync()
    call = routing_pb2.DecideRequest(called=number, calling=MOBILE, trunk=TRUNK, edge=edge)
    steps = company.api.Explain(routing_pb2.ExplainRequest(request=call), timeout=TIMEOUT_S).steps
    return [step.finding for step in steps if step.rule == "target"]


async def test_a_dead_target_is_passed_over_and_used_again_when_it_is_back(company, site, tmp_path):
    def options(name, port=0):
        return SippOptions(SHARED / "uas_carrier.xml", tmp_path, name, LINE_HOST, port, keys={"carrier": name})

    async with contextlib.AsyncExitStack() as stack:
        first = await Sipp.start(options("first"))
        stack.push_async_callback(first.stop, 0)
        spare = await stack.enter_async_context(await Sipp.start(options("spare")))
        for name, sipp in (("first", first), ("spare", spare)):
            host, port = split(sipp.address)
            trunk(company, name, {"host": host, "port": port})
        number = group(company, "first", "spare")
        await becomes(company, "first", "ALIVE")
        assert await tried(company, number) == ([first.address], "first")
        assert explained(company, number, "edge-1") == []

        await first.stop(0)
        await becomes(company, "first", "DEAD")
        for proxy in (1, 2):
            assert await tried(company, number, proxy) == ([spare.address], "spare")
        finding = f"line mobile: udp:{first.address} of trunk {company.id}-first: dead, passed over"
        assert explained(company, number, "edge-1") == [finding]
        assert site.metric("edge-1", "signalbox_edge_target_dead", target=f"udp:{first.address}") == 1
        assert site.metric("edge-1", "signalbox_edge_targets_dead") >= 1

        await stack.enter_async_context(await Sipp.start(options("first", first.port)))
        await becomes(company, "first", "ALIVE")
        assert await tried(company, number) == ([first.address], "first")


async def test_a_target_is_dead_for_the_calls_of_the_proxy_that_does_not_reach_it(company, site, carriers):
    first, _ = await carriers("first", "spare")
    first.hears.remove("{}:{}".format(*site.sip(2)))
    for name in ("first", "spare"):
        trunk(company, name, host_of(company.desks[name]))
    number = group(company, "first", "spare")
    await becomes(company, "first", "DEAD", "edge-2")
    assert states(company)["first", "edge-1"] == "ALIVE"
    assert (await tried(company, number, 1))[1] == "first"
    assert (await tried(company, number, 2))[1] == "spare"
    assert explained(company, number, "edge-1") == []
    assert len(explained(company, number, "edge-2")) == 1


async def test_when_all_are_dead_all_are_tried(company, carriers):
    first, spare = await carriers("first", "spare")
    first.does = 503
    first.hears = spare.hears = set()
    for name in ("first", "spare"):
        trunk(company, name, host_of(company.desks[name]))
    number = group(company, "first", "spare")
    await asyncio.gather(becomes(company, "first", "DEAD"), becomes(company, "spare", "DEAD"))
    assert await tried(company, number) == ([first.address, spare.address], "spare")
    assert explained(company, number, "edge-1")[0].endswith("all dead, tried all the same")


async def test_a_change_of_the_trunk_is_in_force_at_once(company, carriers):
    first, _, other = await carriers("first", "spare", "other")
    first.hears = set()
    for name in ("first", "spare"):
        trunk(company, name, host_of(company.desks[name]))
    number = group(company, "first", "spare")
    await becomes(company, "first", "DEAD")

    # Another target is asked at once, and the state of the others stays.
    trunk(company, "other", host_of(other))
    company.sync()
    await eventually(lambda: len(other.options) == 2, "both proxies ask", within=2)
    assert states(company)["first", "edge-1"] == "DEAD"
    assert (await tried(company, number))[1] == "spare"

    # Without a check the target counts as alive, and hears no more.
    trunk(company, "first", host_of(first), health_check={"disabled": True})
    assert (await tried(company, number))[1] == "first"
    assert states(company)["first", ""] == "UNCHECKED"
    asked = len(first.options)
    await eventually(lambda: len(other.options) >= 6, "others are asked on", within=NOTICED_S)
    assert len(first.options) <= asked + 2, "what was on its way"

    # Another address is another target.
    trunk(company, "first", host_of(other))
    assert (await tried(company, number))[1] == "other"


async def test_options_tell_nothing_of_callers_and_hold_no_secrets(company, carriers):
    (first,) = await carriers("first")
    trunk(company, "first", host_of(first))
    number = group(company, "first")
    await tried(company, number)
    await eventually(lambda: len(first.options) >= 2, "both proxies ask")
    for message in first.options:
        text = f"{message.first} {message.headers}"
        assert MOBILE not in text
        assert number not in text
        assert "X-Signalbox" not in text
