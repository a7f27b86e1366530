"""Which calls are recorded, by what the number and the dials of its flow say, and what follows when nobody can."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
from signalbox.domain.continuing import proceed
from signalbox.domain.cursor import Cursor, seal
from signalbox.domain.decided import Decision, Dial, Reject, Step, Why
from signalbox.domain.flow import (
    AnnounceNode,
    DialLine,
    DialNode,
    DialRecording,
    Flow,
    FlowGraph,
    FlowRevision,
    Node,
)
from signalbox.domain.numbering import Caller, CallerKind
from signalbox.domain.objects import DialStage, Line, MediaMode, Number, Tenant, Trunk
from signalbox.domain.planner import Voice
from signalbox.domain.recording import unrecorded
from signalbox.domain.rules import Rules
from signalbox.domain.voice import Pool, as_line
from support.deciding import NOW, Call, decided, setup

ANCHOR, BYPASS, RECORD = MediaMode
AS_NUMBER, ON, OFF = DialRecording
VOICE = Voice(Pool([(as_line("ivr-1", "192.0.2.21", 5060), 0.0)]), partial(seal, key=b"key"))


def dial(line: str, recording: DialRecording, then: str = "", whisper: str = "") -> DialNode:
    return DialNode((DialLine(line),), busy=then, recording=recording, whisper=whisper)


def rules(media: MediaMode, *nodes: Node) -> Rules:
    """A number with a flow whose nodes are named in their order: n0, n1..., or with two stages."""
    rules = Rules()
    graph = FlowGraph("n0", {f"n{at}": node for at, node in enumerate(nodes)})
    stages = () if nodes else (DialStage(("a",)), DialStage(("b",)))
    for item in (
        Trunk("carrier"),
        Line("acme", "a", "1", "192.0.2.1"),
        Line("acme", "b", "2", "192.0.2.2"),
        Flow("acme", "main", (FlowRevision(1, 0.0, graph),)),
        Number("4001234567", "acme", stages, flow="main" if nodes else "", media=media),
    ):
        rules.put(item)
    return rules


def dialled(rules: Rules, **call: str) -> Dial:
    action = decided(rules, Call(**call), given=setup(voice=VOICE)).action  # type: ignore[arg-type]
    assert isinstance(action, Dial)
    return action


def recorded(dial: Dial) -> tuple[MediaMode, list[bool]]:
    return dial.media, [stage.record for stage in dial.stages]


@pytest.mark.parametrize(("media", "each"), [(ANCHOR, False), (BYPASS, False), (RECORD, True)])
def test_every_stage_of_a_number_is_recorded_or_none(media: MediaMode, each: bool) -> None:
    assert recorded(dialled(rules(media))) == (media, [each, each])


@pytest.mark.parametrize("number", MediaMode)
@pytest.mark.parametrize(
    ("first", "second"),
    [(AS_NUMBER, AS_NUMBER), (AS_NUMBER, ON), (ON, OFF), (OFF, AS_NUMBER), (OFF, OFF), (ON, ON)],
)
def test_each_dial_of_a_flow_is_recorded_as_it_says_itself_or_as_the_number_says(
    number: MediaMode, first: DialRecording, second: DialRecording
) -> None:
    found = dialled(rules(number, dial("a", first, "n1"), dial("b", second)))
    each = [one is ON or (one is AS_NUMBER and number is RECORD) for one in (first, second)]
    media = RECORD if any(each) else BYPASS if number is BYPASS else ANCHOR
    assert recorded(found) == (media, each)


def test_numbers_that_share_a_flow_are_recorded_each_as_it_says() -> None:
    both = rules(RECORD, dial("a", AS_NUMBER))
    both.put(Number("4007654321", "acme", (), flow="main", media=BYPASS))
    for _ in range(3):
        assert recorded(dialled(both)) == (RECORD, [True])
        assert recorded(dialled(both, called="4007654321")) == (BYPASS, [False])


def test_a_number_that_is_changed_is_recorded_from_the_next_call_on() -> None:
    given = rules(ANCHOR)
    for _ in range(3):
        assert dialled(given).media is ANCHOR
    given.put(Number("4001234567", "acme", (DialStage(("a",)),), media=RECORD))
    assert recorded(dialled(given)) == (RECORD, [True])


def test_what_a_worker_with_voice_hears_is_not_recorded() -> None:
    found = dialled(rules(RECORD, dial("a", AS_NUMBER, "n1"), AnnounceNode("hello", True, "n0")))
    assert [bool(stage.cursor) for stage in found.stages] == [False, True]
    assert recorded(found) == (RECORD, [True, False])
    assert recorded(dialled(rules(RECORD, AnnounceNode("hello", True, "n1"), dial("a", ON)))) == (ANCHOR, [False])


@pytest.mark.parametrize(("number", "own", "media"), [
    (RECORD, AS_NUMBER, RECORD), (RECORD, OFF, ANCHOR), (BYPASS, ON, RECORD), (BYPASS, AS_NUMBER, BYPASS),
])  # fmt: skip
def test_the_lines_that_a_worker_rings_are_recorded_as_their_dial_says(
    number: MediaMode, own: DialRecording, media: MediaMode
) -> None:
    given = rules(number, dial("a", own, whisper="a-call"))
    cursor = Cursor("call-1", "acme", "4001234567", "main", 1, "n0", Caller(CallerKind.MOBILE, "13900001234"))
    with pytest.raises(StopIteration) as end:
        next(proceed(given, cursor, None, NOW, setup(voice=VOICE)))
    found = end.value.value.do
    assert recorded(found) == (media, [media is RECORD])


@pytest.mark.parametrize(
    ("given", "finding"),
    [
        (rules(ANCHOR), "off by the number's media, anchor"),
        (rules(RECORD), "on by the number's media, record"),
        (
            rules(BYPASS, dial("a", ON, "n1"), dial("b", OFF, "n2"), AnnounceNode("hello", True, "n0")),
            "off by the number's media, bypass; node n0: on; node n1: off; "
            "node n2: off while a worker with voice has the call",
        ),
    ],
)
def test_an_explanation_says_whether_a_call_is_recorded_and_why(given: Rules, finding: str) -> None:
    trace: list[Step] = []
    decided(given, Call(), trace, given=setup(voice=VOICE))
    assert Step("recording", finding) in trace


def test_a_call_that_nobody_can_record_goes_on_as_if_it_were_not_to_be() -> None:
    decision = decided(rules(RECORD), Call())
    found = unrecorded(decision, Tenant("acme"))
    assert isinstance(found.action, Dial)
    assert found.action.media is ANCHOR
    # It is so now, and may be otherwise with the next call.
    assert (decision.caller_independent, found.caller_independent) == (True, False)
    assert found == decision._replace(action=found.action, caller_independent=False)


def test_a_call_of_a_number_that_bypasses_media_nodes_needs_none_when_nobody_can_record_it() -> None:
    decision = decided(rules(BYPASS, dial("a", ON)), Call())
    found = unrecorded(decision, Tenant("acme"))
    assert isinstance(decision.action, Dial)
    assert isinstance(found.action, Dial)
    assert (decision.action.media, found.action.media) == (RECORD, BYPASS)


def test_a_call_that_nobody_can_record_is_refused_if_the_tenant_wants_that() -> None:
    refused = unrecorded(decided(rules(RECORD), Call()), replace(Tenant("acme"), refuses_unrecorded=True))
    expected = Decision(Reject(503, "Service Unavailable"), Why.RECORDING_UNAVAILABLE, "acme", "4001234567")
    assert refused == expected
