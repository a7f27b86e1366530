"""What can become of a call, and whose doing it is: the caller's and the called party's, or the network's.

ASR counts answers among all attempts; NER counts as good, besides them, what the called party or the caller did:
busy, no answer, hung up (ITU-T E.425).
"""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """Of a call attempt."""

    ANSWERED = "answered"
    """Both talked, and the caller hung up."""
    BUSY = "busy"
    """The line was busy (486), and was to be."""
    ABANDONED = "abandoned"
    """The caller hung up before anybody answered."""
    NO_ANSWER = "no answer"
    """It rang until the cluster gave up (408, 480), and nobody was to answer."""
    SHED = "shed"
    """503: the cluster takes no more now. Told apart, for a cluster under more than it can bear does right to say
    so."""
    REFUSED = "refused"
    """Any other final response."""
    TIMED_OUT = "timed out"
    """No response, or no final one in time."""
    NO_LINE = "no line"
    """Answered by a call flow, but the line was not reached."""
    SILENT = "silent"
    """Both were there, and one of them heard nothing."""
    CUT = "cut"
    """Ended while both talked, by neither."""
    LEFT_UP = "left up"
    """The caller's BYE did not reach the line."""
    UNFINISHED = "unfinished"
    """The run ended before the call did."""

    @property
    def answered(self) -> bool:
        """It counts for ASR: an answer came, whatever was later."""
        return self in _ANSWERED

    @property
    def failure(self) -> bool:
        """Of the network: it counts against NER."""
        return self not in _BY_PARTIES


_ANSWERED = frozenset({Outcome.ANSWERED, Outcome.NO_LINE, Outcome.SILENT, Outcome.CUT, Outcome.LEFT_UP})
_BY_PARTIES = frozenset({Outcome.ANSWERED, Outcome.BUSY, Outcome.ABANDONED, Outcome.NO_ANSWER, Outcome.UNFINISHED})
