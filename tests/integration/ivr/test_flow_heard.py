"""What a caller hears of a flow, and what is made of keys, with a real rtpengine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from signalbox.api.routing.v1 import routing_pb2
from signalbox.api.types.v1 import flows_pb2
from signalbox.sip.sdp import SessionDescription
from signalbox_local.rtp_party import FRAME, RtpParty, tone
from support.ivr_media import sent_to
from support.line_calls import PROMPT_S, PROMPTS, WAIT_S, announced, world
from support.voice_calls import seconds
from support.wait import until

if TYPE_CHECKING:
    from support.ivr_media import Desk


def menu(prompt: str, *digits: str, terminator: str = "", repeats: int = 0) -> routing_pb2.ContinueResponse:
    """A menu that waits as long as a busy machine takes; ``after`` is heard after a wrong key."""
    node = flows_pb2.MenuNode(
        prompt=prompt,
        timeout=seconds(60),
        inter_digit_timeout=seconds(60),
        max_digits=max(map(len, digits)),
        min_digits=1,
        terminator=terminator,
        repeats=repeats,
        no_match_prompt="after",
        branches=[flows_pb2.MenuBranch(digits=one, next="next") for one in digits],
    )
    return routing_pb2.ContinueResponse(node=flows_pb2.FlowNode(id="menu", menu=node), node_id="menu")


@pytest.mark.parametrize("answer", [False, True])
async def test_an_announcement_is_heard_code_by_code_whether_the_call_is_answered_or_not(
    desk: Desk, answer: bool
) -> None:
    async with world(desk) as here:
        await here.begin(announced(answer=answer))
        if answer:
            await here.answered()
        await here.ended()
        said = tone(PROMPTS["before"], PROMPT_S)
        await until(lambda: said in here.party.heard(), WAIT_S)
        assert here.progress == ([] if answer else [183])
        assert here.script.kinds == ["done"]
        ended = here.ports.events[-1].flow_ended
        assert (ended.cause, ended.code) == ("flow", 0 if answer else 480)


async def test_a_key_ends_a_prompt_and_leads_to_the_next_menu(desk: Desk) -> None:
    async with world(desk) as here:
        await here.begin(menu("ring-back", "1", "2"), menu("music", "1", "*9"))
        await here.answered()
        await until(lambda: here.party.hears(PROMPTS["ring-back"]), WAIT_S)
        await here.party.press("2")
        await until(lambda: here.party.hears(PROMPTS["music"]), WAIT_S)
        await here.party.press("*")
        await here.party.press("9")
        await here.ended()
        assert [one.digits for one in here.script.outcomes] == ["2", "*9"]


async def test_after_a_wrong_key_the_caller_is_told_and_asked_again(desk: Desk) -> None:
    async with world(desk) as here:
        await here.begin(menu("ring-back", "1", repeats=1))
        await here.answered()
        await until(lambda: here.party.hears(PROMPTS["ring-back"]), WAIT_S)
        await here.party.press("7")
        both = tone(PROMPTS["after"], PROMPT_S) + tone(PROMPTS["ring-back"], PROMPT_S)
        await until(lambda: both[: len(both) // FRAME * FRAME] in here.party.heard(), WAIT_S)
        await here.party.press("1")
        await here.ended()
        assert [one.digits for one in here.script.outcomes] == ["1"]


async def test_what_is_keyed_ahead_of_menus_is_not_asked_for_again(desk: Desk) -> None:
    async with world(desk) as here:
        hello = announced()
        hello.node.announce.prompt = "whisper"
        await here.begin(hello, menu("ring-back", "12", terminator="#"), menu("music", "3"))
        await here.answered()
        for key in "12#":
            await here.party.press(key)
        await until(lambda: here.party.hears(PROMPTS["music"]), WAIT_S)
        await here.party.press("3")
        await here.ended()
        # The terminator after two of two digits is no wrong key of the next menu.
        assert [one.digits for one in here.script.outcomes] == ["", "12", "3"]


async def test_a_caller_whose_media_move_hears_the_flow_there(desk: Desk) -> None:
    async with world(desk) as here, RtpParty.open() as elsewhere:
        await here.begin(menu("ring-back", "1", repeats=1))
        await here.answered()
        await until(lambda: here.party.hears(PROMPTS["ring-back"]), WAIT_S)
        answer = await here.call.change(SessionDescription.parse(elsewhere.description()))
        elsewhere.talk_to(sent_to(str(answer)), tone(300))
        await elsewhere.press("5")
        await until(lambda: elsewhere.hears(PROMPTS["ring-back"]), WAIT_S)
        await elsewhere.press("1")
        await here.ended()
        assert [one.digits for one in here.script.outcomes] == ["1"]
