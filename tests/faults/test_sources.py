"""Numbers that nobody has, and callers whom nobody knows."""

from __future__ import annotations

import time

import pytest
from support.site import STRANGER_HOST, eventually, kinds

METHODS = ["INVITE", "REGISTER", "MESSAGE", "SUBSCRIBE"]


async def test_an_unknown_number_gets_404_at_once(site, caller):
    call = caller.call("4009999999")
    begun = time.monotonic()
    caller.invite(call, body=caller.sdp())
    reply = await caller.expect(404)
    assert reply.received_at - begun < 0.5
    caller.ack_failure(call, reply)
    events = await site.events_until(call.call_id, "failed")
    assert kinds(events) == ["asked", "decided", "failed"]
    assert (events[1].decided.action, events[1].decided.why) == ("reject", "number_unknown")


async def test_a_stranger_hears_nothing_and_is_counted(site, phone):
    stranger = await phone(STRANGER_HOST)
    before = site.counter(1, "unknown_sources")
    for method in METHODS:
        stranger.send(stranger.request(stranger.call("4009999999"), method))
    await eventually(lambda: site.counter(1, "unknown_sources") == before + len(METHODS), "every request counted")
    # What the proxy writes comes into the file by way of another process.
    await eventually(lambda: "unknown_source" in site.cluster.log("kamailio-1").read_text(), "it is in the log")
    assert not stranger.seen


@pytest.mark.parametrize("method", METHODS)
async def test_a_stranger_hears_403_if_so_set(site, phone, method):
    stranger = await phone(STRANGER_HOST, proxy=2)
    stranger.send(stranger.request(stranger.call("4009999999"), method))
    assert (await stranger.expect(403, method=method)).code == 403


async def test_a_request_other_than_invite_gets_405_from_the_proxy_itself(site, caller):
    caller.send(caller.request(caller.call("4009999999"), "MESSAGE"))
    assert "INVITE" in (await caller.expect(405, method="MESSAGE")).get("Allow")
