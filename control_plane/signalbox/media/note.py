"""What the sidecar itself knows of a capture. It lies beside the packets, so that it outlives the process.

Nothing depends on it alone: a capture without a note, or with one that cannot be read, is recorded with what is left.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from signalbox.media.sides import Side


@dataclass(slots=True)
class Note:
    """Of one call."""

    call_id: str
    start_ms: int
    """When the first segment began, milliseconds since 1970 by the node's clock."""
    metadata: str = ""
    """What the proxy gave rtpengine with the call; empty while it is not known."""
    paused: bool = False
    """True: nothing must be captured now."""
    sides: dict[tuple[int, str], Side] = field(default_factory=dict)
    """By rtpengine's port and the tag of who sends there, over all looks."""

    cut: set[str] = field(default_factory=set)
    """Segments of which packets are missing, though rtpengine ended them in order: the disk was full."""
    kept: set[str] = field(default_factory=set)
    """Segments from before the pause. While it lasts others are no part of the recording."""

    @property
    def complete(self) -> bool:
        """True if it is known what each side sends."""
        return bool(self.sides) and all(side.codec for side in self.sides.values())

    def see(self, sides: dict[tuple[int, str], Side]) -> bool:
        """Take in what a look has found; True if something of it is new."""
        seen = {key: self.sides[key].with_(side) if key in self.sides else side for key, side in sides.items()}
        new = any(self.sides.get(key) != side for key, side in seen.items())
        self.sides.update(seen)
        return new


def encode(note: Note) -> bytes:
    """The note as a file has it: JSON, for people too."""
    sides = [
        {"port": port, "tag": tag, "codec": side.codec, "endpoints": sorted(side.endpoints)}
        for (port, tag), side in note.sides.items()
    ]
    content = {
        "call_id": note.call_id,
        "start_ms": note.start_ms,
        "metadata": note.metadata,
        "paused": note.paused,
        "sides": sides,
        "cut": sorted(note.cut),
        "kept": sorted(note.kept),
    }
    return json.dumps(content, indent=1).encode()


def decode(content: bytes, call_id: str) -> Note | None:
    """The note of this call, or None if the content is none."""
    try:
        told = json.loads(content)
        if told["call_id"] != call_id:
            return None
        return Note(
            call_id,
            _checked(told["start_ms"], int),
            _checked(told["metadata"], str),
            _checked(told["paused"], bool),
            {
                (_checked(side["port"], int), _checked(side["tag"], str)): Side(
                    _checked(side["codec"], str),
                    frozenset(_checked(endpoint, str) for endpoint in _checked(side["endpoints"], list)),
                )
                for side in told["sides"]
            },
            {_checked(name, str) for name in told["cut"]},
            {_checked(name, str) for name in told["kept"]},
        )
    except (ValueError, TypeError, KeyError):
        return None


def _checked(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value
