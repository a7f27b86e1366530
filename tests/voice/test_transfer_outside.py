"""Callers who are handed on to telephone numbers outside, which trunks carry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.phone import rings
from support.voice_site import dial, node

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from support.phone import Phone, Talk
    from support.voice_site import VoiceSite

    Phones = Callable[..., Awaitable[Phone]]


async def handed_on(site: VoiceSite, caller: Phone, anna: Phone, to: str, **fields: Any) -> tuple[Talk, Talk]:
    """The caller and anna, who hands on to the number that a variable has."""
    mobile = node("mobile", "set_variable", name="mobile", value=to, next="greet")
    greet = node("greet", "announce", prompt="welcome", answer=True, next="dial")
    ringing = dial(site.line(anna), transferKeys="*9", transfer="on")
    on = node("on", "transfer", number="{mobile}", prefixes=[to[:3]], ringBack="ring-back", **fields)
    talk = await caller.call(site.flow(mobile, greet, ringing, on), site.sip())
    await talk.answered()
    other = await anna.rung()
    await talk.hear_each_other(other)
    await other.press("*9")
    return talk, other


async def test_a_blind_transfer_reaches_the_number_by_the_trunk_that_carries_it(
    site: VoiceSite, caller: Phone, phone: Phones
) -> None:
    anna, outside = await phone(), await phone(behave=rings)
    talk, first = await handed_on(site, caller, anna, number := site.outside(outside))
    await first.over()
    await talk.hears(site.prompts["ring-back"])
    second = await outside.rung()
    assert f"sip:{number}@" in second.incoming.request.uri
    second.may_answer.set()
    await talk.hear_each_other(second)
    second.hang_up()
    await talk.over()
    assert await site.steps(talk.call_id) == ["greet: done", "dial: transfer", "on: line_left"]


async def test_who_does_not_answer_an_attended_transfer_leaves_the_caller_with_the_line(
    site: VoiceSite, caller: Phone, phone: Phones
) -> None:
    anna, outside = await phone(), await phone(behave=rings)
    to = site.outside(outside)
    talk, first = await handed_on(site, caller, anna, to, attended=True, ringTime="2s")
    await talk.hears(site.prompts["ring-back"])
    ended = await (await outside.rung()).over()
    assert (ended.by_us, ended.status) == (False, 487)
    await talk.hear_each_other(first)
    talk.hang_up()
    await first.over()
