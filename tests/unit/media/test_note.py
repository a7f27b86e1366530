"""What the sidecar notes of a capture survives the way to the disk; what somebody else left there does no harm."""

from __future__ import annotations

import json

import pytest
from signalbox.media import note
from signalbox.media.note import Note
from signalbox.media.sides import Side


def test_there_and_back() -> None:
    written = Note(
        "call",
        1_795_365_481_042,
        "sb1,x",
        True,
        {(30_000, "caller"): Side("PCMA/8000", frozenset({"192.0.2.1:1"})), (30_002, "line"): Side("")},
        {"1.pcap"},
        {"2.pcap"},
    )
    assert note.decode(note.encode(written), "call") == written


def test_looks_add_up() -> None:
    seen = Note("call", 0)
    first, second = frozenset({"192.0.2.1:4000"}), frozenset({"192.0.2.1:4002"})
    assert seen.see({(1, "a"): Side("")})
    assert not seen.see({(1, "a"): Side("")})
    assert seen.see({(1, "a"): Side("PCMA/8000", first)})
    assert not seen.see({(1, "a"): Side("")}), "what is known stays"
    assert seen.see({(1, "a"): Side("G722/8000", second), (2, "b"): Side("PCMA/8000")})
    assert not seen.see({})
    assert seen.sides == {(1, "a"): Side("G722/8000", first | second), (2, "b"): Side("PCMA/8000")}


GOOD = json.loads(note.encode(Note("call", 1, "m", False, {(1, "a"): Side("c")})))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        json.dumps({**GOOD, "call_id": "other"}).encode(),
        json.dumps({**GOOD, "start_ms": "1"}).encode(),
        json.dumps({**GOOD, "paused": 1}).encode(),
        json.dumps({**GOOD, "sides": 1}).encode(),
        json.dumps({**GOOD, "sides": [{"port": 1}]}).encode(),
        json.dumps({**GOOD, "sides": [{**GOOD["sides"][0], "endpoints": "x"}]}).encode(),
        json.dumps({name: GOOD[name] for name in GOOD if name != "metadata"}).encode(),
    ],
)
def test_what_is_no_note(content: bytes) -> None:
    assert note.decode(content, "call") is None
