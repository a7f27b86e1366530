"""The ng client: cookies, repetition, and an error for every way to fail."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

import pytest
from signalbox.ng import (
    NgClient,
    NgProtocolError,
    NgRefusedError,
    NgTimeoutError,
    NgUnreachableError,
)
from support.ng import FakeNg
from support.wait import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from signalbox.bencode import Encodable


@pytest.fixture
async def fake() -> AsyncIterator[FakeNg]:
    async with FakeNg.open() as server:
        yield server


@pytest.fixture
async def client(fake: FakeNg) -> AsyncIterator[NgClient]:
    connected = await NgClient.connect(fake.address)
    yield connected
    connected.close()


async def test_the_reply_is_returned(fake: FakeNg, client: NgClient) -> None:
    fake.answer = lambda request: {"result": "ok", "sdp": str(request["sdp"]).upper()}
    assert await client.request("offer", {"sdp": "v=0"}) == {"result": "ok", "sdp": "V=0"}


async def test_requests_at_once_get_their_own_replies(fake: FakeNg, client: NgClient) -> None:
    fake.answer = lambda request: {"result": "ok", "n": int(str(request["n"]))}
    replies = await asyncio.gather(*(client.request("x", {"n": str(n)}) for n in range(200)))
    assert [reply["n"] for reply in replies] == list(range(200))
    assert len({cookie for cookie, _ in fake.requests}) == 200


async def test_clients_have_different_cookies(fake: FakeNg, client: NgClient) -> None:
    other = await NgClient.connect(fake.address)
    await client.ping(1)
    await other.ping(1)
    other.close()
    assert fake.requests[0][0] != fake.requests[1][0]


async def test_a_lost_request_is_repeated_with_its_cookie(fake: FakeNg, client: NgClient) -> None:
    fake.drop = 2
    assert (await client.request("ping", attempts=20, timeout_s=0.1))["result"] == "pong"
    assert len(fake.requests) >= 3
    assert len({cookie for cookie, _ in fake.requests}) == 1


async def test_silence_is_a_timeout(fake: FakeNg, client: NgClient) -> None:
    fake.silent = True
    with pytest.raises(NgTimeoutError, match="no reply to query"):
        await client.request("query", attempts=2, timeout_s=0.01)
    assert len(fake.requests) == 2


async def test_a_late_reply_harms_nobody(fake: FakeNg, client: NgClient) -> None:
    fake.drop = 1
    with pytest.raises(NgTimeoutError):
        await client.request("ping", attempts=1, timeout_s=0.01)
    assert (await client.request("ping"))["result"] == "pong"


async def test_a_refusal_has_the_words_of_rtpengine(client: NgClient) -> None:
    with pytest.raises(NgRefusedError, match="Unrecognized command") as refused:
        await client.request("dance")
    assert refused.value.refusal == "Unrecognized command"


async def test_a_result_without_a_reason_is_a_refusal(fake: FakeNg, client: NgClient) -> None:
    fake.answer = lambda _request: {"result": "load limit"}
    with pytest.raises(NgRefusedError, match="load limit"):
        await client.request("offer")


@pytest.mark.parametrize("raw", [b"", b"x", b"d6:result", b"le", b"de", b"d6:resulti1ee", b"4:pong"])
async def test_a_reply_that_is_not_understood(fake: FakeNg, client: NgClient, raw: bytes) -> None:
    fake.raw = raw
    with pytest.raises(NgProtocolError):
        await client.request("ping")


async def test_a_ping_wants_a_pong(fake: FakeNg, client: NgClient) -> None:
    fake.answer = lambda _request: {"result": "ok"}
    with pytest.raises(NgProtocolError):
        await client.ping(1)


@pytest.mark.parametrize(
    "statistics", [{}, {"statistics": "x"}, {"statistics": {"currentstatistics": {"sessionstotal": "many"}}}]
)
async def test_statistics_that_are_not_understood(fake: FakeNg, client: NgClient, statistics) -> None:
    fake.answer = lambda _request: {"result": "ok", **statistics}
    with pytest.raises(NgProtocolError):
        await client.calls()


async def test_calls_are_counted(fake: FakeNg, client: NgClient) -> None:
    fake.calls = 17
    assert await client.calls() == 17


async def test_nobody_at_the_address_is_known_at_once() -> None:
    async with FakeNg.open() as gone:
        address = gone.address
    client = await NgClient.connect(address)
    started = asyncio.get_running_loop().time()
    with pytest.raises(NgUnreachableError):
        await client.request("ping", attempts=1, timeout_s=5)
    assert asyncio.get_running_loop().time() - started < 1
    client.close()


async def test_it_works_again_when_somebody_listens_again() -> None:
    async with FakeNg.open() as first:
        address = first.address
    client = await NgClient.connect(address)
    with pytest.raises(NgUnreachableError):
        await client.ping(1)
    async with FakeNg.open(int(address.rpartition(":")[2])):
        await client.ping(1)
    client.close()


async def test_closing_ends_requests_under_way(fake: FakeNg, client: NgClient) -> None:
    fake.silent = True
    waiting = asyncio.create_task(client.request("ping", timeout_s=5))
    await until(lambda: bool(fake.requests))
    client.close()
    with pytest.raises(NgUnreachableError, match="closed"):
        await asyncio.wait_for(waiting, 5)
    with pytest.raises(NgUnreachableError, match="closed"):
        await client.request("ping")


async def test_an_answer_that_comes_as_who_asked_goes_away_is_not_awaited_any_more(
    fake: FakeNg, client: NgClient
) -> None:
    loop = asyncio.get_running_loop()

    def answer(_request: object) -> dict[str, Encodable]:
        # Before the client reads what is sent now.
        loop.call_soon(waiting.cancel)
        return {"result": "pong"}

    fake.answer = answer
    waiting = asyncio.create_task(client.request("ping", timeout_s=30))
    with pytest.raises(asyncio.CancelledError):
        await waiting
    settled = client.settle()
    with pytest.raises(StopIteration):
        settled.send(None)


async def test_nothing_of_what_is_answered_waits_for_the_collector(client: NgClient) -> None:
    await client.ping(30)
    gc.collect()
    gc.disable()
    try:
        for _ in range(100):
            await client.ping(30)
        assert gc.collect() < 100
    finally:
        gc.enable()


@pytest.mark.parametrize("address", ["no-port", "127.0.0.1:port", "256.0.0.1.invalid:2223"])
async def test_an_address_that_cannot_be(address: str) -> None:
    with pytest.raises(NgUnreachableError):
        await NgClient.connect(address)
