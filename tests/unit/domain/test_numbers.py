"""Numbers as callers write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signalbox.domain.numbers import SERVICE_FORMS, is_service_form, national


@st.composite
def service_numbers(draw: st.DrawFn) -> str:
    form = draw(st.sampled_from(SERVICE_FORMS))
    rest = form.length - len(form.prefix)
    return form.prefix + draw(st.text("0123456789", min_size=rest, max_size=rest))


@pytest.mark.parametrize(
    "written",
    [
        "4001234567",
        "+864001234567",
        "00864001234567",
        "864001234567",
        "400-123-4567",
        "+86-400-123-4567",
        "(400)123.4567",
        "4001234567;phone-context=+86",
        "+864001234567;npdi;rn=123",
    ],
)
def test_every_way_to_write_a_400_number_gives_its_national_form(written: str) -> None:
    assert national(written) == "4001234567"


@pytest.mark.parametrize(
    ("written", "form"),
    [("+8695105123", "95105123"), ("8695588", "95588"), ("008612345", "12345"), ("110", "110"), ("10086", "10086")],
)
def test_hotlines_have_a_national_form(written: str, form: str) -> None:
    assert national(written) == form


@pytest.mark.parametrize(
    "written",
    [
        "",
        "alice",
        "+14001234567",
        "0014001234567",
        "400 123 4567",
        "40012\x004567",
        "٤٠٠١٢٣٤٥٦٧",
        "4²01234567",
        "12",
        "+8612",
        "4001234567890123",
        "+",
        "00",
        ";phone-context=+86",
        "*67",
        "#31#4001234567",
    ],
)
def test_what_is_no_number_of_this_country_has_no_national_form(written: str) -> None:
    assert national(written) == ""


def test_a_country_code_without_prefix_stays_where_no_service_number_would_be_left() -> None:
    assert national("8613800001234") == "8613800001234"


@given(service_numbers(), st.sampled_from(["", "+86", "0086", "86"]))
def test_every_service_number_is_found_however_it_is_prefixed(number: str, prefix: str) -> None:
    assert is_service_form(number)
    assert national(prefix + number) == number


@given(st.text(max_size=80))
def test_any_text_gives_digits_of_a_possible_length_or_nothing(written: str) -> None:
    form = national(written)
    assert form == "" or (form.isascii() and form.isdigit() and 3 <= len(form) <= 15)


@given(service_numbers(), st.lists(st.tuples(st.integers(0, 10), st.sampled_from("-.()")), max_size=6))
def test_visual_separators_change_nothing(number: str, separators: list[tuple[int, str]]) -> None:
    written = number
    for position, mark in separators:
        written = written[:position] + mark + written[position:]
    assert national(written) == number
