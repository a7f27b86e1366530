"""A line that does not take the call is followed by the next; what the caller gets when none does."""

from __future__ import annotations

import pytest
from support.scenario import ANSWERS, CALLS, IS_REFUSED, RINGS, SILENT, play, refuses
from support.site import kinds

ANSWERED = ["→INVITE", "←100", "←180", "←200", "→ACK", "→BYE", "←200"]


@pytest.mark.parametrize("code", [404, 486, 500, 503, 603])
async def test_after_a_refusal_the_next_line_rings_and_the_caller_does_not_notice(site, tmp_path, code):
    call = await play(site, tmp_path, CALLS, [refuses(code)], [ANSWERS])
    assert call.caller.ladder == ANSWERED
    first, second = call.lines
    assert first.ladder == ["←INVITE", f"→{code}", "←ACK"]
    assert second.ladder == ["←INVITE", "→180", "→200", "←ACK", "←BYE", "→200"]
    failed = next(event.line_failed for event in call.events if event.HasField("line_failed"))
    assert (failed.line, failed.code, failed.phrase) == (call.line_id(1), code, "Refused")
    assert kinds(call.events) == [
        "asked", "decided", "line_tried", "line_failed", "line_tried", "ringing", "answered", "hung_up"
    ]  # fmt: skip


async def test_a_line_that_does_not_answer_is_cancelled_and_the_next_one_rings(site, tmp_path):
    call = await play(site, tmp_path, CALLS, [RINGS], [ANSWERS], ring_s=1)
    first, second = call.lines
    assert first.ladder == ["←INVITE", "→180", "←CANCEL", "→200", "→487", "←ACK"]
    waited = second.message("←INVITE").time - first.message("←INVITE").time
    assert 0.9 < waited < 2.5
    assert next(e.line_failed.code for e in call.events if e.HasField("line_failed")) == 408
    assert [e.answered.line for e in call.events if e.HasField("answered")] == [call.line_id(2)]


async def test_a_silent_line_is_left_after_the_connect_timeout(site, tmp_path):
    call = await play(site, tmp_path, CALLS, [SILENT], [ANSWERS])
    silent, second = call.lines
    assert call.caller.ladder == ANSWERED
    assert silent.ladder == ["←INVITE"]
    waited = second.message("←INVITE").time - silent.message("←INVITE").time
    assert 0.8 < waited < 2.5
    assert [e.line_failed.code for e in call.events if e.HasField("line_failed")] == [408]


@pytest.mark.parametrize(
    ("codes", "final"),
    [((486, 480), 486), ((500, 486), 486), ((404, 480), 480), ((404, 404), 404), ((500, 503), 480), ((603,), 603)],
)
async def test_when_all_fail_the_caller_gets_the_code_that_says_most(site, tmp_path, codes, final):
    call = await play(site, tmp_path, IS_REFUSED, *([refuses(code)] for code in codes))
    assert call.caller.ladder == ["→INVITE", "←100", f"←{final}", "→ACK"]
    assert [line.ladder for line in call.lines] == [["←INVITE", f"→{code}", "←ACK"] for code in codes]
    assert [e.line_failed.code for e in call.events if e.HasField("line_failed")] == list(codes)
    assert call.events[-1].failed.code == final


async def test_a_caller_whom_nobody_answers_gets_480(site, tmp_path):
    call = await play(site, tmp_path, IS_REFUSED, [RINGS], ring_s=1)
    assert call.caller.ladder == ["→INVITE", "←100", "←180", "←480", "→ACK"]
    assert [e.failed.code for e in call.events if e.HasField("failed")] == [480]
