"""Which targets live: what proves it, when they are asked, and what is told."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, cast

import pytest
import structlog
from signalbox.domain.objects import HealthCheck, Target, Transport
from signalbox.edge import targets as module
from signalbox.edge.targets import DOUBT_S, FAILURES, MOST_IN_A_TICK, TICK_S, Targets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from signalbox.edge.options import OptionsSender

ONE, TWO = Target("192.0.2.1"), Target("2001:db8::2", 5062, Transport.TCP)
CHECK = HealthCheck(30, 3, 2)


class Sender:
    """Keeps what is asked. ``at``: the time."""

    def __init__(self) -> None:
        self.at = 1000.0
        self.asked: list[tuple[float, Target]] = []

    def on_reply(self, on_reply: Callable[[Target, int], None]) -> None:
        """As OptionsSender."""

    def ask(self, target: Target) -> None:
        """As OptionsSender."""
        self.asked.append((round(self.at, 2), target))

    def times(self, target: Target) -> list[float]:
        """When a target was asked, from the beginning."""
        return [round(at - 1000.0, 2) for at, one in self.asked if one is target]


class World:
    """Targets with a clock that the test moves."""

    def __init__(self) -> None:
        self.sender = Sender()
        self.life = 1
        self.told: list[list[str]] = []
        self.targets = Targets(cast("OptionsSender", self.sender), lambda: self.life)
        self.targets._time = lambda: self.sender.at
        self.targets.on_change(lambda: self.told.append([one.target.host for one in self.targets.seen().dead]))
        self.targets._tick()

    def want(self, *wanted: Target, check: HealthCheck = CHECK) -> None:
        self.targets.want(dict.fromkeys(wanted, check))

    def run(self, seconds: float) -> None:
        """Let time go by."""
        for _ in range(round(seconds / TICK_S)):
            self.targets._tick()
            self.sender.at += TICK_S

    def take(self, target: Target, codes: Iterable[int]) -> None:
        for code in codes:
            self.targets.take(target, code)

    def alive(self, target: Target = ONE) -> bool:
        return dict(self.targets.states())[target]


@pytest.fixture
async def world() -> World:
    return World()


@pytest.mark.parametrize("code", sorted(FAILURES))
async def test_a_target_is_dead_after_so_many_failures_in_a_row_and_no_sooner(world: World, code: int) -> None:
    world.want(ONE)
    assert world.alive(), "until proven dead"
    world.take(ONE, [code, code, 200, code, code])
    assert world.alive()
    world.take(ONE, [code])
    assert not world.alive()


@pytest.mark.parametrize("code", [200, 202, 302, 401, 403, 404, 405, 483, 486, 501, 600])
async def test_any_other_reply_is_a_sign_of_life_and_so_many_of_them_bring_it_back(world: World, code: int) -> None:
    world.want(ONE)
    world.take(ONE, 3 * [408])
    world.take(ONE, [code, 408, code])
    assert not world.alive()
    world.take(ONE, [code])
    assert world.alive()


async def test_a_target_that_flaps_stays_what_it_is(world: World) -> None:
    world.want(ONE)
    world.take(ONE, [408, 200] * 20)
    assert world.alive()
    world.take(ONE, 3 * [408])
    world.take(ONE, [200, 408] * 20)
    assert not world.alive()


async def test_the_thresholds_are_the_trunks(world: World) -> None:
    world.want(ONE, check=HealthCheck(30, 1, 1))
    world.take(ONE, [503])
    assert not world.alive()
    world.take(ONE, [200])
    assert world.alive()


async def test_a_target_is_asked_at_once_and_then_in_its_interval(world: World) -> None:
    world.want(ONE)
    world.run(100)
    assert world.sender.times(ONE) == pytest.approx([0, 30, 60, 90], abs=0.3)


async def test_a_target_in_doubt_is_asked_sooner(world: World) -> None:
    world.want(ONE)
    world.run(4)
    world.take(ONE, [408])
    world.run(10)
    assert world.sender.times(ONE) == pytest.approx([0, 4 + DOUBT_S], abs=0.3)
    world.take(ONE, [200])
    world.run(40)
    assert world.sender.times(ONE)[2] == pytest.approx(4 + DOUBT_S + 30, abs=0.3)


async def test_a_dead_target_is_asked_no_oftener_than_a_living_one(world: World) -> None:
    world.want(ONE)
    world.take(ONE, 3 * [408])
    world.run(20)
    world.sender.asked.clear()
    world.run(120)
    assert len(world.sender.asked) == 4


async def test_ten_thousand_targets_are_spread_over_the_interval(world: World) -> None:
    many = [Target(f"10.1.{n // 250}.{n % 250}") for n in range(10_000)]
    world.want(*many)
    world.run(60.3)
    assert set(Counter(target for _, target in world.sender.asked).values()) <= {2, 3}
    seconds = Counter(int(at) for at, _ in world.sender.asked)
    assert max(seconds.values()) <= MOST_IN_A_TICK / TICK_S
    assert max(seconds.values()) < 400
    assert len(seconds) == 61


async def test_more_than_can_be_asked_takes_longer_and_nobody_is_left_out(world: World) -> None:
    many = [Target(f"10.1.{n // 250}.{n % 250}") for n in range(4_000)]
    world.want(*many, check=HealthCheck(5, 3, 2))
    world.run(31)
    counts = Counter(target for _, target in world.sender.asked)
    assert len(counts) == 4_000
    assert min(counts.values()) >= 2
    assert max(Counter(int(at) for at, _ in world.sender.asked).values()) <= MOST_IN_A_TICK / TICK_S + MOST_IN_A_TICK


async def test_a_change_is_in_force_at_once_and_leaves_the_others_as_they_are(world: World) -> None:
    world.want(ONE)
    world.take(ONE, 3 * [408])
    world.run(10)
    world.want(ONE, TWO)
    world.run(0.2)
    assert world.sender.times(TWO) == [10.0]
    assert (world.alive(ONE), world.alive(TWO)) == (False, True)
    world.want(ONE, TWO, check=HealthCheck(5, 3, 1))
    world.run(5.5)
    assert len(world.sender.times(TWO)) == 2, "a shorter interval counts from now"
    world.take(ONE, [200])
    assert world.alive(ONE), "and so do other thresholds"


async def test_a_target_that_is_wanted_no_more_is_forgotten(world: World) -> None:
    world.want(ONE, TWO)
    world.take(ONE, 3 * [408])
    world.run(1)
    world.want(TWO)
    world.take(ONE, [200, 408])
    world.run(1)
    assert dict(world.targets.states()) == {TWO: True}
    assert world.told == [["192.0.2.1"], []]
    before = len(world.sender.times(ONE))
    world.run(40)
    assert len(world.sender.times(ONE)) == before
    world.want(ONE, TWO)
    assert world.alive(), "it begins anew"


async def test_nobody_is_asked_while_the_proxy_is_away_and_its_restart_makes_all_alive(world: World) -> None:
    world.want(ONE, TWO)
    world.run(1)
    world.take(ONE, [408, 408, 408])
    world.take(TWO, [408, 408])
    world.run(1)
    asked = len(world.sender.asked)
    world.life = 0
    world.run(100)
    assert len(world.sender.asked) == asked
    assert not world.alive(), "nothing is known, so nothing changes"
    world.life = 2
    world.run(1)
    assert world.alive()
    assert world.told == [["192.0.2.1"], []]
    world.take(TWO, [408])
    assert world.alive(TWO), "the failures before count no more"
    assert len(world.sender.asked) == asked + 2


async def test_the_dead_are_told_whole_and_changes_close_together_are_told_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.time, "time", lambda: 1_800_000_000 + world.sender.at)
    world.want(ONE, TWO)
    world.run(1)
    world.take(TWO, [408, 408, 504])
    world.sender.at += 10
    world.take(ONE, 3 * [503])
    world.run(1)
    world.take(ONE, [503])
    world.run(1)
    assert world.told == [["2001:db8::2", "192.0.2.1"]]
    two, one = world.targets.seen().dead
    assert (two.target.port, two.target.transport, two.code) == (5062, 2, 504)
    assert (one.target.port, one.target.transport, one.code) == (5060, 1, 503)
    assert one.since.seconds - two.since.seconds == 10


async def test_the_more_are_dead_the_longer_the_pause_between_two_reports(world: World) -> None:
    many = [Target(f"10.1.{n // 250}.{n % 250}") for n in range(5_000)]
    world.want(*many, check=HealthCheck(3600, 1, 1))
    world.take(many[0], [408])
    world.run(0.5)
    assert [len(told) for told in world.told] == [1], "few are told at once"
    for target in many[1:]:
        world.take(target, [408])
    world.run(0.5)
    assert [len(told) for told in world.told] == [1, 5_000]
    world.take(many[0], [200])
    world.run(9)
    assert len(world.told) == 2
    world.take(many[1], [200])
    world.run(1)
    assert [len(told) for told in world.told] == [1, 5_000, 4_998]


async def test_no_more_dead_are_told_than_routing_takes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_DEAD", 1)
    world.want(ONE, TWO)
    world.take(TWO, 3 * [408])
    world.take(ONE, 3 * [408])
    with structlog.testing.capture_logs() as log:
        assert [one.target.host for one in world.targets.seen().dead] == ["2001:db8::2"]
    assert log == [{"event": "dead_targets_not_told", "log_level": "error", "targets": 1}]


async def test_every_change_of_state_is_logged(world: World) -> None:
    world.want(TWO)
    with structlog.testing.capture_logs() as log:
        world.take(TWO, [408, 408, 503, 503, 200, 404])
    assert [(line["event"], line["log_level"], line["target"], line["code"]) for line in log] == [
        ("target_dead", "warning", "tcp:[2001:db8::2]:5062", 503),
        ("target_alive", "info", "tcp:[2001:db8::2]:5062", 404),
    ]


async def test_it_runs_by_itself(world: World) -> None:
    world.want(ONE)
    running = asyncio.create_task(world.targets.run())
    async with asyncio.timeout(5):
        while not world.sender.asked:  # noqa: ASYNC110, the sender is a list
            await asyncio.sleep(0.01)
    running.cancel()
