"""What a line is told of the caller and of the service number."""

from __future__ import annotations

import pytest
from support.sidecar_fake import branch, dial, stage
from support.sip_agent import SDP


async def invite_with(sidecar, agent, headers, flags="-"):
    """The INVITE that a line gets when the caller sent these headers."""
    caller, line = await agent(), await agent()
    sidecar.decide = lambda question: dial(stage(branch(line.port, flags=flags)))
    call = caller.call()
    caller.invite(call, headers=headers)
    invite = await line.expect("INVITE")
    line.send(line.reply(invite, 486))
    caller.ack_failure(call, await caller.expect(486))
    return invite


PRIVACY = "Privacy: none"
IDENTITIES = [
    "P-Asserted-Identity: <sip:1380@h>",
    "P-Preferred-Identity: <sip:1390@h>",
    "Remote-Party-ID: <sip:1@h>",
    PRIVACY,
]


async def test_identity_is_passed_as_it_came(sidecar, agent):
    invite = await invite_with(sidecar, agent, IDENTITIES)
    assert invite.get("P-Asserted-Identity") == "<sip:1380@h>"
    assert invite.get("Privacy") == "none"


async def test_identity_is_taken_out_for_a_line_outside_the_trust_domain(sidecar, agent):
    invite = await invite_with(sidecar, agent, IDENTITIES, flags="i")
    assert not invite.all("P-Asserted-Identity")
    assert not invite.all("P-Preferred-Identity")
    assert "sip:13800001234@" in invite.get("From")


async def test_identity_stays_hidden_for_all_of_the_dialog(answered_hidden):
    caller, line, call, invite = answered_hidden
    for method in ("INFO", "UPDATE", "BYE"):
        caller.send(caller.in_dialog(call, method, headers=IDENTITIES))
        assert hidden(await line.expect(method))
    assert hidden(invite)
    dialog = line.dialog(invite)
    line.send(line.in_dialog(dialog, "INFO", headers=IDENTITIES))
    request = await caller.expect("INFO")
    assert not hidden(request)
    caller.send(caller.reply(request, 200, headers=IDENTITIES))
    assert hidden(await line.expect(200, method="INFO"))


@pytest.fixture
async def answered_hidden(sidecar, agent):
    """A call that was answered by a line with flag i: caller, line, the caller's dialog, the line's INVITE."""
    caller, line = await agent(), await agent()
    sidecar.decide = lambda question: dial(stage(branch(line.port, flags="i")))
    call = caller.call()
    caller.invite(call, headers=IDENTITIES)
    invite = await line.expect("INVITE")
    line.send(line.reply(invite, 200, body=SDP))
    caller.answered(call, await caller.expect(200))
    caller.send(caller.in_dialog(call, "ACK", headers=IDENTITIES))
    assert hidden(await line.expect("ACK"))
    return caller, line, call, invite


def hidden(message):
    return not any(message.all(header.partition(":")[0]) for header in IDENTITIES if header != PRIVACY)


async def test_the_service_number_is_told_as_who_diverted(proxy, sidecar, agent):
    invite = await invite_with(sidecar, agent, [])
    assert invite.all("Diversion") == ["<sip:4001234567@127.0.0.1>;reason=unconditional;counter=1"]
    assert invite.all("History-Info") == [
        f"<sip:4001234567@127.0.0.1>;index=1, <{invite.uri}>;index=1.1;mp=1",
    ]


async def test_older_diversions_stay_below_ours(sidecar, agent):
    old = ["Diversion: <sip:1@h>;reason=no-answer", "History-Info: <sip:1@h>;index=1, <sip:400@h>;index=1.1"]
    invite = await invite_with(sidecar, agent, old)
    assert invite.all("Diversion") == [
        "<sip:4001234567@127.0.0.1>;reason=unconditional;counter=1", "<sip:1@h>;reason=no-answer"
    ]  # fmt: skip
    assert invite.all("History-Info")[0] == "<sip:1@h>;index=1, <sip:400@h>;index=1.1"
    assert invite.all("History-Info")[1].startswith("<sip:4001234567@127.0.0.1>;index=1.1.1, <sip:1001@")
    assert invite.all("History-Info")[1].endswith(";index=1.1.1.1;mp=1.1.1")


@pytest.mark.parametrize(
    ("headers", "forwards"),
    [
        ([], 0),
        (["Diversion: <sip:1@h>"], 1),
        (["Diversion: <sip:1@h>, <sip:2@h>;reason=user-busy", "Diversion: <sip:3@h>"], 3),
        (["History-Info: <sip:1@h>;index=1"], 0),
        (["History-Info: <sip:1@h>;index=1, <sip:2@h>;index=1.1", "History-Info: <sip:3@h>;index=1.1.1"], 2),
        (["Diversion: <sip:1@h>", "History-Info: <sip:1@h>;index=1, <sip:2@h>;index=1.1, <sip:3@h>;index=1.2"], 2),
        (["Diversion: nonsense"], 0),
    ],
    ids=str,
)
async def test_forwards_before_us_are_counted(sidecar, agent, headers, forwards):
    caller = await agent()
    call = caller.call()
    caller.invite(call, headers=headers)
    caller.ack_failure(call, await caller.expect(404))
    assert sidecar.questions[0].raw["dv"] == forwards


async def test_a_cursor_goes_to_its_worker_only_and_none_comes_from_outside(proxy, sidecar, agent):
    caller, worker, line = await agent(), await agent(), await agent()
    own = branch(worker.port, line="ivr", cursor="c" * 500 + "-_09")
    sidecar.decide = lambda question: dial(stage(own, branch(line.port)))
    forged = ["X-Signalbox-Cursor: forged", "x-signalbox-cursor: again"]
    call = caller.call()
    caller.invite(call, headers=forged)
    invite, other = await worker.expect("INVITE"), await line.expect("INVITE")
    assert invite.all("X-Signalbox-Cursor") == ["c" * 500 + "-_09"]
    assert not other.all("X-Signalbox-Cursor")
    worker.send(worker.reply(invite, 200, headers=forged, body=SDP))
    reply = await caller.expect(200)
    assert not reply.all("X-Signalbox-Cursor")
    caller.answered(call, reply)
    caller.send(caller.in_dialog(call, "ACK", headers=forged))
    assert not (await worker.expect("ACK")).all("X-Signalbox-Cursor")
    caller.send(caller.in_dialog(call, "BYE", headers=forged))
    assert not (await worker.expect("BYE")).all("X-Signalbox-Cursor")


async def test_a_service_number_is_shown_to_no_line_in_any_message(proxy, sidecar, agent):
    caller, first, line = await agent(), await agent(), await agent()
    stages = [stage(branch(first.port)), stage(branch(line.port, line="line-2"))]
    sidecar.decide = lambda question: dial(*stages, an=1)
    call = caller.call(calling="4009998888")
    own = [header.replace("1380", "4009998888") for header in IDENTITIES]
    caller.invite(call, headers=own)
    refused = await first.expect("INVITE")
    first.send(first.reply(refused, 180))
    assert (await caller.expect(180)).all("From") == [call.local]
    first.send(first.reply(refused, 486))
    assert anonymous(await first.expect("ACK"), call)
    invite = await line.expect("INVITE")
    assert anonymous(refused, call)
    assert anonymous(invite, call)
    assert invite.all("Privacy") == ["id"]
    line.send(line.reply(invite, 200, body=SDP))
    reply = await caller.expect(200)
    assert reply.all("From") == [call.local]
    caller.answered(call, reply)
    caller.send(caller.in_dialog(call, "ACK", headers=own))
    assert anonymous(await line.expect("ACK"), call)
    for method in ("INFO", "UPDATE", "INVITE"):
        caller.send(caller.in_dialog(call, method, headers=own))
        request = await line.expect(method)
        assert anonymous(request, call)
        line.send(line.reply(request, 200))
        assert (await caller.expect(200, method=method)).all("From") == [call.local]
    caller.send(caller.in_dialog(call, "ACK", headers=own))
    assert anonymous(await line.expect("ACK"), call)
    line.send(line.in_dialog(line.dialog(invite), "BYE"))
    bye = await caller.expect("BYE")
    assert bye.get("To").partition(";")[2] == call.local.partition(";")[2]
    caller.send(caller.reply(bye, 200, headers=own))
    assert not hidden(bye) or hidden(await line.expect(200, method="BYE"))


async def test_a_cancelled_call_of_a_service_number_shows_it_to_no_line(proxy, sidecar, agent):
    caller, line = await agent(), await agent()
    sidecar.decide = lambda question: dial(stage(branch(line.port)), an=1)
    call = caller.call(calling="4009998888")
    caller.invite(call)
    invite = await line.expect("INVITE")
    line.send(line.reply(invite, 180))
    assert (await caller.expect(180)).all("From") == [call.local]
    caller.send(caller.request(call, "CANCEL"))
    assert anonymous(await line.expect("CANCEL"), call)
    line.send(line.reply(invite, 487))
    assert anonymous(await line.expect("ACK"), call)
    assert (await caller.expect(487)).all("From") == [call.local]


def anonymous(message, call):
    tag = call.local.partition(";")[2]
    shown = message.all("From") == [f'"Anonymous" <sip:anonymous@anonymous.invalid>;{tag}']
    return shown and hidden(message) and not any("4009998888" in value for _, value in message.headers)
