"""What is to be heard, one thing after the other, and the parts of audio that a media node makes a file of. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from signalbox.api.media.v1 import media_pb2
from signalbox.errors import InvalidFieldError
from signalbox.speech import manifest, spoken
from signalbox.speech.languages import Language, language_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from signalbox.api.routing.v1 import routing_pb2
    from signalbox.ivr.ports import Parts

FALLBACK = Language.CHINESE
"""Spoken to callers who have chosen no language, or one that has no parts."""


class Tone(Enum):
    """A signal; the values are frequency in Hz, and how long it sounds and is silent, ms (ITU-T E.180 supplement 2,
    China)."""

    RINGING = (450, 1_000, 4_000)
    """A line rings. To be repeated."""
    BUSY = (450, 350, 350)
    """Nobody can be called. To be repeated."""
    BEEP = (950, 400, 0)
    """The caller is recorded from now on: the recording tone, once."""


@dataclass(frozen=True, slots=True)
class _Prompt:
    id: str


@dataclass(frozen=True, slots=True)
class _Digits:
    text: str


@dataclass(frozen=True, slots=True)
class _Number:
    value: int


@dataclass(frozen=True, slots=True)
class _Position:
    value: int


@dataclass(frozen=True, slots=True)
class _Silence:
    ms: int


_Piece = _Prompt | _Digits | _Number | _Position | _Silence | Tone


@dataclass(frozen=True, slots=True)
class Sound:
    """Pieces in their order; ``+`` joins sounds. ``Sound()`` is nothing to be heard, and false."""

    pieces: tuple[_Piece, ...] = ()

    @classmethod
    def prompt(cls, id: str) -> Sound:
        """A prompt of the tenant by its id; an empty one is none."""
        return cls((_Prompt(id),)) if id else cls()

    @classmethod
    def digits(cls, text: str) -> Sound:
        """Signs one by one, as a telephone number; no text is none."""
        return cls((_Digits(text),)) if text else cls()

    @classmethod
    def number(cls, value: int) -> Sound:
        """A cardinal number."""
        return cls((_Number(value),))

    @classmethod
    def position(cls, value: int) -> Sound:
        """A whole sentence: the place in a queue, 1 is served next."""
        return cls((_Position(value),))

    @classmethod
    def tone(cls, tone: Tone) -> Sound:
        """A signal, once."""
        return cls((tone,))

    @classmethod
    def silence(cls, ms: int) -> Sound:
        """A pause between other sounds, 1 to 60,000 ms."""
        return cls((_Silence(ms),))

    def __add__(self, other: Sound) -> Sound:
        return Sound(self.pieces + other.pieces)

    def __bool__(self) -> bool:
        return bool(self.pieces)


@dataclass(frozen=True, slots=True)
class Rendered:
    """``parts``: what a node is asked for; empty: there is nothing to play. ``missing``: what has no audio, and why."""

    parts: tuple[media_pb2.AudioPart, ...]
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Renderer:
    """Makes parts for one caller.

    ``prompts`` by their ids; ``language``: a tag of BCP 47, empty: none was chosen; ``law``: what the caller takes.
    """

    prompts: Mapping[str, routing_pb2.FlowPrompt]
    parts: Parts
    language: str
    law: media_pb2.Law.ValueType

    def render(self, sound: Sound) -> Rendered:
        """What has no audio is left out."""
        made: list[media_pb2.AudioPart] = []
        missing: list[str] = []
        for piece in sound.pieces:
            try:
                made += self._piece(piece)
            except _MissingError as error:
                missing.append(str(error))
        heard = any(part.WhichOneof("part") != "silence_ms" for part in made)
        return Rendered(tuple(made) if heard else (), tuple(missing))

    def _piece(self, piece: _Piece) -> Iterator[media_pb2.AudioPart]:
        match piece:
            case _Prompt(id):
                return iter((self._prompt(id),))
            case _Silence(ms):
                return iter((media_pb2.AudioPart(silence_ms=ms),))
            case Tone():
                return self._tone(*piece.value)
        return iter(self._spoken(piece))

    def _prompt(self, id: str) -> media_pb2.AudioPart:
        prompt = self.prompts.get(id)
        if prompt is None:
            raise _MissingError(f"prompt {id} has no audio")
        if self.law == media_pb2.LAW_MU:
            return _stored(prompt.ulaw_object, prompt.ulaw_sha256)
        return _stored(prompt.alaw_object, prompt.alaw_sha256)

    def _tone(self, hertz: int, on_ms: int, off_ms: int) -> Iterator[media_pb2.AudioPart]:
        yield media_pb2.AudioPart(tone=media_pb2.ToneAudio(frequency_hz=hertz, duration_ms=on_ms, law=self.law))
        if off_ms:
            yield media_pb2.AudioPart(silence_ms=off_ms)

    def _spoken(self, piece: _Digits | _Number | _Position) -> list[media_pb2.AudioPart]:
        language, library = self._library()
        try:
            names = _names(piece, language.value)
        except InvalidFieldError as error:
            raise _MissingError(f"cannot be spoken: {error}") from error
        folder = manifest.folder_of(language)
        made = []
        for name in names:
            # A-law, µ-law.
            alaw, ulaw = library[name].files()
            file, sha256 = ulaw if self.law == media_pb2.LAW_MU else alaw
            made.append(_stored(f"{folder}/{file}", sha256))
        return made

    def _library(self) -> tuple[Language, Mapping[str, manifest.PartAudio]]:
        """That of the caller's language, or the usual one."""
        try:
            wanted = language_of(self.language) if self.language else FALLBACK
        except InvalidFieldError:
            wanted = FALLBACK
        for language in (wanted, FALLBACK):
            if library := self.parts.of(language):
                return language, library
        raise _MissingError(f"spoken parts of {wanted.value} are not stored")


class _MissingError(Exception):
    """There is no audio for a piece."""


def _names(piece: _Digits | _Number | _Position, language: str) -> tuple[str, ...]:
    match piece:
        case _Digits(text):
            return spoken.digits(text, language)
        case _Number(value):
            return spoken.number(value, language)
    return spoken.position(piece.value, language)


def _stored(object: str, sha256: str) -> media_pb2.AudioPart:
    return media_pb2.AudioPart(stored=media_pb2.StoredAudio(object=object, sha256=sha256))
