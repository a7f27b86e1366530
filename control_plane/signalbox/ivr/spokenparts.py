"""The spoken parts that are in the object store: which there are is read now and then, so that new ones are used."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import structlog

from signalbox.errors import InvalidFieldError, ObjectsUnavailableError
from signalbox.speech import manifest
from signalbox.speech.languages import Language
from signalbox.store.objectstore import ObjectMissingError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from signalbox.speech.manifest import PartAudio
    from signalbox.store.objectstore import ObjectStore

logger = structlog.get_logger(__name__)

REFRESH_S = 60.0
READ_S = 10.0
"""Time for a manifest."""
MANIFEST_MAX_BYTES = 1 << 20
"""Some ten times what the largest has."""


class SpokenParts:
    """Of all languages. :meth:`run` is the long-lived coroutine that reads them, every ``refresh_s``."""

    def __init__(self, objects: ObjectStore, refresh_s: float = REFRESH_S) -> None:
        self._objects = objects
        self._refresh_s = refresh_s
        self._parts: dict[Language, Mapping[str, PartAudio]] = {}
        self._told: dict[Language, str] = {}

    def of(self, language: Language) -> Mapping[str, PartAudio]:
        """The parts of a language by their names; none while it is not known what is stored."""
        return self._parts.get(language, {})

    async def run(self) -> None:
        """Ends when it is cancelled. What cannot be read leaves what was read before."""
        while True:
            await self.read()
            await asyncio.sleep(self._refresh_s)

    async def read(self) -> None:
        """Read once. Never fails: what is wrong is logged, once as long as it is the same."""
        for language in Language:
            try:
                async with asyncio.timeout(READ_S):
                    content = await self._content(f"{manifest.folder_of(language)}/{manifest.NAME}")
                self._parts[language] = manifest.parse(content).parts
            except ObjectMissingError:
                self._tell(language, "are not stored: signalbox speech store")
            except (ObjectsUnavailableError, InvalidFieldError) as error:
                self._tell(language, str(error))
            except TimeoutError:
                self._tell(language, f"did not come within {READ_S:.0f} s")
            else:
                self._told.pop(language, None)

    async def _content(self, name: str) -> bytes:
        content = bytearray()
        async with aclosing(self._objects.get(name)) as pieces:
            async for piece in pieces:
                content += piece
                if len(content) > MANIFEST_MAX_BYTES:
                    raise ObjectsUnavailableError(f"{name} has more than {MANIFEST_MAX_BYTES} bytes")
        return bytes(content)

    def _tell(self, language: Language, why: str) -> None:
        if self._told.get(language) != why:
            self._told[language] = why
            logger.warning("spoken_parts_unread", language=language.value, why=why)
