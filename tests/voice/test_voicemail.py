"""Messages that callers leave: stored as they were said, and ended by a key, by silence or by hanging up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from signalbox.api.types.v1 import recordings_pb2
from signalbox.g711 import A_LAW, RATE
from signalbox_local.rtp_party import pitch
from support.heard import noise
from support.phone import WAIT_S
from support.voice_site import end, node
from support.wait import until

if TYPE_CHECKING:
    from typing import Any

    from signalbox.api.types.v1.flows_pb2 import FlowNode
    from support.phone import Phone, Talk
    from support.voice_site import VoiceSite

BEEP_HZ = 950
SPEAKS_AFTER_S = 0.2
LOUD = 500
"""Of samples: what is louder was said."""


def mailbox(**fields: Any) -> tuple[FlowNode, ...]:
    """Takes a message, and tells what became of it."""
    given = {"prompt": "welcome", "next": "goodbye", "noMessage": "nothing", **fields}
    ends = (end(id="goodbye", prompt="goodbye"), end(id="nothing", prompt="nothing"))
    return node("night", "voicemail", **given), *ends


async def asked(site: VoiceSite, caller: Phone, *nodes: FlowNode) -> Talk:
    """A caller who says nothing, has heard greeting and tone, and is recorded."""
    talk = await caller.call(site.flow(*nodes), site.sip())
    await talk.answered()
    talk.voice.talk_to(talk.voice.target, A_LAW.encode(np.zeros(160, dtype=np.int16)))
    await talk.has_heard(site.prompts["welcome"])
    # A tone, and then nothing is played any more: people don't speak at once.
    await until(
        lambda: abs(pitch(talk.voice.heard()[-800:]) - BEEP_HZ) < 20 and talk.voice.silent_for() > SPEAKS_AFTER_S,
        WAIT_S,
    )
    return talk


def said(site: VoiceSite, id: str) -> bytes:
    """What was recorded of the caller, without silence before and after it."""
    left = site.recorded(id)[:, 0]
    loud = np.flatnonzero(np.abs(left) > LOUD)
    return A_LAW.encode(np.ascontiguousarray(left[loud[0] : loud[-1] + 1]))


async def test_a_message_that_ends_with_a_key_is_stored_as_it_was_said(site: VoiceSite, caller: Phone) -> None:
    talk = await asked(site, caller, *mailbox(finishKeys="#"))
    message = noise(77, 2.0)
    await talk.voice.say(message)
    await talk.press("1#")
    await talk.over()
    assert talk.voice.missing(site.prompts["goodbye"]) == []
    id = site.id_of(talk.call_id)
    stored = await site.recording(id)
    assert (stored.kind, stored.line) == (recordings_pb2.RECORDING_KIND_MESSAGE, "night")
    assert said(site, id) in message
    assert len(said(site, id)) > len(message) - 80
    assert await site.steps(talk.call_id) == ["night: done", "goodbye: done"]


async def test_silence_ends_a_message_and_is_cut_off(site: VoiceSite, caller: Phone) -> None:
    talk = await asked(site, caller, *mailbox(maxSilence="2s"))
    await talk.voice.say(noise(78, 1.5))
    await talk.over()
    assert talk.voice.missing(site.prompts["goodbye"]) == []
    id = site.id_of(talk.call_id)
    await site.recording(id)
    left = site.recorded(id)[:, 0]
    assert len(left) < np.flatnonzero(np.abs(left) > LOUD)[-1] + 0.6 * RATE


async def test_a_message_of_a_caller_who_hangs_up_is_kept(site: VoiceSite, caller: Phone) -> None:
    talk = await asked(site, caller, *mailbox())
    message = noise(79, 1.5)
    await talk.voice.say(message)
    talk.hang_up()
    await talk.over()
    id = site.id_of(talk.call_id)
    await site.recording(id)
    assert said(site, id) in message


async def test_of_a_caller_who_says_nothing_there_is_no_message(site: VoiceSite, caller: Phone) -> None:
    talk = await asked(site, caller, *mailbox(maxSilence="1s"))
    await talk.over()
    assert talk.voice.missing(site.prompts["nothing"]) == []
    assert await site.steps(talk.call_id) == ["night: no_input", "nothing: done"]
