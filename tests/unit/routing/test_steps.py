"""What a worker is told of steps beside their nodes: asked for with a cursor, as it does."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from signalbox.api.routing.v1 import routing_pb2
from signalbox.api.types.v1 import flows_pb2, types_pb2
from signalbox.domain.claims import Place, uncounted
from signalbox.domain.cursor import MAX_CONTINUED, Cursor, open_, seal
from signalbox.domain.numbering import Caller, CallerKind
from signalbox.domain.passwords import seal as sealed
from signalbox.domain.regions import Region
from signalbox.domain.variables import Values, assigned
from signalbox.errors import InvalidFieldError
from signalbox.routing.answers import Answerer
from signalbox.routing.book import Book
from signalbox.routing.guide import Guide
from signalbox.routing.stats import Stats
from support import routing
from support.deciding import setup
from support.flows import graph

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signalbox.domain.claims import Claim, Claimed, Waiting

KEY = b"key"
END = {"hangUp": {}}


OUT = [
    types_pb2.Trunk(id="out", targets=[types_pb2.TrunkTarget(host="192.0.2.9")]),
    types_pb2.TrunkGroup(id="all", prefixes=["1", "028"], members=[types_pb2.TrunkGroupMember(trunk="out")]),
]


def guide(*, password_key: bytes | None = b"a key", counters: Any = None, **nodes: dict[str, Any]) -> Guide:
    """A service that knows number 4001234567 with flow main of these nodes."""
    flow = flows_pb2.Flow(tenant="acme", id="main", revisions=[flows_pb2.FlowRevision(number=1)])
    flow.revisions[0].graph.CopyFrom(graph(next(iter(nodes)), **nodes))
    number = types_pb2.Number(number=routing.NUMBER, tenant="acme", flow="main")
    tenant = types_pb2.Tenant(id="acme", time_zone="Asia/Shanghai")
    book = Book(lambda: None)
    lines = [routing.line("a"), routing.line("b", agent_number="017")]
    routing.at_once(book.reset_rules(routing.listing(tenant, number, flow, *lines, *OUT)))
    book.reset_live(routing.listing())
    assert book.damaged == {}
    given = replace(setup({"139": Region("内蒙古", "呼和浩特")}), password_key=password_key)
    return Guide(book, lambda: 1, Answerer(book, lambda: 1, Stats(dict), given, counters), given, counters, KEY)


def at(node: str, **values: str) -> str:
    """A cursor at a node, of a call that has set some variables."""
    caller = Caller(CallerKind.MOBILE, "13900001234")
    cursor = Cursor("call-1", "acme", routing.NUMBER, "main", 1, node, caller, values=tuple(sorted(values.items())))
    return seal(cursor, KEY, MAX_CONTINUED)


def proceed(service: Guide, cursor: str, **outcome: Any) -> routing_pb2.ContinueResponse:
    request = routing_pb2.ContinueRequest(cursor=cursor)
    if outcome:
        request.outcome.CopyFrom(routing_pb2.StepOutcome(**outcome))
    return routing.at_once(service.proceed(request))


ASK = {
    "request": {
        "url": "https://crm.example.com/route",
        "apiKey": "crm",
        "send": ["caller", "order", "caller_city", "language"],
        "receive": [{"key": "level", "variable": "vip"}],
        "branchKey": "route",
        "branches": [{"values": ["desk"], "next": "desk"}],
        "otherwise": "end",
        "failed": "end",
    }
}
DESK = {"dial": {"lines": [{"line": "a"}, {"line": "b"}]}}


def test_a_request_comes_with_what_is_to_be_sent() -> None:
    service = guide(order={"menu": MENU}, ask=ASK, desk=DESK, end=END)
    found = proceed(service, at("ask", order='12"3'))
    assert json.loads(found.request_body) == {
        "call_id": "call-1",
        "flow": "main",
        "node": "ask",
        "number": routing.NUMBER,
        "variables": {"caller": "13900001234", "order": '12"3', "caller_city": "呼和浩特", "language": ""},
    }
    assert (found.node.request.api_key, found.node.request.timeout.seconds) == ("crm", 5)
    assert found == proceed(service, at("ask", order='12"3'))


MENU = {"prompt": "p", "variable": "order", "entered": "ask", "noInput": "end", "noMatch": "end"}


def test_what_a_service_answers_is_kept_and_leads_on() -> None:
    service = guide(order={"menu": MENU}, ask=ASK, desk=DESK, end=END)
    keyed = proceed(service, at("order"), digits="123")
    assert json.loads(keyed.request_body)["variables"]["order"] == "123"
    answered = proceed(service, keyed.cursor, done=True, values={"route": "desk", "level": "g\nold" + "x" * 300})
    assert answered.dial.stages[0].branches[0].line == "a"
    assert dict(open_(answered.cursor, KEY).values) == {"order": "123", "vip": "g old" + "x" * 251}
    assert proceed(service, keyed.cursor, failed=True).end.code == 603
    with pytest.raises(InvalidFieldError, match="outcome: the node asks for no key other"):
        proceed(service, keyed.cursor, done=True, values={"other": "x"})


def test_a_message_comes_with_its_number_and_its_text() -> None:
    text = "{caller} {caller_city}: {order}" + "x" * 480
    service = guide(
        order={"menu": {**MENU, "entered": "sms"}},
        sms={"message": {"sender": "1069", "text": text, "next": "fixed"}},
        fixed={"message": {"sender": "1069", "to": "13800001111", "text": "{{1}}", "failed": "end"}},
        end=END,
    )
    found = proceed(service, at("sms", order="号" * 256))
    expected = "13900001234 呼和浩特: " + "号" * 256
    assert (found.message_to, found.message_text) == ("13900001234", expected + "x" * (500 - len(expected)))
    assert found.node.message.text == text
    fixed = proceed(service, found.cursor, done=True)
    assert (fixed.message_to, fixed.message_text) == ("13800001111", "{1}")
    assert proceed(service, fixed.cursor, failed=True).end.code == 603
    assert proceed(service, fixed.cursor, done=True).end.code == 480


def test_a_caller_without_a_number_gets_no_message() -> None:
    service = guide(sms={"message": {"sender": "1069", "text": "hi"}})
    nobody = Cursor("call-1", "acme", routing.NUMBER, "main", 1, "sms", Caller(CallerKind.ANONYMOUS))
    found = proceed(service, seal(nobody, KEY))
    assert (found.node.id, found.message_to, found.message_text) == ("sms", "", "hi")


def rung(found: routing_pb2.ContinueResponse) -> list[tuple[str, str]]:
    return [(branch.line, branch.uri) for stage in found.dial.stages for branch in stage.branches]


def test_a_transfer_rings_a_line() -> None:
    service = guide(
        to={"transfer": {"line": "b", "attended": True, "returnKeys": "*", "ringBack": "p", "after": "end"}}, end=END
    )
    found = proceed(service, at("to"))
    assert rung(found) == [("b", "sip:13900001111@192.0.2.7:5060")]
    assert found.dial.stages[0].ring_time_ms == 30_000
    assert (found.transfer_node.return_keys, found.transfer_node.ring_back) == ("*", "p")
    assert not found.HasField("dial_node")
    assert proceed(service, found.cursor, line_left=True).end.code == 603
    assert proceed(service, found.cursor, busy=True).end.code == 486


@pytest.mark.parametrize(
    ("keyed", "uri"),
    [("12345678", "sip:02812345678@192.0.2.9:5060"), ("+861", ""), ("0", ""), ("x", "")],
)
def test_a_transfer_rings_a_number_that_begins_as_it_may(keyed: str, uri: str) -> None:
    menu = {**MENU, "entered": "to"}
    to = {"transfer": {"number": "028{order}", "prefixes": ["0281"], "ringTime": "9s", "failed": "ask"}}
    ask = {"announce": {"prompt": "sorry", "next": "end"}}
    service = guide(order={"menu": menu}, to=to, ask=ask, end=END)
    found = proceed(service, at("to", order=keyed))
    if uri:
        assert rung(found) == [("02812345678", uri)]
        assert found.dial.stages[0].ring_time_ms == 9_000
    else:
        assert found.node.id == "ask"


@pytest.mark.parametrize("caller", ["13900001234", "01088886666"])
def test_a_number_of_another_beginning_or_that_no_trunk_carries_fails(caller: str) -> None:
    service = guide(
        to={"transfer": {"number": "{caller}", "prefixes": ["138", "010"], "failed": "sorry"}},
        sorry={"announce": {"prompt": "sorry", "next": "end"}},
        end=END,
    )
    cursor = Cursor("call-1", "acme", routing.NUMBER, "main", 1, "to", Caller(CallerKind.MOBILE, caller))
    assert proceed(service, seal(cursor, KEY)).node.id == "sorry"


def test_a_transfer_to_a_line_that_is_gone_or_that_fails_ends_the_call() -> None:
    service = guide(to={"transfer": {"line": "gone"}})
    assert proceed(service, at("to")).end.code == 480


PIN = {"prompt": "pin", "sealed": sealed(b"a key", "acme", "x", "1234"), "ok": "in", "failed": "out", "tries": 2}
IN, OUT_ = ({"announce": {"prompt": prompt, "next": "end"}} for prompt in ("welcome", "sorry"))


def asking(**fields: Any) -> dict[str, dict[str, Any]]:
    return {"ask": {"password": {**PIN, **fields}}, "in": IN, "out": OUT_, "end": END}


def test_a_worker_is_not_told_what_is_kept_of_a_password() -> None:
    found = proceed(guide(**asking()), at("ask"))
    node = found.node.password
    assert (node.prompt, node.tries, node.terminator, node.sealed, found.password_try) == ("pin", 2, "#", "", 1)
    assert (node.timeout.seconds, node.inter_digit_timeout.seconds) == (5, 3)


def test_the_right_password_leads_on_and_leaves_nothing_behind() -> None:
    service = guide(**asking())
    wrong = proceed(service, at("ask", order="7"), digits="1235")
    assert (wrong.node.id, wrong.password_try) == ("ask", 2)
    right = proceed(service, wrong.cursor, digits="1234")
    assert right.node.id == "in"
    assert open_(right.cursor, KEY).values == (("order", "7"),)


@pytest.mark.parametrize("outcome", [{"digits": "12345"}, {"digits": "123"}, {"no_input": True}])
def test_the_last_wrong_try_leads_away_and_silence_is_one(outcome: dict[str, Any]) -> None:
    service = guide(**asking())
    once = proceed(service, at("ask"), **outcome)
    assert (once.node.id, once.password_try) == ("ask", 2)
    twice = proceed(service, once.cursor, **outcome)
    assert (twice.node.id, open_(twice.cursor, KEY).values) == ("out", ())
    assert proceed(service, once.cursor).password_try == 2


def test_tries_that_cannot_be_counted_are_over() -> None:
    full: Values = ()
    for number in range(17):
        full = assigned(full, f"v{number}", "x" * 256)
    assert proceed(guide(**asking(tries=9)), at("ask", **dict(full)), digits="9999").node.id == "out"


def test_without_a_key_no_password_is_right() -> None:
    assert proceed(guide(password_key=None, **asking(tries=1)), at("ask"), digits="1234").node.id == "out"


def test_a_password_does_not_end_otherwise() -> None:
    with pytest.raises(InvalidFieldError, match="outcome: a node of this kind does not end so: done"):
        proceed(guide(**asking()), at("ask"), done=True)
    with pytest.raises(InvalidFieldError, match="outcome: values are of a request that was answered"):
        proceed(guide(**asking()), at("ask"), digits="1234", values={"a": "1"})


class Queue:
    """Counts in which nothing is counted but a place in a queue."""

    def __init__(self, place: Place) -> None:
        self.place = place

    async def wait(self, waiting: Waiting) -> Place:
        return self.place

    async def settle(self, claims: Sequence[Claim]) -> list[Claimed]:
        return [uncounted(claim) for claim in claims]


WAITS = {
    "queue": {"queue": {"dial": "desk", "music": "jazz", "full": "end", "timedOut": "end", "announceEvery": "30s"}},
    "desk": {"dial": {"lines": [{"line": "a"}], "busy": "queue"}},
    "end": END,
}


def test_a_worker_is_told_the_place_in_a_queue() -> None:
    service = guide(counters=Queue(Place(3)), **WAITS)
    found = proceed(service, at("queue"))
    assert (found.node.queue.music, found.node.queue.max_wait.seconds, found.queue_position) == ("jazz", 300, 3)
    waited = proceed(service, found.cursor, waited=True)
    assert (waited.node, waited.queue_position) == (found.node, 3)
    assert proceed(guide(counters=Queue(Place(full=True)), **WAITS), at("queue")).end.code == 603


@pytest.mark.parametrize("counters", [None, Queue(Place()), Queue(Place(1))])
def test_the_first_in_a_queue_and_all_of_whom_no_place_is_known_are_told_to_ring(counters: Any) -> None:
    service = guide(counters=counters, **WAITS)
    found = proceed(service, at("queue"))
    assert (rung(found)[0][0], found.dial_node.busy) == ("a", "queue")
    back = proceed(service, found.cursor, busy=True)
    assert back.node.id == "queue"
    assert rung(proceed(service, back.cursor, waited=True))[0][0] == "a"
