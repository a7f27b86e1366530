"""Rows of statistics, figures, objectives, and whether it was the generator."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from signalbox.errors import ConfigurationError

import loadtest
from loadtest import objectives, rows
from loadtest.effort import Second, why_void
from loadtest.engine.messages import Direction, Result
from loadtest.figures import CALLS, GROUPS, Count, figures
from loadtest.outcome import Outcome
from loadtest.series import Series

FOLDER = Path(loadtest.__file__).parent


def result(outcome, **fields):
    return Result(**{"status": 200, "final_ms": 700.0, "dialled_ms": 110.0, **fields}, outcome=outcome)


def told(one):
    return {(row.type, row.name): (row.ms, row.failure) for row in rows.rows(one)}


def test_an_answered_call_is_told_in_every_row():
    heard = Direction(sent=200, heard=199, first_ms=12.0)
    one = result(
        Outcome.ANSWERED, answered_ms=700.0, talked_ms=4000.0, cleared_ms=3.0, caller=heard, line=heard,
        keys="12#", heard_keys="12#",
    )  # fmt: skip
    found = told(one)
    assert found["SIP", rows.ATTEMPT] == (700.0, "")
    assert found["SIP", rows.ASR] == found["SIP", rows.NER] == (100.0, "")
    assert found["SIP", rows.DELAY] == (110.0, "")
    assert found["SIP", rows.ANSWERED] == (700.0, "")
    assert found["SIP", rows.TALK] == (4000.0, "")
    assert found["SIP", rows.HANG_UP] == (3.0, "")
    assert found["RTP", rows.LOST] == (5.0, "")
    assert found["RTP", rows.THROUGH] == (12.0, "")
    assert found["RTP", rows.KEYS] == (None, "")
    assert sum(row.name == rows.LOST for row in rows.rows(one)) == 2


@pytest.mark.parametrize(
    ("outcome", "asr", "ner", "failed"),
    [
        (Outcome.BUSY, 0, 100, False),
        (Outcome.ABANDONED, 0, 100, False),
        (Outcome.NO_ANSWER, 0, 100, False),
        (Outcome.REFUSED, 0, 0, True),
        (Outcome.TIMED_OUT, 0, 0, True),
        (Outcome.SHED, 0, 0, True),
        (Outcome.NO_LINE, 100, 0, True),
        (Outcome.CUT, 100, 0, True),
        (Outcome.LEFT_UP, 100, 0, True),
        (Outcome.SILENT, 100, 0, True),
    ],
)
def test_whose_doing_it_was_counts_for_asr_and_ner(outcome, asr, ner, failed):
    found = told(result(outcome, why="because"))
    assert (found["SIP", rows.ASR][0], found["SIP", rows.NER][0]) == (asr, ner)
    assert found["SIP", rows.ATTEMPT][1] == (f"{outcome}: because" if failed else "")


def test_a_call_that_nobody_responded_to_counts_in_post_dial_delay():
    found = told(result(Outcome.TIMED_OUT, dialled_ms=None, why="no response in time"))
    assert found["SIP", rows.DELAY] == (None, "timed out: no response in time")


def test_a_503_is_clean_with_a_retry_after():
    shed = {"status": 503, "dialled_ms": None, "final_ms": 4.0}
    assert told(result(Outcome.SHED, retry_after=True, **shed))["SIP", rows.SHED] == (4.0, "")
    assert told(result(Outcome.SHED, **shed))["SIP", rows.SHED] == (4.0, "without Retry-After")


def test_silence_wrong_keys_and_a_bye_that_is_lost_are_failures():
    silent = Direction(sent=100, heard=0)
    one = result(Outcome.LEFT_UP, talked_ms=2000.0, line=silent, keys="1", heard_keys="2", why="no BYE")
    found = told(one)
    assert found["SIP", rows.HANG_UP] == (None, "left up: no BYE")
    assert found["RTP", rows.LOST] == (1000.0, "")
    assert found["RTP", rows.THROUGH] == (None, "nothing was heard")
    assert found["RTP", rows.KEYS] == (None, "pressed 1, heard 2")


def test_a_call_that_the_end_of_the_run_cut_short_says_nothing():
    assert list(told(Result(0, Outcome.UNFINISHED))) == [("SIP", rows.ATTEMPT)]


def test_percentiles_are_nearest_ranks_and_windows_are_differences():
    count = Count(5, 1, 400.0, {10: 2, 20: 1, 350: 1})
    assert (count.percentile(0.5), count.percentile(0.75), count.percentile(0.99)) == (10, 20, 350)
    assert count.mean_ms == 100
    assert Count().percentile(0.5) is None
    assert Count(3, 3).mean_ms is None
    later = Count(8, 1, 430.0, {10: 5, 20: 1, 350: 1})
    assert later.since(count) == Count(3, 0, 30.0, {10: 3})


def test_figures_are_of_what_was_measured():
    outcomes = {Outcome.ANSWERED: 90, Outcome.BUSY: 5, Outcome.SHED: 3, Outcome.CUT: 2, Outcome.UNFINISHED: 7}
    counts = {
        ("SIP", rows.DELAY): Count(95, 0, 9500.0, {100: 94, 900: 1}),
        ("SIP", rows.SHED): Count(3, 1, 12.0, {4: 3}),
        ("RTP", rows.LOST): Count(184, 0, 92.0, {0: 180, 23: 4}),
        ("RTP", rows.KEYS): Count(10, 1),
        ("gRPC", rows.DECIDE): Count(50, 0, 100.0, {2: 50}),
        ("gRPC", rows.DECIDE_STREAM): Count(50, 5, 100.0, {2: 45}),
    }
    found = figures(counts, outcomes)
    assert found["asr"] == pytest.approx(0.92)
    assert found["ner"] == pytest.approx(0.95)
    assert found["failures"] == pytest.approx(0.02)
    assert found["shed"] == pytest.approx(0.03)
    assert found["shed_unclean"] == pytest.approx(1 / 3)
    assert found["post_dial_delay_p50_ms"] == 100
    assert found["post_dial_delay_p99_ms"] == 900
    assert found["audio_lost"] == pytest.approx(0.0005)
    assert found["keys_wrong"] == pytest.approx(0.1)
    assert found["decide_failures"] == pytest.approx(0.05)
    assert "edit_p99_ms" not in found
    assert set(found) <= set(GROUPS)
    assert figures({}, {Outcome.UNFINISHED: 3}) == {}


def test_the_objectives_of_the_product_are_of_figures_that_there_are():
    for file in (FOLDER / "objectives.toml", *(FOLDER / "overload").glob("[ow]*.toml")):
        assert objectives.read(file).root


def test_a_breach_is_named_and_what_was_not_measured_is_one(tmp_path):
    file = tmp_path / "objectives.toml"
    file.write_text(
        "asr = { least = 0.9 }\nfailures = { most = 0 }\nshed = { least = 0.1, most = 0.5 }\n"
        "decide_p99_ms = { most = 1 }"
    )
    verdicts = objectives.judge(objectives.read(file), {"asr": 0.8, "shed": 0.2}, {CALLS})
    assert {one.name: one.breached for one in verdicts} == {"asr": True, "failures": True, "shed": False}
    assert [str(one) for one in verdicts] == [
        "asr: 0.8, to reach: at least 0.9",
        "failures: not measured, to reach: at most 0",
        "shed: 0.2, to reach: at least 0.1 and at most 0.5",
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("asr = {}", "asr: needs least or most"),
        ("asr = { min = 1 }", "asr.min: no such setting"),
        ("asr = { least = 'much' }", "asr.least"),
        ("arse = { least = 1 }", "no figure is called 'arse'"),
        ("asr = ", "objectives.toml"),
    ],
)
def test_wrong_objectives_are_refused_by_name_and_reason(tmp_path, text, says):
    file = tmp_path / "objectives.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        objectives.read(file)
    assert says in str(caught.value)


def second(calls=0.2, locust=0.1, late=5.0):
    return Second(calls, locust, late, 10, 0, 0)


def test_a_run_is_void_when_the_generator_had_no_room():
    calm = [second()] * 100
    assert why_void({"w": calm}) == []
    assert why_void({"w": [*calm, second(calls=0.95), second(calls=0.95)]}) == []
    (reason,) = why_void({"w": [*calm, *[second(calls=0.95)] * 3]})
    assert reason == "w: making calls took more than 90% of a core for 3 seconds in a row"
    (reason,) = why_void({"a": calm, "w": [*calm, *[second(locust=0.99)] * 4]})
    assert reason == "w: Locust took more than 90% of a core for 4 seconds in a row"
    assert why_void({"w": [*calm, second(late=80.0)]}) == []
    assert why_void({"w": [second(late=80.0)] * 2}) == []
    (reason,) = why_void({"w": [*calm, *[second(late=80.0)] * 3]})
    assert reason == "w: packets were sent more than 60 ms late in 3 of 103 seconds"


def test_windows_are_what_came_since_the_one_before():
    now = [0.0]
    series = Series(lambda: now[0])
    row = ("SIP", rows.DELAY)
    series.look({row: Count(10, 0, 1000.0, {100: 10})}, Counter({Outcome.ANSWERED: 10}), 3)
    assert series.windows == []
    now[0] = 5.0
    series.look({row: Count(20, 0, 2000.0, {100: 20})}, Counter({Outcome.ANSWERED: 20}), 4)
    now[0] = 10.0
    series.look({row: Count(25, 0, 4000.0, {100: 20, 400: 5})}, Counter({Outcome.ANSWERED: 20, Outcome.SHED: 5}), 0)
    first, then = series.windows
    assert (first.rate, first.open_calls, first.p99_ms(row)) == (4.0, 4, 100)
    assert (then.rate, then.p99_ms(row)) == (1.0, 400)
    assert then.share(lambda one: one is Outcome.SHED) == 1.0
    series.stop()
    assert series.load_s == 10.0
