"""Text in two scripts, cut where the voice changes."""

from __future__ import annotations

import unicodedata
from typing import NamedTuple

from signalbox.errors import FieldViolation, InvalidFieldError
from signalbox.speech.languages import BRITISH, MANDARIN

_HAN = (
    (0x2E80, 0x2FDF),
    (0x3005, 0x3007),
    (0x3100, 0x312F),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x323AF),
)
"""Radicals, iteration mark and zero, bopomofo, ideographs and their extensions."""
_FULL_WIDTH = {code: code - 0xFEE0 for code in (*range(0xFF10, 0xFF1A), *range(0xFF21, 0xFF3B), *range(0xFF41, 0xFF5B))}
"""Digits and letters as wide as ideographs, and their usual forms."""


class Run(NamedTuple):
    """Text for one voice."""

    voice: str
    text: str


def cut(text: str, voice: str) -> list[Run]:
    """The runs of a text, in order; together they are the text, full-width letters and digits made plain.

    Han characters are spoken by the Mandarin voice, Latin letters by an English one, ``voice`` if it is one. Digits are
    spoken in the language of the text, that of ``voice``. All else stays with what it follows. Raises
    InvalidFieldError for ``text`` if there are letters of another script.
    """
    runs: list[Run] = []
    undecided = ""
    for character in text.translate(_FULL_WIDTH):
        own = _voice(character, voice)
        if own is None and not runs:
            undecided += character
        elif own is None or (runs and runs[-1].voice == own):
            runs[-1] = runs[-1]._replace(text=runs[-1].text + character)
        else:
            runs.append(Run(own, undecided + character))
            undecided = ""
    return runs or [Run(voice, undecided)]


def _voice(character: str, voice: str) -> str | None:
    """The voice that must speak a character; none if any may."""
    if character.isdecimal() and character.isascii():
        return voice
    if any(first <= ord(character) <= last for first, last in _HAN):
        return MANDARIN
    if not character.isalpha():
        return None
    if "LATIN" in unicodedata.name(character, ""):
        return BRITISH if voice == MANDARIN else voice
    raise InvalidFieldError(
        FieldViolation("text", f"{character!r} is of a script that cannot be spoken: Han and Latin can")
    )
