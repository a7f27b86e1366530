"""When an rtpengine counts as healthy."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from prometheus_client import CollectorRegistry
from signalbox.media.health import Health, count_forever, ping_forever
from signalbox.media.metrics import MediaMetrics
from signalbox.ng import NgClient, NgTimeoutError
from support.ng import FakeNg
from support.wait import until


class Watched(Health):
    """Notes what was known at each change."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.changes: list[tuple[bool, int]] = []
        super().__init__(lambda: self.changes.append((self.healthy, self.calls)), MediaMetrics(self.registry))


MISS = NgTimeoutError("no reply")


def test_nothing_is_assumed_before_the_first_answer() -> None:
    health = Watched()
    assert not health.healthy
    health.answered(0.001)
    assert health.changes == [(True, 0)]


def test_one_miss_is_forgiven() -> None:
    health = Watched()
    health.answered(0.001)
    health.missed(MISS)
    health.answered(0.001)
    health.missed(MISS)
    assert health.healthy
    assert health.changes == [(True, 0)]


def test_two_misses_in_a_row_are_told_once_and_one_answer_heals() -> None:
    health = Watched()
    health.answered(0.001)
    for _ in range(4):
        health.missed(MISS)
    health.answered(0.001)
    assert health.changes == [(True, 0), (False, 0), (True, 0)]


def test_a_count_is_told_when_it_changed() -> None:
    health = Watched()
    for count in (0, 3, 3, 0):
        health.counted(count)
    assert health.changes == [(False, 3), (False, 0)]


def test_metrics() -> None:
    health = Watched()
    health.answered(0.002)
    health.missed(MISS)
    health.counted(5)
    sample = health.registry.get_sample_value
    assert sample("signalbox_media_calls") == 5
    assert sample("signalbox_media_ping_misses_total") == 1
    assert sample("signalbox_media_ping_seconds_count") == 1
    assert sample("signalbox_media_ping_seconds_sum") == pytest.approx(0.002)


async def test_silence_and_return_are_noticed() -> None:
    health = Watched()
    async with FakeNg.open() as fake:
        client = await NgClient.connect(fake.address)
        pinging = asyncio.create_task(ping_forever(client, health, 0.01, 0.02))
        try:
            await until(lambda: health.healthy)
            fake.silent = True
            await until(lambda: not health.healthy)
            fake.silent = False
            await until(lambda: health.healthy)
        finally:
            pinging.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await pinging
            client.close()


async def test_calls_are_counted_only_while_it_is_healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signalbox.media.health.CALLS_INTERVAL_S", 0.005)
    health = Watched()
    async with FakeNg.open() as fake:
        fake.calls = 4
        client = await NgClient.connect(fake.address)
        counting = asyncio.create_task(count_forever(client, health))
        try:
            await asyncio.sleep(0.03)
            assert fake.requests == []
            health.answered(0.001)
            await until(lambda: health.calls == 4)
            fake.raw = b"nonsense"
            await until(lambda: len(fake.requests) > 3)
            assert health.healthy
            fake.raw = None
            fake.calls = 5
            await until(lambda: health.calls == 5)
        finally:
            counting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await counting
            client.close()
