"""Requests of flows to services of tenants, to real servers on loopback."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from google.protobuf.duration_pb2 import Duration
from pydantic import ValidationError
from signalbox.api.types.v1 import flows_pb2, types_pb2
from signalbox.errors import ConfigurationError
from signalbox.ivr.outside.names import Names
from signalbox.ivr.outside.signing import Secrets, signature
from signalbox.ivr.ports import RequestFailedError
from signalbox.ivr.requests import ANSWER_MAX, HttpRequests
from signalbox.settings.outside import RequestsSettings
from signalbox.store import codec
from signalbox.store.base import Put
from signalbox.store.memory import MemoryStore
from support.http import saying, server_tls, service
from support.ports import free_port
from support.stores import until

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

NOW = 1_769_999_999
SECRET_HASH = hashlib.sha256(b"sb.acme.crm.x").digest()
LOOPBACK = ["127.0.0.0/8", "::1/128"]
GOOD = b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"state": "a"}'


async def requests(*, names: Names | None = None, **settings: Any) -> HttpRequests:
    store = MemoryStore()
    for tenant in ("acme", "other"):
        key = types_pb2.ApiKey(tenant=tenant, id="crm", secret_hash=SECRET_HASH)
        await store.commit([], [Put(codec.key_of(key), codec.encode(key))])
    made = RequestsSettings(**{"allowed_networks": LOOPBACK, **settings})
    return HttpRequests(made, Secrets(store), names=names, clock=lambda: NOW + 0.9)


def node(url: str, timeout_s: int = 10, *keys: str, branch_key: str = "state") -> flows_pb2.RequestNode:
    return flows_pb2.RequestNode(
        url=url,
        api_key="crm",
        timeout=Duration(seconds=timeout_s),
        receive=[flows_pb2.ReceivedValue(key=key, variable=f"v{n}") for n, key in enumerate(keys)],
        branch_key=branch_key,
    )


async def ask(port: int, path: str = "/", *, timeout_s: int = 10, **settings: Any) -> Mapping[str, str]:
    made = await requests(**settings)
    return await made.post(node(f"http://127.0.0.1:{port}{path}", timeout_s), "acme", "{}")


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


# What may be asked.


@pytest.mark.parametrize("host", ["127.0.0.1", "0x7f.1", "[::ffff:127.0.0.1]", "[::]", "localhost"])
async def test_nothing_of_our_own_network_is_asked(host: str) -> None:
    async with service() as ours:
        made = await requests(allowed_networks=[])
        with pytest.raises(RequestFailedError, match="is no public address"):
            await made.post(node(f"http://{host}:{ours.port}/"), "acme", "{}")
        assert not ours.asked


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0", "0177.0.0.1"])
async def test_an_address_that_is_not_written_in_full_is_not_asked(host: str) -> None:
    async with service() as ours:
        made = await requests()
        with pytest.raises(RequestFailedError, match=f"^{host}: is no host$"):
            await made.post(node(f"http://{host}:{ours.port}/"), "acme", "{}")
        assert not ours.asked


async def test_networks_that_are_refused_are_refused_within_those_allowed() -> None:
    async with service() as ours:
        with pytest.raises(RequestFailedError, match="is no public address"):
            await ask(ours.port, refused_networks=["127.0.0.1/32"])


async def test_a_name_is_looked_up_once_and_asked_at_what_was_found() -> None:
    answers = iter([["127.0.0.1"], ["169.254.169.254"], ["127.0.0.1"]])

    def look(host: str, port: int) -> Sequence[str]:
        assert (host, port) == ("crm.example.com", crm.port)
        return next(answers)

    async with service() as crm:
        made = await requests(names=Names(look))
        asked = node(f"http://crm.example.com:{crm.port}/")
        await made.post(asked, "acme", "{}")
        with pytest.raises(RequestFailedError, match=r"^crm\.example\.com: 169\.254\.169\.254 is no public address"):
            await made.post(asked, "acme", "{}")
        await made.post(asked, "acme", "{}")
        assert [got.headers["Host"] for got in crm.asked] == [f"crm.example.com:{crm.port}"] * 2


async def test_of_several_addresses_one_that_may_be_asked_is_taken() -> None:
    async with service() as crm:
        made = await requests(names=Names(lambda host, port: ["10.0.0.1", "fd00::1", "127.0.0.1"]))
        await made.post(node(f"http://crm.example.com:{crm.port}/"), "acme", "{}")
        assert len(crm.asked) == 1


async def test_a_name_that_stands_for_nothing_is_told() -> None:
    def look(host: str, port: int) -> Sequence[str]:
        raise OSError("Name or service not known")

    made = await requests(names=Names(look))
    with pytest.raises(RequestFailedError, match=r"^crm\.example\.com: Name or service not known$"):
        await made.post(node("http://crm.example.com/"), "acme", "{}")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/orders",
        "ftp://127.0.0.1/",
        "http://",
        "http://[::1/",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1:8080/a\r\nHost: b",
        "http://127.0.0.1:8080/a b",
        "http://crm.例子/",
    ],
)
async def test_a_url_that_cannot_be_asked_is_told(url: str) -> None:
    with pytest.raises(RequestFailedError, match=r"^the URL is none that can be asked$"):
        await (await requests()).post(node(url), "acme", "{}")


async def test_well_known_ports_of_others_than_http_are_not_asked() -> None:
    with pytest.raises(RequestFailedError, match=r"^127\.0\.0\.1: port 25 is not asked"):
        await (await requests()).post(node("http://127.0.0.1:25/"), "acme", "{}")


@pytest.mark.parametrize(("given", "reason"), [("10.0.0.1/8", "has host bits set"), ("crm", "does not appear to be")])
def test_what_is_no_network_ends_the_start(given: str, reason: str) -> None:
    for name in ("allowed_networks", "refused_networks"):
        with pytest.raises(ValidationError, match=f"{name}.*\n.*{reason}"):
            RequestsSettings(**{name: [given]})


async def test_a_key_that_does_not_exist_is_told_and_nothing_is_asked() -> None:
    async with service() as crm:
        made = await requests()
        with pytest.raises(RequestFailedError, match="API key crm does not exist"):
            await made.post(node(f"http://127.0.0.1:{crm.port}/"), "nobody", "{}")
        assert not crm.asked


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with service() as crm, service() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        await ask(crm.port)
        assert (len(crm.asked), len(proxy.asked)) == (1, 0)


# TLS.


async def test_a_service_with_a_good_certificate_is_asked_by_its_name(tmp_path: Path) -> None:
    context, authority = server_tls(tmp_path, "crm.example.com")
    shown: list[str | None] = []
    context.sni_callback = lambda _, name, __: shown.append(name)
    async with service(context) as crm:
        made = await requests(names=Names(lambda host, port: ["127.0.0.1"]), ca_file=authority)
        await made.post(node(f"https://crm.example.com:{crm.port}/"), "acme", "{}")
        assert len(crm.asked) == 1
    assert shown == ["crm.example.com"]


async def test_a_certificate_of_another_name_is_refused(tmp_path: Path) -> None:
    context, authority = server_tls(tmp_path, "else.example.com")
    async with service(context) as crm:
        made = await requests(names=Names(lambda host, port: ["127.0.0.1"]), ca_file=authority)
        with pytest.raises(RequestFailedError, match=r"^crm\.example\.com: certificate: Hostname mismatch"):
            await made.post(node(f"https://crm.example.com:{crm.port}/"), "acme", "{}")
        assert not crm.asked


async def test_a_certificate_of_an_unknown_authority_is_refused(tmp_path: Path) -> None:
    context, _ = server_tls(tmp_path, "crm.example.com")
    async with service(context) as crm:
        made = await requests(names=Names(lambda host, port: ["127.0.0.1"]))
        with pytest.raises(RequestFailedError, match=r"^crm\.example\.com: certificate: unable to get local issuer"):
            await made.post(node(f"https://crm.example.com:{crm.port}/"), "acme", "{}")
        assert not crm.asked


async def test_a_service_without_tls_is_not_asked_with_https() -> None:
    async with service() as crm:
        made = await requests()
        with pytest.raises(RequestFailedError, match=r"^localhost: TLS failed$"):
            await made.post(node(f"https://localhost:{crm.port}/"), "acme", "{}")
        assert not crm.asked


async def test_a_file_of_authorities_that_is_none_ends_the_start(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    for file in ("ca.pem", "missing.pem"):
        with pytest.raises(ConfigurationError, match=rf"^ivr\.requests\.ca_file: .*{file}"):
            await requests(ca_file=tmp_path / file)


# Many at a time.


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
