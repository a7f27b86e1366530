"""Parties whose Contact is a host name are reached where it came from, with the URI that they gave."""

from __future__ import annotations

import contextlib

import pytest
from support.kamailio import Kamailio
from support.sidecar_fake import FakeSidecar, branch, dial, stage
from support.sip_agent import SDP, Agent, record_route
from support.sip_agent_tcp import TcpAgent

CALLER, LINE = "sip:1380@caller.example", "sip:1001@line.example:5070;user=phone"


def known_as(agent, contact, text):
    """A message of an agent with another Contact."""
    first, rest = text.split("Contact: ", 1)
    return f"{first}Contact: {contact}\r\n{rest.partition(chr(10))[2]}"


async def called(sidecar, agent, caller_contact=f"<{CALLER}>", line_contact=f"<{LINE}>"):
    """Caller, line, and the call as either knows it."""
    caller, line = await agent(), await agent()
    sidecar.decide = lambda question: dial(stage(branch(line.port)))
    call = caller.call()
    caller.send(known_as(caller, caller_contact, caller.request(call, "INVITE", body=SDP)))
    invite = await line.expect("INVITE")
    line.send(known_as(line, line_contact, line.reply(invite, 200, body=SDP)))
    caller.answered(call, await caller.expect(200))
    return caller, line, call, line.dialog(invite)


async def reached(sender, own, receiver, method, uri):
    """A request of one party gets to the other, by the URI that this one gave."""
    sender.send(sender.in_dialog(own, method))
    request = await receiver.expect(method)
    assert request.uri == uri
    return request


async def test_both_parties_are_reached_by_their_own_uris(proxy, sidecar, agent):
    caller, line, call, dialog = await called(sidecar, agent)
    await reached(caller, call, line, "ACK", LINE)
    info = await reached(caller, call, line, "INFO", LINE)
    line.send(line.reply(info, 200))
    await caller.expect(200, method="INFO")
    await reached(line, dialog, caller, "BYE", CALLER)


@pytest.mark.parametrize(("caller_tcp", "line_tcp"), [(True, True), (True, False), (False, True)])
async def test_over_tcp_too_and_from_one_transport_to_the_other(proxy, sidecar, caller_tcp, line_tcp):
    caller = await (TcpAgent if caller_tcp else Agent)((proxy.host, proxy.port)).start()
    line = await (TcpAgent if line_tcp else Agent)((proxy.host, proxy.port)).start()
    if caller_tcp:
        await caller.connect()
    sidecar.decide = lambda question: dial(stage(branch(line.port, transport="tcp" if line_tcp else "udp")))
    call = caller.call()
    caller.send(known_as(caller, f"<{CALLER}>", caller.request(call, "INVITE", body=SDP)))
    invite = await line.expect("INVITE")
    line.send(known_as(line, f"<{LINE}>", line.reply(invite, 200, body=SDP)))
    caller.answered(call, await caller.expect(200))
    await reached(caller, call, line, "ACK", LINE)
    await reached(line, line.dialog(invite), caller, "BYE", CALLER)
    for one in (caller, line):
        if isinstance(one, TcpAgent):
            await one.stop()
        else:
            one.close()


@pytest.mark.parametrize(
    ("contact", "uri"),
    [
        ('"A; sip:c" <sip:1001@line.example>;expires=60', "sip:1001@line.example"),
        (r'"A \"; sip:c" <sip:1001@line.example>', "sip:1001@line.example"),
        ("<sip:10?01;x@line.example;y?h=v>", "sip:10?01;x@line.example;y?h=v"),
        ("Line <sip:line.example:5070;lr?h=v>", "sip:line.example:5070;lr?h=v"),
        ("sip:1001@line.example;expires=60", "sip:1001@line.example"),
        ("sip:1001@line.example", "sip:1001@line.example"),
        ("<SIP:1001@Line.example>", "SIP:1001@Line.example"),
    ],
)
async def test_every_form_of_a_contact(proxy, sidecar, agent, contact, uri):
    caller, line, call, _ = await called(sidecar, agent, line_contact=contact)
    await reached(caller, call, line, "ACK", uri)


async def test_an_address_stays_as_it_is(proxy, sidecar, agent):
    line_uri = "sip:1001@127.0.0.1:9;x=y"
    *_, call, dialog = await called(sidecar, agent, f"<{CALLER}>", f"<{line_uri}>")
    assert call.target == line_uri
    assert dialog.target.startswith(f"{CALLER};sbat=")


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
async def test_a_new_contact_counts_from_where_it_comes(proxy, sidecar, agent, method):
    caller, line, call, dialog = await called(sidecar, agent)
    await reached(caller, call, line, "ACK", LINE)
    moved = await agent()
    line.send(known_as(line, "<sip:other.example>", line.in_dialog(dialog, method, body=SDP)))
    request = await caller.expect(method)
    call.target = request.get("Contact").strip("<>")
    moved.send(known_as(moved, "<sip:moved.example>", caller.reply(request, 200, body=SDP)), caller_address(request))
    dialog.target = (await line.expect(200, method=method)).get("Contact").strip("<>")
    await reached(caller, call, line, "INFO", "sip:other.example")
    await reached(line, dialog, moved, "INFO", "sip:moved.example")


def caller_address(request):
    """Where the proxy that sent a request listens."""
    host, _, port = request.get("Via").split()[1].partition(";")[0].partition(":")
    return host, int(port)


async def test_a_proxy_on_the_way_is_asked_first_and_not_told(proxy, sidecar, agent):
    caller, line, near = await agent(), await agent(), await agent()
    sidecar.decide = lambda question: dial(stage(branch(line.port)))
    call = caller.call()
    route = f"<sip:127.0.0.1:{near.port};lr>"
    text = caller.request(call, "INVITE", headers=[f"Record-Route: {route}"], body=SDP)
    caller.send(known_as(caller, f"<{CALLER}>", text))
    invite = await line.expect("INVITE")
    line.send(line.reply(invite, 200, body=SDP))
    await caller.expect(200)
    dialog = line.dialog(invite)
    assert record_route(invite)[-1] == route
    bye = await reached(line, dialog, near, "BYE", CALLER)
    assert bye.all("Route") == [route]


@pytest.mark.parametrize(
    "at", ["name.example", "sip%3aname.example%3a5060", "sip%3a127.0.0.1", "sip%3a127.0.0.1%3a9%3bmaddr%3dx", "%", ""]
)
async def test_what_is_no_address_is_not_asked_for(proxy, answered, at):
    caller, _, call, _ = await answered()
    call.target = f"sip:somebody@name.example;sbat={at}"
    caller.send(caller.in_dialog(call, "INFO"))
    await caller.expect(478, method="INFO")


async def test_a_parameter_of_that_name_beside_an_address_is_its_partys(proxy, sidecar, agent):
    caller, line = await agent(), await agent()
    uri = f"sip:1001@127.0.0.1:{line.port};sbat=sip%3a127.0.0.1%3a9"
    sidecar.decide = lambda question: dial(stage(branch(line.port)))
    call = caller.call()
    caller.invite(call)
    invite = await line.expect("INVITE")
    line.send(known_as(line, f"<{uri}>", line.reply(invite, 200, body=SDP)))
    caller.answered(call, await caller.expect(200))
    assert call.target == uri
    await reached(caller, call, line, "ACK", uri)


@pytest.mark.parametrize(
    "uri",
    [
        "sip:1001@line.example;sbat=sip%3a127.0.0.1%3a9;x",
        "sip:1001@line.example;sbat;x=y",
        "sip:1001@line.example;SBAT=sip%3a127.0.0.1%3a9;sbat-=1;sbat--=2;sbatx=3",
        "sip:1001;sbat=sip%3a127.0.0.1%3a9@line.example",
        "sip:line.example;lr;sbat=sip%3a127.0.0.1%3a9?h=v",
    ],
)
async def test_what_a_party_calls_so_itself_stays_its_own(proxy, sidecar, agent, uri):
    caller, line, call, dialog = await called(sidecar, agent, f"<{uri}>", f"<{uri}>")
    await reached(caller, call, line, "ACK", uri)
    await reached(line, dialog, caller, "BYE", uri)


async def test_of_two_proxies_in_a_row_each_finds_its_own(proxy, sidecar, agent):
    with Kamailio(id="edge-2") as second:
        caller, line = await agent(), await agent(second)
        sidecar.decide = lambda question: dial(stage(branch(second.port, user="4001234567")))
        with contextlib.closing(await FakeSidecar(second, lambda question: dial(stage(branch(line.port)))).start()):
            call = caller.call()
            caller.send(known_as(caller, f"<{CALLER};sbat=own>", caller.request(call, "INVITE", body=SDP)))
            invite = await line.expect("INVITE")
            line.send(known_as(line, f"<{LINE}>", line.reply(invite, 200, body=SDP)))
            caller.answered(call, await caller.expect(200))
        dialog = line.dialog(invite)
        assert (len(call.routes), len(dialog.routes)) == (2, 2)
        await reached(caller, call, line, "ACK", LINE)
        await reached(caller, call, line, "INFO", LINE)
        await reached(line, dialog, caller, "BYE", f"{CALLER};sbat=own")
