"""Whatever comes over the wire, the proxy lives, answers, and passes nothing malformed on."""

from __future__ import annotations

import asyncio
import socket

import pytest
from signalbox_local import probes
from support.corpus import MESSAGES, needs_corpus
from support.site import CALLER_HOST
from support.wire import connect

ROUTING = ("routing-1", "routing-2")


def refused(site) -> float:
    """Questions that were malformed when they reached the sidecar or the routing service."""
    at_routing = sum(site.metric(name, "signalbox_routing_questions_refused_total") for name in ROUTING)
    edge = [
        site.metric("edge-1", "signalbox_edge_answers_total", source=source) for source in ("malformed", "unusable")
    ]
    return at_routing + sum(edge) + site.metric("edge-1", "signalbox_edge_unreadable_total")


def answers_options(site) -> None:
    """Raises NotReadyError if the proxy does not say 200 to OPTIONS."""
    probes.sip("{}:{}".format(*site.sip()))


@needs_corpus
async def test_the_torture_corpus_does_no_harm(site, caller, line, capsys):
    running = await connect(caller, line, site.number([line.address]))
    pid, before = site.cluster.pid("kamailio-1"), refused(site)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trunk:
        # Most of the messages name no port in Via, so that replies go to 5060.
        trunk.bind((CALLER_HOST, 5060))
        for file in MESSAGES:
            trunk.sendto(file.read_bytes(), site.sip())
            await asyncio.to_thread(answers_options, site)
    assert site.cluster.pid("kamailio-1") == pid
    assert refused(site) == before
    await running.reinvite()
    await running.hang_up()
    await site.events_until(running.call.call_id, "hung_up")
    assert not capsys.readouterr().err, "events that cannot be read"


REFUSED = {
    "a quote in the number": {"called": '400"1234'},
    "a control character in the number": {"called": "400\x011234"},
    "a line feed in the number": {"called": "400\n1234"},
    "a very long number": {"called": "4" * 300},
    "a quote in the caller's user": {"user": '138"0000'},
    "a pipe in the caller's user": {"user": "138|0000"},
    "a control character in the caller's user": {"user": "138\x7f0000"},
    "a space in the Call-ID": {"call_id": "a b"},
    "a control character in the Call-ID": {"call_id": "a\x08b"},
    "a very long Call-ID": {"call_id": "a" * 2000},
    "a pipe in the tag": {"tag": "a|b"},
    "a quote in the tag": {"tag": 'a"b'},
}
TAKEN = {
    "quotes and backslashes in the display name": {"display": r'"a \"b\" \\ {\"v\":1}" '},
    "another script in the display name": {"display": '"张三" '},
    "quotes in the Call-ID": {"call_id": r'a"b\c{}<>/[]?`'},
    "braces in a header": {"header": 'X-Note: "},{"i":1,"l":1} %s $var(x) \\'},
    "a control character in a header": {"header": "X-Note: a\x01\x02b"},
    "a very long header": {"header": f"X-Note: {'a' * 8000}"},
    "percent signs in the caller's user": {"user": "%22%0d%0a"},
    "apostrophes in the caller's user": {"user": "o'brien(1)"},
}


def hostile(caller, *, called="4009999999", user="13800001234", call_id="", tag="", display="", header="X-Note: -"):
    """An INVITE to nobody's number with one part as given; returns its dialog and its text."""
    call = caller.call(called)
    call.local = f"{display}<sip:{user}@{caller.host}:{caller.port}>;tag={tag or call.branch}"
    call.call_id = f"{call_id}{call.branch}" if call_id else call.call_id
    return call, caller.request(call, "INVITE", headers=[header], body=caller.sdp())


@pytest.mark.parametrize("part", REFUSED)
async def test_what_the_grammar_forbids_goes_no_further(site, caller, part):
    questions, before = site.metric("edge-1", "signalbox_edge_questions_total"), refused(site)
    _, text = hostile(caller, **REFUSED[part])
    caller.send(text)
    await asyncio.to_thread(answers_options, site)
    assert {message.code for message in caller.seen} <= {400, 404, 484}
    assert site.metric("edge-1", "signalbox_edge_questions_total") == questions
    assert refused(site) == before


@pytest.mark.parametrize("part", TAKEN)
async def test_what_the_grammar_allows_is_asked_and_told_as_it_was(site, caller, part):
    before = refused(site)
    call, text = hostile(caller, **TAKEN[part])
    caller.send(text)
    caller.ack_failure(call, await caller.expect(404))
    events = await site.events_until(call.call_id, "failed")
    assert events[0].asked.sip_call_id == call.call_id
    assert events[0].asked.calling == TAKEN[part].get("user", "13800001234")
    assert refused(site) == before
