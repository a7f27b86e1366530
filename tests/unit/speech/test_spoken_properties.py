"""What is said of any value means that value, to a parser that knows nothing of how it was made."""

from __future__ import annotations

from datetime import date, time
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from signalbox.speech import spoken
from signalbox.speech.languages import Language, Parts
from signalbox.speech.spoken import text_of

ZH, EN = "zh-CN", "en"
LANGUAGES = st.sampled_from([ZH, EN])

# Evenly by length, and around the places where zeros and groups begin.
NUMBERS = st.one_of(
    st.integers(-(10**12), 10**12),
    st.integers(0, 12).flatmap(lambda length: st.integers(0, 10**length)),
    st.text("001289", min_size=1, max_size=12).map(int),
)


# Parsers --------------------------------------------------------------------------------------------------------------


def chinese(text: str) -> int:
    """The number that a text says, by its characters: each unit multiplies what was said since the larger one."""
    text, minus = text.removeprefix("负"), text.startswith("负")
    if text == "零":
        return 0
    total = below = digit = 0
    for character in text:
        if character in "零一二三四五六七八九":
            digit = "零一二三四五六七八九".index(character)
        elif character == "两":
            digit = 2
        elif character in "十百千":
            below += (digit or 1) * {"十": 10, "百": 100, "千": 1_000}[character]
            digit = 0
        elif character == "万":
            total, below, digit = total + (below + digit) * 10_000, 0, 0
        else:
            assert character == "亿"
            total, below, digit = (total + below + digit) * 100_000_000, 0, 0
    value = total + below + digit
    return -value if minus else value


SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
)
WORDS = {word: value for value, word in enumerate(SMALL.split(" "))}
WORDS |= {"thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90}
LARGE = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}


def english(text: str) -> int:
    """The number that a text says, word by word."""
    total = below = 0
    for word in text.removeprefix("minus ").split(" "):
        if word == "hundred":
            below *= 100
        elif word in LARGE:
            total, below = total + below * LARGE[word], 0
        elif word != "and":
            below += WORDS[word]
    value = total + below
    return -value if text.startswith("minus ") else value


def known(parts: Parts, language: str) -> bool:
    """True if all parts are of the language's list."""
    library = Language.CHINESE if language == ZH else Language.ENGLISH
    return bool(parts) and set(parts) <= set(spoken.parts_of(library))


# Properties -----------------------------------------------------------------------------------------------------------


@given(value=NUMBERS)
def test_a_number_in_chinese_means_itself(value: int) -> None:
    parts = spoken.number(value, ZH)
    assert known(parts, ZH)
    assert chinese(text_of(parts)) == value


@given(value=NUMBERS)
def test_a_number_in_english_means_itself(value: int) -> None:
    parts = spoken.number(value, EN)
    assert known(parts, EN)
    assert english(text_of(parts)) == value


@given(value=NUMBERS.map(abs))
def test_a_number_in_chinese_is_said_as_schools_teach(value: int) -> None:
    """No zero twice, none at an end or before a unit; 两 only at the beginning and before a large unit."""
    text = text_of(spoken.number(value, ZH))
    if value:
        assert "零零" not in text
        assert not text.startswith("零")
        assert not text.endswith("零")
        assert not any(f"零{unit}" in text for unit in "十百千万亿")
    assert "两" not in text[1:]
    assert not text.startswith("两") or text[1] in "千万亿"
    assert not text.startswith(("二千", "二万", "二亿", "一十"))


@given(value=NUMBERS.map(abs).filter(bool), language=LANGUAGES)
def test_ordinals_and_positions_can_be_said(value: int, language: str) -> None:
    assert known(spoken.ordinal(value, language), language)
    assert known(spoken.position(value, language), language)


@given(
    hundredths=st.integers(-(10**14), 10**14) | st.integers(-2_000, 2_000),
    currency=st.sampled_from(spoken.CURRENCIES),
    language=LANGUAGES,
)
def test_an_amount_never_sounds_like_the_next_one(hundredths: int, currency: str, language: str) -> None:
    amount = Decimal(hundredths).scaleb(-2)
    parts = spoken.amount(amount, currency, language)
    assert known(parts, language)
    assert parts != spoken.amount(
        amount - Decimal("0.01") if amount > 0 else amount + Decimal("0.01"), currency, language
    )


@given(hundredths=st.integers(0, 10**14) | st.integers(0, 2_000))
def test_renminbi_mean_themselves(hundredths: int) -> None:
    text = text_of(spoken.amount(Decimal(hundredths).scaleb(-2), "CNY", ZH))
    total, rest = 0, text
    for unit, value in (("元", 100), ("角", 10), ("分", 1)):
        said, there, after = rest.partition(unit)
        if there:
            total, rest = total + chinese(said.removeprefix("零") or "零") * value, after
    assert (total, rest) == (hundredths, "")


@given(day=st.dates(), weekday=st.booleans(), language=LANGUAGES)
def test_any_day_can_be_said(day: date, weekday: bool, language: str) -> None:
    assert known(spoken.day(day, language, weekday=weekday), language)


@given(day=st.dates())
def test_a_day_in_chinese_means_itself(day: date) -> None:
    year, _, rest = text_of(spoken.day(day, ZH)).partition("年")
    month, _, rest = rest.partition("月")
    digits = "".join(str("零一二三四五六七八九".index(character)) for character in year)
    assert (int(digits), chinese(month), chinese(rest.removesuffix("日"))) == (day.year, day.month, day.day)


@given(at=st.times(), half_days=st.booleans(), language=LANGUAGES)
def test_two_minutes_never_sound_alike(at: time, half_days: bool, language: str) -> None:
    parts = spoken.clock(at, language, half_days=half_days)
    assert known(parts, language)
    others = [time(hour, at.minute) for hour in range(24) if hour != at.hour]
    others += [time(at.hour, minute) for minute in range(60) if minute != at.minute]
    assert all(spoken.clock(other, language, half_days=half_days) != parts for other in others)


@given(seconds=st.integers(0, 10**12) | st.integers(0, 200_000))
def test_a_duration_in_english_means_itself(seconds: int) -> None:
    parts = spoken.duration(seconds, EN)
    assert known(parts, EN)
    assert known(spoken.duration(seconds, ZH), ZH)
    total, said = 0, ""
    for word in text_of(parts).split(" "):
        unit = {"day": 86_400, "hour": 3_600, "minute": 60, "second": 1}.get(word.removesuffix("s"))
        if unit:
            total, said = total + english(said.strip()) * unit, ""
        else:
            said += f" {word}"
    assert total == seconds


@given(signs=st.text("0123456789*#", min_size=1, max_size=32), language=LANGUAGES)
def test_digits_are_said_one_by_one(signs: str, language: str) -> None:
    parts = spoken.digits(signs, language)
    assert known(parts, language)
    said = [part for part in parts if part not in spoken.PAUSES]
    assert len(said) == len(signs)
    alone = [spoken.digits(sign, language)[0] for sign in signs]
    assert said == alone
    groups = " ".join("x" if part not in spoken.PAUSES else "|" for part in parts).split("|")
    assert all(1 <= group.count("x") <= 5 for group in groups)
