"""Menus: what callers key, what they hear for it, and where it leads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from signalbox.g711 import MU_LAW
from support.voice_site import dial, end, node
from support.wait import until

if TYPE_CHECKING:
    from typing import Any

    from signalbox.api.types.v1.flows_pb2 import FlowNode
    from support.phone import Phone, Talk
    from support.voice_site import VoiceSite


def menu(*branches: tuple[str, str], id: str = "menu", **fields: Any) -> FlowNode:
    """A menu that is quick to lose its patience."""
    given = [{"digits": digits, "next": next} for digits, next in branches]
    return node(
        id, "menu", branches=given,
        **{"prompt": "welcome", "timeout": "1s", "noInput": "end", "noMatch": "end", **fields},
    )  # fmt: skip


def says(prompt: str, id: str = "", **fields: Any) -> FlowNode:
    """An end that is heard."""
    return end(id=id or prompt, prompt=prompt, **fields)


async def in_menu(site: VoiceSite, caller: Phone, *nodes: FlowNode, **how: Any) -> Talk:
    """A caller who hears the menu."""
    talk = await caller.call(site.flow(*nodes), site.sip(), **how)
    await talk.answered()
    await talk.hears(site.codes("welcome", how["law"]) if "law" in how else site.prompts["welcome"])
    return talk


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
async def test_a_key_stops_the_prompt_and_leads_to_its_branch(site: VoiceSite, caller: Phone, protocol: str) -> None:
    nodes = (menu(("1", "goodbye"), ("2", "english")), says("goodbye"), says("english"), end())
    talk = await in_menu(site, caller, *nodes, protocol=protocol)
    await talk.press("2")
    await talk.over()
    assert talk.voice.share(site.prompts["english"]) == 1.0
    assert talk.voice.times_heard(site.prompts["goodbye"]) == 0
    assert talk.voice.share(site.prompts["welcome"]) < 1.0
    assert await site.steps(talk.call_id) == ["menu: digits 2", "english: done"]


async def test_a_caller_of_mu_law_hears_the_prompt_of_that_law(site: VoiceSite, caller: Phone) -> None:
    talk = await in_menu(site, caller, menu(("1", "goodbye")), says("goodbye"), end(), law=MU_LAW)
    await talk.press("1")
    await talk.over()
    assert talk.voice.missing(site.codes("goodbye", MU_LAW)) == []


async def test_digits_end_with_the_terminator(site: VoiceSite, caller: Phone) -> None:
    nodes = (menu(("12", "goodbye"), ("123", "english"), terminator="#"), says("goodbye"), says("english"), end())
    talk = await in_menu(site, caller, *nodes)
    await talk.press("12#")
    await talk.over()
    assert talk.voice.share(site.prompts["goodbye"]) == 1.0
    assert await site.steps(talk.call_id) == ["menu: digits 12", "goodbye: done"]


async def test_silence_and_a_wrong_key_are_said_before_the_menu_is_played_again(site: VoiceSite, caller: Phone) -> None:
    asking = menu(
        ("1", "goodbye"), repeats=2, noInputPrompt="nothing", noMatchPrompt="wrong-key", noMatch="english"
    )  # fmt: skip
    talk = await in_menu(site, caller, asking, says("goodbye"), says("english"), end())
    await talk.has_heard(site.prompts["welcome"], 1)
    await talk.has_heard(site.prompts["nothing"])
    await talk.has_heard(site.prompts["welcome"], 2)
    await talk.press("7")
    await talk.has_heard(site.prompts["wrong-key"])
    await until(lambda: talk.voice.hears_sound(site.prompts["welcome"]), 20)
    await talk.press("8")
    await talk.over()
    assert talk.voice.share(site.prompts["english"]) == 1.0
    assert await site.steps(talk.call_id) == ["menu: no_match", "english: done"]


async def test_a_caller_who_keys_nothing_is_asked_again_as_often_as_told(site: VoiceSite, caller: Phone) -> None:
    talk = await in_menu(site, caller, menu(("1", "end"), repeats=1, noInput="goodbye"), says("goodbye"), end())
    await talk.over()
    assert talk.voice.times_heard(site.prompts["welcome"]) == 2
    assert talk.voice.share(site.prompts["goodbye"]) == 1.0
    assert await site.steps(talk.call_id) == ["menu: no_input", "goodbye: done"]


async def test_menus_lead_into_each_other_and_keys_may_come_before_the_question(site: VoiceSite, caller: Phone) -> None:
    inner = menu(("3", "goodbye"), ("0", "menu"), id="inner", prompt="question")
    talk = await in_menu(site, caller, menu(("1", "inner")), inner, says("goodbye"), end())
    await talk.press("1")
    await talk.hears(site.prompts["question"])
    await talk.press("0")
    await talk.hears(site.prompts["welcome"])
    await talk.press("13")
    await talk.over()
    assert talk.voice.share(site.prompts["goodbye"]) == 1.0
    told = ["menu: digits 1", "inner: digits 0", "menu: digits 1", "inner: digits 3", "goodbye: done"]
    assert await site.steps(talk.call_id) == told


async def test_what_is_keyed_is_a_variable_that_conditions_go_by(site: VoiceSite, caller: Phone) -> None:
    order = menu(prompt="welcome", variable="order", entered="by-order", minDigits=3, maxDigits=4, terminator="#")
    by_order = node(
        "by-order", "condition", variable="order", otherwise="english",
        branches=[{"values": ["4711"], "next": "goodbye"}],
    )  # fmt: skip
    talk = await in_menu(site, caller, order, by_order, says("goodbye"), says("english"), end())
    await talk.press("4711")
    await talk.over()
    assert talk.voice.share(site.prompts["goodbye"]) == 1.0
    assert await site.steps(talk.call_id) == ["menu: digits 4711", "goodbye: done"]


async def test_a_caller_who_hangs_up_in_the_prompt_ends_the_flow(site: VoiceSite, caller: Phone) -> None:
    talk = await in_menu(site, caller, menu(("1", "end")), end())
    talk.hang_up()
    ended = await site.ended(talk.call_id)
    assert (ended.cause, ended.code) == ("caller", 0)
    assert await site.steps(talk.call_id) == ["menu:"]
    await site.events_until(talk.call_id, "hung_up")


async def test_a_key_that_is_held_for_long_counts_once(site: VoiceSite, caller: Phone) -> None:
    talk = await in_menu(
        site, caller, menu(("55", "goodbye"), ("5", "english")), says("goodbye"), says("english"), end()
    )
    await talk.voice.press("5", frames=60)
    await talk.over()
    assert talk.voice.share(site.prompts["english"]) == 1.0
    assert await site.steps(talk.call_id) == ["menu: digits 5", "english: done"]


async def test_a_key_asks_again_a_pause_ends_the_digits_and_another_key_rings_the_operator(
    site: VoiceSite, caller: Phone, line: Phone
) -> None:
    keys = (("*", "inner"), ("12", "inner"), ("123", "goodbye"), ("0", "operator"))
    inner = menu(*keys, id="inner", prompt="question", interDigitTimeout="1s", timeout="20s")
    operator = dial(site.line(line), id="operator")
    talk = await in_menu(site, caller, menu(("1", "inner")), inner, operator, says("goodbye"), end())
    await talk.press("1")
    await talk.has_heard(site.prompts["question"], 1)
    await talk.press("*")
    await talk.has_heard(site.prompts["question"], 2)
    await talk.press("12")
    await talk.has_heard(site.prompts["question"], 3)
    await talk.press("0")
    await talk.hear_each_other(await line.rung())
    talk.hang_up()
    steps = await site.steps(talk.call_id)
    assert steps[:-1] == ["menu: digits 1", "inner: digits *", "inner: digits 12", "inner: digits 0"]
    assert steps[-1].startswith("operator:")


async def test_tones_are_keys_of_a_caller_without_telephone_events(site: VoiceSite, caller: Phone) -> None:
    inner = menu(("58", "english"), id="inner", prompt="question", timeout="20s", terminator="#")
    nodes = (menu(("7", "inner"), timeout="20s"), inner, says("english"), end())
    talk = await in_menu(site, caller, *nodes, events=False)
    await talk.press_as_tones("7")
    await talk.hears(site.prompts["question"])
    await talk.press_as_tones("58")
    await talk.over()
    assert talk.voice.missing(site.prompts["english"]) == []
    assert await site.steps(talk.call_id) == ["menu: digits 7", "inner: digits 58", "english: done"]
