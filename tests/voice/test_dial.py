"""Lines that ring for callers of a flow: what either side hears, before the answer and after, and what is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from signalbox.speech import spoken
from support.phone import refuses, rings, talks_early
from support.site import eventually, kinds
from support.voice_site import dial, end, node

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from support.phone import Behaviour, Phone, Talk
    from support.voice_site import VoiceSite

    Phones = Callable[..., Awaitable[Phone]]

MENU = node(
    "menu", "menu", prompt="welcome", branches=[{"digits": "1", "next": "dial"}], noInput="end", noMatch="end"
)  # fmt: skip


async def chosen(site: VoiceSite, caller: Phone, number: str, **how: Any) -> Talk:
    """A caller who has keyed 1 in a menu."""
    talk = await caller.call(number, site.sip(), **how)
    await talk.answered()
    await talk.hears(site.prompts["welcome"])
    await talk.press("1")
    return talk


async def assert_ended_once(site: VoiceSite, talk: Talk, kind: str = "hung_up") -> None:
    """One event ends the call at its proxy, and one the flow at its worker."""
    await site.ended(talk.call_id)
    told = await site.events_until(talk.call_id, kind)
    assert sum(one in ("hung_up", "failed") for one in kinds(told)) == 1


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
async def test_caller_and_line_hear_each_other_and_either_ends_the_call(
    site: VoiceSite, caller: Phone, line: Phone, protocol: str
) -> None:
    transport = "SIP_TRANSPORT_TCP" if protocol == "tcp" else "SIP_TRANSPORT_UDP"
    number = site.flow(MENU, dial(site.line(line, transport=transport, concurrent_calls=3)), end())
    talk = await chosen(site, caller, number, protocol=protocol)
    other = await line.rung()
    await talk.hear_each_other(other)
    assert site.counted() != []
    assert site.media_calls() != []
    (other if protocol == "udp" else talk).hang_up()
    await talk.over()
    await other.over()
    assert (await site.steps(talk.call_id))[1].startswith("dial:")
    await assert_ended_once(site, talk)


async def test_the_line_hears_a_whisper_while_the_caller_is_told_who_answers(
    site: VoiceSite, caller: Phone, line: Phone
) -> None:
    agent = site.line(line, agent_number="017")
    announced = {"before": "before", "after": "after"}
    number = site.flow(MENU, dial(agent, whisper="whisper", announceLine=announced), end())
    talk = await chosen(site, caller, number)
    other = await line.rung()
    await talk.hear_each_other(other)
    assert other.voice.missing(site.prompts["whisper"]) == []
    assert talk.voice.times_heard(site.prompts["whisper"]) == 0
    digits = [site.spoken[part] for part in spoken.digits("017", "zh-CN") if part not in spoken.PAUSES]
    said = [site.prompts["before"], *digits, site.prompts["after"]]
    assert [talk.voice.missing(one) for one in said] == [[]] * len(said)
    times = [talk.voice.heard_at(one) for one in said]
    assert times == sorted(times)
    assert all(other.voice.times_heard(one) == 0 for one in said)


async def test_a_busy_line_is_followed_by_the_next(site: VoiceSite, caller: Phone, phone: Phones) -> None:
    busy, free = await phone(behave=refuses(486)), await phone()
    number = site.flow(MENU, dial(site.line(busy), last := site.line(free)), end())
    talk = await chosen(site, caller, number)
    await talk.hear_each_other(await free.rung())
    assert len(busy.talks) == 1
    talk.hang_up()
    await site.ended(talk.call_id)
    told = [one.flow_step for one in site.told(talk.call_id) if one.flow_step.node == "dial"]
    assert [one.line for one in told] == [last]


async def test_a_line_that_does_not_answer_is_given_up_and_another_rings(
    site: VoiceSite, caller: Phone, phone: Phones
) -> None:
    slow, quick = await phone(behave=rings), await phone()
    number = site.flow(MENU, dial(site.line(slow), site.line(quick), ringTime="1s"), end())
    talk = await chosen(site, caller, number)
    await talk.hear_each_other(await quick.rung())
    ended = await slow.talks[0].over()
    assert (ended.by_us, ended.status) == (False, 487)


@pytest.mark.parametrize(("behave", "way"), [(refuses(486), "busy"), (rings, "noAnswer"), (refuses(404), "failed")])
async def test_when_no_line_takes_the_call_the_flow_goes_on(
    site: VoiceSite, caller: Phone, line: Phone, behave: Behaviour, way: str
) -> None:
    line.behave = behave
    ringing = dial(site.line(line), ringTime="1s", **{way: "goodbye"})
    talk = await chosen(site, caller, site.flow(MENU, ringing, end(id="goodbye", prompt="goodbye"), end()))
    await talk.over()
    assert talk.voice.missing(site.prompts["goodbye"]) == []


async def test_a_caller_who_was_not_answered_hears_ring_back_as_early_media_over_and_over(
    site: VoiceSite, caller: Phone, line: Phone
) -> None:
    line.behave = rings
    talk = await caller.call(site.flow(dial(site.line(line), ringBack="ring-back")), site.sip())
    await talk.has_heard(site.prompts["ring-back"], 2)
    assert 183 in talk.progress
    other = await line.rung()
    other.may_answer.set()
    await talk.answered()
    await talk.hear_each_other(other)


async def test_what_a_line_sends_before_it_answers_is_heard_unless_it_is_replaced(
    site: VoiceSite, caller: Phone, line: Phone
) -> None:
    line.behave = talks_early
    number = site.flow(dial(site.line(line), ringBack="ring-back"))
    talk = await caller.call(number, site.sip())
    other = await line.rung()
    await talk.hears(other.says)
    other.may_answer.set()
    await talk.answered()
    await talk.hear_each_other(other)
    number = site.flow(dial(site.line(line), ringBack="ring-back", earlyMedia="EARLY_MEDIA_REPLACE"))
    replaced = await caller.call(number, site.sip())
    other = await line.rung(2)
    await replaced.has_heard(site.prompts["ring-back"], 2)
    assert replaced.voice.times_heard(other.says) == 0
    other.may_answer.set()
    await replaced.answered()
    await replaced.hear_each_other(other)


async def test_a_caller_who_hangs_up_while_a_line_rings_leaves_nothing(
    site: VoiceSite, caller: Phone, line: Phone
) -> None:
    line.behave = rings
    talk = await chosen(site, caller, site.flow(MENU, dial(site.line(line)), end()))
    other = await line.rung()
    talk.hang_up()
    assert (await other.over()).status == 487
    await assert_ended_once(site, talk)


async def test_a_caller_who_gives_up_before_the_answer_leaves_nothing(
    site: VoiceSite, caller: Phone, line: Phone
) -> None:
    line.behave = rings
    talk = await caller.call(site.flow(dial(site.line(line), ringBack="ring-back")), site.sip())
    other = await line.rung()
    await talk.hears(site.prompts["ring-back"])
    talk.hang_up()
    assert (await other.over()).status == 487
    await assert_ended_once(site, talk, "failed")


async def test_a_held_caller_is_taken_back(site: VoiceSite, caller: Phone, line: Phone) -> None:
    talk = await chosen(site, caller, site.flow(MENU, dial(site.line(line)), end()))
    other = await line.rung()
    await talk.hear_each_other(other)
    assert await other.hold("sendonly") == "recvonly"
    assert await other.hold("sendrecv") == "sendrecv"
    assert await talk.hold("sendonly") == "recvonly"
    assert await talk.hold("sendrecv") == "sendrecv"
    await talk.hear_each_other(other)


async def test_the_score_of_a_survey_belongs_to_the_line_that_had_the_call(
    site: VoiceSite, caller: Phone, phone: Phones
) -> None:
    busy, agent = await phone(behave=refuses(486)), await phone()
    survey = node("survey", "survey", prompt="question", noMatchPrompt="wrong-key", repeats=1, next="goodbye")
    ringing = dial(site.line(busy), last := site.line(agent), after="survey")
    talk = await chosen(site, caller, site.flow(MENU, ringing, survey, end(id="goodbye", prompt="goodbye"), end()))
    other = await agent.rung()
    await talk.hear_each_other(other)
    other.hang_up()
    await talk.hears(site.prompts["question"])
    await talk.press("9")
    await talk.has_heard(site.prompts["wrong-key"])
    await talk.hears(site.prompts["question"])
    await talk.press("4")
    await talk.over()
    assert talk.voice.missing(site.prompts["goodbye"]) == []
    await site.ended(talk.call_id)
    scores = [one.flow_step for one in site.told(talk.call_id) if one.flow_step.kind == "survey"]
    assert [(one.outcome, one.digits, one.line) for one in scores] == [("digits", "4", last)]


async def test_a_call_shows_the_legs_that_were_made_for_it(site: VoiceSite, caller: Phone, line: Phone) -> None:
    talk = await chosen(site, caller, site.flow(MENU, dial(site.line(line)), end()))
    await talk.hear_each_other(await line.rung())
    id = site.id_of(talk.call_id)
    await eventually(lambda: [one for one in site.all_events() if one.asked.parent == id], "a leg of the call")
