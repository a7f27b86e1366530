"""Requests within a dialog: signed by us and relayed, or dropped; at this proxy or at another one."""

from __future__ import annotations

import base64
import hmac
import time

import pytest
from support.kamailio import CLUSTER_KEY, TOKEN, Kamailio
from support.sidecar_fake import FakeSidecar, branch, dial, stage
from support.sip_agent import SDP, connect, record_route
from support.wait import until


@pytest.mark.parametrize("method", ["INVITE", "UPDATE", "INFO", "PRACK", "MESSAGE"])
async def test_requests_of_both_sides_are_relayed(proxy, answered, method):
    caller, line, call, invite = await answered()
    dialog = line.dialog(invite)
    for sender, side, receiver in ((caller, call, line), (line, dialog, caller)):
        sender.send(sender.in_dialog(side, method, body=SDP))
        request = await receiver.expect(method)
        receiver.send(receiver.reply(request, 200, body=SDP))
        assert (await sender.expect(200, method=method)).body == SDP
        if method == "INVITE":
            sender.send(sender.in_dialog(side, "ACK"))
            await receiver.expect("ACK")
    await until(lambda: proxy.transactions() == 0)


def forged(routes):
    """Route headers that an attacker might send, each a change of a good one."""
    (route,) = routes
    head, _, signature = route.rpartition("sg=")
    yield []
    yield [f"{head}sg={'A' * 22}>"]
    yield [f"{head}sg=>"]
    yield [route.replace(";sg=", ";sx=")]
    yield [route.replace("mn=0.0", "mn=7.0")]
    yield [route.replace("sb=edge-1", "sb=edge-2")]
    yield [route.replace("ftag=c", "ftag=d")]
    yield [f"<sip:127.0.0.1:{signature[:4]};lr>"]
    yield ["<sip:127.0.0.1;lr>", route]
    yield ["not a route"]


async def test_requests_with_a_forged_route_are_dropped_without_a_transaction(proxy, answered, forger):
    _, line, call, _ = await answered()
    await until(lambda: proxy.transactions() == 0)
    good, seen, dropped = call.routes, len(line.seen), proxy.counter("forged_in_dialog")
    made = transactions_made(proxy)
    methods = ("BYE", "INVITE", "ACK", "UPDATE")
    for method in methods:
        for routes in forged(good):
            call.routes = routes
            forger.send(forger.in_dialog(call, method))
    # An ACK without Route, or with one that is none, may be for a refusal of ours: it is not counted.
    expected = dropped + len(methods) * len([*forged(good)]) - 2
    await until(lambda: proxy.counter("forged_in_dialog") == expected)
    assert transactions_made(proxy) == made
    assert proxy.transactions() == 0
    assert len(line.seen) == seen
    assert not forger.seen
    call.routes = good
    forger.send(forger.in_dialog(call, "BYE"))
    line.send(line.reply(await line.expect("BYE"), 200))
    await forger.expect(200, method="BYE")
    await until(lambda: proxy.transactions() == 0)


def transactions_made(proxy):
    """Transactions that the proxy ever made."""
    return int(proxy.rpc("tm.stats")["total"])


async def test_the_signature_of_one_call_is_no_good_for_another(proxy, answered):
    _, _, first, _ = await answered()
    caller, line, second, _ = await answered()
    dropped, own = proxy.counter("forged_in_dialog"), second.routes
    second.routes = first.routes
    caller.send(caller.in_dialog(second, "BYE"))
    await until(lambda: proxy.counter("forged_in_dialog") == dropped + 1)
    second.routes = own
    caller.send(caller.in_dialog(second, "BYE"))
    line.send(line.reply(await line.expect("BYE"), 200))
    await until(lambda: proxy.transactions() == 0)


async def test_a_signed_route_is_good_for_its_own_dialog_only(proxy, answered, forger):
    _, line, call, _ = await answered()
    await until(lambda: proxy.transactions() == 0)
    dropped, seen, made = proxy.counter("forged_in_dialog"), len(line.seen), transactions_made(proxy)
    call.local, call.remote = "<sip:x@127.0.0.1>;tag=x", "<sip:y@127.0.0.1>;tag=y"
    for method in ("BYE", "INVITE", "ACK"):
        forger.send(forger.in_dialog(call, method))
    await until(lambda: proxy.counter("forged_in_dialog") == dropped + 3)
    assert len(line.seen) == seen
    assert transactions_made(proxy) == made
    assert proxy.transactions() == 0


@pytest.mark.parametrize(("age_s", "good"), [(86_000, True), (86_800, False)])
async def test_a_signed_route_is_good_for_a_day(proxy, answered, age_s, good):
    caller, line, call, _ = await answered()
    dropped = proxy.counter("forged_in_dialog")
    parameters = dict(part.partition("=")[::2] for part in call.routes[0].strip("<>").split(";")[1:])
    call_id = f"edge-1-{int(time.time()) - age_s}-1-1"
    signed = f"{call_id} {parameters['mn']} {parameters['ftag']} {call.call_id}".encode()
    signature = base64.urlsafe_b64encode(hmac.digest(CLUSTER_KEY.encode(), signed, "sha256"))[:22].decode()
    call.routes = [call.routes[0].replace(parameters["sb"], call_id).replace(parameters["sg"], signature)]
    caller.send(caller.in_dialog(call, "INFO"))
    if good:
        await line.expect("INFO")
    await until(lambda: proxy.counter("forged_in_dialog") == dropped + (not good))


async def test_a_stranger_with_the_signature_is_served(proxy, answered, agent):
    """Lines are no trunks, and a trunk may send from another address: the signature is what counts."""
    _, line, call, _ = await answered()
    stranger = await agent()
    stranger.send(stranger.in_dialog(call, "BYE"))
    await line.expect("BYE")


async def test_a_target_that_is_a_name_is_refused(proxy, answered):
    caller, _, call, _ = await answered()
    call.target = "sip:somebody@name.example"
    caller.send(caller.in_dialog(call, "INFO"))
    await caller.expect(478, method="INFO")


async def test_an_initial_invite_with_a_route_is_refused(proxy, sidecar, agent):
    caller = await agent()
    call = caller.call()
    call.routes = [f"<sip:127.0.0.1:{proxy.port};lr>"]
    caller.invite(call)
    caller.ack_failure(call, await caller.expect(403))
    assert not sidecar.questions


async def test_another_proxy_serves_the_dialog_when_the_first_is_dead(agent):
    peers = ("127.0.0.31", "127.0.0.32")
    with (
        Kamailio(id="edge-2", host=peers[1], peers=peers) as second,
        Kamailio(id="edge-1", host=peers[0], peers=peers) as first,
    ):
        caller, line, call, invite = await talking(agent, first)
        first.kill()
        caller.proxy = line.proxy = (second.host, second.port)
        assert f"@{first.host}" not in call.routes[0]
        assert first.host in call.routes[0]
        caller.send(caller.in_dialog(call, "INVITE", body=SDP))
        again = await line.expect("INVITE")
        line.send(line.reply(again, 200, body=SDP))
        await caller.expect(200)
        caller.send(caller.in_dialog(call, "ACK"))
        await line.expect("ACK")
        line.send(line.in_dialog(line.dialog(invite), "BYE"))
        bye = await caller.expect("BYE")
        caller.send(caller.reply(bye, 200))
        await line.expect(200, method="BYE")
        events = await second.events_until(call, "hung_up")
        assert events[-1].call_id == invite_id(invite)


async def test_a_key_that_is_accepted_serves_the_dialogs_of_a_proxy_that_signs_with_it(agent):
    """The steps of a rotation: each proxy has taken one that its peer has not, and no dialog is dropped."""
    old, new, older = "old-" + CLUSTER_KEY, "new-" + CLUSTER_KEY, "older-" + CLUSTER_KEY
    peers = ("127.0.0.33", "127.0.0.34", "127.0.0.35", "127.0.0.36")
    with (
        Kamailio(id="edge-1", host=peers[0], peers=peers, cluster_keys=[older, old]) as before,
        Kamailio(id="edge-2", host=peers[1], peers=peers, cluster_keys=[old, older, new]) as accepts,
        Kamailio(id="edge-3", host=peers[2], peers=peers, cluster_keys=[new, older, old]) as signs,
        Kamailio(id="edge-4", host=peers[3], peers=peers, cluster_keys=[new]) as after,
    ):
        caller, line, call, _ = await talking(agent, accepts)
        for proxy, served in ((before, True), (accepts, True), (signs, True), (after, False)):
            assert await ping(caller, line, call, proxy) is served, proxy.settings.id
        caller, line, call, _ = await talking(agent, signs)
        for proxy, served in ((before, False), (accepts, True), (signs, True), (after, True)):
            assert await ping(caller, line, call, proxy) is served, proxy.settings.id
        forged = [call.routes[0].rpartition("sg=")[0] + f"sg={'A' * 22}>"]
        for routes in (forged, [call.routes[0].replace(";sg=", ";sx=")]):
            call.routes = routes
            assert not await ping(caller, line, call, accepts)


async def talking(agent, proxy):
    """A call through a proxy: caller, line, the caller's dialog, and the INVITE as the line got it."""
    caller, line = await agent(proxy), await agent(proxy)
    sidecar = await FakeSidecar(proxy, lambda question: dial(stage(branch(line.port)))).start()
    call, invite = await connect(caller, line)
    sidecar.close()
    return caller, line, call, invite


async def ping(caller, line, call, proxy):
    """Whether a request of the caller comes through another proxy to the line and its reply back."""
    caller.proxy = line.proxy = (proxy.host, proxy.port)
    dropped, seen = proxy.counter("forged_in_dialog"), len(line.seen)
    caller.send(caller.in_dialog(call, "INFO"))
    await until(lambda: proxy.counter("forged_in_dialog") > dropped or len(line.seen) > seen)
    if proxy.counter("forged_in_dialog") > dropped:
        return False
    line.send(line.reply(await line.expect("INFO"), 200))
    await caller.expect(200, method="INFO")
    return True


async def test_a_signed_route_of_a_host_that_is_no_peer_is_not_ours(proxy, answered):
    caller, line, call, _ = await answered()
    own, seen = call.routes, len(line.seen)
    call.routes = [own[0].replace("sip:127.0.0.1", "sip:127.0.0.99")]
    caller.send(caller.in_dialog(call, "BYE"))
    call.routes = own
    caller.send(caller.in_dialog(call, "INFO"))
    await line.expect("INFO")
    assert len(line.seen) == seen + 1


def invite_id(invite):
    """Our id of a call as its Record-Route tells it."""
    return record_route(invite)[0].partition(";sb=")[2].partition(";")[0]


@pytest.mark.parametrize(("token", "party"), [(TOKEN, 3), (TOKEN[:-1], 1), ("", 1)], ids=["ours", "wrong", "none"])
async def test_only_who_has_the_token_ends_a_call_in_our_name(proxy, answered, token, party):
    caller, line, call, _ = await answered()
    caller.send(caller.in_dialog(call, "BYE", headers=[f"X-Signalbox-End: {token}"]))
    bye = await line.expect("BYE")
    assert not bye.all("X-Signalbox-End")
    line.send(line.reply(bye, 200))
    await caller.expect(200, method="BYE")
    events = await proxy.events_until(call, "hung_up")
    assert (events[-1].hung_up.party, events[-1].hung_up.line_tag) == (party, "line")


async def test_of_our_two_requests_one_is_told(proxy, answered):
    caller, line, call, invite = await answered()
    dialog = line.dialog(invite)
    ours = [f"X-Signalbox-End: {TOKEN}", 'Reason: Q.850;cause=31;text="x"']
    line.send(line.in_dialog(dialog, "BYE", headers=ours))
    caller.send(caller.reply(await caller.expect("BYE"), 200))
    caller.send(caller.in_dialog(call, "BYE", headers=ours))
    line.send(line.reply(await line.expect("BYE"), 200))
    events = await proxy.events_until(call, "hung_up")
    assert [e.hung_up.cause for e in events if e.HasField("hung_up")] == ['Q.850;cause=31;text="x"']


async def test_an_answer_is_told_once_with_all_that_ends_the_call(proxy, sidecar, agent):
    caller, line = await agent(), await agent()
    sidecar.decide = lambda question: dial(stage(branch(line.port)), mx=3600)
    call = caller.call()
    call.cseq = 42
    caller.invite(call, headers=["Record-Route: <sip:192.0.2.77;lr>"])
    invite = await line.expect("INVITE")
    for _ in range(3):
        line.send(line.reply(invite, 200, body=SDP))
        reply = await caller.expect(200)
    events = await proxy.events_until(call, "connected")
    (connected,) = [e.connected for e in events if e.HasField("connected")]
    assert (connected.line, connected.max_duration_s, connected.cseq, connected.line_tag) == (
        "line-1",
        3600,
        42,
        "line",
    )
    assert (connected.sip_call_id, connected.from_header) == (call.call_id, call.local)
    assert connected.to_header == reply.get("To")
    assert connected.caller_contact == f"<sip:agent@127.0.0.1:{caller.port}>"
    assert connected.line_contact == f"<sip:line@127.0.0.1:{line.port}>"
    ours, other = connected.record_route.split(",")
    assert ";sb=edge-1-" in ours
    assert other.strip() == "<sip:192.0.2.77;lr>"


async def test_requests_within_a_dialog_tell_numbers_and_contacts(proxy, answered):
    caller, line, call, _ = await answered()
    for method in ("INFO", "UPDATE"):
        caller.send(caller.in_dialog(call, method))
        line.send(line.reply(await line.expect(method), 200))
        await caller.expect(200, method=method)
    events = await proxy.events_until(call, "dialog_changed")
    await until(lambda: len([e for e in proxy.events(call) if e.HasField("dialog_changed")]) == 3)
    events = [e.dialog_changed for e in proxy.events(call) if e.HasField("dialog_changed")]
    assert [(e.party, e.line_tag, e.cseq, e.contact) for e in events] == [
        (1, "line", 2, ""),
        (1, "line", 3, f"<sip:agent@127.0.0.1:{caller.port}>"),
        (2, "line", 0, f"<sip:line@127.0.0.1:{line.port}>"),
    ]
