"""What a valid call flow, line group and prompt are, apart from their references to others. Pure: no store, no clock.

A flow is looked at twice. Its *form* is checked whenever a draft is written: what is there must be well made, but much
may be missing yet, so that half a flow can be saved. Whether the graph is *complete* is checked when the draft is
activated; :mod:`signalbox.domain.flow_check` says what that means.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from signalbox.api.types.v1 import flows_pb2, screening_pb2
from signalbox.domain.flow import DIGITS_MAX, LINES_MAX, LINES_TOGETHER_MAX
from signalbox.domain.numbering import national
from signalbox.errors import FieldViolation
from signalbox.provisioning import validate, validate_nodes, validate_regions
from signalbox.provisioning.validate_nodes import different, optional
from signalbox.store import flowgraph

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from signalbox.api.types.v1 import types_pb2
    from signalbox.domain import flow_check
    from signalbox.domain.flow import FlowGraph

NODES_MAX = 200
LISTS_MAX = 16
WEIGHT_MAX = 1_000
GROUP_LINES_MAX = 1_000
REPEATS_MAX = 9
TRANSFER_NUMBER_MAX = 64
PREFIXES_MAX = 16
TEXT_MAX = 2_000
"""Longest text of a prompt."""

_DIGITS = re.compile(r"[0-9*#A-D]{1,20}")
_PREFIX = re.compile(r"[0-9]{1,15}")
_CONVERSATION_KEYS = re.compile(r"[0-9*#A-D]{1,4}")
_KEYS = re.compile(r"[0-9*#A-D]{0,16}")
_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,7}")
_LANGUAGE_RULE = 'must be a language tag such as "zh-CN" (BCP 47)'
_CONTROLS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]")


def flow(message: flows_pb2.Flow) -> Iterator[FieldViolation]:
    """A flow as a request's field ``flow``, apart from its draft."""
    yield from validate.identifier(message.tenant, "flow.tenant")
    yield from validate.identifier(message.id, "flow.id")
    yield from validate.display_name(message.display_name, "flow.display_name")


def line_group(message: flows_pb2.LineGroup) -> Iterator[FieldViolation]:
    """A line group as a request's field ``line_group``. Whether its lines exist is not looked at."""
    yield from validate.identifier(message.tenant, "line_group.tenant")
    yield from validate.identifier(message.id, "line_group.id")
    yield from validate.display_name(message.display_name, "line_group.display_name")
    yield from validate.enums(message, "line_group")
    yield from validate.count(message.lines, GROUP_LINES_MAX, "line_group.lines")
    yield from _lines(message.lines, "line_group.lines")
    for position, line in enumerate(message.lines):
        if not line.line:
            yield FieldViolation(f"line_group.lines[{position}].line", "is required")
    yield from _together(message.distribution, message.lines, "line_group.lines")


def prompt(message: types_pb2.Prompt) -> Iterator[FieldViolation]:
    """A prompt as a request's field ``prompt``."""
    yield from validate.identifier(message.tenant, "prompt.tenant")
    yield from validate.identifier(message.id, "prompt.id")
    yield from validate.display_name(message.display_name, "prompt.display_name")
    if message.language and not _LANGUAGE.fullmatch(message.language):
        yield FieldViolation("prompt.language", _LANGUAGE_RULE)
    if len(message.text) > TEXT_MAX:
        yield FieldViolation("prompt.text", f"must have at most {TEXT_MAX} characters")
    if _CONTROLS.search(message.text):
        yield FieldViolation("prompt.text", "must not have control characters, but line feeds")


def form(graph: flows_pb2.FlowGraph, path: str) -> Iterator[FieldViolation]:
    """What is not well made in a graph, finished or not."""
    yield from optional(graph.entry, f"{path}.entry")
    if len(graph.nodes) > NODES_MAX:
        yield FieldViolation(f"{path}.nodes", f"must have at most {NODES_MAX} entries")
        return
    places: dict[str, int] = {}
    for position, node in enumerate(graph.nodes):
        at = f"{path}.nodes[{position}]"
        yield from validate.identifier(node.id, f"{at}.id")
        if node.id in places:
            yield FieldViolation(f"{at}.id", f"node {node.id} is nodes[{places[node.id]}] already")
        places.setdefault(node.id, position)
        kind = node.WhichOneof("node")
        if kind is not None:
            for violation in _FORMS[kind](getattr(node, kind), f"{at}.{kind}"):
                yield FieldViolation(violation.field, f"node {node.id}: {violation.reason}")


def finished(graph: flows_pb2.FlowGraph) -> FlowGraph:
    """A well-made graph as it is looked at for what it lacks: a node without anything to do ends the call."""
    whole = flows_pb2.FlowGraph()
    whole.CopyFrom(graph)
    for node in whole.nodes:
        if node.WhichOneof("node") is None:
            node.hang_up.SetInParent()
    return flowgraph.graph(whole)


def blank(graph: flows_pb2.FlowGraph, path: str) -> Iterator[FieldViolation]:
    """Nodes without anything to do."""
    for position, node in enumerate(graph.nodes):
        if node.WhichOneof("node") is None:
            yield FieldViolation(f"{path}.nodes[{position}]", f"node {node.id}: says nothing to do")


def placed(violations: Iterable[flow_check.Violation], path: str) -> Iterator[FieldViolation]:
    """Violations in a graph as violations in a request that has the graph at the path."""
    return (FieldViolation(f"{path}.{violation.field}", violation.reason) for violation in violations)


def _schedule(node: flows_pb2.ScheduleNode, at: str) -> Iterator[FieldViolation]:
    yield from optional(node.schedule, f"{at}.schedule")
    yield from optional(node.otherwise, f"{at}.otherwise")
    for position, branch in enumerate(node.branches):
        yield from optional(branch.period, f"{at}.branches[{position}].period")
        yield from optional(branch.next, f"{at}.branches[{position}].next")
    periods = [branch.period for branch in node.branches]
    yield from different(periods, lambda i: f"{at}.branches[{i}].period", "a branch for period")


def _region(node: flows_pb2.RegionNode, at: str) -> Iterator[FieldViolation]:
    yield from optional(node.otherwise, f"{at}.otherwise")
    for position, branch in enumerate(node.branches):
        own = f"{at}.branches[{position}]"
        yield from optional(branch.next, f"{own}.next")
        yield from validate_regions.provinces(branch.provinces, f"{own}.provinces")
        yield from validate_regions.area_codes(branch.area_codes, f"{own}.area_codes")
        for i, group in enumerate(branch.groups):
            yield from optional(group, f"{own}.groups[{i}]")
        for i, carrier in enumerate(branch.carriers):
            if carrier == screening_pb2.CARRIER_UNSPECIFIED or carrier not in screening_pb2.Carrier.values():
                yield FieldViolation(f"{own}.carriers[{i}]", f"has no value {carrier}")


def _caller_list(node: flows_pb2.CallerListNode, at: str) -> Iterator[FieldViolation]:
    if len(node.lists) > LISTS_MAX:
        yield FieldViolation(f"{at}.lists", f"must have at most {LISTS_MAX} entries")
    for position, list in enumerate(node.lists):
        yield from optional(list, f"{at}.lists[{position}]")
    yield from different(node.lists, lambda i: f"{at}.lists[{i}]", "list")
    yield from optional(node.member, f"{at}.member")
    yield from optional(node.otherwise, f"{at}.otherwise")


def _dial(node: flows_pb2.DialNode, at: str) -> Iterator[FieldViolation]:
    yield from validate.enums(node, at)
    if len(node.lines) > LINES_MAX:
        yield FieldViolation(f"{at}.lines", f"must have at most {LINES_MAX} entries")
    yield from _lines(node.lines, f"{at}.lines")
    yield from _together(node.distribution, node.lines, f"{at}.lines")
    if node.lines and node.line_group:
        yield FieldViolation(f"{at}.line_group", "excludes lines")
    if node.HasField("ring_time"):
        least, most = validate.RING_TIME_MIN_MS, validate.RING_TIME_MAX_MS
        yield from validate.duration(node.ring_time, least, most, f"{at}.ring_time")
    for name in ("line_group", "busy", "no_answer", "failed", "after", "whisper", "ring_back", "transfer"):
        yield from optional(getattr(node, name), f"{at}.{name}")
    for name in ("before", "after"):
        yield from optional(getattr(node.announce_line, name), f"{at}.announce_line.{name}")
    yield from _conversation_keys(node, at)


def _conversation_keys(node: flows_pb2.DialNode, at: str) -> Iterator[FieldViolation]:
    """What is keyed during a conversation."""
    for name in ("pause_keys", "resume_keys", "transfer_keys"):
        keys = getattr(node, name)
        if keys and not _CONVERSATION_KEYS.fullmatch(keys):
            yield FieldViolation(f"{at}.{name}", "must be 1 to 4 of 0-9 * # A-D")
    if node.pause_keys and node.recording == flows_pb2.DIAL_RECORDING_OFF:
        yield FieldViolation(f"{at}.pause_keys", "is for calls that are recorded")
    if node.resume_keys and not node.pause_keys:
        yield FieldViolation(f"{at}.resume_keys", "is for pause_keys alone")
    if node.resume_keys != node.pause_keys and _one_begins(node.resume_keys, node.pause_keys):
        yield FieldViolation(f"{at}.resume_keys", "must not begin as pause_keys does, nor the other way")
    for name in ("pause_keys", "resume_keys"):
        if _one_begins(node.transfer_keys, getattr(node, name)):
            yield FieldViolation(f"{at}.transfer_keys", f"must not begin as {name} does, nor the other way")
    if node.transfer and not node.transfer_keys:
        yield FieldViolation(f"{at}.transfer", "is for transfer_keys alone")


def _transfer(node: flows_pb2.TransferNode, at: str) -> Iterator[FieldViolation]:
    yield from validate.enums(node, at)
    for name in ("line", "ring_back", "busy", "no_answer", "failed", "after"):
        yield from optional(getattr(node, name), f"{at}.{name}")
    yield from _transfer_number(node, at)
    if node.HasField("ring_time"):
        least, most = validate.RING_TIME_MIN_MS, validate.RING_TIME_MAX_MS
        yield from validate.duration(node.ring_time, least, most, f"{at}.ring_time")
    for name in ("complete_keys", "return_keys"):
        keys = getattr(node, name)
        if keys and not _CONVERSATION_KEYS.fullmatch(keys):
            yield FieldViolation(f"{at}.{name}", "must be 1 to 4 of 0-9 * # A-D")
        if keys and not node.attended:
            yield FieldViolation(f"{at}.{name}", "is for attended transfers alone")
    if _one_begins(node.return_keys, node.complete_keys):
        yield FieldViolation(f"{at}.return_keys", "must not begin as complete_keys does, nor the other way")


def _transfer_number(node: flows_pb2.TransferNode, at: str) -> Iterator[FieldViolation]:
    """The telephone number of a transfer."""
    if node.number and node.line:
        yield FieldViolation(f"{at}.number", "excludes line")
    yield from validate_nodes.template(node.number, TRANSFER_NUMBER_MAX, f"{at}.number")
    if node.number and "{" not in node.number and "}" not in node.number and national(node.number) != node.number:
        yield FieldViolation(f"{at}.number", "must be a telephone number of this country in national form")
    if len(node.prefixes) > PREFIXES_MAX:
        yield FieldViolation(f"{at}.prefixes", f"must have at most {PREFIXES_MAX} entries")
    for position, prefix in enumerate(node.prefixes):
        if not _PREFIX.fullmatch(prefix):
            yield FieldViolation(f"{at}.prefixes[{position}]", "must be 1 to 15 digits")
    yield from different(node.prefixes, lambda i: f"{at}.prefixes[{i}]", "prefix")


def _one_begins(keys: str, others: str) -> bool:
    """True if who keys the one is keying the other too."""
    return bool(keys and others) and (keys.startswith(others) or others.startswith(keys))


def _hang_up(node: flows_pb2.HangUpNode, at: str) -> Iterator[FieldViolation]:
    yield from validate.enums(node, at)
    yield from optional(node.prompt, f"{at}.prompt")


def _announce(node: flows_pb2.AnnounceNode, at: str) -> Iterator[FieldViolation]:
    yield from optional(node.prompt, f"{at}.prompt")
    yield from optional(node.next, f"{at}.next")


def _menu(node: flows_pb2.MenuNode, at: str) -> Iterator[FieldViolation]:
    for position, branch in enumerate(node.branches):
        if branch.digits and not _DIGITS.fullmatch(branch.digits):
            yield FieldViolation(f"{at}.branches[{position}].digits", "must be 1 to 20 of 0-9 * # A-D")
        yield from optional(branch.next, f"{at}.branches[{position}].next")
        if branch.language and not _LANGUAGE.fullmatch(branch.language):
            yield FieldViolation(f"{at}.branches[{position}].language", _LANGUAGE_RULE)
        if node.max_digits and len(branch.digits) > node.max_digits:
            yield FieldViolation(f"{at}.branches[{position}].digits", f"has more than max_digits, {node.max_digits}")
        if node.terminator and node.terminator in branch.digits:
            yield FieldViolation(f"{at}.branches[{position}].digits", f"has the terminator {node.terminator}")
    keyed = [branch.digits for branch in node.branches]
    yield from different(keyed, lambda i: f"{at}.branches[{i}].digits", "a branch for")
    if node.HasField("timeout"):
        yield from validate.duration(node.timeout, 1_000, 60_000, f"{at}.timeout")
    if node.repeats > REPEATS_MAX:
        yield FieldViolation(f"{at}.repeats", f"must be 0 to {REPEATS_MAX}")
    for name in ("prompt", "no_input", "no_match", "no_input_prompt", "no_match_prompt", "entered"):
        yield from optional(getattr(node, name), f"{at}.{name}")
    yield from _entering(node, at)


def _entering(node: flows_pb2.MenuNode, at: str) -> Iterator[FieldViolation]:
    """How digits are taken."""
    for name in ("max_digits", "min_digits"):
        if getattr(node, name) > DIGITS_MAX:
            yield FieldViolation(f"{at}.{name}", f"must be 0 to {DIGITS_MAX}")
    if node.max_digits and node.min_digits > node.max_digits:
        yield FieldViolation(f"{at}.min_digits", f"is more than max_digits, {node.max_digits}")
    if node.min_digits and not node.entered:
        yield FieldViolation(f"{at}.min_digits", "is for entered alone")
    if node.terminator and not (len(node.terminator) == 1 and _DIGITS.fullmatch(node.terminator)):
        yield FieldViolation(f"{at}.terminator", "must be one of 0-9 * # A-D")
    if node.HasField("inter_digit_timeout"):
        yield from validate.duration(node.inter_digit_timeout, 1_000, 30_000, f"{at}.inter_digit_timeout")
    yield from validate_nodes.variable(node.variable, f"{at}.variable")


def _voicemail(node: flows_pb2.VoicemailNode, at: str) -> Iterator[FieldViolation]:
    for name in ("prompt", "next", "no_message"):
        yield from optional(getattr(node, name), f"{at}.{name}")
    if node.HasField("max_duration"):
        yield from validate.duration(node.max_duration, 1_000, 600_000, f"{at}.max_duration")
    if node.HasField("max_silence"):
        yield from validate.duration(node.max_silence, 1_000, 60_000, f"{at}.max_silence")
    if node.HasField("min_duration"):
        yield from validate.duration(node.min_duration, 0, 60_000, f"{at}.min_duration")
    if node.HasField("max_duration") and node.min_duration.ToMilliseconds() > node.max_duration.ToMilliseconds():
        yield FieldViolation(f"{at}.min_duration", "must not be more than max_duration")
    yield from _different_keys(node.finish_keys, f"{at}.finish_keys")


def _survey(node: flows_pb2.SurveyNode, at: str) -> Iterator[FieldViolation]:
    for name in ("prompt", "next", "no_match_prompt"):
        yield from optional(getattr(node, name), f"{at}.{name}")
    yield from _different_keys(node.keys, f"{at}.keys")
    if node.HasField("timeout"):
        yield from validate.duration(node.timeout, 1_000, 60_000, f"{at}.timeout")
    if node.repeats > REPEATS_MAX:
        yield FieldViolation(f"{at}.repeats", f"must be 0 to {REPEATS_MAX}")
    yield from validate_nodes.variable(node.variable, f"{at}.variable")


def _different_keys(keys: str, path: str) -> Iterator[FieldViolation]:
    if not _KEYS.fullmatch(keys) or len(set(keys)) < len(keys):
        yield FieldViolation(path, "must be different ones of 0-9 * # A-D")


_FORMS: dict[str, Callable[..., Iterator[FieldViolation]]] = {
    "schedule": _schedule,
    "region": _region,
    "caller_list": _caller_list,
    "dial": _dial,
    "transfer": _transfer,
    "hang_up": _hang_up,
    "announce": _announce,
    "menu": _menu,
    "voicemail": _voicemail,
    "survey": _survey,
    "set_variable": validate_nodes.set_variable,
    "condition": validate_nodes.condition,
    "request": validate_nodes.request,
    "message": validate_nodes.message,
    "password": validate_nodes.password,
    "queue": validate_nodes.queue,
}


def _lines(lines: Sequence[flows_pb2.DialLine], at: str) -> Iterator[FieldViolation]:
    for position, line in enumerate(lines):
        yield from optional(line.line, f"{at}[{position}].line")
        if line.weight > WEIGHT_MAX:
            yield FieldViolation(f"{at}[{position}].weight", f"must be 0 to {WEIGHT_MAX}")
        if line.HasField("ring_time"):
            least, most = validate.RING_TIME_MIN_MS, validate.RING_TIME_MAX_MS
            yield from validate.duration(line.ring_time, least, most, f"{at}[{position}].ring_time")
    yield from different([line.line for line in lines], lambda i: f"{at}[{i}].line", "line")


def _together(distribution: int, lines: Sequence[flows_pb2.DialLine], at: str) -> Iterator[FieldViolation]:
    if distribution == flows_pb2.DISTRIBUTION_ALL and len(lines) > LINES_TOGETHER_MAX:
        yield FieldViolation(at, f"must have at most {LINES_TOGETHER_MAX} entries that ring all together")
