"""A flow with a node of each kind, and calls that are in it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from signalbox.domain.claims import Claim, supposed
from signalbox.domain.continuing import Next, proceed
from signalbox.domain.cursor import Cursor, seal
from signalbox.domain.flow import (
    AnnounceNode,
    DialLine,
    DialNode,
    Distribution,
    HangUpCause,
    HangUpNode,
    MenuBranch,
    MenuNode,
    Node,
    SurveyNode,
    TransferNode,
    VoicemailNode,
)
from signalbox.domain.flow_nodes import ConditionBranch, ConditionNode, SetVariableNode
from signalbox.domain.numbering import Caller, CallerKind
from signalbox.domain.objects import Line
from signalbox.domain.planner import Voice
from signalbox.domain.voice import Pool

from support import reference
from support.deciding import NOW, setup
from support.reference import PLACES

if TYPE_CHECKING:
    from signalbox.domain.decision import Setup
    from signalbox.domain.outcomes import Outcome
    from signalbox.domain.rules import Rules


KEY = b"key"
WORKERS = (Line("", "ivr-1", "ivr", "192.0.2.21"), Line("", "ivr-2", "ivr", "192.0.2.22"))
VOICE = Voice(Pool([(worker, 0.0) for worker in WORKERS]), partial(seal, key=KEY))
GIVEN = setup(PLACES, VOICE)
NOTED = "4001234567 2027-01-15 16:00 内蒙古呼和浩特 "
NODES: dict[str, Node] = {
    "north": reference.region("内蒙古", "menu", "sales"),
    "menu": MenuNode("welcome", (MenuBranch("1", "sales"), MenuBranch("2", "mail")), "mail", "bye"),
    "order": MenuNode(
        "your-order", (MenuBranch("0", "mail"), MenuBranch("8", "again", "en")), "bye", "bye",
        variable="order", entered="by-order", min_digits=3,
    ),
    "by-order": ConditionNode("order", (ConditionBranch(("123",), "mail"),), "bye"),
    "again": AnnounceNode("hello", True, "order"),
    "sales": DialNode(
        (DialLine("a"), DialLine("b")), Distribution.ROUND_ROBIN, busy="menu", after="survey", whisper="a-call",
        transfer_keys="*2", transfer="mail",
    ),
    "asks": DialNode((DialLine("a"),), transfer_keys="*2", transfer="to-b"),
    "to-b": TransferNode("b", attended=True, busy="mail", failed="bye"),
    "hands-on": DialNode((DialLine("a"),), transfer_keys="*2", transfer="blind-to-b"),
    "blind-to-b": TransferNode("b", busy="mail"),
    "asks-for-number": DialNode((DialLine("a"),), transfer_keys="*2", transfer="to-number"),
    "to-number": TransferNode(number="1", attended=True, failed="bye"),
    "mail": VoicemailNode("speak"),
    "survey": SurveyNode("score"),
    "to-mail": VoicemailNode("speak", next="scored", no_message="bye"),
    "scored": SurveyNode("score", next="by-score", variable="score"),
    "by-score": ConditionNode("score", (ConditionBranch(("1", "2"), "mail"),), "bye"),
    "greet": AnnounceNode("hello", True, "plain"),
    "plain": DialNode((DialLine("a"),), no_answer="bye"),
    "bye": HangUpNode(HangUpCause.BUSY, "sorry"),
    "gone": HangUpNode(HangUpCause.FORBIDDEN),
    "to-gone": AnnounceNode("hello", False, "gone"),
    "noted": AnnounceNode("hello", False, "note"),
    "note": SetVariableNode("topic", "{number} {time} {caller_province}{caller_city} {topic}", "by-topic"),
    "by-topic": ConditionNode("topic", (ConditionBranch((NOTED,), "mail"),), "bye"),
    "forget": SetVariableNode("topic", "", "by-nothing"),
    "by-nothing": ConditionNode("topic", (ConditionBranch(("x",), "bye"), ConditionBranch(("", "y"), "mail")), "bye"),
}  # fmt: skip


def cursor_at(node: str) -> Cursor:
    return Cursor("call-1", "acme", "4001234567", "main", 3, node, Caller(CallerKind.MOBILE, "13900001234"))


def following(
    rules: Rules,
    node: str | Cursor,
    outcome: Outcome | None,
    counts: dict[str, int] | None = None,
    claims: list[Claim] | None = None,
    given: Setup = GIVEN,
    edge: str = "",
    talking: bool = False,
) -> Next:
    cursor = node if isinstance(node, Cursor) else cursor_at(node)
    deciding = proceed(rules, cursor, outcome, NOW, given, edge, talking=talking)
    try:
        claim = next(deciding)
        while True:
            if claims is not None:
                claims.append(claim)
            claim = deciding.send(supposed(claim, counts or {}))
    except StopIteration as end:
        found: Next = end.value
        return found
