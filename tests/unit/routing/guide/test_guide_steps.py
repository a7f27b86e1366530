"""The steps of call flows, as the service gives them from what is stored."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from signalbox.api.routing.v1 import routing_pb2
from signalbox.api.types.v1 import flows_pb2, types_pb2
from signalbox.domain.claims import supposed
from signalbox.domain.cursor import open_, seal
from signalbox.domain.leg import open_ as open_leg
from signalbox.errors import CursorInvalidError, InvalidFieldError, RulesNotLoadedError
from signalbox.routing.book import Book
from signalbox.store.base import Change
from signalbox.store.codec import key_of
from support import routing
from support.guides import KEY, MONDAY_20, explained, guide, rules, told

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signalbox.domain.claims import Claim, Claimed


def proceed(book: Book, cursor: str, key: bytes | None = KEY, **outcome: Any) -> routing_pb2.ContinueResponse:
    request = routing_pb2.ContinueRequest(cursor=cursor)
    if outcome:
        request.outcome.CopyFrom(routing_pb2.StepOutcome(**outcome))
    return routing.at_once(guide(book, key).proceed(request))


@pytest.fixture
def cursor(book: Book) -> str:
    """Where a call is that came outside office hours."""
    stages = explained(book, "13900001234", MONDAY_20, call_id="call-1").decision.dial.stages
    return stages[0].branches[0].cursor


def test_a_worker_is_given_its_step_and_every_next_one(book: Book, cursor: str) -> None:
    first = proceed(book, cursor)
    assert (first.cursor, first.node.id, first.node.menu.prompt) == (cursor, "menu", "closed")
    second = proceed(book, first.cursor, digits="1")
    assert {stage.branches[0].line for stage in second.dial.stages} == {"a", "b"}
    assert without_legs(second) == without_legs(proceed(book, first.cursor, digits="1"))
    last = proceed(book, second.cursor, busy=True)
    assert (last.end.code, last.cursor) == (486, "")
    assert proceed(book, first.cursor, no_input=True).end.code == 603


def without_legs(step: routing_pb2.ContinueResponse) -> routing_pb2.ContinueResponse:
    """Legs say until when they are good, so those of a second answer may be others."""
    for stage in step.dial.stages:
        for branch in stage.branches:
            assert branch.leg
            branch.leg = ""
    return step


def test_the_first_step_tells_whose_call_it_is(book: Book, cursor: str) -> None:
    call = proceed(book, cursor).call
    assert (call.call_id, call.tenant, call.number, call.caller) == ("call-1", "acme", routing.NUMBER, "13900001234")
    assert (call.flow, call.revision, call.media) == ("main", 1, types_pb2.MEDIA_MODE_ANCHOR)
    assert not proceed(book, cursor, digits="1").HasField("call")


def test_a_step_brings_the_audio_of_its_prompts(book: Book, cursor: str) -> None:
    assert not proceed(book, cursor).prompts, "there is no such prompt"
    audio = types_pb2.Prompt(tenant="acme", id="closed")
    book.change_rules([Change(key_of(audio), routing.entry(audio, 9), 9)])
    assert not proceed(book, cursor).prompts, "it has no audio"
    audio.audio.alaw_sha256, audio.audio.ulaw_sha256, audio.audio.duration_ms = b"a" * 32, b"u" * 32, 700
    book.change_rules([Change(key_of(audio), routing.entry(audio, 10), 10)])
    told = proceed(book, cursor).prompts["closed"]
    assert (told.alaw_sha256, told.ulaw_sha256, told.duration_ms) == ("61" * 32, "75" * 32, 700)
    assert told.alaw_object == f"prompts/acme/{'61' * 32}.alaw.wav"
    assert told.ulaw_object == f"prompts/acme/{'75' * 32}.ulaw.wav"


def test_a_line_is_called_with_a_leg_by_the_worker_alone(book: Book, cursor: str) -> None:
    before = time.time()
    dial = proceed(book, cursor, digits="1").dial
    legs = {branch.line: branch.leg for stage in dial.stages for branch in stage.branches}
    assert legs.keys() == {"a", "b"}
    leg = open_leg(legs["a"], KEY)
    assert (leg.call_id, leg.tenant, leg.number, leg.line, leg.step) == ("call-1", "acme", routing.NUMBER, "a", 1)
    rings_s = sum(stage.ring_time_ms for stage in dial.stages) // 1000
    assert 0 <= leg.expires - int(before) - rings_s - 60 <= 30
    question = routing_pb2.DecideRequest(called="1", trunk="_voice", leg=legs["a"])
    now = routing.at_once(guide(book).explain(routing_pb2.ExplainRequest(request=question)))
    assert now.decision.dial.media == types_pb2.MEDIA_MODE_BYPASS
    assert [branch.line for stage in now.decision.dial.stages for branch in stage.branches] == ["a"]
    assert told(now)[-1] == ("leg", "ways to the line: 1, media: bypass")
    question.trunk = "carrier"
    refused = routing.at_once(guide(book).explain(routing_pb2.ExplainRequest(request=question)))
    assert (refused.decision.why, refused.decision.reject.code) == ("leg_invalid", 403)


class Free:
    """Counts that take everything, and what came back."""

    def __init__(self) -> None:
        self.given_back: list[Claim] = []

    async def settle(self, claims: Sequence[Claim]) -> list[Claimed]:
        return [supposed(claim, {}) for claim in claims]

    def give_back(self, claims: Sequence[Claim]) -> None:
        self.given_back += claims


@pytest.mark.parametrize(
    ("unrecordable", "records", "media"),
    [
        (types_pb2.UNRECORDABLE_CALL_IS_REFUSED, True, types_pb2.MEDIA_MODE_RECORD),
        (types_pb2.UNRECORDABLE_CALL_GOES_ON, False, types_pb2.MEDIA_MODE_ANCHOR),
        (types_pb2.UNRECORDABLE_CALL_IS_REFUSED, False, None),
    ],
)
def test_lines_that_a_worker_rings_are_recorded_or_not_rung_if_the_tenant_wants_that(
    book: Book, cursor: str, unrecordable: types_pb2.Unrecordable.ValueType, records: bool, media: int | None
) -> None:
    policy = types_pb2.RecordingPolicy(unrecordable=unrecordable)
    recorded = types_pb2.Number(number=routing.NUMBER, tenant="acme", flow="main", media=types_pb2.MEDIA_MODE_RECORD)
    for message in (types_pb2.Tenant(id="acme", recording=policy), recorded):
        book.change_rules([Change(key_of(message), routing.entry(message, 2), 2)])
    book.reset_live(routing.listing(routing.node(1, records=records)))
    counts = Free()
    asked = routing_pb2.ContinueRequest(cursor=cursor, outcome=routing_pb2.StepOutcome(digits="1"))
    found = routing.at_once(guide(book, counters=counts).proceed(asked))
    if media is None:
        assert (found.end.code, found.cursor) == (503, "")
        assert [claim.call_id for claim in counts.given_back] == ["call-1"]
    else:
        assert found.dial.media == media
        assert {stage.record for stage in found.dial.stages} == {records}
        assert counts.given_back == []


def test_a_damaged_or_foreign_cursor_is_invalid(book: Book, cursor: str) -> None:
    for bad in (cursor[:-1], "A" + cursor[1:], seal_with(b"another key", cursor)):
        with pytest.raises(CursorInvalidError):
            proceed(book, bad)
    with pytest.raises(CursorInvalidError, match="makes no cursors"):
        proceed(book, cursor, key=None)
    with pytest.raises(InvalidFieldError, match="cursor: is required"):
        proceed(book, "")


def seal_with(key: bytes, cursor: str) -> str:
    return seal(open_(cursor, KEY), key)


def test_a_cursor_of_a_flow_that_is_gone_is_invalid(book: Book, cursor: str) -> None:
    (flow,) = [message for message in rules() if isinstance(message, flows_pb2.Flow)]
    book.change_rules([Change(key_of(flow), None, 2)])
    with pytest.raises(CursorInvalidError, match="no longer kept"):
        proceed(book, cursor)


def test_what_a_call_has_set_goes_from_step_to_step(book: Book) -> None:
    set_topic = flows_pb2.SetVariableNode(name="topic", value="号" * 200 + "{caller}", next="ask")
    nodes = [
        flows_pb2.FlowNode(id="set", set_variable=set_topic),
        flows_pb2.FlowNode(id="ask", announce=flows_pb2.AnnounceNode(prompt="p", next="by")),
        flows_pb2.FlowNode(
            id="by",
            condition=flows_pb2.ConditionNode(
                variable="topic",
                branches=[flows_pb2.ConditionBranch(values=["号" * 200 + "13900001234"], next="desk")],
                otherwise="bye",
            ),
        ),
        routing.dial_node("desk", "a"),
        flows_pb2.FlowNode(id="bye", hang_up=flows_pb2.HangUpNode()),
    ]
    book.change_rules([Change("rules/flows/acme/main", routing.entry(routing.flow("main", *nodes), 2), 2)])
    handed_over = explained(book, "13900001234", MONDAY_20, call_id="c")
    assert ("voice", "node set needs voice: worker ivr-1") in told(handed_over)
    asked = proceed(book, handed_over.decision.dial.stages[0].branches[0].cursor)
    assert (asked.node.id, len(asked.cursor) > 512) == ("ask", True)
    assert proceed(book, asked.cursor, done=True).dial.stages[0].branches[0].line == "a"


def test_a_worker_is_told_what_is_heard_and_keyed_while_lines_ring_and_speak(book: Book) -> None:
    dial = flows_pb2.DialNode(
        lines=[flows_pb2.DialLine(line="a"), flows_pb2.DialLine(line="b")],
        ring_back="jingle", whisper="a-call", announce_line=flows_pb2.LineAnnouncement(before="you-speak-to"),
        transfer_keys="*2", transfer="bye", early_media=flows_pb2.EARLY_MEDIA_REPLACE,
    )  # fmt: skip
    nodes = [flows_pb2.FlowNode(id="desk", dial=dial), flows_pb2.FlowNode(id="bye", hang_up=flows_pb2.HangUpNode())]
    changed = (routing.flow("main", *nodes), routing.line("a", agent_number="017"))
    for message in changed:
        book.change_rules([Change(key_of(message), routing.entry(message, 2), 2)])
    handed_over = explained(book, "13900001234", MONDAY_20, call_id="c").decision.dial.stages[0].branches[0].cursor
    found = proceed(book, handed_over)
    assert (found.node_id, found.whisper, found.dial_node.whisper) == ("desk", "a-call", "a-call")
    assert found.dial_node.ring_back == "jingle"
    assert found.dial_node.early_media == flows_pb2.EARLY_MEDIA_REPLACE
    assert found.dial_node.announce_line.before == "you-speak-to"
    assert found.dial_node.ring_time.seconds == 30
    assert dict(found.agent_numbers) == {"a": "017"}
    assert proceed(book, found.cursor, transfer=True).end.code == 603


def test_a_worker_is_told_that_a_line_which_would_consult_keeps_its_caller(book: Book) -> None:
    dial = flows_pb2.DialNode(lines=[flows_pb2.DialLine(line="a")], transfer_keys="*2", transfer="on")
    transfer = flows_pb2.TransferNode(number="1", attended=True, ring_back="jingle", failed="bye")
    nodes = [
        flows_pb2.FlowNode(id="desk", dial=dial), flows_pb2.FlowNode(id="on", transfer=transfer),
        flows_pb2.FlowNode(id="bye", hang_up=flows_pb2.HangUpNode()),
    ]  # fmt: skip
    book.change_rules([Change("rules/flows/acme/main", routing.entry(routing.flow("main", *nodes), 2), 2)])
    handed_over = explained(book, "13900001234", MONDAY_20, call_id="c").decision.dial.stages[0].branches[0].cursor
    cursor = proceed(book, handed_over).cursor
    outcome = routing_pb2.StepOutcome(transfer=True)
    request = routing_pb2.ContinueRequest(cursor=cursor, outcome=outcome, talking=True)
    found = routing.at_once(guide(book).proceed(request))
    assert (found.WhichOneof("step"), len(found.dial.stages), found.node_id) == ("dial", 0, "on")
    assert (found.transfer_node.ring_back, found.in_vain) == ("jingle", routing_pb2.StepOutcome(failed=True))
    assert proceed(book, found.cursor, failed=True).end.code == 603
    assert proceed(book, cursor, transfer=True).end.code == 603


def test_a_text_that_is_too_long_for_a_cursor_is_told(book: Book) -> None:
    with pytest.raises(InvalidFieldError, match="cursor: must have at most 8192 characters"):
        proceed(book, "A" * 8193)


@pytest.mark.parametrize("digits", ["1 ", "x", "1" * 21])
def test_digits_that_no_key_has_are_told(book: Book, cursor: str, digits: str) -> None:
    with pytest.raises(InvalidFieldError, match=r"outcome.digits: must be 1 to 20 of 0-9 \* # A-D"):
        proceed(book, cursor, digits=digits)


def test_a_worker_is_told_the_language_that_the_caller_chose(book: Book) -> None:
    menu = flows_pb2.MenuNode(
        prompt="p", no_input="menu", no_match="menu",
        branches=[
            flows_pb2.MenuBranch(digits="1", next="menu", language="en"),
            flows_pb2.MenuBranch(digits="0", next="bye"),
        ],
    )  # fmt: skip
    nodes = [flows_pb2.FlowNode(id="menu", menu=menu), flows_pb2.FlowNode(id="bye", hang_up=flows_pb2.HangUpNode())]
    book.change_rules([Change("rules/flows/acme/main", routing.entry(routing.flow("main", *nodes), 2), 2)])
    handed_over = explained(book, "13900001234", MONDAY_20, call_id="c").decision.dial.stages[0].branches[0].cursor
    assert proceed(book, handed_over).language == ""
    chosen = proceed(book, handed_over, digits="1")
    assert (chosen.language, proceed(book, chosen.cursor, no_input=True).language) == ("en", "en")


@pytest.mark.parametrize("outcome", [{"busy": True}, {"done": False}, {"digits": ""}])
def test_an_outcome_that_cannot_be_is_told(book: Book, cursor: str, outcome: dict[str, Any]) -> None:
    with pytest.raises(InvalidFieldError, match="outcome"):
        proceed(book, cursor, **outcome)
    empty = routing_pb2.ContinueRequest(cursor=cursor, outcome=routing_pb2.StepOutcome())
    with pytest.raises(InvalidFieldError, match="outcome"):
        routing.at_once(guide(book).proceed(empty))


def test_before_rules_are_loaded_there_is_no_next_step() -> None:
    with pytest.raises(RulesNotLoadedError):
        proceed(Book(lambda: None), "x")
