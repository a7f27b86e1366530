"""Makes files for rtpengine to play: fetches parts from the object store, and joins them.

What is asked for by many at once is made once, and to its end, whoever still waits for it.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from signalbox import wav
from signalbox.api.media.v1 import media_pb2
from signalbox.errors import (
    CacheUnusableError,
    ContentLostError,
    FieldViolation,
    InvalidFieldError,
    ObjectsUnavailableError,
)
from signalbox.media.changes import Tasks
from signalbox.media.voice import tones

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from signalbox.media.voice.metrics import VoiceMetrics
    from signalbox.media.voice.shelf import Played, Shelf
    from signalbox.store.objectstore import ObjectStore

PARTS_MAX = 100
SILENCE_MAX_MS = 60_000
TONE_MAX_MS = 60_000
TONE_MIN_HZ = 300
TONE_MAX_HZ = 3_400
"""The band of telephones."""
DURATION_MAX_MS = 30 * 60_000
OBJECT_MAX_BYTES = DURATION_MAX_MS * wav.BYTES_PER_MS + 65_536
"""The longest that may be played, and what a file has beside samples."""
FETCH_S = 10.0
"""How long is waited for an object: a caller listens to nothing meanwhile."""
FETCHES = 8
"""Objects that are fetched at once; each is in memory until it is on the disk."""

_OBJECT = re.compile(r"prompts(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*)+")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ENCODINGS = {media_pb2.LAW_A: wav.Encoding.A_LAW, media_pb2.LAW_MU: wav.Encoding.MU_LAW}
_FORM = "1"
"""Of joined files: another one when they are made otherwise."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An object."""

    name: str
    sha256: str

    @property
    def file(self) -> str:
        """Its name on the shelf."""
        return f"object-{self.sha256}.wav"

    def __str__(self) -> str:
        return self.sha256


@dataclass(frozen=True, slots=True)
class Silence:
    """Nothing to hear for a while."""

    ms: int

    def __str__(self) -> str:
        return f"silence {self.ms}"


@dataclass(frozen=True, slots=True)
class Tone:
    """A signal."""

    hertz: int
    ms: int
    encoding: wav.Encoding

    def __str__(self) -> str:
        return f"tone {self.hertz} {self.ms} {self.encoding}"


Part = Stored | Silence | Tone


class Audio:
    """What workers ask for."""

    def __init__(self, objects: ObjectStore, shelf: Shelf, metrics: VoiceMetrics) -> None:
        self._objects = objects
        self._shelf = shelf
        self._metrics = metrics
        self._tasks = Tasks()
        self._making: dict[tuple[str, str], asyncio.Task[Played]] = {}
        self._slots = asyncio.Semaphore(FETCHES)

    async def prepare(self, parts: Sequence[Part]) -> Played:
        """A file of the parts, one after the other; of one stored part the object itself.

        Raises InvalidFieldError, ContentLostError, ObjectsUnavailableError, CacheUnusableError.
        """
        try:
            return await self._prepare(parts)
        except ObjectsUnavailableError:
            self._metrics.failed("objects_unavailable")
            raise
        except ContentLostError:
            self._metrics.failed("content_lost")
            raise
        except CacheUnusableError:
            self._metrics.failed("cache_unusable")
            raise

    async def close(self, timeout_s: float) -> None:
        """Wait for what is being made, so long at most."""
        await self._tasks.ended(timeout_s)

    async def _prepare(self, parts: Sequence[Part]) -> Played:
        name = _file(parts)
        played = await self._shelf.find(name)
        self._metrics.asked(cached=played is not None)
        if played is not None:
            return played
        if len(parts) == 1 and isinstance(parts[0], Stored):
            return await self._object(parts[0])
        return await self._once((name, ""), lambda: self._join(name, parts))

    async def _once(self, key: tuple[str, str], make: Callable[[], Awaitable[Played]]) -> Played:
        task = self._making.get(key)
        if task is None:

            async def run() -> Played:
                return await make()

            def made(task: asyncio.Task[Played]) -> None:
                del self._making[key]
                if not task.cancelled():
                    # If nobody waits for it any more, an error is nobody's.
                    task.exception()

            task = self._making[key] = self._tasks.begin(run())
            task.add_done_callback(made)
        return await asyncio.shield(task)

    async def _object(self, stored: Stored) -> Played:
        """An object on the disk, whether or not it was there."""
        return await self._once((stored.file, stored.name), lambda: self._fetch(stored))

    async def _fetch(self, stored: Stored) -> Played:
        if (there := await self._shelf.find(stored.file)) is not None:
            return there
        try:
            async with asyncio.timeout(FETCH_S), self._slots:
                content = await self._content(stored.name)
        except TimeoutError as error:
            raise ObjectsUnavailableError(f"object store: {stored.name} did not come within {FETCH_S:.0f} s") from error
        self._metrics.fetched(len(content))
        await asyncio.to_thread(_check, stored, content)
        return await self._keep(stored.file, content)

    async def _content(self, name: str) -> bytes:
        content = bytearray()
        async with aclosing(self._objects.get(name)) as pieces:
            async for piece in pieces:
                content += piece
                if len(content) > OBJECT_MAX_BYTES:
                    raise ContentLostError(name, f"it has more than {OBJECT_MAX_BYTES} bytes")
        return bytes(content)

    async def _keep(self, name: str, content: bytes) -> Played:
        await self._shelf.put(name, content)
        played = await self._shelf.find(name)
        if played is None:
            raise CacheUnusableError(f"{name} was deleted from the node's disk by somebody else")
        return played

    async def _join(self, name: str, parts: Sequence[Part]) -> Played:
        stored = {part: index for index, part in reversed(list(enumerate(parts))) if isinstance(part, Stored)}
        found = await asyncio.gather(*map(self._object, stored))
        played = dict(zip(stored, found, strict=True))
        encodings = [(index, played[part].encoding) for part, index in stored.items()]
        encodings += [(index, part.encoding) for index, part in enumerate(parts) if isinstance(part, Tone)]
        encoding = _encoding(encodings)
        _check_duration(played[part].duration_ms if isinstance(part, Stored) else part.ms for part in parts)
        sounds = {part: (await self._shelf.read(part.file)).samples for part in stored}
        return await self._keep(name, await asyncio.to_thread(_joined, encoding, parts, sounds))


def _joined(encoding: wav.Encoding, parts: Sequence[Part], sounds: Mapping[Stored, bytes]) -> bytes:
    samples = []
    for part in parts:
        match part:
            case Stored():
                samples.append(sounds[part])
            case Silence(ms):
                samples.append(wav.silence(encoding, ms))
            case Tone(hertz, ms):
                samples.append(tones.samples(encoding, hertz, ms))
    return wav.build(encoding, samples)


def _check(stored: Stored, content: bytes) -> None:
    """Raises ContentLostError."""
    found = hashlib.sha256(content).hexdigest()
    if found != stored.sha256:
        raise ContentLostError(stored.name, f"its SHA-256 is {found}, not {stored.sha256}")
    try:
        wav.parse(content)
    except wav.WavError as error:
        raise ContentLostError(stored.name, str(error)) from error


def parts_of(request: media_pb2.PrepareAudioRequest) -> list[Part]:
    """Those of a request. Raises InvalidFieldError, which names every part that is wrong."""
    wrong: list[FieldViolation] = []
    parts = [part for index, told in enumerate(request.parts) if (part := _part(told, f"parts[{index}]", wrong))]
    if not 1 <= len(request.parts) <= PARTS_MAX:
        wrong.insert(0, FieldViolation("parts", f"must be 1 to {PARTS_MAX}"))
    elif not wrong and all(isinstance(part, Silence) for part in parts):
        wrong.append(FieldViolation("parts", "must have stored audio or a tone beside silence"))
    if wrong:
        raise InvalidFieldError(*wrong)
    return parts


def _part(told: media_pb2.AudioPart, field: str, wrong: list[FieldViolation]) -> Part | None:
    match told.WhichOneof("part"):
        case "stored":
            before = len(wrong)
            if not _OBJECT.fullmatch(told.stored.object):
                wrong.append(FieldViolation(f"{field}.stored.object", "must be the name of an object below prompts/"))
            if not _SHA256.fullmatch(told.stored.sha256):
                wrong.append(FieldViolation(f"{field}.stored.sha256", "must be 64 hexadecimal digits in lower case"))
            return Stored(told.stored.object, told.stored.sha256) if len(wrong) == before else None
        case "silence_ms":
            if 1 <= told.silence_ms <= SILENCE_MAX_MS:
                return Silence(told.silence_ms)
            wrong.append(FieldViolation(f"{field}.silence_ms", f"must be 1 to {SILENCE_MAX_MS} milliseconds"))
        case "tone":
            return _tone(told.tone, f"{field}.tone", wrong)
        case _:
            wrong.append(FieldViolation(field, "must be stored audio, silence or a tone"))
    return None


def _tone(told: media_pb2.ToneAudio, field: str, wrong: list[FieldViolation]) -> Tone | None:
    before = len(wrong)
    if not TONE_MIN_HZ <= told.frequency_hz <= TONE_MAX_HZ:
        wrong.append(FieldViolation(f"{field}.frequency_hz", f"must be {TONE_MIN_HZ} to {TONE_MAX_HZ} Hz"))
    if not 1 <= told.duration_ms <= TONE_MAX_MS:
        wrong.append(FieldViolation(f"{field}.duration_ms", f"must be 1 to {TONE_MAX_MS} milliseconds"))
    if told.law not in _ENCODINGS:
        wrong.append(FieldViolation(f"{field}.law", "must be LAW_A or LAW_MU"))
    return Tone(told.frequency_hz, told.duration_ms, _ENCODINGS[told.law]) if len(wrong) == before else None


def _file(parts: Sequence[Part]) -> str:
    """The name on the shelf of the file that plays them."""
    if len(parts) == 1 and isinstance(parts[0], Stored):
        return parts[0].file
    told = "\n".join((_FORM, *map(str, parts)))
    return f"joined-{hashlib.sha256(told.encode()).hexdigest()}.wav"


def _encoding(found: Sequence[tuple[int, wav.Encoding]]) -> wav.Encoding:
    """The one that all parts have, by their index. Raises InvalidFieldError."""
    (first, encoding), *others = sorted(found)
    for index, other in others:
        if other is not encoding:
            raise InvalidFieldError(FieldViolation(f"parts[{index}]", f"is {other}, and parts[{first}] is {encoding}"))
    return encoding


def _check_duration(durations_ms: Iterable[int]) -> None:
    together = sum(durations_ms)
    if together > DURATION_MAX_MS:
        raise InvalidFieldError(
            FieldViolation("parts", f"must last {DURATION_MAX_MS} milliseconds at most, not {together}")
        )
