"""What payloads are, and how they become samples."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, cast

import av
import numpy as np

from signalbox.g711 import A_LAW, MU_LAW

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLOCK = 8_000
"""RTP timestamps a second, of all codecs here; G.722's too, although it has 16,000 samples (RFC 3551 section 4.5.2)."""


class Kind(IntEnum):
    """What a packet carries."""

    PCMU = 0
    PCMA = 1
    G722 = 2
    G729 = 3
    COMFORT_NOISE = 4
    EVENT = 5
    UNKNOWN = 6


AUDIO = (Kind.PCMU, Kind.PCMA, Kind.G722, Kind.G729)
"""What can be decoded."""

_STATIC = {0: Kind.PCMU, 8: Kind.PCMA, 9: Kind.G722, 18: Kind.G729, 13: Kind.COMFORT_NOISE}
"""Payload types of RFC 3551 and, for comfort noise, RFC 3389."""
_DYNAMIC = 96
_EVENT_BYTES = 4
_EVENTS_MAX = 4
"""Events that a packet may carry: the current one and some before it (RFC 4733 section 2.5.1.4)."""
_G729_FRAME = 10
_G729_UNITS = 80


def kinds(payload_types: NDArray[np.uint8], sizes: NDArray[np.uint16], codec: str) -> NDArray[np.uint8]:
    """The kind of each packet of a stream.

    A dynamic payload type is a telephone event if it is as short as one, else ``codec``, as rtpengine names it
    ("PCMA/8000"), of the side that sends; "" if that is not known.
    """
    table = np.full(256, Kind.UNKNOWN, dtype=np.uint8)
    for payload_type, kind in _STATIC.items():
        table[payload_type] = kind
    found = {kind.name: kind for kind in AUDIO}.get(_name(codec).upper())
    if found is not None:
        table[_DYNAMIC:128] = found
    event = (payload_types >= _DYNAMIC) & (sizes % _EVENT_BYTES == 0)
    event &= (sizes > 0) & (sizes <= _EVENT_BYTES * _EVENTS_MAX)
    return np.where(event, np.uint8(Kind.EVENT), table[payload_types])


def name(kind: int, payload_type: int, codec: str) -> str:
    """Name of a codec as it is told to people."""
    if kind != Kind.UNKNOWN:
        return Kind(kind).name
    if payload_type >= _DYNAMIC and codec:
        return _name(codec)
    return f"payload type {payload_type}"


def units(kind: NDArray[np.uint8], sizes: NDArray[np.uint16]) -> NDArray[np.int32]:
    """How long the audio of each packet is, in units of ``CLOCK``."""
    length = sizes.astype(np.int32)
    length = np.where(kind == Kind.G729, length // _G729_FRAME * _G729_UNITS, length)
    return np.where(kind <= Kind.G729, length, 0)


class Decoder:
    """Decodes one stream: codecs but G.711 remember what was before."""

    def __init__(self) -> None:
        self._contexts: dict[Kind, av.AudioCodecContext] = {}

    def decode(self, kind: Kind, payload: NDArray[np.uint8], sizes: NDArray[np.int64]) -> NDArray[np.int16]:
        """Samples of packets one after the other, of ``sizes`` bytes each, of one codec.

        Two for every unit if G.722, else one. What the codec refuses is silence.
        """
        if kind == Kind.PCMU:
            return MU_LAW.decoded[payload]
        if kind == Kind.PCMA:
            return A_LAW.decoded[payload]
        if kind == Kind.G722:
            return self._decode(kind, payload, 2 * len(payload))
        # Two bytes more are a frame of comfort noise (RFC 3551 section 4.5.6).
        starts = np.cumsum(sizes) - sizes
        frames = sizes // _G729_FRAME
        if (sizes % _G729_FRAME).any():
            total = int(frames.sum()) * _G729_FRAME
            payload = payload[
                np.repeat(starts - np.cumsum(frames * _G729_FRAME) + frames * _G729_FRAME, frames * _G729_FRAME)
                + np.arange(total)
            ]
        return self._decode(kind, payload, len(payload) // _G729_FRAME * _G729_UNITS)

    def _decode(self, kind: Kind, payload: NDArray[np.uint8], samples: int) -> NDArray[np.int16]:
        context = self._contexts.get(kind)
        if context is None:
            context = cast("av.AudioCodecContext", av.CodecContext.create(kind.name.lower(), "r"))
            context.layout = "mono"
            context.sample_rate = 2 * CLOCK if kind == Kind.G722 else CLOCK
            self._contexts[kind] = context
        decoded = np.zeros(samples, dtype=np.int16)
        try:
            frames = context.decode(av.Packet(payload.tobytes())) if samples else []
        except av.FFmpegError:
            return decoded
        at = 0
        for frame in frames:
            part = frame.to_ndarray().reshape(-1)[: samples - at]
            decoded[at : at + len(part)] = part
            at += len(part)
        return decoded


def _name(codec: str) -> str:
    return codec.partition("/")[0]
