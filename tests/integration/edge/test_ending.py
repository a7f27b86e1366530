"""Calls that are ended from outside, with real proxies and a real redis: each party gets one BYE, for its dialog."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter

from signalbox import redis_client
from signalbox.edge.dialogs import Dialogs
from support.ending import Site, decide, due_call, hang_up, id_of, known, proxies, site, talk
from support.redis import redis_server
from support.sip_agent import SDP, Agent, Message
from support.sip_agent_tcp import TcpAgent
from support.wait import until

__all__ = ["proxies", "redis_server", "site"]


async def test_a_call_is_ended_when_it_is_as_long_as_it_may_be(site: Site) -> None:
    sidecar = await site.start()
    one = await talk(site, longest_s=2)
    begun = time.monotonic()
    await one.both_hung_up(within=6)
    assert 1.0 < time.monotonic() - begun < 5.0
    assert one.byes() == [[1], [2]]
    await until(lambda: sidecar.ender.ended == 1)
    events = await site.proxies[0].events_until(one.call, "hung_up")
    assert [(e.hung_up.party, e.hung_up.cause) for e in events if e.HasField("hung_up")] == [
        (3, 'Q.850;cause=31;text="Maximum Call Duration"')
    ]
    await asyncio.sleep(2)  # time for a second one, should there be any
    assert one.byes() == [[1], [2]]
    one.close()


async def test_after_requests_within_the_dialog_numbers_and_contacts_are_the_newest(site: Site) -> None:
    sidecar = await site.start()
    one = await talk(site)
    moved = await Agent(one.line.proxy).start()
    for sender, own, receiver in ((one.line, one.dialog, one.caller), (one.caller, one.call, one.line)):
        for method in ("INFO", "INVITE", "UPDATE"):
            if sender is one.line:
                own.cseq += 100
            sender.send(sender.in_dialog(own, method, body=SDP if method == "INVITE" else ""))
            request = await receiver.expect(method)
            answerer = moved if receiver is one.line and method == "UPDATE" else receiver
            receiver.send(answerer.reply(request, 200, body=SDP if method == "INVITE" else ""))
            await sender.expect(200, method=method)
            if method == "INVITE":
                sender.send(sender.in_dialog(own, "ACK"))
                await receiver.expect("ACK")
    await known(sidecar)
    result = asyncio.create_task(hang_up(site, one.id))
    bye = await moved.expect("BYE")
    assert (bye.get("CSeq"), bye.get("To")) == (f"{one.call.cseq + 1} BYE", one.dialog.local)
    moved.send(moved.reply(bye, 200))
    bye = await one.caller.expect("BYE")
    assert (bye.get("CSeq"), bye.get("To")) == (f"{one.dialog.cseq + 1} BYE", one.call.local)
    one.caller.send(one.caller.reply(bye, 481))
    assert await result == (200, {"call_id": one.id, "caller": 481, "line": 200})
    moved.close()
    one.close()


async def test_across_transports_and_other_proxies_the_route_sets_are_those_of_the_parties(site: Site) -> None:
    sidecar = await site.start()
    proxy = site.proxies[0]
    caller = await Agent((proxy.host, proxy.port)).start()
    line = await TcpAgent((proxy.host, proxy.port)).start()
    decide(site, line.port, transport="tcp")
    call = caller.call()
    caller.invite(call, headers=[f"Record-Route: <sip:{caller.host}:{caller.port};lr;near>"])
    invite = await line.expect("INVITE")
    line.send(line.reply(invite, 200, body=SDP))
    reply = await caller.expect(200)
    caller.answered(call, reply)
    assert len(call.routes) == 3, "one of another proxy, and two of ours, for two transports"
    call.routes = call.routes[1:]
    caller.send(caller.in_dialog(call, "ACK"))
    await line.expect("ACK")
    await known(sidecar)
    call_id = id_of(invite)
    result = asyncio.create_task(hang_up(site, call_id))
    bye = await caller.expect("BYE")
    assert bye.all("Route") == [f"<sip:{caller.host}:{caller.port};lr;near>"]
    caller.send(caller.reply(bye, 200))
    bye = await line.expect("BYE")
    assert not bye.all("Route")
    line.send(line.reply(bye, 200))
    assert (await result)[1] == {"call_id": call_id, "caller": 200, "line": 200}
    caller.close()
    await line.stop()


async def test_parties_that_are_known_by_host_names_are_reached(site: Site) -> None:
    sidecar = await site.start()
    proxy = site.proxies[0]
    caller, line = [await Agent((proxy.host, proxy.port)).start() for _ in range(2)]
    decide(site, line.port)
    call = caller.call()
    named = caller.request(call, "INVITE", body=SDP).replace(
        f"agent@{caller.host}:{caller.port}", "agent@caller.example"
    )
    caller.send(named)
    invite = await line.expect("INVITE")
    line.send(line.reply(invite, 200, body=SDP).replace(f"line@{line.host}:{line.port}", "line@line.example"))
    caller.answered(call, await caller.expect(200))
    caller.send(caller.in_dialog(call, "ACK"))
    await line.expect("ACK")
    await known(sidecar)
    result = asyncio.create_task(hang_up(site, id_of(invite)))
    for agent, uri in ((caller, "sip:agent@caller.example"), (line, "sip:line@line.example")):
        bye = await agent.expect("BYE")
        assert bye.uri == uri
        agent.send(agent.reply(bye, 200))
    assert (await result)[1] == {"call_id": id_of(invite), "caller": 200, "line": 200}
    caller.close()
    line.close()


async def test_with_headers_as_long_as_they_may_be_a_call_can_be_ended(site: Site) -> None:
    sidecar = await site.start()
    proxy = site.proxies[0]
    caller, line = [await Agent((proxy.host, proxy.port)).start() for _ in range(2)]
    decide(site, line.port)
    call = caller.call()
    near = f"<sip:{caller.host}:{caller.port};lr;near={'x' * 960}>"
    contact = f"Contact: <sip:agent@{caller.host}:{caller.port};p={'x' * 960}>"
    invite = caller.request(call, "INVITE", headers=8 * [f"Record-Route: {near}"], body=SDP)
    caller.send(re.sub("Contact: .*(?=\r)", contact, invite))
    invite = await line.expect("INVITE")
    contact = f"Contact: <sip:line@{line.host}:{line.port};p={'x' * 960}>"
    line.send(re.sub("Contact: .*(?=\r)", contact, line.reply(invite, 200, body=SDP)))
    caller.answered(call, await caller.expect(200))
    call.routes = call.routes[8:]
    assert len(call.routes) == 1
    caller.send(caller.in_dialog(call, "ACK"))
    await line.expect("ACK")
    await known(sidecar)
    call_id = id_of(invite)
    result = asyncio.create_task(hang_up(site, call_id))
    bye = await caller.expect("BYE")
    assert bye.all("Route") == 8 * [near]
    caller.send(caller.reply(bye, 200))
    line.send(line.reply(await line.expect("BYE"), 200))
    assert (await result)[1] == {"call_id": call_id, "caller": 200, "line": 200}
    caller.close()
    line.close()


async def test_a_call_that_has_ended_is_not_ended_again(site: Site) -> None:
    sidecar = await site.start()
    one = await talk(site, longest_s=3)
    one.line.send(one.line.in_dialog(one.dialog, "BYE"))
    bye = await one.caller.expect("BYE")
    one.caller.send(one.caller.reply(bye, 200))
    await known(sidecar)
    assert (await hang_up(site, one.id))[0] == 404
    one.close()


async def test_edges_together_end_a_call_once(site: Site) -> None:
    await site.start(0)
    await site.start(1)
    talks = [await talk(site, longest_s=3, n=n % 2) for n in range(6)]
    await asyncio.gather(*(one.both_hung_up(within=8) for one in talks))
    await asyncio.sleep(1.5)  # time for a second one, should there be any
    assert [one.byes() for one in talks] == [[[1], [2]]] * 6
    for one in talks:
        one.close()


async def test_many_calls_that_are_due_at_once_are_ended_soon_and_each_party_is_told_once(site: Site) -> None:
    many = 300
    edges = [await site.start(n) for n in (0, 1)]
    agent = await Answering((site.proxies[0].host, site.proxies[0].port)).start()
    dialogs = Dialogs(redis_client.connect(site.redis), site.redis.prefix)
    await dialogs.apply([due_call(n, agent, site.proxies[n % 2].host, site.proxies[n % 2].port) for n in range(many)])
    await until(lambda: sum(edge.ender.ended for edge in edges) == many, timeout_s=5)
    asked = Counter(message.get("Call-ID") + message.get("To") for message in agent.seen)
    assert len(asked) == 2 * many
    assert set(asked.values()) == {1}
    await dialogs.close()
    agent.close()


class Answering(Agent):
    """Says yes to every request, whoever it is for."""

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        message = Message(data)
        self.seen.append(message)
        self.send(self.reply(message, 200), addr)
