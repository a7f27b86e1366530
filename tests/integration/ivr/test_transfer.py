"""Callers who are handed on: at once, after the lines have spoken, or not after all."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from signalbox.ivr import consultation
from signalbox.sip.ended import End
from signalbox.sip.negotiation import NotAcceptableError
from support.line_calls import (
    BUSY_TONE,
    PROMPTS,
    RINGING_TONE,
    WAIT_S,
    dial,
    stage,
    transfer,
    untransferable,
    world,
)
from support.wait import until

if TYPE_CHECKING:
    from signalbox.sip.sdp import SessionDescription
    from support.ivr_media import Desk
    from support.line_calls import Line, World

KEYS = "*9"


async def talking(here: World, *then: object, **node: object) -> Line:
    """The caller talks to anna, who may hand on with KEYS."""
    anna = here.lines["anna"]
    await here.begin(dial(stage("anna"), transfer_keys=KEYS), *then)  # type: ignore[arg-type]
    await here.answered()
    await here.hear_each_other(anna)
    return anna


async def press(line: Line, keys: str) -> None:
    for key in keys:
        await line.party.press(key)


async def hear_each_other(one: Line, other: Line) -> None:
    await until(lambda: one.party.hears(other.hertz) and other.party.hears(one.hertz), WAIT_S)


async def test_a_line_hands_its_caller_on_and_is_let_go_at_once(desk: Desk) -> None:
    async with world(desk, "anna", "bert") as here:
        here.lines["bert"].behave = here.lines["bert"].rings
        anna = await talking(here, transfer(stage("bert"), ring_back="ring-back"))
        await press(anna, KEYS)
        await until(lambda: here.party.hears(PROMPTS["ring-back"]), WAIT_S)
        assert (await anna.call.over()).why is End.HUNG_UP
        here.lines["bert"].may_answer.set()
        await here.hear_each_other(here.lines["bert"])
        assert here.script.kinds == ["transfer"]
        assert here.script.lines == ["anna", "bert"]
        await here.lines["bert"].leave()
        await here.ended()
        assert here.script.kinds == ["transfer", "line_left"]


async def test_a_caller_presses_the_keys_in_the_midst_of_others(desk: Desk) -> None:
    async with world(desk, "anna", "bert") as here:
        await talking(here, transfer(stage("bert")))
        for key in "5*":
            await here.party.press(key)
        assert here.script.kinds == []
        await here.party.press("9")
        await here.hear_each_other(here.lines["bert"])
        assert here.script.kinds == ["transfer"]


async def test_a_line_that_is_not_handed_on_to_is_let_go_of(desk: Desk) -> None:
    """The keys lead to something else than a transfer."""
    async with world(desk, "anna", "bert") as here:
        anna = await talking(here, dial(stage("bert")))
        await press(anna, KEYS)
        await here.hear_each_other(here.lines["bert"])
        assert (await anna.call.over()).why is End.HUNG_UP


@pytest.mark.parametrize("status", [486, 404])
async def test_a_blind_transfer_that_is_not_taken_goes_on_in_the_flow(desk: Desk, status: int) -> None:
    async with world(desk, "anna", "bert") as here:
        here.lines["bert"].refuses(status)
        anna = await talking(here, transfer(stage("bert")))
        await press(anna, KEYS)
        await here.ended()
        assert here.script.kinds == ["transfer", "busy" if status == 486 else "failed"]


async def consulting(here: World, **node: object) -> tuple[Line, Line]:
    """Anna speaks with bert; the caller waits."""
    bert = here.lines["bert"]
    bert.behave = bert.rings
    anna = await talking(here, transfer(stage("bert"), attended=True, **{"ring_back": "ring-back", **node}))
    await press(anna, KEYS)
    await until(lambda: here.party.hears(PROMPTS["ring-back"]) and anna.party.hears(RINGING_TONE), WAIT_S)
    bert.may_answer.set()
    await hear_each_other(anna, bert)
    assert here.party.hears(PROMPTS["ring-back"])
    return anna, bert


async def test_a_line_speaks_with_another_and_hands_over_by_hanging_up(desk: Desk) -> None:
    async with world(desk, "anna", "bert") as here:
        anna, bert = await consulting(here)
        await anna.leave()
        await here.hear_each_other(bert)
        assert here.script.lines == ["anna", "bert"]
        await bert.leave()
        await here.ended()
        assert here.script.kinds == ["transfer", "line_left"]


async def test_a_line_hands_over_with_keys(desk: Desk) -> None:
    async with world(desk, "anna", "bert") as here:
        anna, bert = await consulting(here, complete_keys="*1", return_keys="*2")
        await press(anna, "*1")
        await here.hear_each_other(bert)
        over = await anna.call.over()
        assert (over.why, over.by_us) == (End.HUNG_UP, False)


async def test_a_line_takes_its_caller_back_with_keys(desk: Desk) -> None:
    async with world(desk, "anna", "bert") as here:
        anna, bert = await consulting(here, complete_keys="*1", return_keys="*2")
        await press(anna, "*2")
        await here.hear_each_other(anna)
        assert (await bert.call.over()).why is End.HUNG_UP
        await anna.leave()
        await here.ended()
        assert here.script.kinds == ["transfer", "line_left"]
        assert here.script.lines == ["anna"]


async def test_a_line_has_its_caller_back_when_the_other_hangs_up(desk: Desk) -> None:
    async with world(desk, "anna", "bert") as here:
        anna, bert = await consulting(here)
        await bert.leave()
        await here.hear_each_other(anna)


async def test_a_line_has_its_caller_back_when_nobody_takes_the_call(desk: Desk) -> None:
    async with world(desk, "anna", "bert") as here:
        here.lines["bert"].refuses(486)
        anna = await talking(here, transfer(stage("bert"), attended=True))
        await press(anna, KEYS)
        await until(lambda: len(here.lines["bert"].calls) == 1, WAIT_S)
        await here.hear_each_other(anna)
        assert here.script.kinds == ["transfer"]


async def test_a_line_takes_its_caller_back_while_the_other_rings(desk: Desk) -> None:
    async with world(desk, "anna", "bert") as here:
        bert = here.lines["bert"]
        bert.behave = bert.rings
        anna = await talking(here, transfer(stage("bert"), attended=True, return_keys="#"))
        await press(anna, KEYS)
        await until(lambda: anna.party.hears(RINGING_TONE), WAIT_S)
        await press(anna, "#")
        assert (await bert.call.over()).why is End.CANCELLED
        await here.hear_each_other(anna)


async def test_a_line_hangs_up_while_the_other_rings_and_the_caller_waits_for_it(desk: Desk) -> None:
    async with world(desk, "anna", "bert") as here:
        bert = here.lines["bert"]
        bert.behave = bert.rings
        anna = await talking(here, transfer(stage("bert"), attended=True))
        await press(anna, KEYS)
        await until(lambda: here.party.hears(RINGING_TONE), WAIT_S)
        await until(lambda: len(bert.calls) == 1, WAIT_S)
        await anna.leave()
        bert.may_answer.set()
        await here.hear_each_other(bert)


async def test_nobody_takes_a_call_whose_line_has_hung_up_meanwhile(desk: Desk) -> None:
    async with world(desk, "anna", "bert") as here:
        bert = here.lines["bert"]
        bert.behave = bert.rings
        anna = await talking(here, transfer(stage("bert"), attended=True))
        await press(anna, KEYS)
        await until(lambda: len(bert.calls) == 1, WAIT_S)
        await anna.leave()
        await anna.call.over()
        bert.call.reject(486)
        await here.ended()
        assert here.script.kinds == ["transfer", "busy"]


async def test_a_line_that_hangs_up_before_it_can_consult_has_handed_over(desk: Desk) -> None:
    async with world(desk, "anna", "bert") as here:
        anna = await talking(here, transfer(stage("bert"), attended=True))

        async def leaves(offer: SessionDescription) -> SessionDescription:
            anna.call.hang_up()
            raise NotAcceptableError(305)

        anna.call.on_offer = leaves
        await press(anna, KEYS)
        await here.hear_each_other(here.lines["bert"])
        assert here.script.kinds == ["transfer"]
        assert here.script.lines == ["anna", "bert"]


async def test_a_line_that_takes_no_change_keeps_its_caller(desk: Desk) -> None:
    async with world(desk, "anna", "bert") as here:
        anna = await talking(here, transfer(stage("bert"), attended=True))
        anna.call.on_offer = None
        await press(anna, KEYS)
        await until(lambda: here.script.kinds == ["transfer"], WAIT_S)
        here.party.packets.clear()
        await here.hear_each_other(anna)
        assert here.lines["bert"].calls == []


async def test_a_line_that_nobody_can_be_called_for_is_told_and_keeps_its_caller(desk: Desk) -> None:
    async with world(desk, "anna") as here:
        anna = await talking(here, untransferable())
        anna.party.packets.clear()
        await press(anna, KEYS)
        await until(lambda: anna.party.hears(BUSY_TONE), WAIT_S)
        here.party.packets.clear()
        await here.hear_each_other(anna)
        assert (here.script.kinds, here.script.talking) == (["transfer"], [True])
        await anna.leave()
        await here.ended()
        assert here.script.kinds == ["transfer", "line_left"]
        assert here.script.talking == [True, False]
        assert here.script.lines == ["anna"]


async def test_a_line_that_hangs_up_when_nobody_can_be_called_has_handed_over_in_vain(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The tone lasts until it has hung up, however slow we are.
    monkeypatch.setattr(consultation, "BUSY_TIMES", 100)
    async with world(desk, "anna") as here:
        anna = await talking(here, untransferable())
        await press(anna, KEYS)
        await until(lambda: anna.party.hears(BUSY_TONE), WAIT_S)
        await anna.leave()
        await here.ended()
        assert here.script.kinds == ["transfer", "busy"]


async def test_a_caller_who_leaves_while_the_line_is_told_that_nobody_can_be_called_ends_its_call(desk: Desk) -> None:
    async with world(desk, "anna") as here:
        anna = await talking(here, untransferable())
        await press(anna, KEYS)
        await until(lambda: anna.party.hears(BUSY_TONE), WAIT_S)
        here.call.hang_up()
        await here.ended()
        assert (await anna.call.over()).why is End.HUNG_UP


async def test_one_that_takes_no_change_is_not_handed_the_caller(desk: Desk) -> None:
    async with world(desk, "anna", "bert") as here:
        anna, bert = await consulting(here, complete_keys="#")
        bert.call.on_offer = None
        await press(anna, "#")
        await here.hear_each_other(anna)
        assert (await bert.call.over()).why is End.HUNG_UP


@pytest.mark.parametrize("at_ms", [0, 10, 40, 100, 300])
async def test_a_caller_who_leaves_while_it_is_handed_on_leaves_nothing_behind(desk: Desk, at_ms: int) -> None:
    async with world(desk, "anna", "bert") as here:
        anna = await talking(here, transfer(stage("bert"), attended=True, complete_keys="#"))
        await press(anna, KEYS)
        await asyncio.sleep(at_ms / 1000)
        here.call.hang_up()
        await here.ended()


async def test_a_caller_who_leaves_while_lines_speak_ends_their_calls(desk: Desk) -> None:
    async with world(desk, "anna", "bert") as here:
        await consulting(here)
        here.call.hang_up()
        await here.ended()
