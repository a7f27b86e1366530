"""Several lines of one stage ring at once."""

from __future__ import annotations

from support.scenario import ANSWERS, CALLS, IS_REFUSED, RINGS, play, refuses
from support.wire import stream


async def test_the_first_to_answer_wins_and_the_others_are_cancelled(site, tmp_path):
    call = await play(site, tmp_path, CALLS, [RINGS, ANSWERS, RINGS], anchored=True)
    first, second, third = call.lines
    assert call.caller.codes.count("180") == 3
    assert [step for step in call.caller.ladder if step != "←180"] == [
        "→INVITE", "←100", "←200", "→ACK", "→BYE", "←200"
    ]  # fmt: skip
    for line in (first, third):
        assert line.ladder == ["←INVITE", "→180", "←CANCEL", "→200", "→487", "←ACK"]
        assert "200" in line.message("←CANCEL").header("Reason")
    assert second.ladder == ["←INVITE", "→180", "→200", "←ACK", "←BYE", "→200"]
    assert sorted(e.ringing.line for e in call.events if e.HasField("ringing")) == [
        call.line_id(n) for n in (1, 2, 3)
    ]  # fmt: skip
    assert [e.answered.line for e in call.events if e.HasField("answered")] == [call.line_id(2)]
    assert stream(call.caller.message("←200").text).address.startswith("127.64.")


async def test_a_refusal_of_one_leaves_the_others_ringing(site, tmp_path):
    call = await play(site, tmp_path, CALLS, [refuses(603), ANSWERS])
    assert call.caller.ladder == ["→INVITE", "←100", "←180", "←200", "→ACK", "→BYE", "←200"]
    assert call.lines[0].ladder == ["←INVITE", "→603", "←ACK"]


async def test_when_all_of_a_stage_refuse_the_next_stage_rings(site, tmp_path):
    call = await play(site, tmp_path, CALLS, [refuses(486), refuses(500)], [ANSWERS])
    assert call.caller.ladder == ["→INVITE", "←100", "←180", "←200", "→ACK", "→BYE", "←200"]
    stages = [(e.line_tried.line, e.line_tried.stage) for e in call.events if e.HasField("line_tried")]
    assert sorted(stages) == [(call.line_id(1), 1), (call.line_id(2), 1), (call.line_id(3), 2)]


async def test_a_stage_shares_one_ring_time(site, tmp_path):
    call = await play(site, tmp_path, IS_REFUSED, [RINGS, RINGS], ring_s=1)
    assert call.caller.codes[-1] == "480"
    for line in call.lines:
        assert line.ladder == ["←INVITE", "→180", "←CANCEL", "→200", "→487", "←ACK"]
