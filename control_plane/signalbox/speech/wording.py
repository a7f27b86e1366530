"""Text as espeak-ng takes it without losing any. Measured with 1.51, the tests do it again.

In Chinese it ends a clause at full-width punctuation alone, and leaves characters out of one that is longer than some
200. In English it leaves letters out of words longer than some 120.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple
from xml.sax.saxutils import escape

from signalbox.errors import FieldViolation, InvalidFieldError
from signalbox.speech.languages import MANDARIN

if TYPE_CHECKING:
    from signalbox.speech.runs import Run

CLAUSE_MAX = 150
"""Characters of Chinese without punctuation; a digit counts as two."""
WORD_MAX = 60
"""Characters of a word of English, or of a number."""

_RANGE = "200%"
"""Of pitch: tones of Mandarin are spoken within 7 semitones, by default within 3.5. People take about 12."""
_MNEMONICS = re.compile(r"\[(?=\[)")
"""Between [[ and ]] espeak-ng takes names of phonemes instead of text."""
_PLAIN = re.compile(r"(?<!\d)[,.!?;:]|[,.!?;:](?!\d)|[—\n]")
"""Punctuation that ends a clause, but not within 3.5, 10:30 or 1,000."""
_FULL_WIDTH = {",": "，", ".": "。", "!": "！", "?": "？", ";": "；", ":": "：", "—": "，", "\n": "。"}
_PAUSING = (*_FULL_WIDTH, *_FULL_WIDTH.values(), "、", "…")
_ENDS = re.compile("[，。！？；：、…]")


class Wording(NamedTuple):
    """What espeak-ng is given."""

    voice: str
    ssml: str
    """Speech Synthesis Markup Language 1.1 (W3C)."""
    pauses: bool
    """A pause is to follow, whoever speaks next."""


def worded(run: Run) -> Wording:
    """A run for espeak-ng. Raises InvalidFieldError for ``text`` if something of it would be left out."""
    text = _MNEMONICS.sub("[ ", run.text)
    if run.voice == MANDARIN:
        text = _PLAIN.sub(lambda found: _FULL_WIDTH[found[0]], text)
        if any(len(clause) + sum(map(str.isdigit, clause)) > CLAUSE_MAX for clause in _ENDS.split(text)):
            raise _invalid(
                f"has more than {CLAUSE_MAX} characters of Chinese without punctuation, a digit counts as two"
            )
        spoken = f'<prosody range="{_RANGE}">{escape(text)}</prosody>'
    else:
        if any(len(word) > WORD_MAX for word in text.split()):
            raise _invalid(f"has a word of more than {WORD_MAX} characters")
        spoken = escape(text)
    return Wording(run.voice, f"<speak>{spoken}</speak>", text.rstrip(" ").endswith(_PAUSING))


def _invalid(reason: str) -> InvalidFieldError:
    return InvalidFieldError(FieldViolation("text", reason))
