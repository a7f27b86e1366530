"""FFmpeg's filters over audio, block by block."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

FRAME = 8_192
"""Samples that are pushed at once."""


class Filters:
    """A chain of filters, each by its name and arguments."""

    def __init__(self, rate: int, chain: Sequence[tuple[str, str]], format: str = "dbl", layout: str = "mono") -> None:
        """``rate``: of the samples that are pushed, a second; ``format`` and ``layout`` of them, by FFmpeg's names."""
        self._rate = rate
        self._at = 0
        self._graph = av.filter.Graph()
        source = self._graph.add_abuffer(sample_rate=rate, format=format, layout=layout, time_base=Fraction(1, rate))
        last = source
        for name, arguments in [*chain, ("aformat", "sample_fmts=dbl")]:
            following = self._graph.add(name, arguments)
            last.link_to(following)
            last = following
        last.link_to(self._graph.add("abuffersink"))
        self._graph.configure()
        self.told: dict[str, str] = {}
        """What the filters said last of the audio, by FFmpeg's names."""

    def push(self, samples: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        """What comes out when these go in: one channel."""
        out = []
        for begin in range(0, len(samples), FRAME):
            block = np.ascontiguousarray(samples[begin : begin + FRAME]).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(block, format="dbl", layout="mono")
            frame.sample_rate = self._rate
            out += self.push_frame(frame)
        return out

    def push_frame(self, frame: av.AudioFrame) -> list[NDArray[np.float64]]:
        """What comes out when this goes in; of several channels sample by sample."""
        frame.pts, frame.time_base = self._at, Fraction(1, self._rate)
        self._at += frame.samples
        self._graph.push(frame)
        return list(self._pulled())

    def end(self) -> list[NDArray[np.float64]]:
        """What still comes out when nothing more goes in."""
        self._graph.push(None)
        return list(self._pulled())

    def _pulled(self) -> Iterator[NDArray[np.float64]]:
        while True:
            try:
                frame = self._graph.pull()
            except (av.BlockingIOError, av.EOFError):
                return
            assert isinstance(frame, av.AudioFrame)
            self.told.update(frame.metadata)
            yield frame.to_ndarray().reshape(-1).astype(np.float64)


def through(rate: int, samples: NDArray[np.float64], *chain: tuple[str, str]) -> NDArray[np.float64]:
    """Samples as they are behind a chain of filters."""
    filters = Filters(rate, chain)
    return np.concatenate([*filters.push(samples), *filters.end(), np.zeros(0)])
