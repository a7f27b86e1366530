"""Requests of flows: a service of the tenant decides, and is told who calls; and messages, handed to a gateway."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import TYPE_CHECKING

from aiohttp import web
from support import http
from support.phone import CALLER
from support.voice_site import end, node

if TYPE_CHECKING:
    from signalbox.api.types.v1.flows_pb2 import FlowNode
    from support.phone import Phone, Talk
    from support.voice_site import VoiceSite


def nodes(port: int, key: str) -> tuple[FlowNode, ...]:
    """An order's number is keyed, the service is asked for its state, and the caller is sent what it says."""
    return (
        node(
            "order", "menu", prompt="question", variable="order", entered="ask", maxDigits=4,
            noInput="nothing", noMatch="nothing",
        ),
        node(
            "ask", "request", url=f"http://{http.HOST}:{port}/orders", apiKey=key, send=["caller", "order"],
            receive=[{"key": "customer", "variable": "customer"}], branchKey="state", timeout="2s",
            branches=[{"values": ["delivered"], "next": "tell"}], otherwise="english", failed="nothing",
        ),
        node("tell", "message", sender="106900001", text="{customer}: {order}", next="goodbye", failed="wrong-key"),
        *(end(id=id, prompt=id) for id in ("goodbye", "english", "nothing", "wrong-key")),
    )  # fmt: skip


async def ordered(site: VoiceSite, caller: Phone, number: str) -> Talk:
    """Key an order's number, and listen to the end."""
    talk = await caller.call(number, site.sip())
    await talk.answered()
    await talk.hears(site.prompts["question"])
    await talk.press("4711")
    await talk.over()
    return talk


async def test_the_answer_of_a_service_decides_and_what_it_said_is_sent(site: VoiceSite, caller: Phone) -> None:
    key, secret = site.api_key()
    async with http.service() as service, http.service(port=site.gateway_port) as gateway:

        async def answer() -> web.StreamResponse:
            return web.json_response({"state": "delivered", "customer": "Li Lei"})

        service.answer = answer
        talk = await ordered(site, caller, number := site.flow(*nodes(service.port, key)))
    assert talk.voice.missing(site.prompts["goodbye"]) == []
    assert await site.steps(talk.call_id) == ["order: digits 4711", "ask: done", "tell: done", "goodbye: done"]
    (asked,) = service.asked
    told = json.loads(asked.body)
    assert (told["number"], told["node"]) == (number, "ask")
    assert told["variables"] == {"caller": CALLER, "order": "4711"}
    time, _, signature = asked.headers["Signalbox-Signature"].removeprefix("t=").partition(",v1=")
    signed = hmac.digest(hashlib.sha256(secret.encode()).digest(), time.encode() + b"." + asked.body, "sha256")
    assert signature == signed.hex()
    (sent,) = (json.loads(one.body) for one in gateway.asked)
    assert {name: sent[name] for name in ("tenant", "number", "sender", "to", "text")} == {
        "tenant": "acme", "number": number, "sender": "106900001", "to": CALLER, "text": "Li Lei: 4711",
    }  # fmt: skip
    assert sent["call_id"] == site.id_of(talk.call_id)


async def test_an_answer_without_a_branch_goes_on_otherwise(site: VoiceSite, caller: Phone) -> None:
    async with http.service() as service:
        talk = await ordered(site, caller, site.flow(*nodes(service.port, site.api_key()[0])))
    assert talk.voice.missing(site.prompts["english"]) == []


async def test_a_service_that_is_not_there_fails(site: VoiceSite, caller: Phone) -> None:
    async with http.service() as service:
        port = service.port
    talk = await ordered(site, caller, site.flow(*nodes(port, site.api_key()[0])))
    assert talk.voice.missing(site.prompts["nothing"]) == []
    assert await site.steps(talk.call_id) == ["order: digits 4711", "ask: failed", "nothing: done"]


async def test_a_message_that_no_gateway_takes_fails(site: VoiceSite, caller: Phone) -> None:
    tell = node("tell", "message", sender="106900001", text="hello", next="goodbye", failed="wrong-key")
    ends = [end(id=id, prompt=id) for id in ("goodbye", "wrong-key")]
    talk = await caller.call(site.flow(tell, *ends), site.sip())
    await talk.refused()
    assert talk.voice.missing(site.prompts["wrong-key"]) == []
    assert await site.steps(talk.call_id) == ["tell: failed", "wrong-key: done"]
