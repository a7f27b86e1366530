"""What a line is told of the caller and of the number that was called."""

from __future__ import annotations

import pytest
from support.site import CALLER_HOST, LineAt

ASSERTED = "<sip:+8613800001234@192.0.2.1>"
IDENTITY = [f"P-Asserted-Identity: {ASSERTED}", "Privacy: id"]


async def ring(site, caller, line, *, remove_identity=False, headers=()):
    """Call, and refuse at the line; returns the number, the caller's dialog and the INVITE as the line got it."""
    number = site.number([LineAt(line.address, remove_identity=remove_identity)])
    call = caller.call(number)
    caller.invite(call, headers=headers, body=caller.sdp())
    invite = await line.expect("INVITE")
    line.send(line.reply(invite, 486, "Busy Here"))
    caller.ack_failure(call, await caller.expect(486))
    return number, call, invite


async def test_the_asserted_identity_is_passed_to_a_trusted_line(site, caller, line):
    _, _, invite = await ring(site, caller, line, headers=IDENTITY)
    assert invite.all("P-Asserted-Identity") == [ASSERTED]
    assert invite.all("Privacy") == ["id"]


async def test_the_asserted_identity_is_kept_from_a_line_outside_the_trust_domain(site, caller, line):
    headers = [*IDENTITY, "P-Preferred-Identity: <sip:1@192.0.2.1>"]
    _, _, invite = await ring(site, caller, line, remove_identity=True, headers=headers)
    assert not invite.all("P-Asserted-Identity")
    assert not invite.all("P-Preferred-Identity")


async def test_diversion_and_history_name_the_service_number_and_from_stays_the_callers(site, caller, line):
    number, call, invite = await ring(site, caller, line)
    assert invite.get("From") == call.local
    assert f"13800001234@{CALLER_HOST}" in invite.get("From")
    (diversion,) = invite.all("Diversion")
    assert diversion.startswith(f"<sip:{number}@")
    history = invite.get("History-Info")
    assert history.startswith(f"<sip:{number}@")
    assert f"<{invite.uri}>;index=1.1" in history


async def test_an_earlier_diversion_stays_below_ours(site, caller, line):
    earlier = "<sip:4009999999@192.0.2.1>;reason=no-answer;counter=1"
    number, _, invite = await ring(site, caller, line, headers=[f"Diversion: {earlier}"])
    newest, *rest = invite.all("Diversion")
    assert newest.startswith(f"<sip:{number}@")
    assert rest == [earlier]


@pytest.mark.parametrize("user", ["anonymous", "%E5%BC%A0", "o'brien"])
async def test_any_callers_name_reaches_the_line_as_it_was(site, caller, line, user):
    number = site.number([line.address])
    call = caller.call(number)
    call.local = call.local.replace("<sip:13800001234@", f'"A \\"quoted\\" name" <sip:{user}@')
    caller.invite(call, body=caller.sdp())
    invite = await line.expect("INVITE")
    assert invite.get("From") == call.local
    line.send(line.reply(invite, 486, "Busy Here"))
    caller.ack_failure(call, await caller.expect(486))
    events = await site.events_until(call.call_id, "failed")
    assert events[0].asked.calling == user
