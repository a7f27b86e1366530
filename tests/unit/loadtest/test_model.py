"""What callers do: the same for the same seed, and in the proportions that are set."""

from __future__ import annotations

import itertools
import statistics
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from signalbox import data
from signalbox.domain import numbering
from signalbox.domain.regions import RegionTable
from signalbox.errors import ConfigurationError

import loadtest
from loadtest.model import curves, settings
from loadtest.model.traffic import Model, duration, spread

FILE = Path(loadtest.__file__).with_name("traffic.toml")
CALLS = 20_000


@pytest.fixture(scope="module")
def model():
    return Model(settings.read(FILE))


@pytest.fixture(scope="module")
def plans(model):
    random = Random(7)
    return [model.call(random) for _ in range(CALLS)]


def near(share, wanted, times=5.0):
    """Within so many standard errors of a share."""
    return abs(share - wanted) < times * (wanted * (1 - wanted) / CALLS) ** 0.5


def test_the_same_seed_gives_the_same_calls(model):
    one, same, other = Random(3), Random(3), Random(4)
    assert [model.call(one) for _ in range(50)] == [model.call(same) for _ in range(50)]
    assert [model.call(Random(3)) for _ in range(1)] != [model.call(other) for _ in range(1)]


def test_numbers_are_called_by_rank_as_words_are_used(model, plans):
    ranks = Counter(plan.rank for plan in plans)
    harmonic = sum(1 / rank for rank in range(1, 101))
    for rank in (1, 2, 10):
        assert near(ranks[rank - 1] / CALLS, 1 / rank / harmonic)
    assert len(model.popularity) == 100
    assert sum(model.popularity) == pytest.approx(1)


def test_kinds_of_numbers_get_their_shares_of_the_calls(model, plans):
    kinds = Counter(plan.kind for plan in plans)
    for kind, share in model.traffic.calls.kinds.items():
        assert kinds[kind] / CALLS == pytest.approx(share, abs=0.03)


def test_callers_are_where_their_numbers_say(model, plans):
    table = RegionTable.load(data.read("regions.bin"))
    for plan in plans[:2_000]:
        caller = numbering.caller(plan.caller, "")
        found = table.find(caller)
        assert found is not None, plan.caller
        assert plan.region in (found.city, found.province)
    weights = sum(region.weight for region in model.traffic.regions)
    regions = Counter(plan.region for plan in plans)
    for region in model.traffic.regions:
        assert near(regions[region.name] / CALLS, region.weight / weights)


def test_hold_times_are_lognormal_with_the_mean_that_is_set(model, plans):
    holds = [plan.hold_s for plan in plans]
    assert statistics.fmean(holds) == pytest.approx(model.traffic.calls.hold.mean_s, rel=0.05)
    assert statistics.median(holds) < statistics.fmean(holds)
    assert duration(Random(1), settings.Lognormal(mean_s=3.0)) == 3.0


def test_lines_are_busy_or_silent_only_where_a_caller_would_notice(plans):
    alone = [plan for plan in plans if plan.kind in ("direct", "recorded")]
    lines = Counter(plan.line for plan in alone)
    assert near(lines["busy"] / len(alone), 0.03)
    assert near(lines["silent"] / len(alone), 0.03)
    assert {plan.line for plan in plans if plan.kind in ("menu", "second_line")} == {"answers"}


def test_who_did_not_get_through_calls_again_so_often_and_gives_up(model):
    random, again = Random(1), 0
    for _ in range(1_000):
        plan = model.call(random)
        found = model.again(random, plan, 1)
        if found is not None:
            again += 1
            assert (found[1].caller, found[1].rank) == (plan.caller, plan.rank)
            assert found[0] > 0
        assert model.again(random, plan, model.traffic.callers.attempts) is None
    assert 430 < again < 570


def test_a_kind_goes_to_the_rank_that_it_lacks_most():
    assert spread({"a": 0.5, "b": 0.5}, [0.4, 0.3, 0.2, 0.1]) == ("a", "b", "b", "a")


def test_the_busiest_hour_of_a_day_has_the_peak():
    day = [curves.busy_hour(minute / 1440, 100) for minute in range(1440)]
    assert max(day) == pytest.approx(100)
    assert day.index(max(day)) == 10 * 60 + 30
    assert min(day) == pytest.approx(3)
    assert all(abs(one - other) < 1 for one, other in itertools.pairwise(day))
    assert curves.busy_hour(0, 100) == pytest.approx(curves.busy_hour(1, 100))


def test_a_crowd_comes_at_once_and_goes_by_halves():
    assert curves.flash_crowd(29.9, 5, 105, at=30) == 5
    assert curves.flash_crowd(30, 5, 105, at=30) == 105
    assert curves.flash_crowd(50, 5, 105, at=30, half_life_s=20) == pytest.approx(55)


def test_steps_are_of_equal_height():
    assert [curves.steps(second, 5, 10, 20) for second in (0, 19.9, 20, 45)] == [5, 5, 15, 25]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("mean_s = 6.0", "mean_s = 0", "calls.hold.mean_s"),
        ("direct = 0.75", "direct = 0.5", "calls.kinds: shares must be 1 in all, not 0.75"),
        ("direct = 0.75", "directly = 0.75", "no kind of number is called 'directly'"),
        ("busy_share = 0.03", "busy_share = 1", "lines: busy_share and silent_share must be at most 1 in all"),
        ("attempts = 3", "attempts = 0", "callers.attempts"),
        ("zipf = 1.0", "zpif = 1.0", "numbers.zpif: no such setting"),
        ('"1380021"', '"13x"', "a prefix is 3 to 9 digits, not '13x'"),
        ('arrivals = "poisson"', 'arrivals = "often"', "calls.arrivals"),
        ("seed = 1", "seed =", "traffic.toml"),
    ],
)
def test_a_wrong_file_is_refused_by_key_and_reason(tmp_path, old, new, says):
    file = tmp_path / "traffic.toml"
    text = FILE.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    with pytest.raises(ConfigurationError) as caught:
        settings.read(file)
    assert says in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"nothing\.toml"):
        settings.read(tmp_path / "nothing.toml")
