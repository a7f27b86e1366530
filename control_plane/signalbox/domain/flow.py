"""Call flows: what happens to a call, as a graph of nodes, and the groups of lines that flows ring.

The graph says by node ids where a call goes on; ``""`` is nowhere: what then happens is said at each field. A graph in
force was checked by :mod:`signalbox.domain.flow_check`: every id that it names is there, and every circle takes the
caller's time. Flows have revisions, of which one is in force at any time.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from signalbox.domain.regions import Carrier

RING_MS_DEFAULT = 30_000
MENU_TIMEOUT_MS_DEFAULT = 5_000
VOICEMAIL_MS_DEFAULT = 120_000
SURVEY_KEYS_DEFAULT = "12345"
LINES_MAX = 16
"""Lines that one dial tries: a proxy can ring no more in one call (kamailio/README.md, Limits)."""
LINES_TOGETHER_MAX = 8
"""Lines that ring at the same time."""


class Distribution(Enum):
    """How the lines of a dial are chosen, as ``types.v1.Distribution``."""

    SEQUENTIAL = "sequential"
    RANDOM = "random"
    ROUND_ROBIN = "round_robin"
    WEIGHTED = "weighted"
    LEAST_RECENT = "least_recent"
    STICKY = "sticky"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class DialLine:
    """A line of the flow's tenant, and its share (1 to 1,000) of a weighted distribution."""

    line: str
    weight: int = 1


@dataclass(frozen=True, slots=True)
class LineGroup:
    """Lines with their distribution, shared by the flows of a tenant. Up to 1,000 lines."""

    tenant: str
    id: str
    lines: tuple[DialLine, ...]
    distribution: Distribution = Distribution.SEQUENTIAL


@dataclass(frozen=True, slots=True)
class ScheduleBranch:
    """Where calls go in the period of a name."""

    period: str
    next: str


@dataclass(frozen=True, slots=True)
class ScheduleNode:
    """Branches by the name of the period that a schedule of the tenant is in."""

    schedule: str
    branches: tuple[ScheduleBranch, ...]
    otherwise: str


@dataclass(frozen=True, slots=True)
class RegionBranch:
    """Where callers go who are in any of the provinces, area codes or region groups, or with any of the carriers."""

    provinces: frozenset[str]
    area_codes: frozenset[str]
    groups: tuple[str, ...]
    carriers: frozenset[Carrier]
    next: str


@dataclass(frozen=True, slots=True)
class RegionNode:
    """Branches by the caller's region; the first branch that fits is taken."""

    branches: tuple[RegionBranch, ...]
    otherwise: str


@dataclass(frozen=True, slots=True)
class CallerListNode:
    """Branches by whether the caller is in any of the screening lists."""

    lists: tuple[str, ...]
    member: str
    otherwise: str


@dataclass(frozen=True, slots=True)
class DialNode:
    """Rings lines, or with ``line_group`` that group's lines by the group's distribution.

    ``busy``, ``no_answer`` and ``failed`` are nodes or ``""``: the call ends with 486, 480, or the lines' last failure.
    ``after`` is where the caller goes when the line has hung up, ``""``: the call ends. ``whisper`` is a prompt for the
    line, ``""``: none.
    """

    lines: tuple[DialLine, ...] = ()
    distribution: Distribution = Distribution.SEQUENTIAL
    line_group: str = ""
    ring_ms: int = RING_MS_DEFAULT
    busy: str = ""
    no_answer: str = ""
    failed: str = ""
    after: str = ""
    whisper: str = ""


class HangUpCause(Enum):
    """Why a flow ends a call: the status code for a caller whose call was not answered (RFC 3261 section 21)."""

    DECLINED = 603
    BUSY = 486
    UNAVAILABLE = 480
    FORBIDDEN = 403


@dataclass(frozen=True, slots=True)
class HangUpNode:
    """Ends the call; ``prompt`` is played first, ``""``: none."""

    cause: HangUpCause = HangUpCause.DECLINED
    prompt: str = ""


@dataclass(frozen=True, slots=True)
class AnnounceNode:
    """Plays a prompt, as early media or (``answer``) after an answer."""

    prompt: str
    answer: bool
    next: str


@dataclass(frozen=True, slots=True)
class MenuBranch:
    """Where callers go who keyed the digits."""

    digits: str
    next: str


@dataclass(frozen=True, slots=True)
class MenuNode:
    """Plays a prompt, takes digits, branches by them; plays it ``repeats`` times again after silence or a wrong key."""

    prompt: str
    branches: tuple[MenuBranch, ...]
    no_input: str
    no_match: str
    timeout_ms: int = MENU_TIMEOUT_MS_DEFAULT
    repeats: int = 0


@dataclass(frozen=True, slots=True)
class VoicemailNode:
    """Takes a message of at most ``max_ms`` after a greeting; ``next`` ``""``: the call ends."""

    prompt: str
    max_ms: int = VOICEMAIL_MS_DEFAULT
    next: str = ""


@dataclass(frozen=True, slots=True)
class SurveyNode:
    """Asks for one of the keys; ``next`` ``""``: the call ends."""

    prompt: str
    keys: str = SURVEY_KEYS_DEFAULT
    next: str = ""


Node = (
    ScheduleNode
    | RegionNode
    | CallerListNode
    | DialNode
    | HangUpNode
    | AnnounceNode
    | MenuNode
    | VoicemailNode
    | SurveyNode
)


@dataclass(frozen=True, slots=True)
class FlowGraph:
    """The node that a call begins with, and all nodes by their ids, in the order they were written."""

    entry: str
    nodes: Mapping[str, Node]


@dataclass(frozen=True, slots=True)
class FlowRevision:
    """A graph in force from ``activate_time`` (epoch seconds) until the next revision's. Numbers count from 1."""

    number: int
    activate_time: float
    graph: FlowGraph


@dataclass(frozen=True, slots=True)
class Flow:
    """A call flow of a tenant: the revisions that are kept, in the order of their times."""

    tenant: str
    id: str
    revisions: tuple[FlowRevision, ...]

    def revision_at(self, now: float) -> FlowRevision | None:
        """The revision in force at ``now`` (epoch seconds); None before the first."""
        for revision in reversed(self.revisions):
            if revision.activate_time <= now:
                return revision
        return None

    def revision(self, number: int) -> FlowRevision | None:
        """The revision of a number, for a call that began with it; None if it is no longer kept."""
        for revision in reversed(self.revisions):
            if revision.number == number:
                return revision
        return None


def needs_voice(node: Node) -> bool:
    """True for a node that a worker with voice has to execute; all others are decided where calls are decided."""
    match node:
        case ScheduleNode() | RegionNode() | CallerListNode():
            return False
        case DialNode():
            return bool(node.whisper or node.after)
        case HangUpNode():
            return bool(node.prompt)
    return True


@dataclass(frozen=True, slots=True)
class Exit:
    """A way out of a node.

    ``field`` is its path in the node, e.g. ``menu.branches[2].next``; ``target`` the next node's id, ``""`` if there is
    none; ``required``: without a next node the call would be nowhere, else it ends. ``silent``: a call can take this
    way without anything having been played or said, so that a circle of such ways would be run through without end.
    """

    field: str
    target: str
    required: bool = True
    silent: bool = False


def exits(node: Node) -> Iterator[Exit]:
    """All ways out of a node; none from a node that hangs up."""
    match node:
        case ScheduleNode():
            for i, period in enumerate(node.branches):
                yield Exit(f"schedule.branches[{i}].next", period.next, silent=True)
            yield Exit("schedule.otherwise", node.otherwise, silent=True)
        case RegionNode():
            for i, region in enumerate(node.branches):
                yield Exit(f"region.branches[{i}].next", region.next, silent=True)
            yield Exit("region.otherwise", node.otherwise, silent=True)
        case CallerListNode():
            yield Exit("caller_list.member", node.member, silent=True)
            yield Exit("caller_list.otherwise", node.otherwise, silent=True)
        case DialNode():
            # A line that is busy or away is told at once, also to a worker with voice.
            yield Exit("dial.busy", node.busy, required=False, silent=True)
            yield Exit("dial.no_answer", node.no_answer, required=False, silent=True)
            yield Exit("dial.failed", node.failed, required=False, silent=True)
            yield Exit("dial.after", node.after, required=False)
        case AnnounceNode():
            yield Exit("announce.next", node.next)
        case MenuNode():
            for i, branch in enumerate(node.branches):
                yield Exit(f"menu.branches[{i}].next", branch.next)
            yield Exit("menu.no_input", node.no_input)
            yield Exit("menu.no_match", node.no_match)
        case VoicemailNode():
            yield Exit("voicemail.next", node.next, required=False)
        case SurveyNode():
            yield Exit("survey.next", node.next, required=False)
