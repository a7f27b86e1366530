"""What the nodes of a flow do that ring no lines, and how they tell that they ended."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from signalbox.api.routing.v1.routing_pb2 import ContinueResponse, StepOutcome
from signalbox.api.types.v1 import flows_pb2
from signalbox.ivr.ports import NotSentError, RequestFailedError
from signalbox.ivr.steps import queue
from structlog.testing import capture_logs
from support.voice_calls import World, announcing, end, seconds, step

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LONG_S = 60.0
"""Nothing that a test waits for."""
SHORT_S = 0.05


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with World.open() as world:
        yield world


def menu(*digits: str, silence_s: float = LONG_S, next_s: float = LONG_S, **fields: object) -> ContinueResponse:
    """A menu as routing gives it: with all defaults filled in."""
    node = flows_pb2.MenuNode(
        prompt="choose",
        timeout=seconds(silence_s),
        inter_digit_timeout=seconds(next_s),
        max_digits=max(map(len, digits)),
        min_digits=1,
        no_input_prompt="silent",
        no_match_prompt="wrong",
        **fields,  # type: ignore[arg-type]
    )
    node.branches.extend(flows_pb2.MenuBranch(digits=one, next="next") for one in digits)
    return step(flows_pb2.FlowNode(id="menu", menu=node))


def survey(*, silence_s: float = LONG_S, repeats: int = 0) -> ContinueResponse:
    node = flows_pb2.SurveyNode(
        prompt="score", keys="123", timeout=seconds(silence_s), repeats=repeats, no_match_prompt="wrong"
    )
    return step(flows_pb2.FlowNode(id="survey", survey=node))


def password(attempt: int = 1, *, silence_s: float = LONG_S) -> ContinueResponse:
    node = flows_pb2.PasswordNode(
        prompt="secret",
        timeout=seconds(silence_s),
        inter_digit_timeout=seconds(LONG_S),
        terminator="#",
        wrong_prompt="wrong",
    )
    return step(flows_pb2.FlowNode(id="staff", password=node), password_try=attempt)


async def outcome(world: World) -> StepOutcome:
    """How the only step ended; the call is over then."""
    await world.see(lambda: bool(world.routing.outcomes))
    (told,) = world.routing.outcomes
    return told


# Announcements


async def test_an_announcement_is_heard_before_the_call_is_answered(world: World) -> None:
    world.script(announcing("hello"), announcing("more", id="more"), end(603), prompts="hello more")
    await world.comes()
    await world.sees("603")
    assert world.sent == ["183", "603"]
    assert world.played == ["hello", "more"]
    assert world.routing.outcomes == [StepOutcome(done=True)] * 2


async def test_an_announcement_may_answer_the_call_first(world: World) -> None:
    world.script(announcing("hello", answer=True), end(), prompts="hello")
    await world.comes()
    await world.sees("200")
    assert world.played == []
    await world.acknowledged()
    await world.sees("BYE")
    assert world.played == ["hello"]


async def test_an_announcement_without_audio_takes_a_second_for_a_circle_may_rest_on_it(world: World) -> None:
    world.script(announcing("gone"), end())
    begun = time.monotonic()
    with capture_logs() as logs:
        await world.comes()
        assert (await outcome(world)).done
    assert time.monotonic() - begun >= 0.99
    assert [(one["event"], one["why"]) for one in logs] == [("sound_left_out", "prompt gone has no audio")]
    assert world.played == []


# Menus


async def test_a_key_ends_the_prompt_of_a_menu_and_leads_on(world: World) -> None:
    world.lasts_ms = 600_000
    world.script(menu("1", "2"), end(), prompts="choose")
    await world.comes()
    await world.acknowledged()
    await world.plays("choose")
    await world.press("2")
    assert (await outcome(world)).digits == "2"
    assert len(world.commands("stop media")) == 1


async def test_silence_is_told_of_before_the_menu_is_played_again(world: World) -> None:
    world.script(menu("1", repeats=1, silence_s=SHORT_S), end(), prompts="choose silent")
    await world.comes()
    await world.acknowledged()
    assert (await outcome(world)).no_input
    assert world.played == ["choose", "silent choose"]


async def test_a_wrong_key_is_told_of_before_the_menu_is_played_again(world: World) -> None:
    world.script(menu("1", repeats=1), end(), prompts="choose wrong")
    await world.comes()
    await world.acknowledged()
    await world.plays("choose")
    await world.press("7")
    await world.plays("choose", "wrong choose")
    await world.press("8")
    assert (await outcome(world)).no_match
    assert len(world.played) == 2


@pytest.mark.parametrize(
    ("keys", "digits", "next_s"), [("1", "1", SHORT_S), ("12", "12", LONG_S), ("1#", "1", LONG_S), ("2", "2", LONG_S)]
)
async def test_digits_end_when_they_can_become_no_others_or_by_the_terminator_or_in_time(
    world: World, keys: str, digits: str, next_s: float
) -> None:
    world.script(menu("1", "12", "2", terminator="#", next_s=next_s), end(), prompts="choose")
    await world.comes()
    await world.acknowledged()
    await world.plays("choose")
    await world.press(keys)
    assert (await outcome(world)).digits == digits


async def test_what_is_entered_has_as_many_digits_as_it_must(world: World) -> None:
    entering = menu("*", entered="next", variable="order", terminator="#", repeats=1)
    entering.node.menu.max_digits, entering.node.menu.min_digits = 8, 4
    world.script(entering, end(), prompts="choose wrong")
    await world.comes()
    await world.acknowledged()
    await world.plays("choose")
    await world.press("123#")
    await world.plays("choose", "wrong choose")
    await world.press("1234#")
    assert (await outcome(world)).digits == "1234"


async def test_keys_ahead_lead_through_nested_menus_in_which_nothing_is_played(world: World) -> None:
    world.lasts_ms = 1_000
    world.script(
        announcing("hello", answer=True),
        menu("1"),
        menu("2"),
        menu("3", silence_s=SHORT_S),
        end(),
        prompts="hello choose",
    )
    await world.comes()
    await world.acknowledged()
    await world.plays("hello")
    await world.press("12")
    await world.see(lambda: len(world.routing.outcomes) == 3)
    assert [one.digits for one in world.routing.outcomes] == ["", "1", "2"]
    await world.see(lambda: len(world.routing.outcomes) == 4)
    assert world.routing.outcomes[3].no_input
    assert world.played == ["hello", "choose"]


async def test_after_a_wrong_key_what_was_keyed_ahead_does_not_count(world: World) -> None:
    world.lasts_ms = 500
    world.script(
        announcing("hello", answer=True), menu("1", repeats=1, silence_s=SHORT_S), end(), prompts="hello choose wrong"
    )
    await world.comes()
    await world.acknowledged()
    await world.plays("hello")
    await world.press("71")
    await world.see(lambda: len(world.routing.outcomes) == 2)
    assert world.routing.outcomes[1].no_input
    assert world.played == ["hello", "wrong choose"]


async def test_a_menu_without_audio_waits_for_keys_all_the_same(world: World) -> None:
    world.script(menu("1"), end())
    await world.comes()
    await world.acknowledged()
    await world.press("1")
    assert (await outcome(world)).digits == "1"


# Passwords and surveys


@pytest.mark.parametrize(("attempt", "file"), [(1, "secret"), (2, "wrong secret")])
async def test_a_wrong_password_is_told_of_before_the_next_question(world: World, attempt: int, file: str) -> None:
    world.script(password(attempt), end(), prompts="secret wrong")
    await world.comes()
    await world.acknowledged()
    await world.plays(file)
    await world.press("735#")
    assert (await outcome(world)).digits == "735"
    await world.see(lambda: bool(world.ends))
    assert world.steps == [("staff", "password", "digits", "xxx")]


@pytest.mark.parametrize(("keys", "silence_s"), [("", SHORT_S), ("#", LONG_S)])
async def test_no_password_is_no_input(world: World, keys: str, silence_s: float) -> None:
    world.script(password(silence_s=silence_s), end(), prompts="secret")
    await world.comes()
    await world.acknowledged()
    await world.plays("secret")
    await world.press(keys)
    assert (await outcome(world)).no_input


async def test_a_password_is_in_no_log(world: World) -> None:
    world.script(password(), end(), prompts="secret")
    with capture_logs() as logs:
        await world.comes()
        await world.acknowledged()
        await world.press("73519248#")
        assert (await outcome(world)).digits == "73519248"
        await world.see(lambda: bool(world.ends))
    assert "73519248" not in repr(logs)
    assert "73519248" not in repr(world.elsewhere.events)


async def test_a_score_is_one_of_the_keys_and_is_asked_for_again(world: World) -> None:
    world.script(survey(repeats=1), end(), prompts="score wrong")
    await world.comes()
    await world.acknowledged()
    await world.plays("score")
    await world.press("9")
    await world.plays("score", "wrong score")
    await world.press("3")
    assert (await outcome(world)).digits == "3"


async def test_after_silence_the_question_for_a_score_is_asked_as_it_was(world: World) -> None:
    world.script(survey(repeats=1, silence_s=SHORT_S), end(), prompts="score")
    await world.comes()
    await world.acknowledged()
    assert (await outcome(world)).no_input
    assert world.played == ["score", "score"]


async def test_another_key_than_a_score_is_no_match_in_the_end(world: World) -> None:
    world.script(survey(), end(), prompts="score")
    await world.comes()
    await world.acknowledged()
    await world.plays("score")
    await world.press("9")
    assert (await outcome(world)).no_match


# What ends calls


@pytest.mark.parametrize(("prompt", "sent"), [("closed", ["183", "486"]), ("", ["486"])])
async def test_what_is_heard_before_the_end_comes_early_if_nobody_answered(
    world: World, prompt: str, sent: list[str]
) -> None:
    node = flows_pb2.HangUpNode(cause=flows_pb2.HANG_UP_CAUSE_BUSY, prompt=prompt)
    world.script(step(flows_pb2.FlowNode(id="bye", hang_up=node)), end(486), prompts="closed")
    await world.comes()
    await world.sees("486")
    assert world.sent == sent
    assert world.played == [prompt] * bool(prompt)
    await world.see(lambda: bool(world.ends))
    assert world.ends == [("flow", 486, "")]


# What is not heard


async def test_a_request_is_sent_as_routing_wrote_it_and_its_values_are_told(world: World) -> None:
    node = flows_pb2.RequestNode(url="https://acme.example/ask", api_key="key")
    asking = step(flows_pb2.FlowNode(id="ask", request=node), request_body='{"call_id": "call-1"}')
    world.elsewhere.answer = {"tier": "gold"}
    world.script(asking, end())
    await world.comes()
    assert await outcome(world) == StepOutcome(done=True, values={"tier": "gold"})
    assert world.elsewhere.posted == [("https://acme.example/ask", "acme", '{"call_id": "call-1"}')]
    await world.sees("480")
    assert world.sent == ["480"]


async def test_a_request_without_a_good_answer_has_failed(world: World) -> None:
    world.elsewhere.error = RequestFailedError("status 500")
    world.script(step(flows_pb2.FlowNode(id="ask", request=flows_pb2.RequestNode())), end())
    with capture_logs() as logs:
        await world.comes()
        assert (await outcome(world)).failed
    assert [(one["event"], one["node"], one["why"]) for one in logs] == [("request_failed", "ask", "status 500")]


async def test_a_message_is_handed_over(world: World) -> None:
    sending = step(
        flows_pb2.FlowNode(id="link", message=flows_pb2.MessageNode(sender="ACME")),
        message_to="13900001234", message_text="see you",
    )  # fmt: skip
    world.script(sending, end())
    await world.comes()
    assert (await outcome(world)).done
    assert world.elsewhere.sent == [("call-1", "ACME", "13900001234", "see you")]


async def test_a_message_that_is_not_taken_has_failed(world: World) -> None:
    world.elsewhere.error = NotSentError("there is no number")
    world.script(step(flows_pb2.FlowNode(id="link", message=flows_pb2.MessageNode())), end())
    with capture_logs() as logs:
        await world.comes()
        assert (await outcome(world)).failed
    assert [(one["event"], one["why"]) for one in logs] == [("message_not_sent", "there is no number")]


# Queues


def waiting(position: int) -> ContinueResponse:
    """A queue that tells the place at each step."""
    node = flows_pb2.QueueNode(dial="desk", music="music", announce_every=seconds(0.001))
    return step(flows_pb2.FlowNode(id="in-line", queue=node), queue_position=position)


async def test_a_place_that_cannot_be_spoken_leaves_the_music_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "WAIT_S", 0.02)
    world.parts.languages = ()
    world.script(*(waiting(place) for place in (3, 2, 1)), end(), prompts="music")
    await world.comes()
    await world.acknowledged()
    await world.sees("BYE")
    assert world.routing.outcomes == [StepOutcome(waited=True)] * 3
    assert world.played == ["music"]


async def test_music_that_a_spoken_place_has_ended_begins_again(world: World) -> None:
    world.lasts_ms = 1
    step = waiting(3)
    step.node.queue.announce_every.CopyFrom(seconds(LONG_S))
    world.script(step, end(), prompts="music")
    await world.comes()
    await world.acknowledged()
    await world.sees("BYE")
    assert len(world.played) == 2
    assert world.played[1] == "music"
