"""What calls with voice look like on the wire to somebody else's SIP: SIPp calls, and SIPp answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.scenario import ANSWERS, CALLS, Part, play, refuses
from support.voice_site import dial, end, node
from support.wire import stream

if TYPE_CHECKING:
    from pathlib import Path

    from support.site import LineAt
    from support.voice_site import VoiceSite

ANSWERED = ["→INVITE", "←100", "←183", "←200", "→ACK", "→BYE", "←200"]


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_caller_who_is_announced_to_early_is_answered_by_the_line_from_the_same_place(
    site: VoiceSite, tmp_path: Path, transport: str
) -> None:
    def flow(*stages: list[LineAt]) -> str:
        greet = node("greet", "announce", prompt="welcome", next="dial")
        lines = [site.line_at(line) for stage in stages for line in stage]
        return site.flow(greet, dial(*lines, ringBack="ring-back", busy="end"), end("BUSY"))

    part = Part(CALLS.scenario, transport=transport)  # type: ignore[arg-type]
    answers = Part(ANSWERS.scenario, transport=transport)  # type: ignore[arg-type]
    call = await play(site, tmp_path, part, [refuses(486)], [answers], flow=flow)
    assert call.caller.ladder == ANSWERED
    early, answer = (stream(call.caller.message(one).text) for one in ("←183", "←200"))
    assert early == answer
    assert call.lines[0].codes == ["INVITE", "ACK"]
    invite = call.lines[1].message("←INVITE")
    assert "X-Signalbox" not in invite.text
    assert stream(invite.text).address.startswith("127.64.")
    assert sum(one.HasField("hung_up") for one in call.events) == 1
