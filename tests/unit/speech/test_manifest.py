"""What there is of a library of parts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from signalbox.errors import InvalidFieldError
from signalbox.speech import manifest
from signalbox.speech.languages import Language
from signalbox.speech.manifest import Manifest, PartAudio, Source
from signalbox.speech.spoken import parts_of

if TYPE_CHECKING:
    from collections.abc import Callable

AUDIO = PartAudio("a" * 64, "b" * 64, 310, Source.RECORDED)
WHOLE = Manifest(Language.ENGLISH, dict.fromkeys(parts_of(Language.ENGLISH), AUDIO))


def test_what_is_written_is_read() -> None:
    assert manifest.parse(WHOLE.encoded()) == WHOLE


def test_the_order_of_parts_does_not_matter() -> None:
    turned = Manifest(Language.ENGLISH, dict(reversed(WHOLE.parts.items())))
    assert turned.encoded() == WHOLE.encoded()


def test_files_are_named_by_what_is_in_them() -> None:
    assert WHOLE.files() == {f"{'a' * 64}.alaw.wav": "a" * 64, f"{'b' * 64}.ulaw.wav": "b" * 64}
    assert manifest.folder_of(Language.CHINESE) == "prompts/_parts/zh-CN"


def _without_one(document: dict[str, Any]) -> None:
    del document["parts"]["en.seven"]


def _with_another(document: dict[str, Any]) -> None:
    document["parts"]["en.x"] = document["parts"]["en.seven"]


def _of(field: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        document["parts"]["en.seven"][field] = value

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_without_one, "en.seven is missing"),
        (_with_another, "en.x is no part of en"),
        (_of("alaw_sha256", "../../../x"), "parts.en.seven.alaw_sha256: String should match pattern"),
        (_of("duration_ms", 0), "parts.en.seven.duration_ms: Input should be greater than or equal to 1"),
        (_of("duration_ms", "310"), "parts.en.seven.duration_ms: Input should be a valid integer"),
        (_of("source", "heard"), "parts.en.seven.source: Input should be"),
        (_of("more", 1), "parts.en.seven.more: Extra inputs are not permitted"),
        (lambda document: document.update(language="fr"), "language: Input should be"),
    ],
)
def test_another_document_is_refused_by_what_is_wrong(change: Callable[[dict[str, Any]], None], reason: str) -> None:
    document = json.loads(WHOLE.encoded())
    change(document)
    with pytest.raises(InvalidFieldError) as refused:
        manifest.parse(json.dumps(document).encode())
    assert str(refused.value).startswith(f"manifest: {reason}")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]"])
def test_what_is_no_document_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidFieldError, match=r"^manifest: "):
        manifest.parse(content)
