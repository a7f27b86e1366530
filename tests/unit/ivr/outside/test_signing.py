"""API keys of tenants, by which requests are signed."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

import pytest
from signalbox.api.types.v1 import types_pb2
from signalbox.ivr.outside import signing
from signalbox.ivr.outside.signing import FRESH_S, Secrets
from signalbox.ivr.ports import RequestFailedError
from signalbox.store import codec, keys
from signalbox.store.base import Delete, Put
from signalbox.store.memory import MemoryStore

if TYPE_CHECKING:
    from signalbox.store.base import Entry

NOW = 1_769_999_999


class Clock:
    """Both clocks, which stand still."""

    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


class Counting(MemoryStore):
    """Counts what is read, and is slow if it is told so."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.slow = asyncio.Event()
        self.slow.set()

    async def get(self, key: str) -> Entry | None:
        self.reads += 1
        await self.slow.wait()
        return await super().get(key)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store() -> Counting:
    return Counting()


@pytest.fixture
def secrets(store: Counting, clock: Clock) -> Secrets:
    return Secrets(store, clock, clock)


def hashed(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


async def put(store: Counting, secret: str, id: str = "crm", expires: int = 0) -> None:
    key = types_pb2.ApiKey(tenant="acme", id=id, secret_hash=hashed(secret) if secret else b"")
    if expires:
        key.expire_time.FromSeconds(expires)
    await store.commit([], [Put(codec.key_of(key), codec.encode(key))])


async def test_a_key_is_read_once_in_a_while(store: Counting, secrets: Secrets, clock: Clock) -> None:
    await put(store, "one")
    assert await secrets.of("acme", "crm") == hashed("one")
    clock.now += FRESH_S - 0.1
    assert await secrets.of("acme", "crm") == hashed("one")
    assert store.reads == 1


async def test_a_key_that_was_made_anew_counts_soon(store: Counting, secrets: Secrets, clock: Clock) -> None:
    await put(store, "one")
    await secrets.of("acme", "crm")
    await put(store, "two")
    clock.now += FRESH_S
    assert await secrets.of("acme", "crm") == hashed("two")


async def test_a_key_that_was_deleted_signs_nothing(store: Counting, secrets: Secrets, clock: Clock) -> None:
    await put(store, "one")
    await secrets.of("acme", "crm")
    await store.commit([], [Delete(keys.api_key("acme", "crm"))])
    clock.now += FRESH_S
    with pytest.raises(RequestFailedError, match="API key crm does not exist"):
        await secrets.of("acme", "crm")
    store.available = False
    with pytest.raises(RequestFailedError):
        await secrets.of("acme", "crm")


async def test_a_key_of_another_tenant_is_none(store: Counting, secrets: Secrets) -> None:
    await put(store, "one")
    with pytest.raises(RequestFailedError, match="does not exist"):
        await secrets.of("other", "crm")


async def test_a_key_signs_until_it_expires(store: Counting, secrets: Secrets, clock: Clock) -> None:
    await put(store, "one", expires=NOW + 2)
    assert await secrets.of("acme", "crm") == hashed("one")
    clock.now += 2
    with pytest.raises(RequestFailedError, match="API key crm has expired"):
        await secrets.of("acme", "crm")
    assert store.reads == 1


async def test_a_key_without_a_secret_signs_nothing(store: Counting, secrets: Secrets) -> None:
    await put(store, "")
    with pytest.raises(RequestFailedError, match="API key crm has no secret"):
        await secrets.of("acme", "crm")


async def test_a_damaged_key_is_told(store: Counting, secrets: Secrets) -> None:
    await store.commit([], [Put(keys.api_key("acme", "crm"), b"\xff\xff")])
    with pytest.raises(RequestFailedError, match="is damaged"):
        await secrets.of("acme", "crm")


async def test_keys_that_were_read_sign_while_the_store_is_away(
    store: Counting, secrets: Secrets, clock: Clock
) -> None:
    await put(store, "one")
    await secrets.of("acme", "crm")
    store.available = False
    clock.now += 3_600
    assert await secrets.of("acme", "crm") == hashed("one")
    assert await secrets.of("acme", "crm") == hashed("one")
    assert store.reads == 2, "the store is not asked for every call"
    with pytest.raises(RequestFailedError, match="API key other: "):
        await secrets.of("acme", "other")
    store.available = True
    await put(store, "two")
    clock.now += FRESH_S
    assert await secrets.of("acme", "crm") == hashed("two")


async def test_a_slow_store_is_not_waited_for_with_a_key_at_hand(
    store: Counting, secrets: Secrets, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing, "WAIT_S", 0.05)
    await put(store, "one")
    await secrets.of("acme", "crm")
    store.slow.clear()
    clock.now += FRESH_S
    assert await asyncio.wait_for(secrets.of("acme", "crm"), 15) == hashed("one")


async def test_who_gives_up_leaves_the_key_that_was_known(
    store: Counting, secrets: Secrets, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing, "WAIT_S", 60)
    await put(store, "one")
    await secrets.of("acme", "crm")
    store.slow.clear()
    clock.now += FRESH_S
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await secrets.of("acme", "crm")
    store.slow.set()
    store.available = False
    assert await secrets.of("acme", "crm") == hashed("one")


async def test_so_many_keys_are_remembered(
    store: Counting, secrets: Secrets, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing, "KEYS_MAX", 2)
    for id in ("a", "b", "c"):
        await put(store, id, id)
        await secrets.of("acme", id)
    for id in ("c", "b", "a"):
        await secrets.of("acme", id)
    assert store.reads == 4, "only the first had been forgotten"
