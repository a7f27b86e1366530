"""``signalbox prompts upload``, ``download``, ``speak`` and ``remove-audio``, and what the others show of audio."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest
from signalbox.commands import retrying
from signalbox.errors import DrainingError
from signalbox.g711 import A_LAW, MU_LAW
from signalbox.provisioning.promptaudio.objects import PromptObjects
from support.prompts import SOUND
from support.sounds import codes

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from support.commands import Shell


@pytest.fixture
def booth(shell: Shell, elsewhere: Path) -> Shell:
    """A tenant with a prompt, and a file."""
    shell("tenants create acme")
    shell("prompts create acme welcome --set language=zh-CN --set text=您好")
    (elsewhere / "a.wav").write_bytes(SOUND)
    return shell


def cell(shown: str) -> str:
    """What a table of one prompt shows of its audio."""
    head, row = shown.splitlines()[:1] + shown.splitlines()[-1:]
    begin = head.lower().index("audio")
    return row[begin:].split("  ")[0].strip()


def test_a_file_goes_up_and_comes_down_as_it_is_played(booth: Shell, elsewhere: Path) -> None:
    assert cell(booth("prompts get acme welcome").output) == "none"
    assert cell(booth("prompts upload acme welcome a.wav").output) == "1.0 s, file"
    assert cell(booth("prompts list acme").output) == "1.0 s, file"
    audio = booth.json("prompts get acme welcome")["audio"]
    assert audio["file"]["file_name"] == "a.wav"
    told = booth("prompts download acme welcome").output
    content = (elsewhere / "welcome.alaw.wav").read_bytes()
    assert told == f"welcome.alaw.wav: 8,058 bytes, SHA-256 {hashlib.sha256(content).hexdigest()}\n"
    assert len(codes(content, A_LAW)) == 8_000
    booth("prompts download acme welcome --law ulaw --to u.wav")
    assert len(codes((elsewhere / "u.wav").read_bytes(), MU_LAW)) == 8_000
    assert "is there already" in booth("prompts download acme welcome --to u.wav", code=2).output


def test_a_download_that_breaks_is_gone_on_with(booth: Shell, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    booth("prompts upload acme welcome a.wav")
    monkeypatch.setattr(retrying, "RETRY_S", 0.01)
    offsets: list[int] = []
    get = PromptObjects.get

    async def breaking(self: Any, tenant: str, file: str, offset: int) -> AsyncGenerator[bytes, None]:
        offsets.append(offset)
        async for piece in get(self, tenant, file, offset):
            yield piece[:1_000]
            if len(offsets) < 3:
                raise DrainingError("this replica is stopping")
            yield piece[1_000:]

    monkeypatch.setattr(PromptObjects, "get", breaking)
    booth("prompts download acme welcome")
    assert offsets == [0, 1_000, 2_000]
    assert len(codes((elsewhere / "welcome.alaw.wav").read_bytes(), A_LAW)) == 8_000


def test_a_text_is_spoken_and_a_file_removed(booth: Shell) -> None:
    assert cell(booth("prompts speak acme welcome").output) == "0.2 s, text"
    booth("prompts update acme welcome --set text=再见")
    assert cell(booth("prompts get acme welcome").output) == "0.2 s, earlier text"
    booth("prompts upload acme welcome a.wav")
    told = booth("prompts speak acme welcome", code=1).output
    assert "it has an uploaded file, which must be removed first (NOT_SPOKEN)" in told
    assert cell(booth("prompts remove-audio acme welcome").output) == "none"
    assert booth.json("prompts speak acme welcome")["audio"]["speech"] == {"text": "再见", "language": "zh-CN"}


def test_what_was_read_can_be_written_again(booth: Shell, elsewhere: Path) -> None:
    booth("prompts upload acme welcome a.wav")
    shown = booth("prompts get acme welcome --output yaml").output
    (elsewhere / "prompt.yaml").write_text(shown.replace("您好", "欢迎"))
    booth("apply -f prompt.yaml")
    found = booth.json("prompts get acme welcome")
    assert (found["text"], found["audio"]["duration_ms"]) == ("欢迎", 1_000)


@pytest.mark.parametrize(
    ("line", "code", "told"),
    [
        ("prompts upload acme welcome nowhere.wav", 2, "does not exist"),
        ("prompts upload acme nothing a.wav", 1, "(RESOURCE_NOT_FOUND)"),
        ("prompts upload acme welcome a.wav --etag 1", 1, "(ETAG_MISMATCH)"),
        ("prompts upload acme welcome text.wav", 1, "content: is neither WAV, FLAC, MP3, Ogg nor M4A"),
        ("prompts download acme welcome", 1, "prompt acme/welcome has no audio"),
        ("prompts download acme nothing", 1, "(RESOURCE_NOT_FOUND)"),
        ("prompts speak acme nothing", 1, "(RESOURCE_NOT_FOUND)"),
        ("prompts remove-audio acme nothing", 1, "(RESOURCE_NOT_FOUND)"),
        ("prompts remove-audio acme welcome --etag 1", 1, "(ETAG_MISMATCH)"),
    ],
)
def test_what_does_not_go_is_told(booth: Shell, elsewhere: Path, line: str, code: int, told: str) -> None:
    (elsewhere / "text.wav").write_text("no sound")
    assert told in booth(line, code=code).output
