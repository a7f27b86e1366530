"""The language that a caller chooses is the one in which places and agents' numbers are spoken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.speech import spoken
from support.voice_site import dial, end, node

if TYPE_CHECKING:
    from signalbox.speech.languages import Parts
    from support.phone import Phone, Talk
    from support.voice_site import VoiceSite

ANNOUNCED = {"before": "question", "after": "nothing"}


async def has_heard(site: VoiceSite, talk: Talk, before: str, parts: Parts, after: str) -> None:
    """Wait until the caller has heard parts between prompts, in this order."""
    said = [site.spoken[part] for part in parts if part not in spoken.PAUSES]
    whole = [site.prompts[before], *said, site.prompts[after]]
    for one in whole:
        await talk.has_heard(one)
    times = [talk.voice.heard_at(one) for one in whole]
    assert times == sorted(times)


async def test_each_caller_is_told_in_the_chosen_language_and_who_waits_too_long_comes_to_another_line(
    site: VoiceSite, caller: Phone, line: Phone
) -> None:
    languages = node(
        "languages", "menu", prompt="welcome", noInput="end", noMatch="end",
        branches=[{"digits": "1", "language": "en", "next": "queue"}, {"digits": "2", "next": "chinese"}],
    )  # fmt: skip
    chinese = node("chinese", "set_variable", name="language", value="zh-CN", next="queue")
    queue = node(
        "queue", "queue", dial="dial", music="music", announceEvery="10s", positionBefore="before",
        positionAfter="after", maxWait="10s", full="end", timedOut="overflow",
    )  # fmt: skip
    agent = site.line(line, agent_number="017", concurrent_calls=1)
    ringing = dial(agent, busy="queue", announceLine=ANNOUNCED)
    overflow = dial(site.line(line, agent_number="042"), id="overflow", announceLine=ANNOUNCED)
    number = site.flow(languages, chinese, queue, ringing, overflow, end())

    first = await caller.call(number, site.sip())
    await first.answered()
    await first.hears(site.prompts["welcome"])
    await first.press("2")
    await has_heard(site, first, "question", spoken.digits("017", "zh-CN"), "nothing")
    await first.hear_each_other(await line.rung())

    second = await caller.call(number, site.sip())
    await second.answered()
    await second.hears(site.prompts["welcome"])
    await second.press("1")
    await has_heard(site, second, "before", spoken.number(1, "en"), "after")
    await second.hears(site.prompts["music"])
    await has_heard(site, second, "question", spoken.digits("042", "en"), "nothing")
    await second.hear_each_other(await line.rung(2))
    second.hang_up()
    assert await site.steps(second.call_id) == ["languages: digits 1", "queue: waited", "overflow:"]
