"""Requests of flows to services of tenants, to real servers on loopback."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from signalbox.ivr.outside.signing import signature
from signalbox.ivr.ports import RequestFailedError
from signalbox.ivr.requests import ANSWER_MAX
from support.http import saying, service
from support.ivr_requests import NOW, SECRET_HASH, ask, node, requests
from support.ports import free_port
from support.stores import until

GOOD = b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"state": "a"}'


async def test_a_service_is_asked_with_a_signed_post() -> None:
    body = '{"call_id": "c1", "variables": {"topic": "售后"}}'
    async with service() as crm:
        crm.answer = lambda: _json({"state": "delivered", "customer": "王", "more": "x", "points": 3})
        asked = node(f"http://127.0.0.1:{crm.port}/orders?x=%2F1", 10, "customer", "points", "missing")
        values = await (await requests()).post(asked, "acme", body)
    assert values == {"state": "delivered", "customer": "王", "points": "3"}
    (got,) = crm.asked
    assert (got.method, got.path, got.body) == ("POST", "/orders?x=%2F1", body.encode())
    assert got.headers["Host"] == f"127.0.0.1:{crm.port}"
    assert got.headers["Content-Type"] == "application/json"
    assert got.headers["Signalbox-Signature"] == signature(SECRET_HASH, NOW, body.encode())
    assert got.headers["Accept-Encoding"] == "identity"
    assert "Cookie" not in got.headers


async def test_a_node_without_a_branch_key_takes_what_it_receives() -> None:
    async with service() as crm:
        crm.answer = lambda: _json({"": "x", "customer": "王"})
        asked = node(f"http://127.0.0.1:{crm.port}/", 10, "customer", branch_key="")
        assert await (await requests()).post(asked, "acme", "{}") == {"customer": "王"}


async def test_each_request_has_a_connection_of_its_own_and_no_memory() -> None:
    async with service() as crm:

        async def answer() -> web.Response:
            made = web.json_response({"state": "a"})
            made.set_cookie("session", "1")
            return made

        crm.answer = answer
        made = await requests()
        for _ in range(2):
            await made.post(node(f"http://localhost:{crm.port}/"), "acme", "{}")
    assert all("Cookie" not in got.headers for got in crm.asked)
    assert [got.headers["Connection"] for got in crm.asked] == ["close", "close"]


@pytest.mark.parametrize("status", [201, 204, 301, 302, 307, 308, 400, 401, 404, 500, 503])
async def test_only_200_is_a_good_answer_and_no_redirection_is_followed(status: int) -> None:
    async with service() as crm, service() as elsewhere:

        async def answer() -> web.Response:
            location = f"http://127.0.0.1:{elsewhere.port}/"
            return web.Response(status=status, headers={"Location": location} if 300 <= status < 400 else {})

        crm.answer = answer
        with pytest.raises(RequestFailedError, match=rf"^127\.0\.0\.1: answered {status}$"):
            await ask(crm.port)
        assert not elsewhere.asked
        assert len(crm.asked) == 1, "nothing is asked twice"


async def test_an_answer_may_have_16_kib_and_not_a_byte_more() -> None:
    async with service() as crm:
        crm.answer = lambda: _body(b'{"state":"a"' + b" " * (ANSWER_MAX - 13) + b"}")
        assert await ask(crm.port) == {"state": "a"}
        crm.answer = lambda: _body(b'{"state":"a"' + b" " * (ANSWER_MAX - 12) + b"}")
        with pytest.raises(RequestFailedError, match="answered more than 16384 bytes"):
            await ask(crm.port)


async def test_an_answer_without_end_is_cut_off() -> None:
    async with saying(b"HTTP/1.1 200 OK\r\n\r\n", *[b" " * 4096] * 1_000, stays=True) as port:
        with pytest.raises(RequestFailedError, match="answered more than 16384 bytes"):
            await ask(port)


async def test_an_answer_that_is_packed_is_not_unpacked() -> None:
    async with service() as crm:

        async def answer() -> web.Response:
            made = web.json_response({"state": "a" * 100_000})
            made.enable_compression(web.ContentCoding.gzip)
            return made

        crm.answer = answer
        with pytest.raises(RequestFailedError, match=r"is no JSON$"):
            await ask(crm.port)


async def test_an_answer_that_does_not_come_is_waited_for_no_longer_than_the_node_says() -> None:
    never = asyncio.Event()
    async with service() as crm:

        async def answer() -> web.Response:
            await never.wait()
            raise AssertionError

        crm.answer = answer
        with pytest.raises(RequestFailedError, match=r"^no whole answer within 1 s$"):
            await ask(crm.port, timeout_s=1)


async def test_the_time_is_for_the_whole_answer() -> None:
    async with saying(b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"state"', stays=True) as port:
        with pytest.raises(RequestFailedError, match=r"^no whole answer within 1 s$"):
            await ask(port, timeout_s=1)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (GOOD[:-1], "sent half an answer"),
        (GOOD + b"x\r\n", "gave no answer of HTTP"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}", "sent half an answer"),
        (b"", "closed the connection"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "gave no answer of HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}", "gave no answer of HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n{}", "gave no answer of HTTP"),
    ],
)
async def test_half_an_answer_and_other_noise_are_no_answers(said: bytes, reason: str) -> None:
    async with saying(said) as port:
        with pytest.raises(RequestFailedError, match=rf"^127\.0\.0\.1: {reason}") as failed:
            await ask(port, "/a-token-in-the-path")
    assert "a-token" not in str(failed.value)


async def test_nobody_listening_is_told() -> None:
    with pytest.raises(RequestFailedError, match=r"^127\.0\.0\.1: "):
        await ask(free_port())


async def test_a_slow_service_holds_up_no_other_tenants_calls() -> None:
    go = asyncio.Event()
    async with service() as slow, service() as quick:

        async def late() -> web.StreamResponse:
            await go.wait()
            return await _json({"state": "late"})

        slow.answer = late
        made = await requests(concurrent=3, concurrent_per_tenant=2)
        waiting = [
            asyncio.create_task(made.post(node(f"http://127.0.0.1:{slow.port}/"), "acme", "{}")) for _ in range(5)
        ]
        await until(lambda: len(slow.asked) == 2)
        for _ in range(3):
            assert await made.post(node(f"http://127.0.0.1:{quick.port}/"), "other", "{}") == {}
        assert len(slow.asked) == 2
        go.set()
        assert await asyncio.gather(*waiting) == [{"state": "late"}] * 5
        assert slow.most == 2


async def test_who_waits_for_a_turn_waits_no_longer_than_the_node_says() -> None:
    go = asyncio.Event()
    async with service() as crm:

        async def late() -> web.StreamResponse:
            await go.wait()
            return await _json({})

        crm.answer = late
        made = await requests(concurrent_per_tenant=1)
        first = asyncio.create_task(made.post(node(f"http://127.0.0.1:{crm.port}/"), "acme", "{}"))
        await until(lambda: crm.asked)
        with pytest.raises(RequestFailedError, match="no whole answer within 1 s"):
            await made.post(node(f"http://127.0.0.1:{crm.port}/", 1), "acme", "{}")
        go.set()
        assert await first == {}


async def test_a_caller_who_hangs_up_ends_the_request() -> None:
    async with service() as crm:
        gone = asyncio.Event()

        async def late() -> web.StreamResponse:
            try:
                await asyncio.Event().wait()
            finally:
                gone.set()
            raise AssertionError

        crm.answer = late
        made = await requests(concurrent_per_tenant=1)
        task = asyncio.create_task(made.post(node(f"http://127.0.0.1:{crm.port}/"), "acme", "{}"))
        await until(lambda: crm.asked)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(gone.is_set)
        crm.answer = None
        assert await made.post(node(f"http://127.0.0.1:{crm.port}/"), "acme", "{}") == {}


async def _json(content: object) -> web.StreamResponse:
    return web.json_response(content)


async def _body(content: bytes) -> web.StreamResponse:
    return web.Response(body=content)
