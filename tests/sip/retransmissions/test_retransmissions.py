"""UDP loses messages, so parties send them again: nothing happens twice, and what was lost arrives."""

from __future__ import annotations

from support.site import kinds
from support.wire import connect


async def test_an_invite_sent_again_asks_once_and_rings_once(site, caller, line):
    call = caller.call(site.number([line.address]))
    questions = site.metric("edge-1", "signalbox_edge_questions_total")
    for _ in range(3):
        caller.invite(call, body=caller.sdp())
    invite = await line.expect("INVITE")
    line.send(line.reply(invite, 180, "Ringing"))
    await caller.expect(180)
    caller.invite(call, body=caller.sdp())
    # Sent again, it gets the last reply again.
    await caller.expect(180)
    line.send(line.reply(invite, 486, "Busy Here"))
    caller.ack_failure(call, await caller.expect(486))
    assert site.metric("edge-1", "signalbox_edge_questions_total") == questions + 1
    assert [message.uri for message in line.seen if message.first.startswith("INVITE")] == [invite.uri]
    events = await site.events_until(call.call_id, "failed")
    assert kinds(events) == ["asked", "decided", "line_tried", "ringing", "line_failed", "failed"]


async def test_a_200_sent_again_until_ack_reaches_the_caller_each_time(site, caller, line):
    call = caller.call(site.number([line.address]))
    caller.invite(call, body=caller.sdp())
    invite = await line.expect("INVITE")
    answer = line.reply(invite, 200, "OK", body=line.sdp())
    for _ in range(3):
        line.send(answer)
        caller.answered(call, await caller.expect(200))
    for _ in range(2):
        caller.send(caller.in_dialog(call, "ACK"))
        await line.expect("ACK")
    caller.send(caller.in_dialog(call, "BYE"))
    line.send(line.reply(await line.expect("BYE"), 200, "OK"))
    await caller.expect(200, method="BYE")
    events = await site.events_until(call.call_id, "hung_up")
    assert kinds(events) == ["asked", "decided", "line_tried", "answered", "hung_up"]


async def test_a_bye_sent_again_is_one_event_and_gets_its_reply_again(site, caller, line):
    connected = await connect(caller, line, site.number([line.address]))
    bye = caller.in_dialog(connected.call, "BYE")
    caller.send(bye)
    at_line = await line.expect("BYE")
    caller.send(bye)
    line.send(line.reply(at_line, 200, "OK"))
    await caller.expect(200, method="BYE")
    caller.send(bye)
    await caller.expect(200, method="BYE")
    events = await site.events_until(connected.call.call_id, "hung_up")
    assert kinds(events).count("hung_up") == 1
    assert len([message for message in line.seen if message.method == "BYE"]) == 1


async def test_a_refusal_is_sent_again_until_it_is_acknowledged(site, caller):
    call = caller.call("4009999999")
    caller.invite(call, body=caller.sdp())
    for _ in range(3):
        reply = await caller.expect(404)
    caller.ack_failure(call, reply)
