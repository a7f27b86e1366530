"""Callers who are handed on by the line that has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.phone import refuses, rings
from support.site import CALLER_HOST, eventually
from support.voice_site import dial, node
from support.wait import until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from support.phone import Phone, Talk
    from support.voice_site import VoiceSite

    Phones = Callable[..., Awaitable[Phone]]

TONE_PACKETS = 105
"""Of 20 ms: three times the busy tone and its pause."""


async def talking(site: VoiceSite, caller: Phone, anna: Phone, bert: Phone, **fields: Any) -> tuple[Talk, Talk]:
    """The caller and anna, who may hand on to bert with *9."""
    greet = node("greet", "announce", prompt="welcome", answer=True, next="dial")
    ringing = dial(site.line(anna), transferKeys="*9", transfer="on")
    on = node("on", "transfer", **{"line": site.line(bert), "ringBack": "ring-back", **fields})
    talk = await caller.call(site.flow(greet, ringing, on), site.sip())
    await talk.answered()
    other = await anna.rung()
    await talk.hear_each_other(other)
    return talk, other


async def hear_each_other(*talks: Talk) -> None:
    one, other = talks
    await until(lambda: one.voice.hears_sound(other.says) and other.voice.hears_sound(one.says), 30)


async def test_a_blind_transfer_lets_the_line_go_and_rings_the_other(
    site: VoiceSite, caller: Phone, phone: Phones
) -> None:
    anna, bert = await phone(), await phone(behave=rings)
    talk, first = await talking(site, caller, anna, bert)
    await first.press("*9")
    await first.over()
    await talk.hears(site.prompts["ring-back"])
    second = await bert.rung()
    second.may_answer.set()
    await talk.hear_each_other(second)
    second.hang_up()
    await talk.over()
    assert await site.steps(talk.call_id) == ["greet: done", "dial: transfer", "on: line_left"]


async def test_an_attended_transfer_lets_both_lines_talk_before_the_caller_is_handed_over(
    site: VoiceSite, caller: Phone, phone: Phones
) -> None:
    anna, bert = await phone(), await phone()
    talk, first = await talking(site, caller, anna, bert, attended=True, completeKeys="*1")
    await first.press("*9")
    second = await bert.rung()
    await hear_each_other(first, second)
    assert talk.voice.hears_sound(site.prompts["ring-back"])
    await first.press("*1")
    await talk.hear_each_other(second)
    await first.over()
    talk.hang_up()
    await second.over()


async def test_a_line_takes_its_caller_back_from_an_attended_transfer(
    site: VoiceSite, caller: Phone, phone: Phones
) -> None:
    anna, bert = await phone(), await phone()
    talk, first = await talking(site, caller, anna, bert, attended=True, completeKeys="*1", returnKeys="*0")
    await first.press("*9")
    second = await bert.rung()
    await hear_each_other(first, second)
    await first.press("*0")
    await talk.hear_each_other(first)
    await second.over()


async def test_a_transfer_that_nobody_takes_gives_the_caller_back(
    site: VoiceSite, caller: Phone, phone: Phones
) -> None:
    anna, bert = await phone(), await phone(behave=refuses(486))
    talk, first = await talking(site, caller, anna, bert, attended=True)
    await first.press("*9")
    await bert.rung()
    await talk.hear_each_other(first)


async def test_a_line_whose_colleague_is_at_the_cap_keeps_its_caller(
    site: VoiceSite, caller: Phone, phone: Phones
) -> None:
    anna, bert, other = await phone(), await phone(), await phone(CALLER_HOST)
    capped = site.line(bert, concurrent_calls=1)
    before = await other.call(site.flow(dial(capped, whisper="whisper")), site.sip())
    await before.answered()
    await before.hear_each_other(await bert.rung())
    talk, first = await talking(site, caller, anna, bert, line=capped, attended=True)
    await first.press("*9")
    # Once the dial is over, the busy tone and nothing else comes for two seconds, and then the caller again.
    await eventually(lambda: any(one.flow_step.node == "dial" for one in site.told(talk.call_id)), "the dial's end")
    before_it = len(first.voice.packets)
    await until(lambda: len(first.voice.packets) > before_it + TONE_PACKETS + 20, 30)
    await talk.hear_each_other(first)
    first.hang_up()
    await talk.over()
    assert await site.steps(talk.call_id) == ["greet: done", "dial: transfer", "on: line_left"]
    assert len(bert.talks) == 1
    before.hang_up()
    await before.over()
