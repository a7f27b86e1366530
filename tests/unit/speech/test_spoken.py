"""What is said, as a speaker of the language says it."""

from __future__ import annotations

from datetime import date, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from signalbox.errors import InvalidFieldError
from signalbox.speech import spoken
from signalbox.speech.languages import Language
from signalbox.speech.spoken import text_of

if TYPE_CHECKING:
    from collections.abc import Callable

ZH, EN = "zh-CN", "en"

CARDINALS = [
    (0, "零", "zero"),
    (2, "二", "two"),
    (10, "十", "ten"),
    (12, "十二", "twelve"),
    (20, "二十", "twenty"),
    (99, "九十九", "ninety nine"),
    (101, "一百零一", "one hundred and one"),
    (110, "一百一十", "one hundred and ten"),
    (200, "二百", "two hundred"),
    (1_001, "一千零一", "one thousand and one"),
    (1_010, "一千零一十", "one thousand and ten"),
    (1_100, "一千一百", "one thousand one hundred"),
    (2_000, "两千", "two thousand"),
    (2_222, "两千二百二十二", "two thousand two hundred and twenty two"),
    (10_005, "一万零五", "ten thousand and five"),
    (12_000, "一万二千", "twelve thousand"),
    (20_000, "两万", "twenty thousand"),
    (100_000, "十万", "one hundred thousand"),
    (105_000, "十万五千", "one hundred and five thousand"),
    (120_012, "十二万零一十二", "one hundred and twenty thousand and twelve"),
    (200_000, "二十万", "two hundred thousand"),
    (10_001_000, "一千万一千", "ten million one thousand"),
    (20_000_000, "两千万", "twenty million"),
    (100_000_001, "一亿零一", "one hundred million and one"),
    (100_010_001, "一亿零一万零一", "one hundred million ten thousand and one"),
    (100_120_000, "一亿零一十二万", "one hundred million one hundred and twenty thousand"),
    (220_000_000, "两亿二千万", "two hundred and twenty million"),
    (1_000_100_010, "十亿零一十万零一十", "one billion one hundred thousand and ten"),
    (200_000_000_000, "两千亿", "two hundred billion"),
    (10**12, "一万亿", "one trillion"),
    (-15, "负十五", "minus fifteen"),
]


@pytest.mark.parametrize(("value", "chinese", "english"), CARDINALS)
def test_cardinals(value: int, chinese: str, english: str) -> None:
    assert text_of(spoken.number(value, ZH)) == chinese
    assert text_of(spoken.number(value, EN)) == english


@pytest.mark.parametrize(
    ("value", "chinese", "english"),
    [
        (1, "第一", "first"),
        (2, "第二", "second"),
        (3, "第三", "third"),
        (5, "第五", "fifth"),
        (8, "第八", "eighth"),
        (9, "第九", "ninth"),
        (12, "第十二", "twelfth"),
        (20, "第二十", "twentieth"),
        (21, "第二十一", "twenty first"),
        (100, "第一百", "one hundredth"),
        (103, "第一百零三", "one hundred and third"),
        (10**12, "第一万亿", "one trillionth"),
    ],
)
def test_ordinals(value: int, chinese: str, english: str) -> None:
    assert text_of(spoken.ordinal(value, ZH)) == chinese
    assert text_of(spoken.ordinal(value, EN)) == english


@pytest.mark.parametrize(
    ("signs", "chinese", "english"),
    [
        ("0", "零", "zero"),
        ("10086", "幺零零八六", "one zero zero eight six"),
        ("12580#", "幺二五，八零井号", "one two five, eight zero hash"),
        ("95105777", "九五幺零，五七七七", "nine five one zero, five seven seven seven"),
        ("4001234567", "四零零，幺二三，四五六七", "four zero zero, one two three, four five six seven"),
        ("400 12345-67", "四零零，幺二三四五，六七", "four zero zero, one two three four five, six seven"),
        ("13800001234", "幺三八，零零零零，幺二三四", "one three eight, zero zero zero zero, one two three four"),
        ("+8613800001234", "加八六，幺三八，零零零零，幺二三四", None),
        ("+86", "加八六", "plus eight six"),
        ("+86-10-88886666", "加八六，幺零，八八八八六六六六", None),
        ("*21#", "星号二幺井号", "star two one hash"),
        ("0471 1234567", "零四七幺，幺二三四五六七", "zero four seven one, one two three four five six seven"),
    ],
)
def test_digits_in_groups(signs: str, chinese: str, english: str | None) -> None:
    assert text_of(spoken.digits(signs, ZH)) == chinese
    if english is not None:
        assert text_of(spoken.digits(signs, EN)) == english


@pytest.mark.parametrize(
    ("value", "currency", "chinese", "english"),
    [
        ("0", "CNY", "零元", "zero yuan"),
        ("0.05", "CNY", "五分", "five fen"),
        ("0.20", "CNY", "两角", "twenty fen"),
        ("0.22", "CNY", "两角二分", "twenty two fen"),
        ("2", "CNY", "两元", "two yuan"),
        ("2.2", "CNY", "两元二角", "two yuan and twenty fen"),
        ("1.05", "CNY", "一元零五分", "one yuan and five fen"),
        ("10.50", "CNY", "十元五角", "ten yuan and fifty fen"),
        ("12000.02", "CNY", "一万二千元零二分", "twelve thousand yuan and two fen"),
        ("-3.30", "CNY", "负三元三角", "minus three yuan and thirty fen"),
        ("-0.0", "CNY", "零元", "zero yuan"),
        ("1", "USD", "一美元", "one dollar"),
        ("2.02", "USD", "两美元两美分", "two dollars and two cents"),
        ("1.01", "EUR", "一欧元一欧分", "one euro and one cent"),
        ("0.01", "GBP", "一便士", "one penny"),
        ("100.50", "GBP", "一百英镑五十便士", "one hundred pounds and fifty pence"),
        ("1e12", "USD", "一万亿美元", "one trillion dollars"),
    ],
)
def test_amounts(value: str, currency: str, chinese: str, english: str) -> None:
    assert text_of(spoken.amount(Decimal(value), currency, ZH)) == chinese
    assert text_of(spoken.amount(Decimal(value), currency, EN)) == english


@pytest.mark.parametrize(
    ("day", "chinese", "english"),
    [
        ("2026-11-22", "二零二六年十一月二十二日", "the twenty second of November twenty twenty six"),
        ("2026-02-02", "二零二六年二月二日", "the second of February twenty twenty six"),
        ("2000-10-10", "二零零零年十月十日", "the tenth of October two thousand"),
        ("2005-01-31", "二零零五年一月三十一日", "the thirty first of January two thousand and five"),
        ("1905-12-05", "一九零五年十二月五日", "the fifth of December nineteen oh five"),
        ("1900-05-30", "一九零零年五月三十日", "the thirtieth of May nineteen hundred"),
        ("0987-06-01", "九八七年六月一日", "the first of June nine hundred and eighty seven"),
    ],
)
def test_dates(day: str, chinese: str, english: str) -> None:
    assert text_of(spoken.day(date.fromisoformat(day), ZH)) == chinese
    assert text_of(spoken.day(date.fromisoformat(day), EN)) == english


def test_the_day_of_the_week_is_where_speakers_put_it() -> None:
    day = date(2026, 11, 22)
    assert text_of(spoken.day(day, ZH, weekday=True)) == "二零二六年十一月二十二日星期日"
    assert text_of(spoken.day(day, EN, weekday=True)) == "Sunday the twenty second of November twenty twenty six"


@pytest.mark.parametrize(
    ("at", "chinese", "english"),
    [
        ("00:00", "凌晨零点整", "twelve midnight"),
        ("00:30", "凌晨零点三十分", "twelve thirty a.m."),
        ("02:00", "凌晨两点整", "two a.m."),
        ("05:00", "清晨五点整", "five a.m."),
        ("09:05", "上午九点零五分", "nine oh five a.m."),
        ("11:59", "上午十一点五十九分", "eleven fifty nine a.m."),
        ("12:00", "中午十二点整", "twelve noon"),
        ("12:30", "中午十二点三十分", "twelve thirty p.m."),
        ("13:02", "下午一点零二分", "one oh two p.m."),
        ("18:30", "下午六点三十分", "six thirty p.m."),
        ("19:00", "晚上七点整", "seven p.m."),
        ("23:20", "晚上十一点二十分", "eleven twenty p.m."),
    ],
)
def test_times_in_twelve_hours(at: str, chinese: str, english: str) -> None:
    assert text_of(spoken.clock(time.fromisoformat(at), ZH)) == chinese
    assert text_of(spoken.clock(time.fromisoformat(at), EN)) == english


@pytest.mark.parametrize(
    ("at", "chinese", "english"),
    [
        ("00:00", "零点整", "zero hundred hours"),
        ("00:05", "零点零五分", "zero oh five"),
        ("02:30", "两点三十分", "oh two thirty"),
        ("12:00", "十二点整", "twelve hundred hours"),
        ("15:02", "十五点零二分", "fifteen oh two"),
        ("22:22", "二十二点二十二分", "twenty two twenty two"),
    ],
)
def test_times_in_twenty_four_hours(at: str, chinese: str, english: str) -> None:
    assert text_of(spoken.clock(time.fromisoformat(at), ZH, half_days=False)) == chinese
    assert text_of(spoken.clock(time.fromisoformat(at), EN, half_days=False)) == english


@pytest.mark.parametrize(
    ("seconds", "chinese", "english"),
    [
        (0, "零秒", "zero seconds"),
        (2, "两秒", "two seconds"),
        (62, "一分钟两秒", "one minute and two seconds"),
        (120, "两分钟", "two minutes"),
        (3_602, "一小时零两秒", "one hour and two seconds"),
        (7_322, "两小时两分钟两秒", "two hours two minutes and two seconds"),
        (90_000, "一天一小时", "one day and one hour"),
        (172_805, "两天零五秒", "two days and five seconds"),
    ],
)
def test_durations(seconds: int, chinese: str, english: str) -> None:
    assert text_of(spoken.duration(seconds, ZH)) == chinese
    assert text_of(spoken.duration(seconds, EN)) == english


def test_a_place_in_a_queue() -> None:
    assert text_of(spoken.position(3, ZH)) == "您排在第三位"
    assert text_of(spoken.position(2, ZH)) == "您排在第二位"
    assert text_of(spoken.position(3, EN)) == "you are number three"


@pytest.mark.parametrize("tag", ["zh", "ZH-cn", "zh-Hans-CN", "zh-TW", "cmn", "en", "en-GB", "en-US", "en-AU"])
def test_languages_by_their_tags(tag: str) -> None:
    said = text_of(spoken.number(2_000, tag))
    assert said == ("two thousand" if tag.startswith("en") else "两千")


@pytest.mark.parametrize("tag", ["", "fr", "zh-HK", "zh-yue", "zh-Hant-MO", "e", "enx", "en_GB"])
def test_other_languages_are_refused_by_name(tag: str) -> None:
    with pytest.raises(InvalidFieldError) as refused:
        spoken.number(1, tag)
    assert str(refused.value) == f"language: {tag!r} cannot be spoken; there are zh, cmn, en, en-gb, en-us"


@pytest.mark.parametrize(
    ("say", "error"),
    [
        (lambda: spoken.number(10**12 + 1, ZH), "number: must be a whole number from -1000000000000 to 1000000000000"),
        (lambda: spoken.number(True, ZH), "number: must be a whole number from -1000000000000 to 1000000000000"),
        (lambda: spoken.ordinal(0, EN), "ordinal: must be a whole number from 1 to 1000000000000"),
        (lambda: spoken.position(0, EN), "position: must be a whole number from 1 to 1000000000000"),
        (lambda: spoken.duration(-1, EN), "duration: must be a whole number from 0 to 1000000000000"),
        (lambda: spoken.digits("", ZH), "digits: must have 1 to 32 signs"),
        (lambda: spoken.digits("- -", ZH), "digits: must have 1 to 32 signs"),
        (lambda: spoken.digits("1" * 33, ZH), "digits: must have 1 to 32 signs"),
        (lambda: spoken.digits("12a", ZH), "digits: must be 0-9, *, #, spaces and hyphens, and + at the beginning"),
        (lambda: spoken.digits("٣", ZH), "digits: must be 0-9, *, #, spaces and hyphens, and + at the beginning"),
        (lambda: spoken.digits("1+2", ZH), "digits: must be 0-9, *, #, spaces and hyphens, and + at the beginning"),
        (lambda: spoken.amount(Decimal(1), "JPY", ZH), "currency: must be one of CNY, USD, EUR, GBP"),
        (lambda: spoken.amount(Decimal("0.001"), "CNY", ZH), "amount: must have at most 2 decimals"),
        (lambda: spoken.amount(Decimal("1." + 40 * "0" + "1"), "CNY", ZH), "amount: must have at most 2 decimals"),
        (lambda: spoken.amount(Decimal("nan"), "CNY", ZH), "amount: must be from -1000000000000 to 1000000000000"),
        (lambda: spoken.amount(Decimal("1e13"), "CNY", ZH), "amount: must be from -1000000000000 to 1000000000000"),
        (lambda: spoken.amount(0.1, "CNY", ZH), "amount: must be decimal"),  # type: ignore[arg-type]
        (lambda: text_of(("zh.1", "zh.nothing")), "parts: there is no part 'zh.nothing'"),
    ],
)
def test_what_cannot_be_said_is_refused_by_field_and_reason(say: Callable[[], Any], error: str) -> None:
    with pytest.raises(InvalidFieldError) as refused:
        say()
    assert str(refused.value) == error


@pytest.mark.parametrize("language", Language)
def test_every_part_says_something_and_is_named_by_its_language(language: Language) -> None:
    prefix = language.value.partition("-")[0]
    for part, text in spoken.parts_of(language).items():
        assert part.startswith(f"{prefix}.")
        assert text.strip()
