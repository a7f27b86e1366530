"""Files of audio on the node's disk: so many bytes at most, and what was not asked for the longest time goes first.

The directory alone says what there is, so a restart forgets nothing: a file has its name when it is whole, and its
modification time is when it was last asked for.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from signalbox import files, wav
from signalbox.errors import CacheUnusableError, ConfigurationError
from signalbox.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from signalbox.media.voice.metrics import VoiceMetrics

logger = structlog.get_logger(__name__)

KEEP_S = 600.0
"""A file that was asked for so lately is not deleted: rtpengine opens it when it plays it, which may be later."""
READABLE = 0o644
"""rtpengine may run as another user, and whoever calls may hear what is in the files."""

_NAME = re.compile(r"(?:object|joined)-[0-9a-f]{64}\.wav")
_OBJECT = re.compile(r"object-([0-9a-f]{64})\.wav")
_BEGUN = re.compile(rf"\.{_NAME.pattern}\..+")


@dataclass(slots=True)
class _File:
    size: int
    used: float
    """When it was last asked for, by the clock of the process."""
    sound: Played | None = None
    """None: not looked at since the start."""


@dataclass(frozen=True, slots=True)
class Played:
    """What rtpengine plays."""

    path: Path
    encoding: wav.Encoding
    duration_ms: int


def hold(directory: Path) -> int:
    """Make a directory, if there is none, and have it alone as long as the descriptor is open.

    Two that share one would each delete what the other is about to have played. Raises ConfigurationError.
    """
    try:
        return files.hold(directory)
    except OSError as error:
        reason = f"{directory} is another sidecar's" if isinstance(error, BlockingIOError) else str(error)
        raise ConfigurationError(f"media.voice.cache_dir: {reason}") from error


class Shelf:
    """Sizes are bytes. One process at a time may use a directory: see :func:`hold`."""

    def __init__(
        self, directory: Path, limit: int, metrics: VoiceMetrics, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Takes in what there is; blocks. Raises ConfigurationError if the directory cannot be used."""
        self._directory = directory.absolute()
        self._limit = limit
        self._metrics = metrics
        self._clock = clock
        self._size = 0
        self._files: OrderedDict[str, _File] = OrderedDict()
        """From the one that was not asked for the longest time."""
        self._deleting = asyncio.Lock()
        try:
            self._take_in()
        except OSError as error:
            raise ConfigurationError(f"media.voice.cache_dir: {error}") from error
        self._measure()

    async def find(self, name: str) -> Played | None:
        """A file to be played, None if it is not there, or is damaged. It stays for :data:`KEEP_S` from now."""
        file = self._files.get(name)
        if file is None:
            return None
        file.used = self._clock()
        self._files.move_to_end(name)
        try:
            played = await asyncio.to_thread(self._look, name, file)
        except (OSError, wav.WavError) as error:
            logger.warning("audio_lost", file=name, reason=str(error))
            if self._files.get(name) is file:
                self._forget(name)
            return None
        file.sound = played
        return played

    async def read(self, name: str) -> wav.Sound:
        """What a file has that was just found. Raises CacheUnusableError."""
        try:
            return await asyncio.to_thread(self._parse, name)
        except (OSError, wav.WavError) as error:
            raise CacheUnusableError(f"audio on the node's disk: {error}") from error

    async def put(self, name: str, content: bytes) -> None:
        """Keep a file. Not to be cancelled. Raises CacheUnusableError; then nothing is kept."""
        leaving = self._make_room(name, len(content))
        self._size += len(content)
        try:
            # Whoever deletes goes first: it may be a file of this name.
            async with self._deleting:
                try:
                    await asyncio.to_thread(self._delete, leaving)
                finally:
                    self._put_back(leaving)
            await asyncio.to_thread(write_atomically, self._directory / name, content, mode=READABLE)
        except OSError as error:
            raise CacheUnusableError(f"audio cannot be written to the node's disk: {error}") from error
        else:
            self._drop(name)
            self._files[name] = _File(len(content), self._clock())
            self._size += len(content)
        finally:
            self._size -= len(content)
            self._measure()

    def _make_room(self, name: str, size: int) -> dict[str, _File]:
        """Files to be deleted for one of this size; they are forgotten already. Raises CacheUnusableError."""
        leaving: dict[str, _File] = {}
        room = self._limit - self._size
        eldest = self._clock() - KEEP_S
        for other, file in self._files.items():
            if room >= size or file.used > eldest:
                break
            leaving[other] = file
            room += file.size
        if room < size:
            raise CacheUnusableError(
                f"no room for {size} bytes of audio: all of media.voice.cache_mb was asked for within {KEEP_S:.0f} s"
            )
        for other in leaving:
            self._drop(other)
            self._metrics.evicted()
        return leaving

    def _put_back(self, files: dict[str, _File]) -> None:
        """Files that were not deleted take room still. The first could not be: it is left alone for a while."""
        for name, file in reversed(files.items()):
            self._files[name] = file
            self._files.move_to_end(name, last=False)
            self._size += file.size
        if files:
            refused = next(iter(files))
            self._files[refused].used = self._clock()
            self._files.move_to_end(refused)

    def _drop(self, name: str) -> None:
        file = self._files.pop(name, None)
        if file is not None:
            self._size -= file.size

    def _forget(self, name: str) -> None:
        self._drop(name)
        self._measure()

    def _measure(self) -> None:
        self._metrics.bytes.set(self._size)
        self._metrics.files.set(len(self._files))

    def _take_in(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        now, today = self._clock(), time.time()
        found: list[tuple[float, str, int]] = []
        with os.scandir(self._directory) as entries:
            for entry in entries:
                if _BEGUN.fullmatch(entry.name):
                    os.unlink(entry.path)
                elif _NAME.fullmatch(entry.name):
                    told = entry.stat(follow_symlinks=False)
                    found.append((told.st_mtime, entry.name, told.st_size))
        for modified, name, size in sorted(found):
            self._files[name] = _File(size, now - max(0.0, today - modified))
            self._size += size
        if not os.access(self._directory, os.W_OK | os.X_OK):
            raise PermissionError(f"{self._directory} cannot be written")

    def _look(self, name: str, file: _File) -> Played:
        """Raises OSError, WavError."""
        path = self._directory / name
        try:
            os.utime(path)
        except FileNotFoundError:
            raise
        except OSError as error:
            # It can be played from a disk that is not to be written any more.
            logger.debug("use_not_noted", file=name, reason=str(error))
        if file.sound is not None:
            return file.sound
        content = path.read_bytes()
        if (hashed := _OBJECT.fullmatch(name)) and hashlib.sha256(content).hexdigest() != hashed[1]:
            raise wav.WavError("it is not what was written")
        sound = wav.parse(content)
        return Played(path, sound.encoding, sound.duration_ms)

    def _parse(self, name: str) -> wav.Sound:
        return wav.parse((self._directory / name).read_bytes())

    def _delete(self, files: dict[str, _File]) -> None:
        """Those that are deleted are taken out. Raises OSError."""
        for name in list(files):
            (self._directory / name).unlink(missing_ok=True)
            del files[name]
