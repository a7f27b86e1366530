"""Patterns of numbers, as people ask for them: ``ends:888``, ``AABB``, ``contains:520 without:4``, ``400????88?``.

A pattern is words joined by spaces, and a number must fit all of them:

==================  =====================================================================================
``ends:X``          the number ends with X
``starts:X``        it begins with X
``contains:X``      X is somewhere in it
``without:47``      none of these digits is among its last seven
``X``               letters alone: as ``ends:X``; else the whole number, so X has as many places as digits
==================  =====================================================================================

X is made of digits, of ``?`` for any digit, and of the letters A to F: the same letter stands for the same digit, other
letters for other digits. Three or more letters in the order of the alphabet, or its reverse, and nothing else, are a
straight: ``ABCD`` is 1234 or 6789, ``DCBA`` 4321.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from itertools import combinations, pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WORDS_MAX = 6
CONTAINS_MAX = 3
"""Words ``contains:``, which look at every place."""
TEXT_MAX = 100
LENGTH_MAX = 15
TAIL = 7
"""Digits that ``without:`` looks at, the last of the number."""

_LETTERS = "ABCDEF"
_OPERAND = re.compile(r"[0-9A-F?]{1,15}")
_DIGITS = re.compile(r"[0-9]{1,9}")


class PatternError(ValueError):
    """A text is no pattern. Says which word and why."""


class Relation(Enum):
    """How two digits of a number stand to each other; the second is the one further on."""

    EQUAL = "equal"
    DIFFERENT = "different"
    RISING = "rising"
    """One more than the first."""
    FALLING = "falling"


class Anchor(Enum):
    """Where a word looks."""

    START = "starts"
    END = "ends"
    ANYWHERE = "contains"
    WHOLE = "whole"


@dataclass(frozen=True)
class Shape:
    """What digits in a row must be like: at which offset which digits, and which two stand how to each other."""

    width: int
    allowed: tuple[tuple[int, frozenset[int]], ...] = ()
    related: tuple[tuple[int, int, Relation], ...] = ()


@dataclass(frozen=True)
class Word:
    """A shape and where it must be."""

    shape: Shape
    anchor: Anchor

    def places(self, length: int) -> Sequence[int]:
        """Where in a number of this length the shape may begin."""
        last = length - self.shape.width
        match self.anchor:
            case Anchor.START:
                return (0,) if last >= 0 else ()
            case Anchor.END:
                return (last,) if last >= 0 else ()
            case Anchor.WHOLE:
                return (0,) if last == 0 else ()
            case Anchor.ANYWHERE:
                return range(last + 1)


@dataclass(frozen=True)
class Pattern:
    """All of its words must fit; without any every number does."""

    words: tuple[Word, ...] = ()
    without: frozenset[int] = frozenset()
    """Digits that none of the last TAIL is."""


def parse(text: str) -> Pattern:
    """The pattern of a text. Raises PatternError."""
    if len(text) > TEXT_MAX:
        raise PatternError(f"must have at most {TEXT_MAX} characters")
    written = text.split()
    if len(written) > WORDS_MAX:
        raise PatternError(f"must have at most {WORDS_MAX} words")
    words: list[Word] = []
    without: frozenset[int] = frozenset()
    for word in written:
        kind, colon, operand = word.partition(":")
        if not colon:
            words.append(_bare(word))
        elif kind == "without":
            if not _DIGITS.fullmatch(operand):
                raise PatternError(f"{word!r}: 1 to 9 digits are expected after the colon")
            without |= {int(digit) for digit in operand}
        elif kind in ("starts", "ends", "contains"):
            words.append(Word(_shape(operand, word), Anchor(kind)))
        else:
            raise PatternError(f"{word!r}: must begin with starts:, ends:, contains: or without:")
    if sum(word.anchor is Anchor.ANYWHERE for word in words) > CONTAINS_MAX:
        raise PatternError(f"must have at most {CONTAINS_MAX} words that begin with contains:")
    return Pattern(tuple(words), without)


def fits(pattern: Pattern, number: str) -> bool:
    """True if a number fits: the plain meaning of patterns, for one number."""
    digits = [int(digit) for digit in number]
    if pattern.without.intersection(digits[-TAIL:]):
        return False
    return all(any(_fits(word.shape, digits, at) for at in word.places(len(digits))) for word in pattern.words)


def _fits(shape: Shape, digits: Sequence[int], at: int) -> bool:
    return all(digits[at + offset] in allowed for offset, allowed in shape.allowed) and all(
        stand(relation, digits[at + first], digits[at + second]) for first, second, relation in shape.related
    )


def stand(relation: Relation, first: int, second: int) -> bool:
    """True if two digits stand to each other so."""
    match relation:
        case Relation.EQUAL:
            return first == second
        case Relation.DIFFERENT:
            return first != second
        case Relation.RISING:
            return second == first + 1
        case Relation.FALLING:
            return second == first - 1


def _bare(word: str) -> Word:
    anchor = Anchor.END if word.isalpha() else Anchor.WHOLE
    return Word(_shape(word, word), anchor)


def _shape(operand: str, word: str) -> Shape:
    if not _OPERAND.fullmatch(operand):
        raise PatternError(f"{word!r}: 1 to {LENGTH_MAX} of 0-9, A-F and ? are expected")
    if len(operand) >= 3 and (operand in _LETTERS or operand in _LETTERS[::-1]):
        relation = Relation.RISING if operand in _LETTERS else Relation.FALLING
        return Shape(len(operand), (), tuple((one, two, relation) for one, two in pairwise(range(len(operand)))))
    allowed = tuple((offset, frozenset({int(sign)})) for offset, sign in enumerate(operand) if sign.isdigit())
    return Shape(len(operand), allowed, tuple(_related(operand)))


def _related(operand: str) -> Iterator[tuple[int, int, Relation]]:
    places = {letter: [i for i, sign in enumerate(operand) if sign == letter] for letter in _LETTERS}
    for found in places.values():
        yield from ((one, two, Relation.EQUAL) for one, two in pairwise(found))
    for one, two in combinations([found for found in places.values() if found], 2):
        # The nearest pair: what is near each other is looked up within few digits.
        first, second = min(((a, b) for a in one for b in two), key=lambda pair: abs(pair[0] - pair[1]))
        yield min(first, second), max(first, second), Relation.DIFFERENT
