"""TCP on either side, and calls that change the transport: two Record-Route entries, both signed."""

from __future__ import annotations

import pytest
from support.sidecar_fake import branch, dial, stage
from support.sip_agent import SDP, Agent, record_route
from support.sip_agent_tcp import TcpAgent
from support.wait import until


@pytest.mark.parametrize(("caller_tcp", "line_tcp"), [(True, True), (True, False), (False, True)])
async def test_a_call_over_tcp(proxy, sidecar, caller_tcp, line_tcp):
    caller = await (TcpAgent if caller_tcp else Agent)((proxy.host, proxy.port)).start()
    line = await (TcpAgent if line_tcp else Agent)((proxy.host, proxy.port)).start()
    if caller_tcp:
        await caller.connect()
    transport = "tcp" if line_tcp else "udp"
    sidecar.decide = lambda question: dial(stage(branch(line.port, transport=transport)))
    call = caller.call()
    caller.invite(call)
    invite = await line.expect("INVITE")
    entries = record_route(invite)
    assert len(entries) == (1 if caller_tcp == line_tcp else 2)
    assert all(";sg=" in entry for entry in entries)
    line.send(line.reply(invite, 200, body=SDP))
    caller.answered(call, await caller.expect(200))
    caller.send(caller.in_dialog(call, "ACK"))
    await line.expect("ACK")
    dialog = line.dialog(invite)
    line.send(line.in_dialog(dialog, "INFO"))
    info = await caller.expect("INFO")
    caller.send(caller.reply(info, 200))
    await line.expect(200, method="INFO")
    caller.send(caller.in_dialog(call, "BYE"))
    bye = await line.expect("BYE")
    line.send(line.reply(bye, 200))
    await caller.expect(200, method="BYE")
    await until(lambda: proxy.transactions() == 0)
    for one in (caller, line):
        if isinstance(one, TcpAgent):
            await one.stop()
        else:
            one.close()
