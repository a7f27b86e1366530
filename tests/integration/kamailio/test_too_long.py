"""Headers that the events of a call keep: as long as they may be they are kept whole, longer ones are refused."""

from __future__ import annotations

import shutil

import pytest
from support.kamailio import TOKEN, Kamailio
from support.sidecar_fake import FakeSidecar, branch, dial, reject, stage
from support.sip_agent import SDP
from support.wait import until

KIB = 1024


def padded(text, header, size):
    """The message with a parameter in this header that makes its value so long."""
    before, _, rest = text.partition(f"\r\n{header}: ")
    value, _, rest = rest.partition("\r\n")
    value += ";p=" + "x" * (size - len(value) - 3)
    return f"{before}\r\n{header}: {value}\r\n{rest}"


def record_routes(size):
    """Record-Route headers with values that are so long together, separators included."""
    entry = "<sip:192.0.2.77;lr;p={}>"
    count = size // KIB
    return [f"Record-Route: {entry.format('x' * (KIB - 1 - len(entry) + 2))}" for _ in range(count)]


def long_invite(caller, call, sizes):
    routes = record_routes(sizes.get("Record-Route", 0))
    text = caller.request(call, "INVITE", headers=routes, body=SDP)
    for header, size in sizes.items():
        text = padded(text, header, size) if header != "Record-Route" else text
    return text


async def ringing(sidecar, agent, sizes):
    """A call whose INVITE has headers of these sizes, as caller and line see it."""
    caller, line = await agent(), await agent()
    sidecar.decide = lambda question: dial(stage(branch(line.port), ring_ms=1500))
    call = caller.call()
    caller.send(long_invite(caller, call, sizes))
    return caller, line, call, await line.expect("INVITE")


async def test_what_is_as_long_as_it_may_be_is_in_the_event_and_ends_the_call(proxy, sidecar, agent):
    lost = proxy.counter("events_lost")
    most = {"From": KIB, "To": KIB, "Contact": KIB, "Record-Route": 8 * KIB}
    caller, line, call, invite = await ringing(sidecar, agent, most)
    answer = line.reply(invite, 200, tag="t" * 128, headers=record_routes(7 * KIB), body=SDP)
    line.send(padded(answer, "Contact", KIB))
    reply = await caller.expect(200)
    events = await proxy.events_until(call, "connected")
    (connected,) = [e.connected for e in events if e.HasField("connected")]
    assert connected.from_header == reply.get("From")
    assert connected.to_header == reply.get("To")
    assert len(connected.to_header) > KIB + 128
    assert len(connected.caller_contact) == len(connected.line_contact) == KIB
    assert connected.record_route.count("192.0.2.77") == 15
    assert len(connected.record_route) > 15 * KIB
    caller.answered(call, reply)
    call.local = reply.get("From")
    call.routes = [route for route in call.routes if "192.0.2.77" not in route]
    caller.send(caller.in_dialog(call, "BYE", headers=[f"X-Signalbox-End: {TOKEN}"]))
    line.send(line.reply(await line.expect("BYE"), 200))
    await caller.expect(200, method="BYE")
    await proxy.events_until(call, "hung_up")
    assert proxy.counter("events_lost") == lost


@pytest.mark.parametrize(
    ("header", "size"),
    [("From", KIB + 1), ("To", 7 * KIB), ("Contact", KIB + 1), ("Contact", 7 * KIB), ("Contact", 30 * KIB)]
    + [("Record-Route", size * KIB) for size in (9, 30)],
)
async def test_a_call_that_could_not_be_ended_is_refused(proxy, sidecar, agent, header, size):
    caller = await agent()
    call, rows, counted = caller.call(), len(proxy.rows()), proxy.counter("too_long")
    caller.send(long_invite(caller, call, {header: size}))
    caller.ack_failure(call, await caller.expect(513))
    assert not sidecar.questions
    assert len(proxy.rows()) == rows
    assert proxy.counter("too_long") == counted + 1


@pytest.mark.parametrize("size", [34, 60])
async def test_what_no_buffer_holds_goes_nowhere(proxy, sidecar, agent, size):
    """Kamailio 6.0 reads no message of more than 32,767 bytes; 5.6 has it refused."""
    caller = await agent()
    rows = len(proxy.rows())
    caller.send(long_invite(caller, caller.call(), {"Record-Route": size * KIB}))
    caller.send(caller.request(caller.call(), "REGISTER"))
    await caller.expect(405, method="REGISTER")
    assert not sidecar.questions
    assert len(proxy.rows()) == rows
    assert {message.code for message in caller.seen} <= {405, 513}


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
@pytest.mark.parametrize("party", ["caller", "line"])
async def test_in_a_dialog_too_the_session_goes_on(proxy, answered, method, party):
    caller, line, call, invite = await answered()
    sender, own, other = (caller, call, line) if party == "caller" else (line, line.dialog(invite), caller)
    sender.send(padded(sender.in_dialog(own, method, body=SDP), "Contact", 7 * KIB))
    refusal = await sender.expect(513, method=method)
    if method == "INVITE":
        sender.ack_failure(own, refusal)
    sender.send(sender.in_dialog(own, "INFO"))
    other.send(other.reply(await other.expect("INFO"), 200))
    await sender.expect(200, method="INFO")
    assert not [e for e in proxy.events(call) if e.HasField("dialog_changed") and e.dialog_changed.contact]


@pytest.mark.parametrize(
    ("header", "size"), [("From", 2 * KIB), ("To", 2 * KIB), ("Contact", 7 * KIB), ("Record-Route", 20 * KIB)]
)
async def test_a_line_that_answers_so_has_not_answered(proxy, sidecar, agent, header, size):
    caller, line, call, invite = await ringing(sidecar, agent, {})
    line.send(line.reply(invite, 180))
    await caller.expect(180)
    counted = proxy.counter("too_long")
    routes = record_routes(size) if header == "Record-Route" else []
    answer = line.reply(invite, 200, headers=routes, body=SDP)
    line.send(answer if routes else padded(answer, header, size))
    caller.ack_failure(call, await caller.expect(480))
    assert proxy.counter("too_long") == counted + 1
    events = await proxy.events_until(call, "failed")
    assert [e.line_failed.code for e in events if e.HasField("line_failed")] == [408]
    line.send(line.reply(await line.expect("CANCEL"), 200))
    line.send(line.reply(invite, 487))
    await until(lambda: proxy.transactions() == 0, timeout_s=15)


async def test_any_other_reply_may_be_long(proxy, sidecar, agent):
    caller, line, call, invite = await ringing(sidecar, agent, {})
    line.send(padded(line.reply(invite, 302, "Moved " + "x" * 7000), "Contact", 7 * KIB))
    caller.ack_failure(call, await caller.expect(480))
    events = await proxy.events_until(call, "failed")
    assert [(e.line_failed.code, len(e.line_failed.phrase)) for e in events if e.HasField("line_failed")] == [
        (302, 256)
    ]


async def test_of_a_long_reason_the_beginning_is_told(proxy, answered):
    caller, line, call, _ = await answered()
    caller.send(caller.in_dialog(call, "BYE", headers=['Reason: Q.850;cause=16;text="' + "x" * 30_000 + '"']))
    line.send(line.reply(await line.expect("BYE"), 200))
    events = await proxy.events_until(call, "hung_up")
    assert events[-1].hung_up.cause.startswith('Q.850;cause=16;text="xxx')
    assert len(events[-1].hung_up.cause) == 256


async def test_an_event_that_cannot_be_written_is_counted(sidecar, agent):
    with Kamailio() as proxy:
        caller = await agent(proxy)
        fake = await FakeSidecar(proxy, lambda question: reject(404, "Not Found")).start()
        events = proxy.directory / "events"
        shutil.rmtree(events)
        proxy.rpc("flatstore.k_rotate")
        call = caller.call()
        caller.invite(call)
        caller.ack_failure(call, await caller.expect(404))
        await until(lambda: proxy.counter("events_lost") >= 2)
        assert "event_lost call_id=edge-1-" in proxy.log.read_text()
        fake.close()
