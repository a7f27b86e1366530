"""What the demo hears in a recording, whatever its format."""

from __future__ import annotations

from typing import TYPE_CHECKING

import av
import numpy as np
import pytest
from signalbox_local import tones
from signalbox_local.cluster import ClusterError
from signalbox_local.demo.recorded import channels

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("name", "codec"), [("a.ogg", "libopus"), ("a.wav", "pcm_s16le")])
def test_each_channel_has_its_own_digits(tmp_path: Path, name: str, codec: str) -> None:
    sound = np.stack([tones.render("12345"), tones.render("67890")], axis=1)
    with av.open(str(tmp_path / name), "w") as file:
        stream = file.add_stream(codec, rate=tones.RATE_HZ, layout="stereo")
        frame = av.AudioFrame.from_ndarray(sound.reshape(1, -1), "s16", "stereo")
        frame.sample_rate = tones.RATE_HZ
        resampler = av.AudioResampler(stream.format, "stereo", tones.RATE_HZ, frame_size=stream.frame_size or 0)
        for part in (*resampler.resample(frame), *resampler.resample(None)):
            file.mux(stream.encode(part))
        file.mux(stream.encode(None))
    heard = [tones.text(tones.detect(channel)) for channel in channels(tmp_path / name)]
    assert heard == ["12345", "67890"]


def test_what_is_no_audio_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.ogg").write_bytes(b"no audio")
    with pytest.raises(ClusterError, match=r"a\.ogg cannot be played"):
        channels(tmp_path / "a.ogg")
