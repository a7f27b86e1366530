"""Text as espeak-ng takes it."""

from __future__ import annotations

import pytest
from signalbox.errors import InvalidFieldError
from signalbox.speech.runs import Run
from signalbox.speech.wording import worded

ZH, EN = "cmn-latn-pinyin", "en-gb"


def spoken(voice: str, text: str) -> str:
    """What is between the tags."""
    inner = worded(Run(voice, text)).ssml.removeprefix("<speak>").removesuffix("</speak>")
    return inner.removeprefix('<prosody range="200%">').removesuffix("</prosody>")


@pytest.mark.parametrize(
    ("voice", "text", "expected"),
    [
        (ZH, "您好,请按1. 谢谢!", "您好，请按1。 谢谢！"),
        (ZH, "10:30到3.5,共1,000元", "10:30到3.5，共1,000元"),
        (ZH, "请按1.", "请按1。"),
        (ZH, "第一行\n第二行—完", "第一行。第二行，完"),
        (EN, "Press 1, please.\nThanks", "Press 1, please.\nThanks"),
        (EN, "a [[w3:ld]] [[[b", "a [ [w3:ld]] [ [ [b"),
    ],
)
def test_clauses_end_and_nothing_is_a_command(voice: str, text: str, expected: str) -> None:
    assert spoken(voice, text) == expected


def test_markup_in_a_text_is_text() -> None:
    assert spoken(EN, "AT&T <break/> </speak>") == "AT&amp;T &lt;break/&gt; &lt;/speak&gt;"


@pytest.mark.parametrize(
    ("voice", "text", "pauses"),
    [(ZH, "您好，", True), (ZH, "您好.", True), (ZH, "您好", False), (EN, "Hello, ", True), (EN, "Acme ", False)],
)
def test_a_pause_is_where_a_clause_ends(voice: str, text: str, pauses: bool) -> None:
    assert worded(Run(voice, text)).pauses is pauses


@pytest.mark.parametrize("text", ["好" * 150 + "，" + "好" * 150, "1" * 75, "好" * 100 + "," + "1" * 75])
def test_long_texts_with_punctuation_are_taken(text: str) -> None:
    assert len(spoken(ZH, text)) == len(text)


@pytest.mark.parametrize("text", ["好" * 151, "好 " * 76, "1" * 76, "好" * 100 + "1" * 26])
def test_chinese_of_which_something_would_be_left_out_is_refused(text: str) -> None:
    with pytest.raises(InvalidFieldError, match=r"^text: has more than 150 characters of Chinese without punctuation"):
        worded(Run(ZH, text))


def test_a_word_of_which_something_would_be_left_out_is_refused() -> None:
    assert worded(Run(EN, f"{'a' * 60} {'1' * 60}"))
    with pytest.raises(InvalidFieldError, match=r"^text: has a word of more than 60 characters"):
        worded(Run(EN, "a" * 61))
