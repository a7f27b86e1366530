"""SDP in 183: the caller hears the line before it answers (RFC 3960)."""

from __future__ import annotations

from pathlib import Path

from support.scenario import CALLS, Part, play
from support.wire import stream

SPEAKS_EARLY = Part(Path(__file__).parent / "uas_speaks_early.xml")


async def test_the_announcement_comes_from_where_the_answer_comes_from(site, tmp_path):
    call = await play(site, tmp_path, CALLS, [SPEAKS_EARLY], anchored=True)
    assert call.caller.ladder == ["→INVITE", "←100", "←183", "←200", "→ACK", "→BYE", "←200"]
    early, answer = stream(call.caller.message("←183").text), stream(call.caller.message("←200").text)
    assert early.address.startswith("127.64.")
    assert early == answer
    assert [e.ringing.code for e in call.events if e.HasField("ringing")] == [183]
