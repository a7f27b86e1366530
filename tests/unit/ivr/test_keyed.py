"""When what is keyed at a menu is enough, and what it means."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signalbox.api.types.v1 import flows_pb2
from signalbox.ivr.keyed import Choice, Meaning
from signalbox.ivr.media.keys import Collected, Ended

ALPHABET = "12*"
LONGEST = 3
ALL = ["".join(keys) for size in range(LONGEST + 1) for keys in itertools.product(ALPHABET, repeat=size)]


@st.composite
def choices(draw: st.DrawFn) -> Choice:
    """Menus of three keys, with digits of at most three."""
    branches = draw(st.frozensets(st.sampled_from(ALL[1:]), max_size=6))
    longest = max(map(len, branches), default=1)
    most = draw(st.integers(longest, LONGEST))
    return Choice(branches, most, least=draw(st.none() | st.integers(1, most)))


def leads_on(choice: Choice, digits: str) -> bool:
    return choice.meaning(Collected(digits, Ended.TIMEOUT)) is Meaning.CHOSEN


@given(choices())
def test_digits_are_whole_if_they_are_a_branch_and_no_further_key_leads_anywhere_else(choice: Choice) -> None:
    for digits in ALL:
        if len(digits) > choice.most:
            continue
        longer = [one for one in ALL if len(digits) < len(one) <= choice.most and one.startswith(digits)]
        elsewhere = any(leads_on(choice, one) for one in longer)
        assert choice.is_whole(digits) is (digits in choice.branches and not elsewhere), digits


@given(choices())
def test_what_is_chosen_is_a_branch_or_has_as_many_digits_as_it_must(choice: Choice) -> None:
    for digits in ALL[1:]:
        enough = choice.least is not None and len(digits) >= choice.least
        for ended in Ended:
            meaning = choice.meaning(Collected(digits, ended))
            assert meaning is (Meaning.CHOSEN if digits in choice.branches or enough else Meaning.WRONG)


@pytest.mark.parametrize(("ended", "meaning"), [(Ended.TIMEOUT, Meaning.NOTHING), (Ended.TERMINATED, Meaning.WRONG)])
def test_the_terminator_alone_is_a_wrong_key_and_silence_is_none(ended: Ended, meaning: Meaning) -> None:
    assert Choice(frozenset("1"), 1, "#").meaning(Collected("", ended)) is meaning


def test_the_choice_of_a_menu_without_entered_digits_is_its_branches() -> None:
    branches = [flows_pb2.MenuBranch(digits="1"), flows_pb2.MenuBranch(digits="22")]
    menu = flows_pb2.MenuNode(branches=branches, max_digits=2, terminator="#", min_digits=1)
    assert Choice.at(menu) == Choice(frozenset({"1", "22"}), 2, "#")
    assert Choice.at(menu).is_whole("1")


def test_digits_that_may_be_entered_are_waited_for_after_a_branch_that_they_may_begin_with() -> None:
    menu = flows_pb2.MenuNode(
        branches=[flows_pb2.MenuBranch(digits="*")], max_digits=12, min_digits=6, entered="ask"
    )  # fmt: skip
    choice = Choice.at(menu)
    assert choice == Choice(frozenset("*"), 12, least=6)
    assert not choice.is_whole("*")
    assert choice.meaning(Collected("12345", Ended.TERMINATED)) is Meaning.WRONG
    assert choice.meaning(Collected("123456", Ended.TERMINATED)) is Meaning.CHOSEN
