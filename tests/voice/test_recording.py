"""Conversations that are recorded: what both say is in the recording, but not while the line has paused it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from signalbox.api.types.v1 import recordings_pb2, types_pb2
from signalbox.g711 import A_LAW
from support.heard import noise
from support.voice_site import dial, node

if TYPE_CHECKING:
    from support.phone import Phone
    from support.voice_site import VoiceSite

SECRET, BEFORE, AFTER = noise(81, 1.0), noise(82, 1.0), noise(83, 1.0)


async def test_what_is_said_while_the_line_has_paused_the_recording_is_not_in_it(
    site: VoiceSite, caller: Phone, line: Phone
) -> None:
    greet = node("greet", "announce", prompt="welcome", answer=True, next="dial")
    agent = site.line(line)
    number = site.flow(greet, dial(agent, pauseKeys="*1", resumeKeys="*2"), media=types_pb2.MEDIA_MODE_RECORD)
    talk = await caller.call(number, site.sip())
    await talk.answered()
    other = await line.rung()
    await talk.hear_each_other(other)
    await talk.voice.say(BEFORE)
    await other.press("*1")
    await talk.voice.say(SECRET)
    await other.has_heard(SECRET)
    await other.press("*2")
    await talk.voice.say(AFTER)
    talk.hang_up()
    await other.over()
    stored = await site.recording(site.id_of(talk.call_id))
    assert (stored.kind, stored.line) == (recordings_pb2.RECORDING_KIND_UNSPECIFIED, agent)
    assert len(stored.pauses) == 1
    left, right = (A_LAW.encode(np.ascontiguousarray(side)) for side in site.recorded(stored.call_id).T)
    assert BEFORE[800:-800] in left
    assert AFTER[1600:-1600] in left
    parts = [SECRET[at : at + 160] for at in range(1600, len(SECRET) - 1600, 160)]
    assert [part for part in parts if part in left or part in right] == []
    assert other.says[:1600] in right
