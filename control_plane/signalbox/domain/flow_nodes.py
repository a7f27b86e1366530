"""Nodes of call flows that work with variables of the call (:mod:`signalbox.domain.variables`)."""

from __future__ import annotations

from dataclasses import dataclass

REQUEST_TIMEOUT_MS_DEFAULT = 5_000
REQUEST_PORTS = frozenset({80, 443})
"""The well-known ports at which services are asked; no mail server has to read a request."""
REQUEST_PORT_MIN = 1_024
"""From here on any port is one."""
PASSWORD_TRIES_DEFAULT = 3
PASSWORD_TERMINATOR_DEFAULT = "#"
QUEUE_WAIT_MS_DEFAULT = 300_000
QUEUE_LENGTH_DEFAULT = 100
MESSAGE_MAX = 500
"""Longest text of a message, in characters."""


@dataclass(frozen=True, slots=True)
class SetVariableNode:
    """Gives a variable the value that a template has then."""

    name: str
    value: str
    next: str


@dataclass(frozen=True, slots=True)
class ConditionBranch:
    """Where calls go whose variable has one of the values; ``""`` is one that was not set."""

    values: tuple[str, ...]
    next: str


@dataclass(frozen=True, slots=True)
class ConditionNode:
    """Branches by the value of a variable; the first branch that fits is taken."""

    variable: str
    branches: tuple[ConditionBranch, ...]
    otherwise: str


@dataclass(frozen=True, slots=True)
class ReceivedValue:
    """A key of an answer, and the variable that gets its value."""

    key: str
    variable: str


@dataclass(frozen=True, slots=True)
class RequestNode:
    """Asks a service of the tenant and branches by its answer: by the value of ``branch_key``, ``""``: by none.

    ``send`` are names of variables; ``api_key`` is the id of the key whose secret signs the request. Without a good
    answer within ``timeout_ms`` the call goes on at ``failed``.
    """

    url: str
    api_key: str
    otherwise: str
    failed: str
    timeout_ms: int = REQUEST_TIMEOUT_MS_DEFAULT
    send: tuple[str, ...] = ()
    receive: tuple[ReceivedValue, ...] = ()
    branch_key: str = ""
    branches: tuple[ConditionBranch, ...] = ()


def is_request_port(port: int) -> bool:
    """True for 80, 443, and from 1024 on."""
    return port in REQUEST_PORTS or port >= REQUEST_PORT_MIN


@dataclass(frozen=True, slots=True)
class MessageNode:
    """Sends a short message to a number in national form, ``""``: to the caller. ``text`` is a template.

    Where it cannot be sent the call goes on at ``failed``, or if that is ``""`` at ``next``; ``next`` ``""``: the call
    ends.
    """

    sender: str
    text: str
    to: str = ""
    next: str = ""
    failed: str = ""


@dataclass(frozen=True, slots=True)
class PasswordNode:
    """Asks for a password, of which ``sealed`` is what is kept (:mod:`signalbox.domain.passwords`).

    ``wrong_prompt`` comes before the prompt is played again, ``""``: nothing does.
    """

    prompt: str
    sealed: str
    ok: str
    failed: str
    tries: int = PASSWORD_TRIES_DEFAULT
    timeout_ms: int = 5_000
    next_digit_ms: int = 3_000
    terminator: str = PASSWORD_TERMINATOR_DEFAULT
    wrong_prompt: str = ""


@dataclass(frozen=True, slots=True)
class QueueNode:
    """Lets callers wait until a line of the node ``dial`` is free, or they key ``leave_keys``, ``""``: none.

    The place is told every ``announce_ms``, 0: never, between two prompts.
    """

    dial: str
    music: str
    full: str
    timed_out: str
    announce_ms: int = 0
    position_before: str = ""
    position_after: str = ""
    max_wait_ms: int = QUEUE_WAIT_MS_DEFAULT
    max_length: int = QUEUE_LENGTH_DEFAULT
    leave_keys: str = ""
    left: str = ""
