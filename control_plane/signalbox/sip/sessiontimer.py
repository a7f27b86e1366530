"""Session timers: who refreshes a call, and when it is over if nobody does (RFC 4028). Pure: time is told as data."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from signalbox.sip import grammar
from signalbox.sip.errors import MessageError
from signalbox.sip.reliable import has_option

if TYPE_CHECKING:
    from signalbox.sip.message import Message, Request, Response

OPTION = "timer"
LEAST_S = 90
"""No session interval is shorter, and Min-SE is this where it isn't told (section 5)."""
BYE_BEFORE_S = 32
"""Who waits for a refresh says BYE so long before the end, or a third of the interval (section 10)."""

_FORM = re.compile(rf"{grammar.WS}([0-9]++)({grammar.PARAMS}){grammar.WS}")


@dataclass(frozen=True, slots=True)
class Policy:
    """``interval_s``: what we want; ``least_s``: what we take, at least LEAST_S; ``always``: have a timer even if the
    caller asks for none; ``refresh``: do it ourselves where the choice is ours."""

    interval_s: int = 1_800
    least_s: int = LEAST_S
    always: bool = True
    refresh: bool = False

    def __post_init__(self) -> None:
        if not LEAST_S <= self.least_s <= self.interval_s:
            raise ValueError(f"the least interval must be at least {LEAST_S} s, the wanted one no less than that")


@dataclass(frozen=True, slots=True)
class Refresh:
    """What was agreed: ``by_us``: we refresh, else the other party; ``interval_s``: the call is over so long after the
    last 2xx to an INVITE or UPDATE."""

    by_us: bool
    interval_s: int

    @property
    def refresh_after_s(self) -> float:
        """When whoever refreshes should do it."""
        return self.interval_s / 2

    @property
    def end_after_s(self) -> float:
        """When to say BYE if no refresh came, or ours had no answer."""
        return self.interval_s - min(BYE_BEFORE_S, self.interval_s / 3)


@dataclass(frozen=True, slots=True)
class SessionExpires:
    """``refresher``: ``uac`` or ``uas`` of the transaction that it stands in, "" if it isn't told."""

    interval_s: int
    refresher: str = ""

    @classmethod
    def parse(cls, text: str, field: str = "Session-Expires") -> SessionExpires:
        """Raises MessageError (section 4)."""
        seconds, params = _delta(text, field)
        refresher = (params.get("refresher") or "").lower()
        if refresher not in ("", "uac", "uas"):
            raise MessageError(field, "must have uac or uas for refresher")
        return cls(seconds, refresher)

    def __str__(self) -> str:
        return f"{self.interval_s};refresher={self.refresher}" if self.refresher else str(self.interval_s)


def session_expires(message: Message) -> SessionExpires | None:
    """That of a message, if it has one. Raises MessageError."""
    text = message.headers.get("Session-Expires")
    return None if text is None else SessionExpires.parse(text)


def min_se_s(message: Message) -> int | None:
    """Min-SE of a message in seconds, if it has one. Raises MessageError (section 5)."""
    text = message.headers.get("Min-SE")
    return None if text is None else _delta(text, "Min-SE")[0]


def ask(policy: Policy, agreed: Refresh | None = None, least_s: int = LEAST_S) -> tuple[tuple[str, str], ...]:
    """Header fields of our INVITE or UPDATE, besides ``timer`` in Supported (sections 7.1 and 7.4).

    ``agreed``: what holds in the dialog, and is kept; ``least_s``: the greatest Min-SE that was told in it.
    """
    interval_s = max(policy.interval_s if agreed is None else agreed.interval_s, least_s)
    refresher = "" if agreed is None else "uac" if agreed.by_us else "uas"
    if agreed is None and policy.refresh:
        refresher = "uac"
    fields = (("Session-Expires", str(SessionExpires(interval_s, refresher))),)
    return (*fields, ("Min-SE", str(least_s))) if least_s > LEAST_S else fields


def ask_again_s(refused: Response, least_s: int = LEAST_S) -> int:
    """``least_s`` of the next :func:`ask` after a 422 (section 7.3). Raises MessageError if it tells nothing greater
    than what was kept already: asking again would bring the same."""
    told = min_se_s(refused)
    if told is None:
        raise MessageError("Min-SE", "is missing")
    if told <= least_s:
        raise MessageError("Min-SE", f"must be above {least_s}, which was kept")
    return told


def agreed(response: Response) -> Refresh | None:
    """What a 2xx to our INVITE or UPDATE says (section 7.2): None for no timer. Raises MessageError.

    Where nobody is named we refresh. An interval below the least of the RFC counts as that, lest a peer has us send
    requests without end.
    """
    told = session_expires(response)
    if told is None:
        return None
    return Refresh(told.refresher != "uas", max(told.interval_s, LEAST_S))


def answer(request: Request, policy: Policy) -> tuple[Refresh | None, tuple[tuple[str, str], ...]]:
    """What holds after our 2xx to an INVITE or UPDATE, and the header fields of the 2xx (section 9).

    Raises MessageError with code 422 and Min-SE for an interval that is too short. Who can't be told so, for want of
    ``timer`` in Supported, gets the least interval instead (erratum 1687).
    """
    supported = has_option(request, "Supported", OPTION) or has_option(request, "Require", OPTION)
    told = session_expires(request)
    least_s = max(min_se_s(request) or LEAST_S, LEAST_S)
    if told is None:
        if not policy.always:
            return None, ()
        interval_s = max(policy.interval_s, least_s)
    elif told.interval_s >= policy.least_s:
        interval_s = min(told.interval_s, max(policy.interval_s, least_s))
    elif supported:
        raise MessageError(
            "Session-Expires", f"is below {policy.least_s}", code=422, headers=[("Min-SE", str(policy.least_s))]
        )
    else:
        interval_s = policy.least_s
    refresher = "uas"
    if supported:
        refresher = (told.refresher if told else "") or ("uas" if policy.refresh else "uac")
    fields = (("Session-Expires", str(SessionExpires(interval_s, refresher))),)
    return Refresh(refresher == "uas", interval_s), ((*fields, ("Require", OPTION)) if supported else fields)


def _delta(text: str, field: str) -> tuple[int, grammar.Params]:
    found = _FORM.fullmatch(text)
    if found is None:
        raise MessageError(field, "must be whole seconds and parameters")
    return grammar.number(found[1], field, grammar.SECONDS_MAX), grammar.params(found[2], field)
