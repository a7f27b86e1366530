"""Which worker with voice gets a call."""

from __future__ import annotations

from collections import Counter

from signalbox.api.routing.v1.routing_pb2 import VoiceWorker
from signalbox.domain.voice import TRIED, Pool, as_line, takes_calls


def pool(*loads: float) -> Pool:
    return Pool((as_line(f"ivr-{n}", f"192.0.2.{n}", 5060), load) for n, load in enumerate(loads, 1))


def test_nobody_and_one() -> None:
    assert pool().tried("a") == ()
    assert [line.id for line in pool(0.5).tried("a")] == ["ivr-1"]


def test_equal_workers_get_equal_shares_and_the_second_is_another() -> None:
    workers = pool(*[0.0] * 5)
    tried = [workers.tried(f"call-{n}") for n in range(5000)]
    assert all(len({line.id for line in pair}) == TRIED for pair in tried)
    for position in range(TRIED):
        counts = Counter(pair[position].id for pair in tried)
        assert len(counts) == 5
        assert all(850 < count < 1150 for count in counts.values())


def test_one_that_has_much_to_do_is_the_first_for_nobody() -> None:
    workers = pool(0.1, 0.9, 0.1)
    first = Counter(workers.tried(f"call-{n}")[0].id for n in range(1000))
    assert first["ivr-2"] == 0
    assert min(first["ivr-1"], first["ivr-3"]) > 400


def test_the_same_call_is_offered_to_the_same_workers() -> None:
    assert pool(0, 0, 0).tried("x") == pool(0, 0, 0).tried("x")


def test_who_takes_calls() -> None:
    assert takes_calls(VoiceWorker(id="a", capacity=2, calls=1))
    assert not takes_calls(VoiceWorker(id="a", capacity=2, calls=2))
    assert not takes_calls(VoiceWorker(id="a", capacity=2, draining=True))
