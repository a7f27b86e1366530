"""The caller gives up: while lines ring, while the question is out, and within the INVITE's own round trip."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from support.scenario import RINGS, Part, play
from support.site import LINE_HOST, kinds

if TYPE_CHECKING:
    from support.sip_agent import Call, Message
    from support.wire import Phone

CANCELS = Part(Path(__file__).parent / "uac_cancels.xml")
RACES = 50


async def test_while_a_line_rings_it_is_cancelled(site, tmp_path):
    call = await play(site, tmp_path, CANCELS, [RINGS], anchored=True)
    assert call.caller.ladder == ["→INVITE", "←100", "←180", "→CANCEL", "←200", "←487", "→ACK"]
    line = call.lines[0]
    assert line.ladder == ["←INVITE", "→180", "←CANCEL", "→200", "→487", "←ACK"]
    assert [e.failed.code for e in call.events if e.HasField("failed")] == [487]


async def test_while_several_lines_ring_all_are_cancelled(site, caller, phone):
    lines = [await phone(LINE_HOST) for _ in range(3)]
    call = caller.call(site.number([line.address for line in lines]))
    caller.invite(call, body=caller.sdp())
    invites = [await line.expect("INVITE") for line in lines]
    for line, invite in zip(lines, invites, strict=True):
        line.send(line.reply(invite, 180, "Ringing", tag=f"t{line.port}"))
        await caller.expect(180)
    caller.send(caller.request(call, "CANCEL"))
    await caller.expect(200, method="CANCEL")
    for line, invite in zip(lines, invites, strict=True):
        line.send(line.reply(await line.expect("CANCEL"), 200, "OK"))
        line.send(line.reply(invite, 487, "Request Terminated", tag=f"t{line.port}"))
        await line.expect("ACK")
    caller.ack_failure(call, await caller.expect(487))


async def test_while_the_question_is_out_nobody_rings(site, caller, line):
    call = caller.call(site.number([line.address]))
    with site.paused("edge-1"):
        caller.invite(call, body=caller.sdp())
        await caller.expect(100)
        caller.send(caller.request(call, "CANCEL"))
        await caller.expect(200, method="CANCEL")
        caller.ack_failure(call, await caller.expect(487))
    events = await site.events_until(call.call_id, "failed")
    assert kinds(events) == ["asked", "failed"]
    assert events[-1].failed.code == 487
    # The decision that comes now finds no question; nothing of it may reach the line.
    assert not line.seen


async def test_within_the_round_trip_of_the_invite_every_call_ends_for_good(site, caller, line):
    """The CANCEL may be read before its INVITE, or meet the decision; whatever happens, the caller hears the end."""
    number = site.number([line.address])
    answering = asyncio.create_task(ring_until_cancelled(line))
    for _ in range(RACES):
        call = caller.call(number)
        caller.invite(call, body=caller.sdp())
        caller.ack_failure(call, await cancel(caller, call))
        assert not [message for message in caller.inbox if message.code == 200 and message.method == "INVITE"]
    answering.cancel()
    await asyncio.wait([answering])


async def cancel(caller: Phone, call: Call) -> Message:
    """CANCEL at once; while nothing is heard of INVITE or CANCEL they are sent again, as over UDP they are (RFC 3261
    section 17.1). Returns the 487."""
    text = caller.request(call, "CANCEL")
    caller.send(text)
    for _ in range(8):
        with contextlib.suppress(AssertionError):
            return await caller.expect(487, within=0.5)
        heard = {message.method for message in caller.seen if message.get("Call-ID") == call.call_id}
        if "INVITE" not in heard:
            caller.invite(call, body=caller.sdp())
        if "CANCEL" not in heard:
            caller.send(text)
    raise AssertionError(f"never heard the end: {[m for m in caller.seen if m.get('Call-ID') == call.call_id]}")


async def ring_until_cancelled(line: Phone) -> None:
    """Ring, and end every call that is cancelled."""
    while True:
        invite = await line.expect("INVITE", within=60)
        line.send(line.reply(invite, 180, "Ringing"))
        line.send(line.reply(await line.expect("CANCEL"), 200, "OK"))
        line.send(line.reply(invite, 487, "Request Terminated"))
