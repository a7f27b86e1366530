"""Which languages can be spoken, by BCP 47 tag."""

from __future__ import annotations

from enum import Enum

from signalbox.errors import FieldViolation, InvalidFieldError

Parts = tuple[str, ...]
"""Names of parts in the order in which they are said, e.g. ``("zh.ordinal", "zh.3")``."""


class Language(Enum):
    """A language that has a library of parts; the value names it in objects."""

    CHINESE = "zh-CN"
    """Mandarin."""
    ENGLISH = "en"
    """As in Britain."""


MANDARIN = "cmn-latn-pinyin"
"""espeak-ng's voice for Han characters. What it calls ``cmn`` says the names of letters and tones in 1.51 (espeak-ng
issue 1236)."""
BRITISH = "en-gb"
_VOICES = {"zh": MANDARIN, "cmn": MANDARIN, "en": BRITISH, "en-gb": BRITISH, "en-us": "en-us"}
"""espeak-ng's voices, by the tags that have one."""
_ELSEWHERE = {"zh-hk", "zh-mo", "zh-yue", "zh-hant-hk", "zh-hant-mo"}
"""What is written like Mandarin and spoken otherwise."""


def voice_of(tag: str) -> str:
    """espeak-ng's voice for a language: that of the longest tag which is a beginning of it (RFC 4647 section 3.4).

    Raises InvalidFieldError for ``language``.
    """
    subtags = tag.lower().split("-")
    starts = ["-".join(subtags[:count]) for count in range(len(subtags), 0, -1)]
    if _ELSEWHERE.isdisjoint(starts):
        for start in starts:
            if start in _VOICES:
                return _VOICES[start]
    raise InvalidFieldError(FieldViolation("language", f"{tag!r} cannot be spoken; there are {', '.join(_VOICES)}"))


def language_of(tag: str) -> Language:
    """The library of parts for a language. Raises InvalidFieldError for ``language``."""
    return Language.CHINESE if voice_of(tag) == MANDARIN else Language.ENGLISH
