"""Call flows: what happens to a call, as a graph of nodes, and the groups of lines that flows ring.

The graph says by node ids where a call goes on; ``""`` is nowhere: what then happens is said at each field. A graph in
force was checked by :mod:`signalbox.domain.flow_check`: every id that it names is there, and every circle takes the
caller's time. Flows have revisions, of which one is in force at any time.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from signalbox.domain.flow_nodes import (
    ConditionNode,
    MessageNode,
    PasswordNode,
    QueueNode,
    RequestNode,
    SetVariableNode,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from signalbox.domain.regions import Carrier

RING_MS_DEFAULT = 30_000
MENU_TIMEOUT_MS_DEFAULT = 5_000
MENU_NEXT_DIGIT_MS_DEFAULT = 3_000
DIGITS_MAX = 20
"""Most digits that a caller keys at once."""
VOICEMAIL_MS_DEFAULT = 120_000
VOICEMAIL_SILENCE_MS_DEFAULT = 5_000
VOICEMAIL_LEAST_MS_DEFAULT = 1_000
KEYS = "0123456789*#ABCD"
"""All keys that there are (RFC 4733 section 3.2)."""
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


class DialRecording(Enum):
    """Whether calls that the lines of a dial take are recorded, as ``types.v1.DialRecording``."""

    AS_NUMBER = "unspecified"
    ON = "on"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class DialLine:
    """A line of the flow's tenant, its share (1 to 1,000) of a weighted distribution, and how long it may ring; 0: as
    the dial says."""

    line: str
    weight: int = 1
    ring_ms: int = 0


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
class LineAnnouncement:
    """Tells the caller the agent number of the line, between two prompts; ``""``: none."""

    before: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True)
class DialNode:
    """Rings lines, or with ``line_group`` that group's lines by the group's distribution.

    ``busy``, ``no_answer`` and ``failed`` are nodes or ``""``: the call ends with 486, 480, or the lines' last failure.
    ``after`` is where the caller goes when the line has hung up, ``""``: the call ends. ``whisper`` is a prompt for the
    line, ``""``: none. ``recording``: whether a call that one of the lines takes is recorded.

    ``ring_back`` is a prompt for the caller while lines ring, ``""``: none; ``replaces_early_media``: the caller hears
    nothing of what lines send before they answer. ``announces``: what the caller hears of the line that answered. Keys
    are what pauses and resumes the recording, and what leads the caller on to ``transfer``; ``""``: none.
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
    recording: DialRecording = DialRecording.AS_NUMBER
    ring_back: str = ""
    replaces_early_media: bool = False
    announces: LineAnnouncement | None = None
    pause_keys: str = ""
    resume_keys: str = ""
    transfer_keys: str = ""
    transfer: str = ""

    @property
    def needs_voice(self) -> bool:
        """Somebody plays something, or listens for keys."""
        played = self.whisper or self.ring_back or self.replaces_early_media or self.announces is not None
        return bool(played or self.after or self.pause_keys or self.transfer_keys)


@dataclass(frozen=True, slots=True)
class TransferNode:
    """Connects the caller to a line, or to a telephone number: a template, for what begins with one of ``prefixes``, if
    there are any. ``attended``: the line that had the call speaks with the other first. What follows is as with a
    dial."""

    line: str = ""
    number: str = ""
    prefixes: tuple[str, ...] = ()
    ring_ms: int = RING_MS_DEFAULT
    attended: bool = False
    complete_keys: str = ""
    return_keys: str = ""
    ring_back: str = ""
    recording: DialRecording = DialRecording.AS_NUMBER
    busy: str = ""
    no_answer: str = ""
    failed: str = ""
    after: str = ""


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
    """Where callers go who keyed the digits; ``language``: they chose that one, ``""``: none."""

    digits: str
    next: str
    language: str = ""


@dataclass(frozen=True, slots=True)
class MenuNode:
    """Plays a prompt, takes digits, branches by them; plays it ``repeats`` times again after silence or a wrong key.

    ``entered`` is where digits lead that are no branch, at least ``min_digits`` of them; ``""``: they are a wrong key.
    ``variable`` gets what was keyed, ``""``: none does. ``terminator`` is the key that ends the digits, ``""``: none.
    ``no_input_prompt`` and ``no_match_prompt`` come before the prompt is played again, ``""``: nothing does.
    """

    prompt: str
    branches: tuple[MenuBranch, ...]
    no_input: str
    no_match: str
    timeout_ms: int = MENU_TIMEOUT_MS_DEFAULT
    repeats: int = 0
    max_digits: int = DIGITS_MAX
    terminator: str = ""
    next_digit_ms: int = MENU_NEXT_DIGIT_MS_DEFAULT
    no_input_prompt: str = ""
    no_match_prompt: str = ""
    variable: str = ""
    entered: str = ""
    min_digits: int = 1


@dataclass(frozen=True, slots=True)
class VoicemailNode:
    """Takes a message of at most ``max_ms`` after a greeting; ``next`` ``""``: the call ends.

    It ends with one of the keys, or after ``silence_ms``. Less than ``min_ms`` is no message, which leads to
    ``no_message``, or if that is ``""`` to ``next``.
    """

    prompt: str
    max_ms: int = VOICEMAIL_MS_DEFAULT
    next: str = ""
    finish_keys: str = KEYS
    silence_ms: int = VOICEMAIL_SILENCE_MS_DEFAULT
    beep: bool = True
    min_ms: int = VOICEMAIL_LEAST_MS_DEFAULT
    no_message: str = ""


@dataclass(frozen=True, slots=True)
class SurveyNode:
    """Asks for one of the keys, ``repeats`` times again; ``next`` ``""``: the call ends. ``variable`` gets the key,
    ``""``: none does. ``no_match_prompt`` is played after another key, ``""``: nothing is."""

    prompt: str
    keys: str = SURVEY_KEYS_DEFAULT
    next: str = ""
    timeout_ms: int = MENU_TIMEOUT_MS_DEFAULT
    repeats: int = 0
    no_match_prompt: str = ""
    variable: str = ""


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
    | SetVariableNode
    | ConditionNode
    | RequestNode
    | MessageNode
    | TransferNode
    | PasswordNode
    | QueueNode
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
    """True for a node at which a call is handed over to a worker with voice; all others are decided where calls are
    decided. What is set has to be carried on, which a worker does."""
    match node:
        case ScheduleNode() | RegionNode() | CallerListNode() | ConditionNode():
            return False
        case DialNode():
            return node.needs_voice
        case HangUpNode():
            return bool(node.prompt)
    return True
