"""docs/rules/prompts.md: its objects are written, every example is run, and its output is what the page shows.

After a change of output, write the page anew: ``WRITE_DOCS=1 python -m pytest tests/unit/docs``.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
from signalbox.api.types.v1 import prompts_pb2
from signalbox.audio import decoding, loudness, preparation
from signalbox.provisioning.access import READER
from signalbox.provisioning.promptaudio import objects
from signalbox.provisioning.promptaudio.service import TABLE
from support.commands import Shell
from support.pages import check_page
from support.sounds import file, speechlike

if TYPE_CHECKING:
    import pytest
    from support.commands import Service

PAGE = Path(__file__).parents[3] / "docs" / "rules" / "prompts.md"


def test_the_page_shows_what_happens(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (objects_of_page,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "objects.yaml").write_text(objects_of_page)
    Shell(service.address)("apply -f objects.yaml")
    greeting = file("mp3", speechlike(4, 5, 0.4))
    for name, content in (
        ("greeting.mp3", greeting),
        ("letter.wav", b"Dear customer,"),
        ("silence.wav", file("wav", np.zeros(48_000))),
        ("broken.mp3", greeting[: len(greeting) // 2]),
        ("film.m4a", film()),
    ):
        (tmp_path / name).write_bytes(content)
    check_page(PAGE, service)


def film() -> bytes:
    """Moving pictures without sound."""

    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as written:
        stream = written.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        written.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        written.mux(stream.encode(None))
    return out.getvalue()


def test_every_field_of_the_audio_is_on_the_page() -> None:
    text = PAGE.read_text()
    for field in prompts_pb2.PromptAudio.DESCRIPTOR.fields:
        assert f"`{field.name}`" in text


def test_the_limits_of_the_page_are_those_of_the_code() -> None:
    text = PAGE.read_text()
    assert f"at most {preparation.CONTENT_MAX >> 20} MiB" in text
    assert f"{decoding.SHORTEST_S} s to {decoding.LONGEST_S // 60} min" in text
    assert f"{decoding.RATES[0]:,} to {decoding.RATES[1]:,}" in text
    assert f"1 to {decoding.CHANNELS_MAX}; their mean" in text
    assert f"{loudness.TARGET:.0f} LUFS" in text
    assert f"below {loudness.PEAK_MAX:.0f} dBTP" in text
    assert objects.GRACE_S == 3_600
    assert [name for name, rule in TABLE.items() if READER in rule.roles] == ["DownloadPromptAudio"]
