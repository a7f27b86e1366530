"""What a mailbox does with a caller, and what becomes of the message."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from signalbox.api.types.v1 import flows_pb2, recordings_pb2
from signalbox.ivr.media.keys import Key
from signalbox.ivr.ports import NotCapturedError, RecordingAwayError
from signalbox.media import facts
from support.voice_calls import CALL, OFFER, World, announcing, end, seconds, step

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from signalbox.api.routing.v1.routing_pb2 import ContinueResponse

LONG_S = 60.0
"""Nothing that a test waits for."""
MESSAGE = recordings_pb2.RECORDING_KIND_MESSAGE


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with World.open(records=True) as world:
        yield world


def mailbox(
    *, silence_s: float = LONG_S, longest_s: float = LONG_S, finish_keys: str = "", beep: bool = True
) -> ContinueResponse:
    """As routing gives it: with all defaults filled in."""
    node = flows_pb2.VoicemailNode(
        prompt="speak",
        max_duration=seconds(longest_s),
        max_silence=seconds(silence_s),
        min_duration=seconds(1.5),
        finish_keys=finish_keys,
        no_beep=not beep,
    )
    return step(flows_pb2.FlowNode(id="night", voicemail=node))


async def recording(world: World) -> None:
    """Wait until the caller is recorded, and whether there is silence is asked."""
    await world.see(lambda: bool(world.elsewhere.recorded))


def silent(world: World) -> None:
    """The caller says nothing more."""
    assert isinstance(world.elsewhere.silence, asyncio.Event)
    world.elsewhere.silence.set()


def ended(world: World) -> tuple[int, int]:
    """With which limits the message ended: least and what is trimmed, ms. The first counts from before the tone."""
    name, least_ms, trim_ms = world.elsewhere.recorded[-1].split()
    assert name == "end"
    return int(least_ms), int(trim_ms)


def outcomes(world: World) -> list[str]:
    """How the steps ended."""
    return [str(one.WhichOneof("outcome")) for one in world.routing.outcomes]


async def test_a_message_is_recorded_after_greeting_and_tone_until_the_caller_is_silent(world: World) -> None:
    world.script(mailbox(silence_s=4.0), end(), prompts="speak")
    await world.comes()
    await world.acknowledged()
    await recording(world)
    assert world.played == ["speak", "tone-950"]
    (started,) = world.commands("start recording")
    told = facts.parse(f"w1.{CALL.call_id}", str(started["metadata"]))
    assert told is not None
    assert (told.call_id, told.recording, told.kind, told.line) == (CALL.call_id, "", MESSAGE, "night")
    assert (told.tenant, told.number, told.media_node, told.caller_media) == (
        "acme",
        "4001234567",
        1,
        "192.0.2.7:4000",
    )
    assert world.elsewhere.promises == []
    silent(world)
    await world.see(lambda: outcomes(world) == ["done"])
    assert world.elsewhere.recorded[0] == "silent 4"
    least_ms, trim_ms = ended(world)
    assert 1500 < least_ms < 20_000
    assert trim_ms == 0
    assert len(world.commands("stop recording")) == 1
    (promise,) = world.elsewhere.promises
    assert promise.facts == told


async def test_a_key_skips_the_greeting_one_from_before_it_too(world: World) -> None:
    world.lasts_ms = 600_000
    world.script(mailbox(beep=False), end(), prompts="speak")
    await world.comes()
    await world.acknowledged()
    await world.plays("speak")
    await world.press("5")
    await recording(world)
    # The same key ends no message.
    assert outcomes(world) == []
    await world.press("5")
    await world.see(lambda: outcomes(world) == ["done"])


async def test_a_key_ahead_leads_to_the_tone_at_once(world: World) -> None:
    world.lasts_ms = 300
    world.script(announcing("hello", answer=True), mailbox(), end(), prompts="hello speak")
    await world.comes()
    await world.acknowledged()
    await world.plays("hello")
    await world.press("5")
    await recording(world)
    assert world.played == ["hello", "tone-950"]
    await world.asked("BYE")


async def test_only_keys_that_finish_end_a_message(world: World) -> None:
    world.script(mailbox(finish_keys="#*"), end(), prompts="speak")
    await world.comes()
    await world.acknowledged()
    await recording(world)
    await world.press("19")
    assert world.elsewhere.recorded == ["silent 60"]
    await world.press("*")
    await world.see(lambda: outcomes(world) == ["done"])


async def test_a_message_has_an_end_at_the_longest(world: World) -> None:
    world.script(mailbox(longest_s=0.05), end(), prompts="speak")
    await world.comes()
    await world.acknowledged()
    await world.see(lambda: outcomes(world) == ["done"])
    assert world.elsewhere.recorded[0] == "silent 60"
    assert ended(world)[0] > 1500


async def test_what_is_no_message_is_never_promised(world: World) -> None:
    world.elsewhere.judged = False
    silent(world)
    world.script(mailbox(), end(), prompts="speak")
    await world.comes()
    await world.acknowledged()
    await world.see(lambda: outcomes(world) == ["no_input"])
    assert world.elsewhere.promises == []


@pytest.mark.parametrize("kept", [True, False])
async def test_of_a_caller_who_hangs_up_the_message_is_judged_all_the_same(world: World, kept: bool) -> None:
    world.elsewhere.judged = kept
    world.script(mailbox(), prompts="speak")
    await world.comes()
    await world.acknowledged()
    await recording(world)
    await world.asked("BYE")
    await world.over()
    assert world.elsewhere.recorded[0] == "silent 60"
    assert ended(world)[0] > 1500
    assert len(world.elsewhere.promises) == int(kept)
    assert world.steps == [("night", "voicemail", "", "")]


async def test_a_caller_who_hangs_up_where_nothing_is_captured_ends_the_flow_there(world: World) -> None:
    world.elsewhere.judged = NotCapturedError("no")
    sending = step(flows_pb2.FlowNode(id="send", message=flows_pb2.MessageNode(sender="acme", text="hello")))
    world.script(mailbox(), sending, end(), prompts="speak")
    await world.comes()
    await world.acknowledged()
    await recording(world)
    await world.asked("BYE")
    await world.over()
    assert (outcomes(world), world.elsewhere.sent) == ([], [])
    assert world.steps == [("night", "voicemail", "", "")]
    assert world.ends == [("caller", 0, "")]


async def test_several_messages_of_a_call_have_ids_of_their_own(world: World) -> None:
    silent(world)
    world.script(mailbox(), mailbox(), end(), prompts="speak")
    await world.comes()
    await world.acknowledged()
    await world.see(lambda: outcomes(world) == ["done", "done"])
    assert [one.facts.recording for one in world.elsewhere.promises] == ["", f"{CALL.call_id}.2"]
    assert [one.facts.call_id for one in world.elsewhere.promises] == [CALL.call_id] * 2


@pytest.mark.parametrize("when", ["silent", "end", "start"])
async def test_where_nothing_is_captured_the_mailbox_has_failed(world: World, when: str) -> None:
    if when == "silent":
        world.elsewhere.silence = world.elsewhere.judged = NotCapturedError("no")
    elif when == "end":
        world.elsewhere.judged = NotCapturedError("no")
        silent(world)
    else:
        world.otherwise["start recording"] = {"result": "error", "error-reason": "no"}
    world.script(mailbox(), end(), prompts="speak")
    await world.comes()
    await world.acknowledged()
    await world.see(lambda: outcomes(world) == ["failed"])
    assert world.elsewhere.promises == []


async def test_a_mailbox_that_nothing_is_heard_of_takes_its_time_for_flows_may_go_round_by_it(world: World) -> None:
    world.otherwise["start recording"] = {"result": "error", "error-reason": "no"}
    world.script(mailbox(), end())
    await world.comes()
    await world.acknowledged()
    await world.over()
    assert outcomes(world) == ["failed"]
    assert world.elsewhere.events[0].flow_step.took_ms >= 900


async def test_without_its_sidecar_a_message_ends_with_a_key_and_is_kept(world: World) -> None:
    world.elsewhere.silence = world.elsewhere.judged = RecordingAwayError("no")
    world.script(mailbox(), end(), prompts="speak")
    await world.comes()
    await world.acknowledged()
    await recording(world)
    await world.press("#")
    await world.see(lambda: outcomes(world) == ["done"])
    assert len(world.elsewhere.promises) == 1


@pytest.mark.parametrize("is_tone", [True, False])
async def test_a_key_that_is_a_tone_in_the_sound_is_none_of_the_message(world: World, is_tone: bool) -> None:
    events = OFFER.replace("AVP 8\r\n", "AVP 8 101\r\n") + "a=rtpmap:101 telephone-event/8000\r\n"
    world.script(mailbox(), end(), prompts="speak")
    await world.comes(body=OFFER if is_tone else events)
    await world.acknowledged()
    await recording(world)
    (await world.session()).key("caller", Key("5", 250))
    await world.see(lambda: outcomes(world) == ["done"])
    _, trim_ms = ended(world)
    # As long as it was pressed, until it was told, and until the recording had stopped.
    assert trim_ms >= 350 if is_tone else trim_ms == 0
