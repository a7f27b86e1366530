"""TCP on either side, and calls that change the transport: two Record-Route entries, both signed."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from support.sidecar_fake import branch, dial, stage
from support.sip_agent import SDP, Agent, Message, record_route
from support.wait import until


class TcpAgent(Agent):
    """An agent on one TCP connection, or listening for the proxy's."""

    async def start(self, host="127.0.0.1"):
        self._server = await asyncio.start_server(self._serve, host, 0)
        self.host, self.port = self._server.sockets[0].getsockname()
        self._writers = []
        self._tasks = set()
        return self

    async def connect(self):
        reader, writer = await asyncio.open_connection(*self.proxy)
        self._writers.append(writer)
        task = asyncio.create_task(self._read(reader))
        self._tasks.add(task)
        return self

    async def _serve(self, reader, writer):
        self._writers.append(writer)
        self._tasks.add(asyncio.current_task())
        await self._read(reader)

    async def _read(self, reader):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(Message(head).get("Content-Length"))
                self.datagram_received(head + await reader.readexactly(length), self.proxy)

    def send(self, text, to=None):
        self._writers[-1].write(text.encode())

    def request(self, call, method, **more):
        text = super().request(call, method, **more).replace("SIP/2.0/UDP", "SIP/2.0/TCP", 1)
        return text.replace(f":{self.port}>\r\nMax", f":{self.port};transport=tcp>\r\nMax")

    def reply(self, request, code, phrase="-", **more):
        text = super().reply(request, code, phrase, **more)
        return text.replace(f"<sip:line@{self.host}:{self.port}>", f"<sip:line@{self.host}:{self.port};transport=tcp>")

    async def stop(self):
        self._server.close()
        for writer in self._writers:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        await asyncio.gather(*self._tasks, return_exceptions=True)


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
