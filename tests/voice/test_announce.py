"""Announcements: before the call is answered, and after."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.voice_site import end, node

if TYPE_CHECKING:
    from support.phone import Phone
    from support.voice_site import VoiceSite


async def test_before_the_answer_an_announcement_is_early_media_and_the_call_may_end_unanswered(
    site: VoiceSite, caller: Phone
) -> None:
    number = site.flow(node("greet", "announce", prompt="welcome", next="end"), end("BUSY"))
    talk = await caller.call(number, site.sip())
    assert await talk.refused() == 486
    assert 183 in talk.progress
    assert talk.voice.share(site.prompts["welcome"]) == 1.0
    assert await site.steps(talk.call_id) == ["greet: done"]


async def test_after_the_answer_an_announcement_is_heard_whole_and_once(site: VoiceSite, caller: Phone) -> None:
    number = site.flow(node("greet", "announce", prompt="welcome", answer=True, next="end"), end())
    talk = await caller.call(number, site.sip(), protocol="tcp")
    await talk.answered()
    ended = await talk.over()
    assert (ended.by_us, ended.reason.partition(";text")[0]) == (False, "Q.850;cause=16")
    assert 183 not in talk.progress
    assert talk.voice.share(site.prompts["welcome"]) == 1.0
    assert talk.voice.times_heard(site.prompts["welcome"]) == 1
