"""Decisions as the proxy takes them: SIP requests of method ROUTE (RFC 3261 framing, never answered).

The wire contract is in ``kamailio/README.md``, section 2. What is alike for all calls with one decision is rendered
once and kept under the decision's fingerprint; a call costs one bytes format. Decisions that are ready together travel
together; one that anchors media travels alone, for the proxy's worker waits for rtpengine before it takes the next.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
from typing import TYPE_CHECKING

from google.protobuf import text_format

from signalbox.api.types.v1.types_pb2 import (
    MEDIA_MODE_ANCHOR,
    MEDIA_MODE_BYPASS,
    MEDIA_MODE_RECORD,
    MEDIA_MODE_UNSPECIFIED,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signalbox.api.routing.v1.routing_pb2 import Branch, Decision, Stage

MAX_STAGES = 16
MAX_BRANCHES = 8
MAX_PHRASE = 64
MIN_RING_MS = 1_000
MAX_RING_MS = 180_000
MAX_DURATION_S = 86_400
MAX_TEXT = 256
MAX_CURSOR = 512
MAX_UNUSABLE = 1_500
"""Bytes of a decision that cannot be used that go into the event; 2,000 as base64."""

_CURSOR = re.compile(r"[A-Za-z0-9_-]+")
_WORDS = re.compile(r"[a-z0-9_]{1,64} [a-z0-9-]{0,63} [0-9]{0,15}")
_MEDIA = {
    MEDIA_MODE_UNSPECIFIED: "anchor",
    MEDIA_MODE_ANCHOR: "anchor",
    MEDIA_MODE_BYPASS: "bypass",
    MEDIA_MODE_RECORD: "record",
}

CACHED_DECISIONS = 20_000
"""Rendered decisions kept; one of two stages takes about 2 KiB."""

CACHED_NODE_PAIRS = 64
"""Texts kept per decision, one for each pair of media nodes seen."""

MAX_TOGETHER = 16
"""Decisions in one message: about 40 KiB if all of them ring as many lines as there can be."""


class UnusableDecisionError(Exception):
    """The proxy could not use the decision. Says why."""


class Rendered:
    """A decision as text, but for the media nodes, and for whether the caller is shown.

    ``anchored``: media nodes go into it. ``reusable``: the edge may use it again for the number.
    """

    __slots__ = ("_reused", "_texts", "anchored", "fields", "reusable")

    def __init__(self, fields: dict[str, object], anchored: bool, reusable: bool) -> None:
        self.fields = fields
        self.anchored = anchored
        self.reusable = reusable
        self._texts: dict[tuple[int, int, bool], bytes] = {}
        self._reused: Rendered | None = None

    def text(self, node: int = 0, spare: int = 0, anonymous: bool = False) -> bytes:
        """The JSON object, for these media nodes. ``anonymous``: no line is told who calls."""
        text = self._texts.get((node, spare, anonymous))
        if text is None:
            text = self._render(node, spare, anonymous)
            if len(self._texts) >= CACHED_NODE_PAIRS:
                self._texts.clear()
            self._texts[node, spare, anonymous] = text
        return text

    def last_good(self) -> Rendered:
        """The same decision, marked as one used again."""
        if self._reused is None:
            self._reused = Rendered({**self.fields, "by": "last_good"}, self.anchored, reusable=False)
        return self._reused

    def _render(self, node: int, spare: int, anonymous: bool) -> bytes:
        fields = dict(self.fields)
        if "n1" in fields:
            fields |= {"n1": node, "n2": spare, "an": int(anonymous)}
        return json.dumps(fields, separators=(",", ":")).encode()


def reject(code: int, phrase: str, why: str, retry_after: int = 0, tenant: str = "", number: str = "") -> Rendered:
    """A refusal of the edge itself."""
    return _rejection("edge", code, phrase, why, retry_after, tenant, number, reusable=False)


def unusable(decision: Decision) -> Rendered:
    """The refusal of one call whose decision cannot be used; it carries that decision, for the event *decided*."""
    text = text_format.MessageToString(decision, as_one_line=True).encode()[:MAX_UNUSABLE]
    refusal = reject(500, "Server Internal Error", "decision_unusable")
    refusal.fields["x"] = base64.b64encode(text.decode(errors="ignore").encode()).decode()
    return refusal


def render(decision: Decision) -> Rendered:
    """Render a decision of the routing service. Raises UnusableDecisionError."""
    action = decision.WhichOneof("action")
    if not _WORDS.fullmatch(f"{decision.why} {decision.tenant} {decision.number}"):
        raise UnusableDecisionError("why, tenant or number")
    known = bool(decision.number) and decision.caller_independent
    if action == "reject":
        refusal = decision.reject
        if not 400 <= refusal.code <= 699:
            raise UnusableDecisionError(f"reject.code {refusal.code}")
        if not 0 < len(refusal.phrase) <= MAX_PHRASE or not _is_plain(refusal.phrase):
            raise UnusableDecisionError("reject.phrase")
        return _rejection(
            "routing", refusal.code, refusal.phrase, decision.why, 0, decision.tenant, decision.number, known
        )
    if action != "dial":
        raise UnusableDecisionError("no action")
    mode = _MEDIA.get(decision.dial.media)
    if mode is None:
        raise UnusableDecisionError(f"dial.media {decision.dial.media}")
    stages = decision.dial.stages
    if not 1 <= len(stages) <= MAX_STAGES:
        raise UnusableDecisionError(f"{len(stages)} stages")
    if decision.dial.max_duration_s > MAX_DURATION_S:
        raise UnusableDecisionError(f"dial.max_duration_s {decision.dial.max_duration_s}")
    plan = [_stage(stage, position, len(stages)) for position, stage in enumerate(stages, 1)]
    fields: dict[str, object] = {
        "v": 1, "do": "dial", "by": "routing", "why": decision.why, "tn": decision.tenant, "nu": decision.number,
        "md": mode, "n1": 0, "n2": 0, "an": 0, "mx": decision.dial.max_duration_s, "st": plan,
    }  # fmt: skip
    return Rendered(fields, anchored=mode != "bypass", reusable=known)


def _rejection(
    by: str, code: int, phrase: str, why: str, retry_after: int, tenant: str, number: str, reusable: bool
) -> Rendered:
    fields: dict[str, object] = {
        "v": 1, "do": "reject", "by": by, "why": why, "tn": tenant, "nu": number,
        "code": code, "ph": phrase, "ra": retry_after,
    }  # fmt: skip
    return Rendered(fields, anchored=False, reusable=reusable)


def _stage(stage: Stage, position: int, count: int) -> str:
    """Jumps go forward only, so no plan can go round in a circle."""
    if not MIN_RING_MS <= stage.ring_time_ms <= MAX_RING_MS:
        raise UnusableDecisionError(f"ring_time_ms {stage.ring_time_ms}")
    if not 1 <= len(stage.branches) <= MAX_BRANCHES:
        raise UnusableDecisionError(f"{len(stage.branches)} branches")
    targets = (stage.on_busy, stage.on_no_answer, stage.on_failed)
    for target in targets:
        if not (target == 0 or position < target <= count or 400 <= target <= 699):
            raise UnusableDecisionError(f"stage {position} leads to {target}")
    head = f"{stage.ring_time_ms} {stage.on_busy} {stage.on_no_answer} {stage.on_failed}"
    return "|".join([head, *(_branch(branch, stage.record) for branch in stage.branches)])


def _branch(branch: Branch, recorded: bool) -> str:
    values: Sequence[str] = (branch.line, branch.uri, branch.destination)
    for value in values:
        if not 0 < len(value) <= MAX_TEXT or not _is_plain(value) or " " in value or "|" in value:
            raise UnusableDecisionError(f"branch of line {branch.line!r}")
    cursor = branch.cursor
    if cursor and not (len(cursor) <= MAX_CURSOR and _CURSOR.fullmatch(cursor)):
        raise UnusableDecisionError(f"cursor of line {branch.line!r}")
    flags = ("i" if branch.remove_identity else "") + ("r" if recorded else "")
    return " ".join([*values, flags or "-", *([cursor] if cursor else [])])


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable()


class DecisionCache:
    """Rendered decisions by fingerprint; the ones not used for longest go first."""

    def __init__(self, limit: int = CACHED_DECISIONS) -> None:
        self._limit = limit
        self._rendered: dict[int, Rendered] = {}

    def get(self, decision: Decision) -> Rendered:
        """The decision rendered. Raises UnusableDecisionError."""
        fingerprint = decision.fingerprint
        rendered = self._rendered.pop(fingerprint, None)
        if rendered is None:
            rendered = render(decision)
            if not fingerprint:
                return rendered
            if len(self._rendered) >= self._limit:
                del self._rendered[next(iter(self._rendered))]
        self._rendered[fingerprint] = rendered
        return rendered


class ReplyWriter:
    """Writes ROUTE requests with the token that the proxy checks."""

    def __init__(self, token: str, ask_listen: str, route_listen: str) -> None:
        nonce = secrets.token_hex(8) + "-"
        self._written = 0
        self._template = (
            f"ROUTE sip:{token}@{route_listen} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {ask_listen};branch=z9hG4bK{nonce}%x\r\n"
            f"From: <sip:edge@{ask_listen}>;tag={nonce}%x\r\n"
            f"To: <sip:{route_listen}>\r\n"
            f"Call-ID: {nonce}%x\r\n"
            "CSeq: 1 ROUTE\r\n"
            "Max-Forwards: 1\r\n"
            "Content-Type: text/plain\r\n"
            "Content-Length: %d\r\n\r\n%b"
        ).encode()

    def message(self, decisions: Sequence[bytes]) -> bytes:
        """One ROUTE request with the decisions of some questions, each as :func:`answer` gives it."""
        self._written = number = self._written + 1
        body = b"".join(decisions)
        return self._template % (number, number, number, len(body), body)


def answer(index: int, label: int, text: bytes) -> bytes:
    """A decision with the question that it is for."""
    return b"%d %d\n%b\n" % (index, label, text)
