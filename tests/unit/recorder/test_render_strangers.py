"""What comes from elsewhere than the parties was heard by nobody, and is not in the recording."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from signalbox.api.recording.v1.recording_pb2 import CallFacts, Side
from support.captures import CALLER, CALLER_PORT, LINE, LINE_PORT, Capture, noise, talk
from support.renderings import FACTS, SIDES, a_law, wav

if TYPE_CHECKING:
    from pathlib import Path

STRANGER = ("203.0.113.66", 5_000)
SEEN = (
    Side(local_port=CALLER_PORT, tag="caller", endpoints=["192.0.2.1:4000", "no address"]),
    Side(local_port=LINE_PORT, tag="line", endpoints=["10.0.0.9:2", "198.51.100.7:16384"]),
)
NAMED = CallFacts(caller_tag="caller", line_tag="line", caller_media="192.0.2.1:4000", line_media="198.51.100.7:16384")
SENT, SAID = noise(4, 1), noise(4, 2)


def call() -> Capture:
    return Capture().caller(talk(SENT)).line(talk(SAID, ssrc=2))


@pytest.mark.parametrize("source", [STRANGER, (CALLER[0], 4_001), ("2001:db8::66", 4_000), LINE])
@pytest.mark.parametrize("ssrc", [1, 9])
def test_what_a_stranger_sends_is_left_out_and_counted(tmp_path: Path, source: tuple[str, int], ssrc: int) -> None:
    words = talk(noise(2, 3), ssrc=ssrc, start_ms=995, sequence=1_050, timestamp=58_000)
    capture = call().add([words], CALLER_PORT, source)
    for facts, sides in ((FACTS, SEEN), (NAMED, SIDES)):
        if source == LINE and sides is SIDES:
            continue
        audio = wav(tmp_path, capture, facts=facts, sides=sides)
        assert (audio.left == a_law(SENT)).all()
        assert (audio.right == a_law(SAID)).all()
        left, right = audio.rendered.left, audio.rendered.right
        assert (left.packets, left.strangers, left.duplicates, left.sources, left.lost) == (200, 100, 0, 1, 0)
        assert (right.packets, right.strangers) == (200, 0)
        assert audio.rendered.reasons == ()


def test_a_flood_before_and_during_a_call_leaves_nothing_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("signalbox.recorder.streams.SOURCES_MAX", 20)
    monkeypatch.setattr("signalbox.recorder.strangers.WAITING_MAX", 20)
    monkeypatch.setattr("signalbox.recorder.strangers._REMEMBERED_MAX", 30)
    monkeypatch.setattr("signalbox.recorder.pcap.BLOCK_RECORDS", 100)
    flows = [talk(noise(0.02), ssrc=ssrc, start_ms=ssrc * 10 - 500) for ssrc in range(10, 360)]
    capture = Capture().caller(talk(SENT, start_ms=500)).line(talk(SAID, ssrc=2, start_ms=500))
    capture.add(flows[:100], CALLER_PORT, STRANGER)
    for index, flow in enumerate(flows[100:]):
        capture.add([flow], LINE_PORT, (STRANGER[0], 6_000 + index))
    audio = wav(tmp_path, capture, sides=SEEN)
    assert (audio.left == a_law(SENT)).all()
    assert (audio.right == a_law(SAID)).all()
    assert (audio.rendered.left.strangers, audio.rendered.right.strangers) == (100, 250)
    assert audio.rendered.reasons == ()


@pytest.mark.parametrize(("facts", "sides"), [(FACTS, SEEN), (NAMED, SIDES)])
def test_who_follows_when_the_party_has_stopped_may_be_the_party_and_that_is_said(
    tmp_path: Path, facts: CallFacts, sides: tuple[Side, ...]
) -> None:
    moved = noise(3, 5)
    flow = talk(moved, ssrc=7, start_ms=3_900)
    audio = wav(tmp_path, call().add([flow], LINE_PORT, STRANGER), facts=facts, sides=sides)
    assert (audio.right[32_000:] == a_law(moved)[800:]).all()
    assert (audio.rendered.right.packets, audio.rendered.right.strangers) == (350, 0)
    assert audio.rendered.reasons == ("source_unverified",)
    # The party goes on after a pause: it had not moved.
    again = Capture().line(talk(SAID, ssrc=2, start_ms=9_000))
    audio = wav(tmp_path, call().add([flow], LINE_PORT, STRANGER), again, facts=facts, sides=sides)
    assert (audio.right[72_000:] == a_law(SAID)).all()
    assert not audio.right[32_000:72_000].any()
    assert (audio.rendered.right.strangers, audio.rendered.reasons) == (150, ())


def test_who_is_seen_nowhere_is_kept_where_no_known_address_ever_sent(tmp_path: Path) -> None:
    capture = Capture().add([talk(SENT)], CALLER_PORT, STRANGER).line(talk(SAID, ssrc=2))
    for facts, sides, reasons in ((FACTS, SEEN, ("source_unverified",)), (NAMED, SIDES, ()), (FACTS, SIDES, ())):
        audio = wav(tmp_path, capture, facts=facts, sides=sides)
        assert (audio.left == a_law(SENT)).all()
        assert (audio.rendered.left.strangers, audio.rendered.reasons) == (0, reasons)


def test_two_sources_with_one_ssrc_are_both_heard_where_nothing_tells_them_apart(tmp_path: Path) -> None:
    quiet = talk(np.full(32_000, 0xD5, dtype=np.uint8), sequence=1_100)
    audio = wav(tmp_path, Capture().caller(talk(SENT)).add([quiet], CALLER_PORT, STRANGER))
    assert (audio.left - a_law(SENT).astype(np.int32) == 8).all()
    left = audio.rendered.left
    assert (left.packets, left.lost, left.duplicates, left.sources) == (400, 0, 0, 1)


def test_a_call_of_strangers_alone_is_empty(tmp_path: Path) -> None:
    one = Capture().caller(talk(SENT[:160]))
    stray = Capture().add([talk(SENT[:1_600], start_ms=-3_000)], CALLER_PORT, STRANGER)
    audio = wav(tmp_path, stray, one, sides=SEEN)
    assert (audio.rendered.left.packets, audio.rendered.left.strangers, audio.rendered.pauses) == (1, 10, ())


def test_more_unknown_sources_than_a_call_can_have_are_left_out_and_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("signalbox.recorder.strangers.WAITING_MAX", 10)
    capture = Capture()
    for index in range(30):
        capture.add([talk(noise(0.02), ssrc=index)], CALLER_PORT, (STRANGER[0], 6_000 + index))
    audio = wav(tmp_path, capture)
    assert (audio.rendered.left.packets, audio.rendered.reasons) == (10, ("too_many_sources",))
