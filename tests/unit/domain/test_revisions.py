"""Which revision is in force."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signalbox.domain.revisions import in_force, needed_from

times = st.lists(st.integers(0, 12).map(float), max_size=8).map(sorted)


@given(times, st.integers(-1, 13).map(float))
def test_the_last_one_whose_time_has_come_is_in_force(times: list[float], now: float) -> None:
    come = [position for position, since in enumerate(times) if since <= now]
    assert in_force([(since, position) for position, since in enumerate(times)], now) == (come[-1] if come else None)


@given(times, st.integers(-1, 13).map(float))
def test_what_is_needed_is_what_is_in_force_or_will_be(times: list[float], now: float) -> None:
    revisions = [(since, position) for position, since in enumerate(times)]
    first = needed_from(times, now)
    later = {in_force(revisions, moment) for moment in [now, *(since for since in times if since > now)]} - {None}
    assert all(position is not None and position >= first for position in later)
    assert not later or first in later or in_force(revisions, now) is None


@pytest.mark.parametrize(("now", "expected"), [(9.999, None), (10.0, "a"), (19.999, "a"), (20.0, "c"), (1e12, "c")])
def test_a_revision_is_in_force_from_its_very_moment(now: float, expected: str | None) -> None:
    assert in_force([(10.0, "a"), (20.0, "b"), (20.0, "c")], now) == expected
