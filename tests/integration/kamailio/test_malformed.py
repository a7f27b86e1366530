"""Messages outside the grammar: 400 or silence, the sidecar sees nothing of them, and the proxy lives."""

from __future__ import annotations

import pytest
from support.corpus import CHANGES, MESSAGES, changed, needs_corpus
from support.sidecar_fake import branch, dial, stage
from support.wait import until


@pytest.mark.parametrize(("what", "by"), CHANGES, ids=ascii)
async def test_what_is_outside_the_grammar_asks_nobody(proxy, sidecar, agent, what, by):
    caller = await agent()
    rows = len(proxy.rows())
    caller.send(changed(caller, what, by))
    caller.send(caller.request(caller.call(), "REGISTER"))
    await caller.expect(405, method="REGISTER")
    assert not sidecar.questions
    assert len(proxy.rows()) == rows
    assert all(message.code in (400, 405, 416, 483, 505) for message in caller.seen)


@pytest.mark.parametrize("header", ['"a <sip:x@y>', "<sip:x@y", "", "\x01", "<sip:\x00@y>;tag=1"], ids=ascii)
async def test_a_broken_asserted_identity_is_asked_without(proxy, sidecar, agent, header):
    caller = await agent()
    call = caller.call()
    caller.invite(call, headers=[f"P-Asserted-Identity: {header}"])
    await until(lambda: any(message.code in (400, 404) for message in caller.seen))
    assert all(question.raw["pa"] == "" for question in sidecar.questions)


@pytest.mark.parametrize("tag", ["a|b", '"x\r\n INVITE|a"', "a\x01b", "x" * 200], ids=ascii)
async def test_a_reply_with_a_broken_tag_is_dropped(proxy, sidecar, agent, tag):
    caller, line = await agent(), await agent()
    sidecar.decide = lambda question: dial(stage(branch(line.port)))
    call = caller.call()
    caller.invite(call)
    invite = await line.expect("INVITE")
    line.send(line.reply(invite, 180, tag=tag))
    line.send(line.reply(invite, 486, "Busy | Here"))
    caller.ack_failure(call, await caller.expect(486))
    events = await proxy.events_until(call, "failed")
    assert [e.line_failed.phrase for e in events if e.HasField("line_failed")] == ["Busy | Here"]
    assert not [e for e in events if e.HasField("ringing")]
    await until(lambda: proxy.transactions() == 0)


async def test_a_reply_with_control_characters_in_its_phrase_is_dropped(proxy, sidecar, agent):
    caller, line = await agent(), await agent()
    sidecar.decide = lambda question: dial(stage(branch(line.port)))
    call = caller.call()
    caller.invite(call)
    invite = await line.expect("INVITE")
    malformed = proxy.counter("malformed")
    line.send(line.reply(invite, 180, "Ringing\x01|"))
    await until(lambda: proxy.counter("malformed") == malformed + 1)
    line.send(line.reply(invite, 486))
    caller.ack_failure(call, await caller.expect(486))


async def test_a_reply_to_nothing_is_dropped(proxy, agent):
    attacker, victim = await agent(), await agent()
    stray = proxy.counter("stray_replies")
    attacker.send(
        "SIP/2.0 200 OK\r\n"
        f"Via: SIP/2.0/UDP 127.0.0.1:{proxy.port};branch=z9hG4bKnothing\r\n"
        f"Via: SIP/2.0/UDP 127.0.0.1:{victim.port};branch=z9hG4bKvictim\r\n"
        "From: <sip:a@h>;tag=1\r\nTo: <sip:b@h>;tag=2\r\nCall-ID: stray\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
    )
    await until(lambda: proxy.counter("stray_replies") == stray + 1)
    assert not victim.seen


@needs_corpus
async def test_the_torture_corpus_leaves_the_proxy_alive_and_its_events_readable(proxy, sidecar, agent):
    caller = await agent()
    pids = proxy.pids()
    for path in MESSAGES:
        caller.send(path.read_bytes()[:60000])
        caller.send(caller.request(caller.call(), "REGISTER"))
        await caller.expect(405, method="REGISTER")
    assert proxy.pids() == pids
    await until(lambda: proxy.transactions() == 0, timeout_s=15)
    for row in proxy.rows():
        assert row.count("|") >= 9
