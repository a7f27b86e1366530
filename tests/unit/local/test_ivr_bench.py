"""The figures of ``make bench-ivr``: what counts as carried, as failed, and as left."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from signalbox_local import bench_ivr, flow_figures
from signalbox_local.flow_call import Counts
from signalbox_local.flow_figures import Part
from signalbox_local.flow_rounds import Level, Window, _window

WINDOW = Window(
    rate=50.0, seconds=10.0, calls=500, failed=0, resent=0, answer_p99_ms=40.0, connect_p99_ms=90.0,
    cpu_s={"ivr": 2.5, "kamailio": 1.0, "load": 0.5},
)  # fmt: skip
LEVEL = Level(1_000, 1_000, 190.0, {"ivr": 0.01}, 0)
PART = Part({"setups_per_s_core": 200.0}, {}, {}, 0, {"worker": 0, "rtpengine": 0, "redis": 0})


def test_a_window_is_carried_if_every_call_went_and_the_worker_had_time_left() -> None:
    assert WINDOW.carried
    assert not replace(WINDOW, failed=1).carried
    assert not replace(WINDOW, resent=1).carried
    assert not replace(WINDOW, calls=449).carried
    assert not replace(WINDOW, cpu_s={"ivr": 9.1}).carried


def test_processor_time_is_of_the_calls_that_were_bridged() -> None:
    assert WINDOW.per_call_ms == {"ivr": 5.0, "kamailio": 2.0, "load": 1.0}
    assert WINDOW.setups_per_s_core == 200.0


def test_a_window_counts_what_happened_in_it_alone() -> None:
    before = Counts(
        reached=Counter(BRIDGED=10), failed=Counter(late=1), resent=Counter(BYE=2), answered_s=[9.0], connected_s=[9.0]
    )
    after = Counts(
        reached=Counter(BRIDGED=110, ANSWERED=120),
        failed=Counter(late=2, other=3),
        resent=Counter(BYE=2, INVITE=1),
        answered_s=[9.0, 0.02],
        connected_s=[9.0, 0.05],
    )
    found = _window(10.0, 10.0, before, after, {"ivr": 1.0})
    assert (found.calls, found.failed, found.resent) == (100, 4, 1)
    assert (found.answer_p99_ms, found.connect_p99_ms) == (20.0, 50.0)


def test_set_ups_are_medians_of_windows() -> None:
    slower = replace(WINDOW, cpu_s={"ivr": 5.0, "kamailio": 1.0, "load": 0.5})
    figures = flow_figures.setups([WINDOW, slower, WINDOW], {"ivr": 0.00612}, 71.0)
    assert figures["setups_per_s_core"] == 200.0
    assert figures["setups"]["per_s_core"] == {"median": 200.0, "min": 100.0, "max": 200.0}
    assert figures["setups"]["worker_ms_per_call"] == {"median": 5.0, "min": 5.0, "max": 10.0}
    assert figures["setups"]["parts_ms_per_call"]["kamailio"]["median"] == 2.0
    assert figures["setups"]["idle_cores"] == {"ivr": 0.0061}


def test_calls_at_once_are_those_of_the_last_level_that_was_carried() -> None:
    broken = replace(LEVEL, calls=3_000, alive=2_999, rss_mb=350.0)
    figures = flow_figures.concurrent([LEVEL, broken], 110.0, 190.0)
    assert (figures["concurrent_calls"], figures["worker_rss_mb"]) == (1_000, 190)
    assert figures["concurrent"]["kb_per_call"] == 80.0
    assert not replace(LEVEL, failed=1).carried
    assert flow_figures.concurrent([broken], 110.0, 190.0)["concurrent_calls"] == 2_999


@pytest.mark.parametrize(
    "worse", [{"failed": {"late": 1}}, {"unfinished": 1}, {"left": {"worker": 0, "rtpengine": 1, "redis": 0}}],
    ids=lambda worse: next(iter(worse)),
)  # fmt: skip
def test_a_part_is_clean_if_no_call_failed_and_nothing_is_left(worse: dict[str, object]) -> None:
    assert PART.clean
    assert not replace(PART, **worse).clean  # type: ignore[arg-type]


def test_what_failed_in_all_parts_counts() -> None:
    parts = {"setups": replace(PART, failed={"late": 2}), "concurrent": Part({}, {"late": 1}, {"BYE": 4}, 5, {})}
    figures = flow_figures.summary(parts)
    assert (figures["failed"], figures["setups_per_s_core"]) == (3, 200.0)
    assert figures["ends"]["concurrent"] == {"failed": {"late": 1}, "resent": {"BYE": 4}, "unfinished": 5, "left": {}}
    assert flow_figures.table(figures).row_count == 2


def test_a_part_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench_ivr.main(["--parts", "setups,nothing"])
    assert "no part is called 'nothing'" in capsys.readouterr().err
