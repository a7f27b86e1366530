"""Hold, park and resume by re-INVITE (RFC 3264 section 8.4), with rtpengine in the path."""

from __future__ import annotations

from pathlib import Path

from support.scenario import Part, play
from support.site import kinds
from support.wire import stream

HERE = Path(__file__).parent
HOLDS = Part(HERE / "uac_holds.xml")
IS_HELD = Part(HERE / "uas_is_held.xml")


async def test_hold_park_and_resume_reach_the_line_and_the_media_stays_where_it_is(site, tmp_path):
    call = await play(site, tmp_path, HOLDS, [IS_HELD], anchored=True)
    line = call.lines[0]
    again = ["→INVITE", "←100", "←200", "→ACK"]
    assert call.caller.ladder == ["→INVITE", "←100", "←180", "←200", "→ACK", *again * 3, "→BYE", "←200"]
    offers = [stream(line.message("←INVITE", n).text) for n in (1, 2, 3, 4)]
    answers = [stream(call.caller.message("←200", n).text) for n in (1, 2, 3, 4)]
    assert [offer.direction for offer in offers] == ["sendrecv", "sendonly", "inactive", "sendrecv"]
    assert [answer.direction for answer in answers] == ["sendrecv", "recvonly", "inactive", "sendrecv"]
    for side in (offers, answers):
        assert len({one.address for one in side}) == 1
        assert side[0].address.startswith("127.64.")
    assert kinds(call.events) == ["asked", "decided", "line_tried", "ringing", "answered", "hung_up"]
