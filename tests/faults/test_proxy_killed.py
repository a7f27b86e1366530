"""A proxy dies with calls up, and comes back."""

from __future__ import annotations

from support.site import LINE_HOST, kinds
from support.wire import connect

CALLS = 20


async def test_every_running_call_can_be_ended_through_the_other_proxy(site, phone):
    caller, line = await phone(), await phone(LINE_HOST)
    number = site.number([line.address])
    running = [await connect(caller, line, number) for _ in range(CALLS)]
    with site.killed("kamailio-1"):
        caller.outbound = line.outbound = site.sip(2)
        for connected in running:
            await connected.hang_up()
        for connected in running:
            assert "hung_up" in kinds(await site.events_until(connected.call.call_id, "hung_up"))


async def test_a_proxy_that_comes_back_is_given_everything_again(site, caller, line):
    number = site.number([line.address], anchored=True)
    version = site.rpc(1, "htable.get", "cfg", "version")["item"]["value"]
    with site.killed("kamailio-1"):
        pass
    site.cluster.wait_ready("kamailio-1", "edge-1")
    assert site.rpc(1, "htable.get", "cfg", "version")["item"]["value"] == version
    connected = await connect(caller, line, number)
    assert await connected.both_hear()
    await connected.hang_up()
    assert kinds(await site.events_until(connected.call.call_id, "hung_up"))[-1] == "hung_up"


async def test_a_running_call_outlives_the_restart_of_its_proxy(site, caller, line):
    connected = await connect(caller, line, site.number([line.address], anchored=True))
    with site.killed("kamailio-1"):
        pass
    site.cluster.wait_ready("kamailio-1", "edge-1")
    await connected.reinvite()
    assert await connected.both_hear()
    await connected.hang_up()
