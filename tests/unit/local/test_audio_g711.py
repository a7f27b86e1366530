"""A-law, bit for bit as sox does it."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest
from signalbox_local import g711

if TYPE_CHECKING:
    from pathlib import Path

needs_sox = pytest.mark.skipif(shutil.which("sox") is None, reason="sox is not installed")
LINEAR = ["-t", "raw", "-r", "8000", "-c", "1", "-e", "signed-integer", "-b", "16"]
A_LAW = ["-t", "raw", "-r", "8000", "-c", "1", "-e", "a-law", "-b", "8"]


def sox(data: bytes, before: list[str], after: list[str], directory: Path) -> bytes:
    """Convert without dither."""
    source, target = directory / "in", directory / "out"
    source.write_bytes(data)
    subprocess.run(["sox", "-D", "-V1", *before, str(source), *after, str(target)], check=True)
    return target.read_bytes()


@needs_sox
def test_every_sample_is_encoded_as_sox_does(tmp_path: Path) -> None:
    samples = np.arange(-32768, 32768, dtype=np.int16)
    assert g711.encode(samples) == sox(samples.tobytes(), LINEAR, A_LAW, tmp_path)


@needs_sox
def test_every_code_is_decoded_as_sox_does(tmp_path: Path) -> None:
    codes = bytes(range(256))
    assert g711.decode(codes).tobytes() == sox(codes, A_LAW, LINEAR, tmp_path)


def test_every_code_survives() -> None:
    codes = bytes(range(256))
    assert g711.encode(g711.decode(codes)) == codes


def test_silence_is_quiet() -> None:
    assert g711.encode(np.zeros(3, np.int16)) == bytes([g711.SILENCE] * 3)
    assert abs(int(g711.decode(bytes([g711.SILENCE]))[0])) == 8
