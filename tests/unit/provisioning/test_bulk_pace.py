"""The pace of imports."""

from __future__ import annotations

from signalbox.provisioning.bulk_pace import PAUSE_MAX_S, ROWS_FIRST, ROWS_MAX, ROWS_MIN, Pace


class Time:
    """Goes by when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_quick_commits_make_batches_larger_up_to_the_most() -> None:
    pace = Pace(0, 0.1, Time())
    for _ in range(50):
        assert pace.committed(pace.rows, 0.05) == 0
    assert pace.rows == ROWS_MAX


def test_a_slow_commit_halves_the_next_and_is_followed_by_a_pause_as_long() -> None:
    pace = Pace(0, 0.1, Time())
    assert pace.committed(pace.rows, 0.3) == 0.3
    assert pace.rows == ROWS_FIRST // 2
    for _ in range(20):
        assert pace.committed(pace.rows, 60) == PAUSE_MAX_S
    assert pace.rows == ROWS_MIN


def test_small_batches_say_nothing_of_larger_ones() -> None:
    pace = Pace(0, 0.1, Time())
    pace.committed(3, 0.001)
    assert pace.rows == ROWS_FIRST


def test_the_rate_is_the_least_of_both_limits() -> None:
    time = Time()
    pace = Pace(100, 0.1, time)
    assert pace.committed(50, 0.01) == 0.5
    time.now += 0.5
    assert pace.committed(50, 0.01, limit=1000) == 0.5
    time.now += 0.5
    assert pace.committed(50, 0.01, limit=10) == 5.0
    time.now += 60
    assert pace.committed(50, 0.01) == 0.5, "what was not used is not kept"


def test_rows_that_change_nothing_keep_to_the_limit_of_their_import_alone() -> None:
    pace = Pace(100, 0.1, Time())
    assert pace.committed(50, 0.0) == 0
    assert pace.committed(50, 0.0, limit=10) == 5.0


def test_too_many_rows_for_a_commit_become_half_as_many() -> None:
    pace = Pace(0, 0.1, Time())
    for rows in (50, 25, 12, 6, 3, 1, 1):
        pace.refused(rows)
        assert pace.rows == max(1, rows // 2)
