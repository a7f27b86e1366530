"""Nodes that a caller answers by keys or by voice, as messages and as objects: a part of :mod:`flowgraph`."""

from __future__ import annotations

from signalbox.api.types.v1 import flows_pb2
from signalbox.domain.flow import (
    DIGITS_MAX,
    KEYS,
    MENU_NEXT_DIGIT_MS_DEFAULT,
    MENU_TIMEOUT_MS_DEFAULT,
    SURVEY_KEYS_DEFAULT,
    VOICEMAIL_LEAST_MS_DEFAULT,
    VOICEMAIL_MS_DEFAULT,
    VOICEMAIL_SILENCE_MS_DEFAULT,
    MenuBranch,
    MenuNode,
    SurveyNode,
    VoicemailNode,
)
from signalbox.store import durations


def menu(message: flows_pb2.MenuNode) -> MenuNode:
    """The node of a message."""
    return MenuNode(
        message.prompt,
        tuple(MenuBranch(one.digits, one.next, one.language) for one in message.branches),
        message.no_input,
        message.no_match,
        durations.ms(message, "timeout", MENU_TIMEOUT_MS_DEFAULT),
        message.repeats,
        message.max_digits or _longest(message) or DIGITS_MAX,
        message.terminator,
        durations.ms(message, "inter_digit_timeout", MENU_NEXT_DIGIT_MS_DEFAULT),
        message.no_input_prompt,
        message.no_match_prompt,
        message.variable,
        message.entered,
        message.min_digits or 1,
    )


def _longest(menu: flows_pb2.MenuNode) -> int:
    """Digits of the longest branch; 0 if others can be keyed."""
    return 0 if menu.entered else max((len(one.digits) for one in menu.branches), default=0)


def voicemail(message: flows_pb2.VoicemailNode) -> VoicemailNode:
    """The node of a message."""
    return VoicemailNode(
        message.prompt,
        durations.ms(message, "max_duration", VOICEMAIL_MS_DEFAULT),
        message.next,
        message.finish_keys or KEYS,
        durations.ms(message, "max_silence", VOICEMAIL_SILENCE_MS_DEFAULT),
        not message.no_beep,
        durations.ms(message, "min_duration", VOICEMAIL_LEAST_MS_DEFAULT),
        message.no_message,
    )


def survey(message: flows_pb2.SurveyNode) -> SurveyNode:
    """The node of a message."""
    return SurveyNode(
        message.prompt,
        message.keys or SURVEY_KEYS_DEFAULT,
        message.next,
        durations.ms(message, "timeout", MENU_TIMEOUT_MS_DEFAULT),
        message.repeats,
        message.no_match_prompt,
        message.variable,
    )


def menu_message(node: MenuNode) -> flows_pb2.MenuNode:
    """A node as a message."""
    return flows_pb2.MenuNode(
        prompt=node.prompt,
        branches=[
            flows_pb2.MenuBranch(digits=one.digits, next=one.next, language=one.language) for one in node.branches
        ],
        timeout=durations.message(node.timeout_ms),
        repeats=node.repeats,
        no_input=node.no_input,
        no_match=node.no_match,
        max_digits=node.max_digits,
        terminator=node.terminator,
        inter_digit_timeout=durations.message(node.next_digit_ms),
        no_input_prompt=node.no_input_prompt,
        no_match_prompt=node.no_match_prompt,
        variable=node.variable,
        entered=node.entered,
        min_digits=node.min_digits,
    )


def voicemail_message(node: VoicemailNode) -> flows_pb2.VoicemailNode:
    """A node as a message."""
    return flows_pb2.VoicemailNode(
        prompt=node.prompt,
        max_duration=durations.message(node.max_ms),
        next=node.next,
        finish_keys=node.finish_keys,
        max_silence=durations.message(node.silence_ms),
        no_beep=not node.beep,
        min_duration=durations.message(node.min_ms),
        no_message=node.no_message,
    )


def survey_message(node: SurveyNode) -> flows_pb2.SurveyNode:
    """A node as a message."""
    return flows_pb2.SurveyNode(
        prompt=node.prompt,
        keys=node.keys,
        next=node.next,
        timeout=durations.message(node.timeout_ms),
        repeats=node.repeats,
        no_match_prompt=node.no_match_prompt,
        variable=node.variable,
    )
