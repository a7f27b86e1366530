"""The caller gives up: while lines ring, while the question is out, and within the INVITE's own round trip."""

from __future__ import annotations

from pathlib import Path

from support.scenario import RINGS, Part, play
from support.site import LINE_HOST, kinds

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
    for _ in range(RACES):
        call = caller.call(number)
        caller.invite(call, body=caller.sdp())
        cancel = caller.request(call, "CANCEL")
        caller.send(cancel)
        ended = await _end(caller, line, call, cancel)
        assert ended == 487


async def _end(caller, line, call, cancel) -> int:
    """Play both sides of a cancelled call, the CANCEL sent again as long as it has no reply; returns the final code."""
    for _ in range(8):
        try:
            reply = await caller.expect(487, within=0.5)
        except AssertionError:
            for message in line.inbox[:]:
                line.inbox.remove(message)
                if message.uri and message.first.startswith("CANCEL"):
                    line.send(line.reply(message, 200, "OK"))
            if not [m for m in caller.seen if m.method == "CANCEL" and m.get("Call-ID") == call.call_id]:
                caller.send(cancel)
            continue
        caller.ack_failure(call, reply)
        return reply.code
    raise AssertionError(f"no final reply: {caller.seen[-5:]} {line.seen[-5:]}")
