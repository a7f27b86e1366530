"""Calls that are recorded: captured by real rtpengines from the answer on, and promised before it goes on."""

from __future__ import annotations

import base64
import re
import time

import pytest
from signalbox.media import facts
from support.media_calls import OTHER_SDP, forget, known_as
from support.recorded_calls import DEAD, PLAIN, capture_metadata, captures, nodes, promises, proxy, recorded
from support.sidecar_fake import branch, dial, stage
from support.sip_agent import SDP

__all__ = ["nodes", "proxy"]

pytestmark = pytest.mark.usefixtures("sidecar")

OPUS = "\r\na=rtpmap:96 opus/48000/2\r\na=rtpmap:97 telephone-event/48000"
RICH_SDP = SDP.replace("AVP 8 101", "AVP 96 97 18 8 101") + OPUS[2:] + "\r\na=rtpmap:18 G729/8000\r\n"
"""Opus and its telephone-event, G.729, A-law and its telephone-event."""

OPUS_SDP = SDP.replace("AVP 8 101", "AVP 96 101").replace("\r\na=rtpmap:8 PCMA/8000", "\r\na=rtpmap:96 opus/48000/2")


def formats(message):
    """RTP payload types of the first stream of a message."""
    found = re.search(r"^m=audio \d+ RTP/AVP ([\d ]+)", message.body, re.MULTILINE)
    assert found is not None, message.body
    return found[1].split()


async def connect(caller, line, call, invite, body=OTHER_SDP):
    """The line answers, and the call goes on."""
    line.send(line.reply(invite, 200, body=body))
    answer = await caller.expect(200)
    caller.answered(call, answer)
    caller.send(caller.in_dialog(call, "ACK"))
    await line.expect("ACK")
    return answer


async def test_a_call_is_captured_from_its_answer_on(proxy, sidecar, agent, nodes):
    caller, line, call, invite = await recorded(sidecar, agent, calling="o'neil+7")
    id, tag = known_as(sidecar, call), call.local.partition("tag=")[2]
    line.send(line.reply(invite, 183, body=OTHER_SDP))
    await caller.expect(183)
    assert captures(nodes[0], id) == []
    before = time.time()
    line.send(line.reply(invite, 200, body=OTHER_SDP))
    answer = await caller.expect(200)
    # Both are there before the answer has come.
    assert len(captures(nodes[0], id)) == 1
    assert len(promises(proxy, call)) == 1
    caller.answered(call, answer)
    caller.send(caller.in_dialog(call, "ACK"))
    await line.expect("ACK")
    caller.send(caller.in_dialog(call, "INVITE", body=SDP + "a=sendonly\r\n"))
    hold = await line.expect("INVITE")
    line.send(line.reply(hold, 200, body=OTHER_SDP + "a=recvonly\r\n"))
    await caller.expect(200)
    caller.send(caller.in_dialog(call, "ACK"))
    await line.expect("ACK")
    caller.send(caller.in_dialog(call, "BYE"))
    await line.expect("BYE")
    (event,) = promises(proxy, call)
    assert before - 0.001 <= event.time.ToMilliseconds() / 1000 <= time.time()
    started = event.recording_started
    assert (started.line, started.media_node, started.tenant) == ("line-1", 1, "tenant-1")
    assert (started.number, started.caller) == ("4001234567", "o'neil+7")
    assert (started.caller_tag, started.line_tag) == (tag, "line")
    assert (started.caller_media, started.line_media) == ("127.0.0.1:40000", "127.0.0.1:41000")
    (metadata,) = await capture_metadata(nodes[0], id)
    known = facts.parse(id, metadata)
    for name in (
        "line",
        "media_node",
        "tenant",
        "number",
        "caller_tag",
        "line_tag",
        "caller_media",
        "line_media",
        "caller",
    ):
        assert getattr(known, name) == getattr(started, name)
    version, moment, *given, caller_64 = metadata.split(",")
    assert version == "sb1"
    assert re.fullmatch(r"\d{10}\.\d{3}", moment)
    assert before - 0.001 <= float(moment) <= event.time.ToMilliseconds() / 1000
    assert given == [
        "line-1", "1", "tenant-1", "4001234567", tag, "line", "127.0.0.1:40000", "127.0.0.1:41000",
    ]  # fmt: skip
    assert base64.b64decode(caller_64 + "==").decode() == "o'neil+7"
    assert proxy.counter("recording_failures") == 0


async def test_a_caller_without_a_number(proxy, sidecar, agent, nodes):
    caller, line = await agent(), await agent()
    sidecar.decide = lambda question: dial(stage(branch(line.port, flags="ir")), media="record", n1=1)
    call = caller.call()
    call.local = call.local.replace("13800001234@", "")
    caller.invite(call)
    await connect(caller, line, call, await line.expect("INVITE"))
    (event,) = promises(proxy, call)
    assert event.recording_started.caller == ""
    caller.send(caller.in_dialog(call, "BYE"))
    assert (await capture_metadata(nodes[0], known_as(sidecar, call)))[0].endswith(",127.0.0.1:41000,")


@pytest.mark.parametrize("media", ["anchor", "record"])
async def test_calls_that_are_not_to_be_recorded_are_not_captured(proxy, sidecar, agent, nodes, media):
    caller, line = await agent(), await agent()
    # "record" says that some stage is recorded; this one is not.
    flags = "r" if media == "anchor" else "-"
    sidecar.decide = lambda question: dial(stage(branch(line.port, flags=flags)), media=media, n1=1, n2=2)
    call = caller.call()
    caller.invite(call, body=RICH_SDP)
    invite = await line.expect("INVITE")
    assert formats(invite) == ["96", "97", "18", "8", "101"]
    answer = await connect(caller, line, call, invite)
    assert ";mn=1.2;" in answer.get("Record-Route")
    caller.send(caller.in_dialog(call, "INVITE", body=RICH_SDP))
    assert formats(await line.expect("INVITE")) == ["96", "97", "18", "8", "101"]
    assert captures(nodes[0], known_as(sidecar, call)) == []
    assert promises(proxy, call) == []


async def test_each_stage_says_whether_it_is_recorded(proxy, sidecar, agent, nodes):
    for flags, marks in ((("-", "r"), ("1.2", "1.2.r")), (("r", "-"), ("1.2.r", "1.2"))):
        caller, first, second = await agent(), await agent(), await agent()
        lines = [
            branch(one.port, line=f"line-{flag}", flags=flag) for one, flag in zip((first, second), flags, strict=True)
        ]
        sidecar.decide = lambda question, lines=lines: dial(*map(stage, lines), media="record", n1=1, n2=2)
        call = caller.call()
        caller.invite(call, body=RICH_SDP)
        invite = await first.expect("INVITE")
        first.send(first.reply(invite, 183, body=OTHER_SDP))
        first.send(first.reply(invite, 486))
        again = await second.expect("INVITE")
        assert [f";mn={mark};" in one.get("Record-Route") for mark, one in zip(marks, (invite, again), strict=True)]
        assert [len(formats(invite)), len(formats(again))] == [5 if flag == "-" else 3 for flag in flags]
        await connect(caller, second, call, again)
        told = [event.recording_started.line for event in promises(proxy, call)]
        assert told == [f"line-{flag}" for flag in flags[1:] if flag == "r"]
        assert len(captures(nodes[0], known_as(sidecar, call))) == len(told)


async def test_only_codecs_that_recorders_can_decode_are_offered(proxy, sidecar, agent, nodes):
    caller, line, call, invite = await recorded(sidecar, agent, sdp=RICH_SDP)
    assert formats(invite) == ["18", "8", "101"]
    answer = await connect(caller, line, call, invite)
    assert formats(answer) == ["8", "101"]
    dialog = line.dialog(invite)
    for sender, side, receiver in ((caller, call, line), (line, dialog, caller)):
        for method in ("INVITE", "UPDATE"):
            sender.send(sender.in_dialog(side, method, body=RICH_SDP))
            offer = await receiver.expect(method)
            assert formats(offer) == ["18", "8", "101"]
            receiver.send(receiver.reply(offer, 200, body=OTHER_SDP))
            assert formats(await sender.expect(200, method=method)) == ["8", "101"]
            if method == "INVITE":
                sender.send(sender.in_dialog(side, "ACK"))
                await receiver.expect("ACK")
    # A late one.
    caller.send(caller.in_dialog(call, "INVITE"))
    line.send(line.reply(await line.expect("INVITE"), 200, body=RICH_SDP))
    assert formats(await caller.expect(200)) == ["18", "8", "101"]


async def test_a_call_without_a_codec_that_can_be_decoded_works_as_it_is(proxy, sidecar, agent, nodes):
    counted = proxy.counter("undecodable_offers")
    caller, line, call, invite = await recorded(sidecar, agent, sdp=OPUS_SDP)
    assert formats(invite) == ["96", "101"]
    assert formats(await connect(caller, line, call, invite, body=OPUS_SDP)) == ["96", "101"]
    assert len(captures(nodes[0], known_as(sidecar, call))) == 1
    assert proxy.counter("undecodable_offers") == counted + 1


async def test_codecs_are_known_by_number_and_by_name(proxy, sidecar, agent, nodes):
    by_number = SDP.replace("AVP 8 101", "AVP 96 0").replace("\r\na=rtpmap:8 PCMA/8000", OPUS)
    *_, invite = await recorded(sidecar, agent, sdp=by_number)
    assert formats(invite) == ["0"]
    by_name = SDP.replace("AVP 8 101", "AVP 96 98").replace("a=rtpmap:8 PCMA/8000", f"a=rtpmap:98 pcma/8000{OPUS}")
    *_, invite = await recorded(sidecar, agent, sdp=by_name)
    assert formats(invite) == ["98"]


async def test_an_answer_in_a_reliable_183_and_none_in_the_200(proxy, sidecar, agent, nodes):
    caller, line, call, invite = await recorded(sidecar, agent)
    id = known_as(sidecar, call)
    line.send(line.reply(invite, 183, headers=["Require: 100rel", "RSeq: 1"], body=OTHER_SDP))
    progress = await caller.expect(183)
    caller.answered(call, progress)
    caller.send(caller.in_dialog(call, "PRACK", headers=["RAck: 1 1 INVITE"]))
    line.send(line.reply(await line.expect("PRACK"), 200))
    await caller.expect(200, method="PRACK")
    assert captures(nodes[0], id) == []
    line.send(line.reply(invite, 200))
    assert (await caller.expect(200)).body == ""
    assert len(captures(nodes[0], id)) == 1
    (event,) = promises(proxy, call)
    assert event.recording_started.line_media == "127.0.0.1:41000"


async def test_a_late_offer_whose_answer_is_in_the_ack(proxy, sidecar, agent, nodes):
    caller, line, call, invite = await recorded(sidecar, agent, sdp="")
    line.send(line.reply(invite, 200, body=RICH_SDP))
    offer = await caller.expect(200)
    assert formats(offer) == ["18", "8", "101"]
    assert ";mn=1.2.l.r;" in offer.get("Record-Route")
    id = known_as(sidecar, call)
    assert len(captures(nodes[0], id)) == 1
    caller.answered(call, offer)
    caller.send(caller.in_dialog(call, "ACK", body=SDP))
    assert formats(await line.expect("ACK")) == ["8", "101"]
    (event,) = promises(proxy, call)
    assert (event.recording_started.caller_media, event.recording_started.line_media) == ("", "127.0.0.1:40000")
    caller.send(caller.in_dialog(call, "BYE"))
    (text,) = await capture_metadata(nodes[0], id)
    assert ",line,-,127.0.0.1:40000," in text


async def test_a_200_that_is_sent_again_begins_nothing_again(proxy, sidecar, agent, nodes):
    caller, line, call, invite = await recorded(sidecar, agent)
    for _ in range(3):
        line.send(line.reply(invite, 200, body=OTHER_SDP))
        await caller.expect(200)
    assert len(captures(nodes[0], known_as(sidecar, call))) == 1
    assert len(promises(proxy, call)) == 1


async def test_of_two_lines_that_answer_at_once_the_first_is_promised(proxy, sidecar, agent, nodes):
    caller, first, second = await agent(), await agent(), await agent()
    lines = [branch(one.port, line=f"line-{n}", flags="r") for n, one in enumerate((first, second), 1)]
    sidecar.decide = lambda question: dial(stage(*lines), media="record", n1=1, n2=2)
    call = caller.call()
    caller.invite(call)
    invites = [await one.expect("INVITE") for one in (first, second)]
    second.send(second.reply(invites[1], 200, tag="b", body=OTHER_SDP.replace("41000", "42000")))
    await caller.expect(200)
    first.send(first.reply(invites[0], 200, tag="a", body=OTHER_SDP))
    await caller.expect(200)
    assert len(captures(nodes[0], known_as(sidecar, call))) == 1
    (event,) = promises(proxy, call)
    started = event.recording_started
    assert (started.line, started.line_tag, started.line_media) == ("line-2", "b", "127.0.0.1:42000")


async def test_the_spare_captures_if_it_has_taken_over(proxy, sidecar, agent, nodes):
    caller, line, call, invite = await recorded(sidecar, agent, n1=DEAD, n2=2, sdp=RICH_SDP)
    assert formats(invite) == ["18", "8", "101"]
    answer = await connect(caller, line, call, invite)
    assert f";mn=2.{DEAD}.r;" in answer.get("Record-Route")
    assert len(captures(nodes[1], known_as(sidecar, call))) == 1
    (event,) = promises(proxy, call)
    assert event.recording_started.media_node == 2


async def test_a_node_that_does_not_begin_costs_the_recording_and_not_the_call(proxy, sidecar, agent, nodes):
    failures = proxy.counter("recording_failures")
    caller, line, call, invite = await recorded(sidecar, agent)
    id = known_as(sidecar, call)
    line.send(line.reply(invite, 183, headers=["Require: 100rel", "RSeq: 1"], body=OTHER_SDP))
    caller.answered(call, await caller.expect(183))
    await forget(nodes[0], sidecar, call)
    line.send(line.reply(invite, 200))
    await caller.expect(200)
    assert proxy.counter("recording_failures") == failures + 1
    assert f"recording_not_begun call_id={id} node=1" in proxy.log.read_text()
    assert len(promises(proxy, call)) == 1
    assert captures(nodes[0], id) == []


async def test_a_node_that_captures_nothing_costs_the_recording_and_not_the_call(proxy, sidecar, agent, nodes):
    caller, line, call, invite = await recorded(sidecar, agent, n1=PLAIN)
    await connect(caller, line, call, invite)
    (event,) = promises(proxy, call)
    assert event.recording_started.media_node == PLAIN
    assert "no spool directory" in nodes[PLAIN - 1].log.read_text()


async def test_a_call_whose_media_are_refused_is_not_promised(proxy, sidecar, agent, nodes):
    caller, line, call, invite = await recorded(sidecar, agent)
    await forget(nodes[0], sidecar, call)
    line.send(line.reply(invite, 200, body=OTHER_SDP))
    assert "m=audio 0 " in (await caller.expect(200)).body
    assert promises(proxy, call) == []


@pytest.mark.parametrize(
    ("connection", "port", "expected"),
    [
        ("IN IP4 192.0.2.7", "4000", "192.0.2.7:4000"),
        ("IN IP4 192.0.2.7/127", "4000", "192.0.2.7:4000"),
        ("IN IP4 192.0.2.7 S line-9 1 x|y", "4000", "192.0.2.7:4000"),
        ("IN IP6 2001:DB8::7", "4000", "[2001:DB8::7]:4000"),
        ("IN IP6 ::ffff:192.0.2.7,x", "4000", "[::ffff:192.0.2.7]:4000"),
        ("IN IP4 host.example", "4000", ""),
        ("IN IP4 192.0.2.7", "4000|x", ""),
        ("IN IP4 192.0.2.7", "4000/2", ""),
        ("IN IP4 192.0.2.7", "400000", ""),
        ("IN IP4 " + "1" * 300, "4000", ""),
        ("IN IP6 [::1]]", "4000", ""),
        ("IN IP4", "4000", ""),
    ],
)
async def test_what_strangers_write_is_an_address_or_nothing(proxy, sidecar, agent, nodes, connection, port, expected):
    # In a 183, where what rtpengine refuses costs the SDP only.
    body = SDP.replace("c=IN IP4 127.0.0.1", f"c={connection}").replace("m=audio 40000 ", f"m=audio {port} ")
    caller, line, call, invite = await recorded(sidecar, agent)
    line.send(line.reply(invite, 183, headers=["Require: 100rel", "RSeq: 1"], body=body))
    await caller.expect(183)
    line.send(line.reply(invite, 200))
    await caller.expect(200)
    (event,) = promises(proxy, call)
    assert event.recording_started.line_media == expected


async def test_the_last_of_a_lines_answers_counts_and_thousands_of_them_fill_nothing(proxy, sidecar, agent, nodes):
    caller, line, call, invite = await recorded(sidecar, agent)
    for port in (41000, 41002, 41002, 41000, 41004):
        line.send(line.reply(invite, 183, body=OTHER_SDP.replace("41000", str(port))))
        await caller.expect(183)
    line.send(line.reply(invite, 200))
    await caller.expect(200)
    (event,) = promises(proxy, call)
    assert event.recording_started.line_media == "127.0.0.1:41004"
    caller, line, call, invite = await recorded(sidecar, agent)
    for port in range(50_000, 50_200):
        line.send(line.reply(invite, 183, body=OTHER_SDP.replace("41000", str(port))))
        await caller.expect(183)
    line.send(line.reply(invite, 200))
    await caller.expect(200)
    (event,) = promises(proxy, call)
    assert event.recording_started.line_media in {f"127.0.0.1:{port}" for port in range(50_150, 50_200)}


async def test_a_node_that_hangs_delays_the_answer_for_a_moment_and_no_more(proxy, sidecar, agent, nodes):
    # The last test: the proxy leaves this node alone for a while.
    failures = proxy.counter("recording_failures")
    caller, line, call, invite = await recorded(sidecar, agent, n1=2, n2=1)
    line.send(line.reply(invite, 183, headers=["Require: 100rel", "RSeq: 1"], body=OTHER_SDP))
    await caller.expect(183)
    nodes[1].pause()
    try:
        line.send(line.reply(invite, 200))
        await caller.expect(200)
    finally:
        nodes[1].resume()
    assert proxy.counter("recording_failures") == failures + 1
    assert len(promises(proxy, call)) == 1
