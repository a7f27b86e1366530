"""What is captured of a caller who speaks to us: a mailbox."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from signalbox.api.recording.v1.recording_pb2 import CallFacts
from signalbox.ivr.media import facts
from signalbox.media import facts as reader
from signalbox_local.rtp_party import pitch, tone
from support.ivr_media import CALLER_TONE, PROMPT_TONE, anchored, sent_to
from support.wait import until

if TYPE_CHECKING:
    from pathlib import Path

    from signalbox.ivr.media.session import MediaSession
    from signalbox_local.rtp_party import RtpParty
    from support.ivr_media import Desk

WAIT_S = 20.0

_PCAP_HEAD, _RECORD_HEAD, _IP_UDP_RTP = 24, 16, 20 + 8 + 12


def segments(desk: Desk, session: MediaSession) -> list[Path]:
    """Facts of what is captured of a call and has ended."""
    assert desk.server.recording_dir is not None
    return list((desk.server.recording_dir / "metadata").glob(f"rtpengine-meta-{session.call_id}-*.txt"))


def sound(desk: Desk, session: MediaSession) -> list[bytes]:
    """What the packets of a call's segments say, whoever sent them."""
    assert desk.server.recording_dir is not None
    said = []
    for path in (desk.server.recording_dir / "pcaps").glob(f"{session.call_id}-*.pcap"):
        content, place, payload = path.read_bytes(), _PCAP_HEAD, b""
        while place < len(content):
            (size,) = struct.unpack_from("<I", content, place + 8)
            place += _RECORD_HEAD
            payload += content[place + _IP_UDP_RTP : place + size]
            place += size
        said.append(payload)
    return said


async def test_a_mailbox_has_what_the_caller_says_and_nothing_of_ours(desk: Desk, caller: RtpParty) -> None:
    session, answer = await anchored(desk.nodes, desk.next_id(), caller.description(), records=True)
    target = sent_to(answer)
    told = CallFacts(
        call_id=session.call_id.removeprefix("w1."),
        tenant="t1",
        number="4001234567",
        caller="+8613912345678",
        line="mailbox",
        media_node=1,
    )
    told.answer_time.FromMilliseconds(1_795_380_000_123)
    await session.start_recording(facts.text(told))
    assert session.recording
    caller.talk_to(target, tone(CALLER_TONE))
    playback = await session.play(desk.prompt(0.6))
    await playback.done()
    await until(lambda: PROMPT_TONE - 20 < pitch(caller.heard()) < PROMPT_TONE + 20, WAIT_S)
    await session.stop_recording()
    await session.stop_recording()
    assert not session.recording
    await until(lambda: len(segments(desk, session)) == 1, WAIT_S)
    (said,) = sound(desk, session)
    assert abs(pitch(said[: len(said) // 160 * 160]) - CALLER_TONE) < 20
    read = reader.parse(session.call_id, reader.of_file(segments(desk, session)[0].read_text()))
    assert read is not None
    told.caller_tag, told.line_tag = "caller", "line"
    assert read == told
    # A second message is a segment of its own; what was said between them is in none.
    caller.talk_to(target, tone(440))
    await caller.press("1")
    caller.talk_to(target, tone(CALLER_TONE))
    await session.start_recording(facts.text(told))
    await session.play(desk.prompt(0.3))
    count = len(caller.packets)
    await until(lambda: len(caller.packets) > count + 10, WAIT_S)
    await session.close()
    await until(lambda: len(segments(desk, session)) == 2, WAIT_S)
    assert all(abs(pitch(one) - CALLER_TONE) < 20 for one in sound(desk, session))
