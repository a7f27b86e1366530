"""Numbers as people and networks write them, and who calls."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from signalbox.domain.numbering import (
    PLAN,
    SERVICE_FORMS,
    Caller,
    CallerKind,
    Plan,
    caller,
    e164,
    international,
    is_service_form,
    national,
)

DIGITS = "0123456789"
AREA_CODES = sorted(PLAN.area_codes)


@st.composite
def service_numbers(draw: st.DrawFn) -> str:
    form = draw(st.sampled_from([form for form in SERVICE_FORMS if form.length >= 5]))
    rest = form.length - len(form.prefix)
    return form.prefix + draw(st.text(DIGITS, min_size=rest, max_size=rest))


@st.composite
def mobiles(draw: st.DrawFn) -> str:
    prefix = draw(st.sampled_from(["13", "145", "149", "15", "16", "17", "18", "19"]))
    return prefix + draw(st.text(DIGITS, min_size=11 - len(prefix), max_size=11 - len(prefix)))


@st.composite
def fixed_lines(draw: st.DrawFn) -> str:
    code = draw(st.sampled_from(AREA_CODES))
    length = draw(st.sampled_from([8] if len(code) == 3 else [7, 8]))
    return code + draw(st.sampled_from("2345678")) + draw(st.text(DIGITS, min_size=length - 1, max_size=length - 1))


@st.composite
def abroad(draw: st.DrawFn) -> str:
    country = draw(st.sampled_from(["1", "44", "49", "81", "852", "853", "886", "7", "971"]))
    return "00" + country + draw(st.text(DIGITS, min_size=7, max_size=11))


def separated(number: str, separators: list[tuple[int, str]]) -> str:
    for position, mark in separators:
        number = number[:position] + mark + number[position:]
    return number


SEPARATORS = st.lists(st.tuples(st.integers(0, 14), st.sampled_from("-.()")), max_size=6)
TEXT = st.one_of(
    st.text(max_size=80),
    st.text("0123456789+-.();%2B ", max_size=30),
    st.builds(str.__add__, st.sampled_from(["+86", "0086", "86", "0", "00", "+", ""]), st.text(DIGITS, max_size=16)),
    st.builds(
        str.__add__,
        st.sampled_from(["+8686", "00860086", "860086", "8600", "086", "+860", "+8600", "860", "+86010", "86010"]),
        st.text(DIGITS, max_size=16),
    ),
)


class TestNational:
    @pytest.mark.parametrize(
        "written",
        [
            "4001234567",
            "+864001234567",
            "00864001234567",
            "864001234567",
            "04001234567",
            "+8604001234567",
            "400-123-4567",
            "+86-400-123-4567",
            "(400)123.4567",
            "4001234567;phone-context=+86",
            "+864001234567;npdi;rn=123",
            "%2B864001234567",
        ],
    )
    def test_every_way_to_write_a_400_number_gives_its_national_form(self, written: str) -> None:
        assert national(written) == "4001234567"

    @pytest.mark.parametrize(
        ("written", "form"),
        [("+8695105123", "95105123"), ("8695588", "95588"), ("008612345", "12345"), ("110", "110"), ("10086", "10086")],
    )
    def test_hotlines_have_a_national_form(self, written: str, form: str) -> None:
        assert national(written) == form

    @pytest.mark.parametrize("written", ["123", "1000", "86110", "0110", "123456", "8888", "0123456789"])
    def test_digits_that_fit_nothing_stay_as_they_are(self, written: str) -> None:
        assert national(written) == written

    @pytest.mark.parametrize(
        "written",
        [
            "",
            "alice",
            "+14001234567",
            "0014001234567",
            "400 123 4567",
            "400%20123%204567",
            "40012\x004567",
            "٤٠٠١٢٣٤٥٦٧",
            "4²01234567",
            "12",
            "+8612",
            "4001234567890123",
            "+",
            "00",
            "+86",
            "++864001234567",
            ";phone-context=+86",
            "*67",
            "#31#4001234567",
        ],
    )
    def test_what_is_no_number_of_this_country_has_no_national_form(self, written: str) -> None:
        assert national(written) == ""

    @given(service_numbers(), st.sampled_from(["", "+86", "0086", "86", "0", "+860"]), SEPARATORS)
    def test_every_service_number_is_found_however_it_is_written(
        self, number: str, prefix: str, separators: list[tuple[int, str]]
    ) -> None:
        assert is_service_form(number)
        assert national(separated(prefix + number, separators)) == number

    @given(TEXT)
    @example("+868610086")
    @example("+8601088886666")
    def test_any_text_gives_digits_of_a_possible_length_or_nothing(self, written: str) -> None:
        form = national(written)
        assert form == "" or (form.isascii() and form.isdigit() and 3 <= len(form) <= 15)
        assert national(form) == form, "the national form of a national form is itself"


class TestCaller:
    @pytest.mark.parametrize(
        ("written", "kind", "number"),
        [
            ("13800001234", CallerKind.MOBILE, "13800001234"),
            ("19912345678", CallerKind.MOBILE, "19912345678"),
            ("1440012345678", CallerKind.MOBILE, "1440012345678"),
            ("01088886666", CallerKind.FIXED, "01088886666"),
            ("04713456789", CallerKind.FIXED, "04713456789"),
            ("047134567890", CallerKind.FIXED, "047134567890"),
            ("88886666", CallerKind.FIXED, "88886666"),
            ("3456789", CallerKind.FIXED, "3456789"),
            ("4001234567", CallerKind.SERVICE, "4001234567"),
            ("8008101234", CallerKind.SERVICE, "8008101234"),
            ("95105123", CallerKind.SERVICE, "95105123"),
            ("95588", CallerKind.SERVICE, "95588"),
            ("96110", CallerKind.SERVICE, "96110"),
            ("01096110", CallerKind.SERVICE, "01096110"),
            ("110", CallerKind.SHORT, "110"),
            ("10086", CallerKind.SHORT, "10086"),
            ("047112345", CallerKind.SHORT, "047112345"),
            ("+442071838750", CallerKind.FOREIGN, "00442071838750"),
            ("0085221234567", CallerKind.FOREIGN, "0085221234567"),
            ("+14155552671", CallerKind.FOREIGN, "0014155552671"),
        ],
    )
    def test_a_number_is_of_a_kind_and_has_a_national_form(self, written: str, kind: CallerKind, number: str) -> None:
        assert caller(written, "") == Caller(kind, number)

    @pytest.mark.parametrize(
        "written", ["", "anonymous", "Anonymous", "RESTRICTED", "unavailable", " Unknown ", "匿名"]
    )
    def test_a_caller_who_hides_is_anonymous(self, written: str) -> None:
        assert caller(written, "") == Caller(CallerKind.ANONYMOUS)

    @pytest.mark.parametrize("written", ["alice", "+", "12", "#31#", "1" * 21, "138 0000 1234", "4²01234567", "+86"])
    def test_what_is_no_number_is_malformed(self, written: str) -> None:
        assert caller(written, "") == Caller(CallerKind.MALFORMED)

    @pytest.mark.parametrize(
        ("written", "number"),
        [("00000000", "00000000"), ("1234", "1234"), ("+86999", "999"), ("00852", "00852"), ("9" * 20, "9" * 20)],
    )
    def test_digits_that_fit_nothing_are_malformed_and_kept(self, written: str, number: str) -> None:
        assert caller(written, "") == Caller(CallerKind.MALFORMED, number)

    @pytest.mark.parametrize(
        ("calling", "asserted", "number"),
        [
            ("13800001234", "+8613900001111", "13900001111"),
            ("anonymous", "+8613900001111", "13900001111"),
            ("13800001234", "", "13800001234"),
            ("13800001234", "anonymous", "13800001234"),
            ("13800001234", "alice", "13800001234"),
            ("13800001234", "999", "13800001234"),
            ("anonymous", "alice", ""),
        ],
    )
    def test_the_asserted_number_counts_first(self, calling: str, asserted: str, number: str) -> None:
        assert caller(calling, asserted).number == number

    @given(mobiles(), st.sampled_from(["", "+86", "0086", "86", "0", "+860", "860", "%2B86"]), SEPARATORS)
    def test_every_way_to_write_a_mobile_is_the_same_caller(
        self, number: str, prefix: str, separators: list[tuple[int, str]]
    ) -> None:
        written = prefix + number if prefix.startswith("%") else separated(prefix + number, separators)
        assert caller(written, "") == Caller(CallerKind.MOBILE, number)

    @given(fixed_lines(), st.sampled_from(["0", "+860", "+86", "0086", "00860", "86", "860", ""]), SEPARATORS)
    def test_every_way_to_write_a_fixed_line_is_the_same_caller(
        self, number: str, prefix: str, separators: list[tuple[int, str]]
    ) -> None:
        written = separated(prefix + number.removeprefix("0"), separators)
        assert caller(written, "") == Caller(CallerKind.FIXED, number)

    @given(abroad(), st.sampled_from(["00", "+"]), SEPARATORS)
    def test_every_way_to_write_a_number_abroad_is_the_same_caller(
        self, number: str, prefix: str, separators: list[tuple[int, str]]
    ) -> None:
        written = separated(prefix + number.removeprefix("00"), separators)
        assert caller(written, "") == Caller(CallerKind.FOREIGN, number)

    @given(
        st.sampled_from(AREA_CODES),
        st.sampled_from(["12345", "10086", "96110"]),
        st.sampled_from(["+86", "0086", "86"]),
    )
    def test_every_way_to_write_a_hotline_of_an_area_is_the_same_caller(
        self, code: str, hotline: str, prefix: str
    ) -> None:
        number = code + hotline
        assert caller(number, "").number == number
        assert caller(prefix + number.removeprefix("0"), "") == caller(number, "")

    @given(TEXT, TEXT)
    def test_nothing_raises_and_a_caller_written_in_national_form_is_the_same(
        self, calling: str, asserted: str
    ) -> None:
        found = caller(calling, asserted)
        assert found.number == "" or (found.number.isdigit() and 3 <= len(found.number) <= 20)
        if found.number:
            assert caller(found.number, "") == found
            assert caller("anonymous", found.number).number == (
                "" if found.kind is CallerKind.MALFORMED else found.number
            )

    @given(st.one_of(mobiles(), fixed_lines(), service_numbers(), abroad()))
    def test_international_forms_lead_back(self, number: str) -> None:
        known = caller(number, "")
        assert caller(e164(number), "") == caller(international(number), "") == known
        assert e164(number)[0] == "+"


def test_forms_for_trunks() -> None:
    numbers = ["13800001234", "01088886666", "4001234567", "00442071838750"]
    assert [e164(number) for number in numbers] == ["+8613800001234", "+861088886666", "+864001234567", "+442071838750"]
    assert international("01088886666") == "00861088886666"
    assert international("00442071838750") == "00442071838750"


def test_another_plan_is_another_text() -> None:
    plan = Plan.parse(
        """
        country_code = "999"
        international_prefix = "00"
        trunk_prefix = "0"
        anonymous = ["Nobody"]
        [[range]]
        name = "mobile"
        kind = "mobile"
        prefixes = ["7"]
        lengths = [6]
        [[range]]
        name = "long mobile"
        kind = "service"
        prefixes = ["77"]
        lengths = [6]
        with_area_code = true
        [[area]]
        first = "1"
        lengths = [4]
        codes = ["01"]
        """
    )
    kinds = {digits: plan.kind(digits) for digits in ("712345", "772345", "011234", "021234", "01772345", "7", "")}
    assert {digits: kind.value if kind else None for digits, kind in kinds.items()} == {
        "712345": "mobile",
        "772345": "service",
        "011234": "fixed",
        "021234": None,
        "01772345": "service",
        "7": None,
        "": None,
    }
    assert plan.local("1234")
    assert not plan.local("2234")
    assert plan.anonymous == {"nobody"}
    assert replace(plan, country_code="1") != plan
