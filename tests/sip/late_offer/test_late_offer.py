"""An INVITE without SDP: the line offers in its 200, the caller answers in ACK (RFC 3261 section 13.2.1)."""

from __future__ import annotations

from pathlib import Path

from support.scenario import ANSWERS, Part, play
from support.wire import stream

LATE_OFFER = Part(Path(__file__).parent / "uac_late_offer.xml")


async def test_offer_and_answer_both_go_through_the_media_node(site, tmp_path):
    call = await play(site, tmp_path, LATE_OFFER, [ANSWERS], anchored=True)
    line = call.lines[0]
    assert call.caller.ladder == ["→INVITE", "←100", "←180", "←200", "→ACK", "→BYE", "←200"]
    assert "m=audio" not in line.message("←INVITE").text
    offer, answer = stream(call.caller.message("←200").text), stream(line.message("←ACK").text)
    assert offer.address.startswith("127.64.")
    assert answer.address.startswith("127.64.")
    assert offer.address != answer.address
