"""What docs/rules/flows.md and docs/messages.md promise those who are asked and told by flows."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from pathlib import Path
from typing import Any

from signalbox.api.routing.v1 import routing_pb2
from signalbox.ivr.messages import HttpSender
from signalbox.ivr.outside.signing import signature
from signalbox.settings.outside import MessagesSettings, RequestsSettings
from support.http import service

DOCS = Path(__file__).parents[3] / "docs"
SECRET = "sb.acme.crm.x"


def block(page: str, language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)
    return str(found)


def test_a_service_can_check_signatures_with_the_function_of_the_page() -> None:
    names: dict[str, Any] = {"hashlib": hashlib, "hmac": hmac}
    exec(block("rules/flows.md", "python"), names)
    is_ours = names["is_ours"]
    body = '{"topic": "售后"}'.encode()
    header = signature(hashlib.sha256(SECRET.encode()).digest(), 1_769_999_999, body)
    assert header.startswith("t=1769999999,v1=")
    assert is_ours(SECRET, header, body)
    assert not is_ours(SECRET + "x", header, body)
    assert not is_ours(SECRET, header, body + b" ")
    assert not is_ours(SECRET, header.replace("1769999999", "1769999998"), body)


async def test_the_gateway_is_told_what_the_page_shows() -> None:
    shown = json.loads(block("messages.md", "json"))
    call = routing_pb2.FlowCall(call_id=shown["call_id"], tenant=shown["tenant"], number=shown["number"])
    async with service() as gateway:
        sender = HttpSender(MessagesSettings(sender="http", url=f"http://127.0.0.1:{gateway.port}/"))
        try:
            await sender.send(call, shown["sender"], shown["to"], shown["text"])
        finally:
            await sender.close()
    told = json.loads(gateway.asked[0].body)
    assert re.fullmatch("[0-9a-f]{32}", shown["id"])
    assert re.fullmatch("[0-9a-f]{32}", told.pop("id"))
    assert told == {name: value for name, value in shown.items() if name != "id"}


def test_limits_are_those_of_the_pages() -> None:
    requests, messages = RequestsSettings(), MessagesSettings()
    flows, page = (DOCS / "rules/flows.md").read_text(), (DOCS / "messages.md").read_text()
    assert f"at most {requests.concurrent_per_tenant} requests of a tenant" in flows
    assert f"which takes {messages.timeout_s:g} s at most" in flows
    assert f"({messages.timeout_s:g} s) at most" in page
    assert messages.sender == "none"
