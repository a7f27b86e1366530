"""Short messages of flows."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from pydantic import ValidationError
from signalbox.api.routing.v1 import routing_pb2
from signalbox.errors import ConfigurationError
from signalbox.ivr.messages import sender
from signalbox.ivr.ports import NotSentError
from signalbox.settings.outside import MessagesSettings
from structlog.testing import capture_logs
from support.http import HangUp, saying, server_tls, service
from support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from signalbox.ivr.messages import Sender

CALL = routing_pb2.FlowCall(call_id="c1", tenant="acme", number="4001234567", caller="13900001234", flow="main")
TEXT = "您拨打了 4001234567"


@asynccontextmanager
async def sending(**settings: Any) -> AsyncIterator[Sender]:
    made = sender(MessagesSettings(**settings))
    try:
        yield made
    finally:
        await made.close()


def gateway(port: int, **more: Any) -> Any:
    return sending(**{"sender": "http", "url": f"http://127.0.0.1:{port}/messages", **more})


async def test_without_a_gateway_no_message_is_sent() -> None:
    async with sending() as sends:
        with pytest.raises(NotSentError, match="no gateway is set"):
            await sends.send(CALL, "106900001", "13900001234", TEXT)


async def test_for_trials_what_would_be_sent_is_logged_the_personal_part_at_debug() -> None:
    async with sending(sender="log") as sends:
        with capture_logs() as logs:
            await sends.send(CALL, "106900001", "13900001234", TEXT)
    assert logs == [
        {
            "event": "message_logged",
            "log_level": "info",
            "call_id": "c1",
            "tenant": "acme",
            "sender": "106900001",
            "characters": len(TEXT),
        },
        {"event": "message_text", "log_level": "debug", "call_id": "c1", "to": "13900001234", "text": TEXT},
    ]


async def test_the_gateway_is_given_the_message(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a-token\n")
    async with service() as got, gateway(got.port, token_file=tmp_path / "token") as sends:
        got.answer = lambda: _status(202)
        for _ in range(2):
            await sends.send(CALL, "106900001", "13900001234", TEXT)
    first, second = got.asked
    told = json.loads(first.body)
    assert told.pop("id") != json.loads(second.body)["id"]
    assert told == {
        "call_id": "c1",
        "tenant": "acme",
        "number": "4001234567",
        "sender": "106900001",
        "to": "13900001234",
        "text": TEXT,
    }
    assert (first.method, first.path) == ("POST", "/messages")
    assert first.headers["Content-Type"] == "application/json"
    assert first.headers["Authorization"] == "Bearer a-token"


async def test_without_a_token_none_is_shown() -> None:
    async with service() as got, gateway(got.port) as sends:
        await sends.send(CALL, "106900001", "13900001234", TEXT)
    assert "Authorization" not in got.asked[0].headers


@pytest.mark.parametrize("how", ["log", "http"])
async def test_a_message_without_a_number_is_not_sent(how: str) -> None:
    async with service() as got:
        url = {"url": f"http://127.0.0.1:{got.port}/"} if how == "http" else {}
        async with sending(sender=how, **url) as sends:
            with pytest.raises(NotSentError, match="there is no number to send to"):
                await sends.send(CALL, "106900001", "", TEXT)
        assert not got.asked


@pytest.mark.parametrize("status", [301, 307, 400, 401, 429, 500, 503])
async def test_what_the_gateway_refuses_is_not_sent_again_or_elsewhere(status: int) -> None:
    async with service() as got, gateway(got.port) as sends:
        got.answer = lambda: _status(status, got.port)
        with pytest.raises(NotSentError, match=f"^the gateway answered {status}$"):
            await sends.send(CALL, "106900001", "13900001234", TEXT)
    assert len(got.asked) == 1


async def test_a_gateway_that_hangs_up_is_told_again_with_the_same_id() -> None:
    async with service() as got, gateway(got.port) as sends:

        async def hangs_up_at_first() -> web.StreamResponse:
            if len(got.asked) == 1:
                raise HangUp
            return await _status(200)

        got.answer = hangs_up_at_first
        await sends.send(CALL, "106900001", "13900001234", TEXT)
    first, second = got.asked
    assert first.body == second.body


async def test_a_gateway_that_hangs_up_twice_has_not_taken_the_message() -> None:
    async with saying() as port, gateway(port) as sends:
        with pytest.raises(NotSentError, match="the gateway cannot be reached"):
            await sends.send(CALL, "106900001", "13900001234", TEXT)


async def test_a_gateway_that_is_not_there_has_not_taken_the_message() -> None:
    async with gateway(free_port()) as sends:
        with pytest.raises(NotSentError, match="the gateway cannot be reached"):
            await sends.send(CALL, "106900001", "13900001234", TEXT)


async def test_a_call_does_not_wait_long_for_the_gateway() -> None:
    async with service() as got, gateway(got.port, timeout_s=0.3) as sends:

        async def never() -> web.StreamResponse:
            await asyncio.Event().wait()
            raise AssertionError

        got.answer = never
        with pytest.raises(NotSentError, match=r"^the gateway has not answered within 0\.3 s$"):
            await sends.send(CALL, "106900001", "13900001234", TEXT)


async def test_a_gateway_shows_a_certificate_of_its_name(tmp_path: Path) -> None:
    good, authority = server_tls(tmp_path / "good", "127.0.0.1")
    bad, strange = server_tls(tmp_path / "bad", "else.example.com")
    for context, known, sent in ((good, authority, True), (good, strange, False), (bad, strange, False)):
        async with service(context) as got:
            url = f"https://127.0.0.1:{got.port}/"
            async with sending(sender="http", url=url, ca_file=known) as sends:
                if sent:
                    await sends.send(CALL, "106900001", "13900001234", TEXT)
                else:
                    with pytest.raises(NotSentError, match="cannot be reached"):
                        await sends.send(CALL, "106900001", "13900001234", TEXT)
            assert len(got.asked) == sent


async def test_a_file_that_cannot_be_used_ends_the_start(tmp_path: Path) -> None:
    (tmp_path / "blank").write_text(" \n")
    (tmp_path / "two-lines").write_text("a\nb\n")
    for file, reason in (("missing", "does not exist"), ("blank", "holds no secret"), ("two-lines", "is no token")):
        with pytest.raises(ConfigurationError, match=f"{file}.*{reason}"):
            sender(MessagesSettings(sender="http", url="http://127.0.0.1:1/", token_file=tmp_path / file))
    with pytest.raises(ConfigurationError, match=r"^ivr\.messages\.ca_file: .*missing"):
        sender(MessagesSettings(sender="http", url="http://127.0.0.1:1/", ca_file=tmp_path / "missing"))


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"sender": "http"}, "url is needed with sender http"),
        ({"sender": "log", "url": "http://a/"}, "url is needed with sender http, and is for nothing else"),
        ({"token_file": "a"}, "token_file and ca_file are for sender http"),
        ({"sender": "http", "url": "smpp://a/"}, "should match pattern"),
        ({"sender": "http", "url": "http://a/", "timeout_s": 11}, "less than or equal to 10"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        MessagesSettings(**given)


async def _status(status: int, port: int = 0) -> web.StreamResponse:
    location = {"Location": f"http://127.0.0.1:{port}/elsewhere"} if 300 <= status < 400 else {}
    return web.Response(status=status, headers=location)
