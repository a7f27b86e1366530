"""Decisions as ROUTE requests."""

from __future__ import annotations

import base64
import json

import pytest
from signalbox.api.routing.v1.routing_pb2 import Branch, Decision, Dial, Reject, Stage
from signalbox.api.types.v1.types_pb2 import MEDIA_MODE_RECORD
from signalbox.edge import reply
from signalbox.edge.reply import DecisionCache, ReplyWriter, UnusableDecisionError, answer, reject, render
from support.kamailio_fake import parse_routes
from support.routing_fake import dial


def body(text: bytes) -> dict[str, object]:
    return json.loads(text)


def branch(**changes: object) -> Branch:
    values = {"uri": "sip:200@192.0.2.7:5060", "destination": "sip:192.0.2.7:5060;transport=udp", "line": "a"}
    return Branch(**(values | changes))  # type: ignore[arg-type]


def plan(*targets: int) -> Decision:
    """A stage for each target, which follows when a line is busy."""
    return dial(dial=Dial(stages=[Stage(branches=[branch()], ring_time_ms=30_000, on_busy=to) for to in targets]))


@pytest.mark.parametrize("targets", [(0,), (2, 0), (3, 486, 400), (2, 3, 699)])
def test_stages_lead_forward_or_to_an_end(targets: tuple[int, ...]) -> None:
    stages = body(render(plan(*targets)).text())["st"]
    assert [stage.split("|")[0] for stage in stages] == [f"30000 {to} 0 0" for to in targets]  # type: ignore[attr-defined]


def test_a_dial_decision_has_every_key_of_the_contract() -> None:
    stages = [
        Stage(
            branches=[branch(), branch(line="b", remove_identity=True)],
            ring_time_ms=20_000,
            on_busy=486,
            on_no_answer=2,
        ),
        Stage(branches=[branch(line="c", cursor="a-_Z9")], ring_time_ms=180_000),
    ]
    decision = dial(dial=Dial(stages=stages, media=2, max_duration_s=3_600))
    assert body(render(decision).text()) == {
        "v": 1, "do": "dial", "by": "routing", "why": "dial", "tn": "acme", "nu": "4001234567", "md": "bypass",
        "n1": 0, "n2": 0, "an": 0, "mx": 3_600,
        "st": [
            "20000 486 2 0|a sip:200@192.0.2.7:5060 sip:192.0.2.7:5060;transport=udp -"
            "|b sip:200@192.0.2.7:5060 sip:192.0.2.7:5060;transport=udp i",
            "180000 0 0 0|c sip:200@192.0.2.7:5060 sip:192.0.2.7:5060;transport=udp - a-_Z9",
        ],
    }  # fmt: skip


def test_lines_of_stages_that_are_recorded_are_marked() -> None:
    stages = [
        Stage(branches=[branch(), branch(line="b", remove_identity=True)], ring_time_ms=20_000, record=True),
        Stage(branches=[branch(line="c", cursor="a")], ring_time_ms=20_000),
    ]
    rendered = render(dial(dial=Dial(stages=stages, media=MEDIA_MODE_RECORD)))
    fields = body(rendered.text())
    assert fields["md"] == "record"
    assert rendered.anchored
    assert [[one.split(" ")[3:] for one in stage.split("|")[1:]] for stage in fields["st"]] == [  # type: ignore[attr-defined]
        [["r"], ["ir"]],
        [["-", "a"]],
    ]


def test_media_nodes_are_the_calls_own() -> None:
    rendered = render(dial())
    assert [body(rendered.text(*pair)) | {"st": 0} for pair in ((1, 2), (65_535, 0))] == [
        body(rendered.text()) | {"n1": 1, "n2": 2, "st": 0},
        body(rendered.text()) | {"n1": 65_535, "n2": 0, "st": 0},
    ]


def test_whether_the_caller_is_shown_is_the_calls_own() -> None:
    rendered = render(dial())
    shown, hidden = rendered.text(1, 2), rendered.text(1, 2, anonymous=True)
    assert body(hidden) == body(shown) | {"an": 1}
    assert rendered.text(1, 2) is shown


def test_many_node_pairs_do_not_pile_up() -> None:
    rendered = render(dial())
    for node in range(1, 10 * reply.CACHED_NODE_PAIRS):
        assert body(rendered.text(node, 0))["n1"] == node
    assert len(rendered._texts) <= reply.CACHED_NODE_PAIRS


def test_a_rejection_has_code_phrase_and_retry_after() -> None:
    decision = Decision(reject=Reject(code=404, phrase="Not Found"), why="number_unknown", fingerprint=9)
    assert body(render(decision).text()) == {
        "v": 1, "do": "reject", "by": "routing", "why": "number_unknown", "tn": "", "nu": "",
        "code": 404, "ph": "Not Found", "ra": 0,
    }  # fmt: skip
    assert body(reject(503, "Service Unavailable", "overload", 2).text())["ra"] == 2


def test_a_decision_used_again_says_so() -> None:
    rendered = render(dial())
    assert rendered.reusable
    again = rendered.last_good()
    assert body(again.text(1, 2)) == body(rendered.text(1, 2)) | {"by": "last_good"}
    assert rendered.last_good() is again


@pytest.mark.parametrize(
    "decision",
    [
        Decision(why="nothing"),
        Decision(reject=Reject(code=200, phrase="OK")),
        Decision(reject=Reject(code=700, phrase="x")),
        Decision(reject=Reject(code=404, phrase="")),
        Decision(reject=Reject(code=404, phrase="Not\r\nFound")),
        Decision(reject=Reject(code=404, phrase="é")),
        Decision(reject=Reject(code=404, phrase="x" * 65)),
        dial(dial=Dial()),
        dial(dial=Dial(stages=[Stage(branches=[branch()], ring_time_ms=30_000)] * 17)),
        dial(dial=Dial(stages=[Stage(branches=[], ring_time_ms=30_000)])),
        dial(dial=Dial(stages=[Stage(branches=[branch()] * 9, ring_time_ms=30_000)])),
        dial(dial=Dial(stages=[Stage(branches=[branch()], ring_time_ms=999)])),
        dial(dial=Dial(stages=[Stage(branches=[branch()], ring_time_ms=180_001)])),
        dial(dial=Dial(stages=[Stage(branches=[branch()], ring_time_ms=30_000)], media=77)),  # type: ignore[arg-type]
        dial(line="a b"),
        dial(line="a|b"),
        dial(line=""),
        dial(dial=Dial(stages=[Stage(branches=[branch(uri="sip:a@b\r\nX: y")], ring_time_ms=30_000)])),
        dial(dial=Dial(stages=[Stage(branches=[branch(destination="")], ring_time_ms=30_000)])),
        dial(dial=Dial(stages=[Stage(branches=[branch(cursor="a b")], ring_time_ms=30_000)])),
        dial(dial=Dial(stages=[Stage(branches=[branch(cursor="x" * 513)], ring_time_ms=30_000)])),
        dial(dial=Dial(stages=[Stage(branches=[branch()], ring_time_ms=30_000)], max_duration_s=86_401)),
        plan(1),
        plan(399),
        plan(700),
        plan(17),
        plan(2, 2),
        plan(2, 1),
        plan(2, 3),
        dial(why="Not A Name"),
        dial(tenant="Acme!"),
        dial(number="400-123"),
    ],
)
def test_what_the_proxy_could_not_use_is_refused(decision: Decision) -> None:
    with pytest.raises(UnusableDecisionError):
        render(decision)


@pytest.mark.parametrize("line", ["a|b", "号" * 2_000])
def test_a_refusal_for_what_could_not_be_used_carries_it_cut_to_measure(line: str) -> None:
    body = json.loads(reply.unusable(dial(line=line)).text())
    assert (body["do"], body["code"], body["by"], body["why"]) == ("reject", 500, "edge", "decision_unusable")
    assert len(body["x"]) <= 2_000
    assert "ring_time_ms" in base64.b64decode(body["x"]).decode() or len(line) > 100


def test_a_decision_is_rendered_once_per_fingerprint() -> None:
    cache = DecisionCache(limit=2)
    first = cache.get(dial(fingerprint=1))
    assert cache.get(dial(fingerprint=1)) is first
    cache.get(dial(fingerprint=2))
    cache.get(dial(fingerprint=1))
    cache.get(dial(fingerprint=3))
    assert cache.get(dial(fingerprint=1)) is first, "the one not used for longest went"
    assert cache.get(dial(fingerprint=0)) is not cache.get(dial(fingerprint=0)), "no fingerprint, nothing kept"


def test_the_request_is_the_contracts() -> None:
    writer = ReplyWriter("secret_token-1", "127.0.0.1:9007", "127.0.0.1:5066")
    for _ in range(25):
        writer.message([])
    decisions = [answer(12_345, 4_294_967_295, render(dial()).text(1, 2)), answer(1, 2, render(dial()).text(3, 4))]
    first, second = parse_routes(writer.message(decisions))
    assert first.request_line == "ROUTE sip:secret_token-1@127.0.0.1:5066 SIP/2.0"
    assert (first.index, first.label, first.body["n1"]) == (12_345, 4_294_967_295, 1)
    assert (second.index, second.label, second.body["n1"]) == (1, 2, 3)
    assert list(first.headers) == [
        "Via", "From", "To", "Call-ID", "CSeq", "Max-Forwards", "Content-Type", "Content-Length",
    ]  # fmt: skip
    nonce = first.headers["Call-ID"]
    assert nonce.endswith("-1a")
    assert first.headers["Via"] == f"SIP/2.0/UDP 127.0.0.1:9007;branch=z9hG4bK{nonce}"
    assert first.headers["From"] == f"<sip:edge@127.0.0.1:9007>;tag={nonce}"
    assert first.headers["To"] == "<sip:127.0.0.1:5066>"
    assert (first.headers["CSeq"], first.headers["Max-Forwards"]) == ("1 ROUTE", "1")
    (other,) = parse_routes(ReplyWriter("secret_token-1", "127.0.0.1:9007", "127.0.0.1:5066").message(decisions[:1]))
    assert other.headers["Call-ID"].partition("-")[0] != nonce.partition("-")[0]
