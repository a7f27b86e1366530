"""The form of nodes that work with variables: a part of :mod:`validate_flows`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from signalbox.domain import passwords, variables
from signalbox.domain.flow_nodes import MESSAGE_MAX, is_request_port
from signalbox.errors import FieldViolation
from signalbox.provisioning import validate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from signalbox.api.types.v1 import flows_pb2

CONDITION_BRANCHES_MAX = 100
CONDITION_VALUES_MAX = 100
PASSWORD_TRIES_MAX = 9
QUEUE_LENGTH_MAX = 1_000
URL_MAX = 1_000
KEY_MAX = 64
"""Longest key of an answer."""

_PRINTABLE = re.compile(r"[!-~]+")
_PASSWORD = re.compile(f"[0-9]{{{passwords.FEWEST},{passwords.MOST}}}")
_LEAVE_KEYS = re.compile(r"[0-9*#A-D]{1,4}")
_TERMINATOR = re.compile(r"[*#A-D]")
_SENDER = re.compile(r"[A-Za-z0-9+]{1,20}")
_TELEPHONE = re.compile(r"[0-9]{3,20}")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def optional(id: str, path: str) -> Iterator[FieldViolation]:
    """An id that may not be there yet."""
    return validate.identifier(id, path) if id else iter(())


def different(items: Sequence[str], path: Callable[[int], str], what: str) -> Iterator[FieldViolation]:
    """Items that are all different, those apart that are not there yet."""
    seen: set[str] = set()
    for position, item in enumerate(items):
        if item and item in seen:
            yield FieldViolation(path(position), f"there is {what} {item} already")
        seen.add(item)


def variable(name: str, path: str) -> Iterator[FieldViolation]:
    """The name of a variable that may not be there yet."""
    if name and not variables.is_name(name):
        yield FieldViolation(path, "must be 1 to 32 of a-z, 0-9 and '_', beginning with a letter")


def template(text: str, most: int, path: str) -> Iterator[FieldViolation]:
    """A template of at most so many characters."""
    if len(text) > most:
        yield FieldViolation(path, f"must have at most {most} characters")
    if _CONTROLS.search(text):
        yield FieldViolation(path, "must not have control characters")
    try:
        variables.names(text)
    except variables.TemplateError as error:
        yield FieldViolation(path, str(error))


def set_variable(node: flows_pb2.SetVariableNode, at: str) -> Iterator[FieldViolation]:
    """A variable with its value."""
    yield from variable(node.name, f"{at}.name")
    yield from template(node.value, variables.VALUE_MAX, f"{at}.value")
    yield from optional(node.next, f"{at}.next")


def condition(node: flows_pb2.ConditionNode, at: str) -> Iterator[FieldViolation]:
    """A variable with branches by its values."""
    yield from variable(node.variable, f"{at}.variable")
    yield from _by_values(node.branches, at)
    yield from optional(node.otherwise, f"{at}.otherwise")


def request(node: flows_pb2.RequestNode, at: str) -> Iterator[FieldViolation]:
    """A request with what it sends, receives and branches by."""
    if node.url and (reason := _url_fault(node.url)):
        yield FieldViolation(f"{at}.url", reason)
    if node.HasField("timeout"):
        yield from validate.duration(node.timeout, 1_000, 10_000, f"{at}.timeout")
    for name in ("send", "receive"):
        if len(getattr(node, name)) > variables.SET_MAX:
            yield FieldViolation(f"{at}.{name}", f"must have at most {variables.SET_MAX} entries")
    for position, name in enumerate(node.send):
        yield from variable(name, f"{at}.send[{position}]")
    yield from different(node.send, lambda i: f"{at}.send[{i}]", "variable")
    for position, value in enumerate(node.receive):
        yield from _key(value.key, f"{at}.receive[{position}].key")
        yield from variable(value.variable, f"{at}.receive[{position}].variable")
    yield from different([one.key for one in node.receive], lambda i: f"{at}.receive[{i}].key", "key")
    yield from different([one.variable for one in node.receive], lambda i: f"{at}.receive[{i}].variable", "variable")
    yield from _key(node.branch_key, f"{at}.branch_key")
    yield from _by_values(node.branches, at)
    for name in ("api_key", "otherwise", "failed"):
        yield from optional(getattr(node, name), f"{at}.{name}")


def message(node: flows_pb2.MessageNode, at: str) -> Iterator[FieldViolation]:
    """A short message."""
    if node.sender and not _SENDER.fullmatch(node.sender):
        yield FieldViolation(f"{at}.sender", "must be 1 to 20 of A-Z a-z 0-9 and +")
    if node.to and not _TELEPHONE.fullmatch(node.to):
        yield FieldViolation(f"{at}.to", "must be 3 to 20 digits")
    yield from template(node.text, MESSAGE_MAX, f"{at}.text")
    for name in ("next", "failed"):
        yield from optional(getattr(node, name), f"{at}.{name}")


def is_password(digits: str) -> bool:
    """True for what may be a password."""
    return _PASSWORD.fullmatch(digits) is not None


def password(node: flows_pb2.PasswordNode, at: str) -> Iterator[FieldViolation]:
    """A password, which has been sealed if it is one."""
    for name in ("prompt", "wrong_prompt", "ok", "failed"):
        yield from optional(getattr(node, name), f"{at}.{name}")
    if node.digits:
        good = is_password(node.digits)
        why = "cannot be kept: provisioning.password_key_file is not set" if good else "must be 4 to 20 digits"
        yield FieldViolation(f"{at}.digits", why)
    if node.sealed and not passwords.is_seal(node.sealed):
        yield FieldViolation(f"{at}.sealed", "was not made by this service")
    if node.tries > PASSWORD_TRIES_MAX:
        yield FieldViolation(f"{at}.tries", f"must be 0 to {PASSWORD_TRIES_MAX}")
    if node.HasField("timeout"):
        yield from validate.duration(node.timeout, 1_000, 60_000, f"{at}.timeout")
    if node.HasField("inter_digit_timeout"):
        yield from validate.duration(node.inter_digit_timeout, 1_000, 30_000, f"{at}.inter_digit_timeout")
    if node.terminator and not _TERMINATOR.fullmatch(node.terminator):
        yield FieldViolation(f"{at}.terminator", "must be * # or one of A-D")


def queue(node: flows_pb2.QueueNode, at: str) -> Iterator[FieldViolation]:
    """A queue with its ways out."""
    for name in ("dial", "music", "position_before", "position_after", "full", "timed_out", "left"):
        yield from optional(getattr(node, name), f"{at}.{name}")
    if node.HasField("announce_every"):
        yield from validate.duration(node.announce_every, 10_000, 300_000, f"{at}.announce_every")
    if node.HasField("max_wait"):
        yield from validate.duration(node.max_wait, 10_000, 3_600_000, f"{at}.max_wait")
    if node.max_length > QUEUE_LENGTH_MAX:
        yield FieldViolation(f"{at}.max_length", f"must be 0 to {QUEUE_LENGTH_MAX}")
    if node.leave_keys and not _LEAVE_KEYS.fullmatch(node.leave_keys):
        yield FieldViolation(f"{at}.leave_keys", "must be 1 to 4 of 0-9 * # A-D")
    if node.left and not node.leave_keys:
        yield FieldViolation(f"{at}.left", "is for leave_keys alone")


def _url_fault(url: str) -> str:
    """What is wrong with the address of a service; "" if nothing is."""
    if len(url) > URL_MAX or not _PRINTABLE.fullmatch(url):
        return f"must be at most {URL_MAX} printable ASCII characters"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return f"is no URL: {error}"
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        return "must be http or https with a host"
    if port is not None and not is_request_port(port):
        return "must have port 80, 443, or one from 1024 on"
    if "@" in parts.netloc or "#" in url:
        return "must not have a user or a fragment"
    return ""


def _key(key: str, path: str) -> Iterator[FieldViolation]:
    """A key of an answer that may not be there yet."""
    if len(key) > KEY_MAX:
        yield FieldViolation(path, f"must have at most {KEY_MAX} characters")
    if _CONTROLS.search(key):
        yield FieldViolation(path, "must not have control characters")


def _by_values(branches: Sequence[flows_pb2.ConditionBranch], at: str) -> Iterator[FieldViolation]:
    """Branches by values that are all different."""
    if len(branches) > CONDITION_BRANCHES_MAX:
        yield FieldViolation(f"{at}.branches", f"must have at most {CONDITION_BRANCHES_MAX} entries")
    places: dict[str, str] = {}
    for position, branch in enumerate(branches):
        own = f"{at}.branches[{position}]"
        if len(branch.values) > CONDITION_VALUES_MAX:
            yield FieldViolation(f"{own}.values", f"must have at most {CONDITION_VALUES_MAX} entries")
        for i, value in enumerate(branch.values):
            yield from _value(value, f"{own}.values[{i}]")
            if value in places:
                yield FieldViolation(f"{own}.values[{i}]", f'"{value}" is {places[value]} already')
            places.setdefault(value, f"branches[{position}].values[{i}]")
        yield from optional(branch.next, f"{own}.next")


def _value(value: str, path: str) -> Iterator[FieldViolation]:
    """What a variable can be compared with."""
    if len(value) > variables.VALUE_MAX:
        yield FieldViolation(path, f"must have at most {variables.VALUE_MAX} characters")
    if _CONTROLS.search(value):
        yield FieldViolation(path, "must not have control characters")
