"""No proxy holds dialog state: when the one that set a call up is dead, any other serves its dialog."""

from __future__ import annotations

from support.site import kinds
from support.wire import connect


async def test_running_calls_go_on_through_the_other_proxy(site, caller, line):
    connected = await connect(caller, line, site.number([line.address], anchored=True))
    dead, survivor = site.sip(1), site.sip(2)
    assert all(f"<sip:{dead[0]}:{dead[1]};" in route for route in connected.call.routes + connected.dialog.routes)
    assert await connected.both_hear()
    with site.killed("kamailio-1"):
        caller.outbound = line.outbound = survivor
        invite = await connected.reinvite("sendonly")
        assert "a=sendonly" in invite.body
        await connected.reinvite()
        assert await connected.both_hear()
        await connected.hang_up()
        events = await site.events_until(connected.call.call_id, "hung_up")
        assert kinds(events).count("hung_up") == 1
    site.cluster.wait_ready()


async def test_both_proxies_may_serve_one_dialog(site, caller, line):
    """Trunks that spread requests over the proxies send each request of a dialog through another one."""
    connected = await connect(caller, line, site.number([line.address], anchored=True))
    for proxy in (2, 1, 2):
        caller.outbound = site.sip(proxy)
        await connected.reinvite()
    assert await connected.both_hear()
    line.outbound = site.sip(2)
    await connected.hang_up()
