"""Which spoken parts there are, as the object store tells."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from signalbox.errors import ObjectsUnavailableError
from signalbox.ivr import spokenparts as module
from signalbox.ivr.spokenparts import SpokenParts
from signalbox.settings import ObjectsSettings
from signalbox.speech.languages import Language
from signalbox.speech.manifest import Manifest, PartAudio, Source
from signalbox.speech.spoken import parts_of
from signalbox.store.objectstore import ObjectStore, once
from structlog.testing import capture_logs
from support.wait import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

NAME = "prompts/_parts/en/manifest.json"


class Store(ObjectStore):
    """Is away, or never answers, if it is told so."""

    away: bool = False
    hangs: bool = False

    async def get(self, name: str, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        if self.hangs:
            await asyncio.get_running_loop().create_future()
        if self.away:
            raise ObjectsUnavailableError("object store: connection refused")
        async for piece in super().get(name, start, end):
            yield piece


@pytest.fixture
def objects(tmp_path: Path) -> Store:
    opened = Store.open(ObjectsSettings(location=str(tmp_path)))
    assert isinstance(opened, Store)
    return opened


def english(duration_ms: int) -> bytes:
    """A manifest in which all parts last so long."""
    audio = PartAudio("a" * 64, "b" * 64, duration_ms, Source.RECORDED)
    return Manifest(Language.ENGLISH, dict.fromkeys(parts_of(Language.ENGLISH), audio)).encoded()


async def test_parts_that_are_stored_anew_are_used(objects: Store) -> None:
    await objects.put(NAME, once(english(300)))
    parts = SpokenParts(objects, refresh_s=0.01)
    assert parts.of(Language.ENGLISH) == {}
    reading = asyncio.create_task(parts.run())
    try:
        await until(lambda: "en.two" in parts.of(Language.ENGLISH), 15)
        assert parts.of(Language.CHINESE) == {}
        await objects.put(NAME, once(english(400)))
        await until(lambda: parts.of(Language.ENGLISH)["en.two"].duration_ms == 400, 15)
    finally:
        reading.cancel()
        await asyncio.wait([reading])


async def test_a_store_that_is_away_leaves_what_was_read_before(objects: Store) -> None:
    await objects.put(NAME, once(english(300)))
    parts = SpokenParts(objects)
    await parts.read()
    objects.away = True
    with capture_logs() as logs:
        await parts.read()
        await parts.read()
    assert [(one["language"], one["why"]) for one in logs] == [
        ("zh-CN", "object store: connection refused"),
        ("en", "object store: connection refused"),
    ]
    assert parts.of(Language.ENGLISH)["en.two"].duration_ms == 300


async def test_a_store_that_does_not_answer_is_not_waited_for_for_ever(
    objects: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "READ_S", 0.01)
    objects.hangs = True
    with capture_logs() as logs:
        await SpokenParts(objects).read()
    assert [one["why"] for one in logs] == ["did not come within 0 s"] * 2


async def test_parts_that_are_not_stored_are_told_with_what_is_to_be_done(objects: Store) -> None:
    with capture_logs() as logs:
        await SpokenParts(objects).read()
    assert [one["why"] for one in logs] == ["are not stored: signalbox speech store"] * 2


@pytest.mark.parametrize(
    ("content", "why"),
    [(b'{"language": "en", "parts": {}}', "is missing"), (b"x" * 2_000_000, "has more than 1048576 bytes")],
)
async def test_a_manifest_that_is_none_is_told_and_not_used(objects: Store, content: bytes, why: str) -> None:
    await objects.put(NAME, once(content))
    parts = SpokenParts(objects)
    with capture_logs() as logs:
        await parts.read()
    assert parts.of(Language.ENGLISH) == {}
    assert why in next(one["why"] for one in logs if one["language"] == "en")
