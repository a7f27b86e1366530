"""Keys that mean something while people talk."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from signalbox.ivr.keysequences import APART_S, KeySequences

KEYS = st.text("0123456789*#ABCD", max_size=12)
MEANINGS = {"*9": "transfer", "*1": "pause", "#": "resume"}


def pressed(sequences: KeySequences[str], keys: str) -> list[str | None]:
    """What each key meant, pressed in a row."""
    return [sequences.press(key, 0.1 * at) for at, key in enumerate(keys)]


def test_a_sequence_means_something_with_its_last_key() -> None:
    assert pressed(KeySequences(MEANINGS), "*9") == [None, "transfer"]
    assert pressed(KeySequences(MEANINGS), "#") == ["resume"]


def test_keys_before_it_are_no_part_of_it() -> None:
    assert pressed(KeySequences(MEANINGS), "12**9") == [None, None, None, None, "transfer"]


def test_a_key_is_part_of_one_sequence_alone() -> None:
    assert pressed(KeySequences({"11": "eleven"}), "1111") == [None, "eleven", None, "eleven"]
    assert pressed(KeySequences(MEANINGS), "*19") == [None, "pause", None]


def test_keys_that_come_long_after_one_another_do_not_belong_together() -> None:
    sequences = KeySequences(MEANINGS)
    assert sequences.press("*", 10.0) is None
    assert sequences.press("9", 10.1 + APART_S) is None
    assert sequences.press("*", 14.0) is None
    assert sequences.press("9", 14.0 + APART_S) == "transfer"


def test_no_keys_mean_nothing() -> None:
    assert pressed(KeySequences({"": "never"}), "12*#") == [None] * 4
    assert pressed(KeySequences({}), "12*#") == [None] * 4


@given(KEYS)
def test_every_sequence_counts_as_often_as_it_is_pressed(keys: str) -> None:
    """As a reader finds it from left to right."""
    expected: list[str | None] = []
    rest = ""
    for key in keys:
        rest += key
        meaning = next((MEANINGS[one] for one in MEANINGS if rest.endswith(one)), None)
        expected.append(meaning)
        rest = "" if meaning else rest
    assert pressed(KeySequences(MEANINGS), keys) == expected
