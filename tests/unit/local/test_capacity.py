"""The search for the greatest number that goes."""

from __future__ import annotations

import pytest
from signalbox_local.capacity import first_failure, greatest


class Machine:
    """Carries so many; remembers what it was asked to."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.tried: list[int] = []

    async def carries(self, number: int) -> bool:
        self.tried.append(number)
        return number <= self.most


@pytest.mark.parametrize("most", [100, 101, 130, 137, 199])
async def test_the_greatest_number_that_goes_is_found_as_exactly_as_is_asked_for(most: int) -> None:
    found = await greatest(Machine(most).carries, 100, 200, 0.05)
    assert found <= most < found * 1.05 + 1


async def test_it_goes_down_when_the_least_number_does_not_go() -> None:
    machine = Machine(42)
    assert 38 <= await greatest(machine.carries, 100, 200, 0.1) <= 42
    assert machine.tried[:4] == [100, 75, 56, 42]


async def test_a_machine_that_carries_nothing_carries_0() -> None:
    assert await greatest(Machine(0).carries, 10, 20) == 0


async def test_few_trials_are_needed() -> None:
    machine = Machine(1000)
    await greatest(machine.carries, 900, 1150, 0.05)
    assert len(machine.tried) <= 5


async def test_it_goes_up_when_what_was_believed_to_be_too_much_goes() -> None:
    machine = Machine(400)
    assert 380 <= await greatest(machine.carries, 100, 200, 0.05) <= 400


@pytest.mark.parametrize(("low", "high"), [(100, 200), (300, 500), (900, 1000)])
async def test_more_than_the_end_are_never_tried(low: int, high: int) -> None:
    machine = Machine(10_000)
    assert await greatest(machine.carries, low, high, 0.05, end=310) == 310
    assert max(machine.tried) == 310


async def test_what_goes_below_the_end_is_found_as_without_it() -> None:
    assert 190 <= await greatest(Machine(200).carries, 300, 500, 0.05, end=310) <= 200


async def test_the_first_failure_is_found_upwards() -> None:
    machine = Machine(500)
    assert await first_failure(machine.carries, 200, 1.5, 4000) == 675
    assert machine.tried == [200, 300, 450, 675]


async def test_a_search_upwards_ends_where_it_is_told_to() -> None:
    machine = Machine(10_000)
    assert await first_failure(machine.carries, 200, 2.0, 1000) == 1000
    assert machine.tried == [200, 400, 800]
