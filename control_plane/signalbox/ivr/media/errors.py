"""What can be wrong with the media of a call.

::

    MediaError
     ├─ NoMediaNodeError          no node can take the call; tells why of each
     ├─ UnusableDescriptionError  what a party says allows no audio with us: 488 for an offer
     ├─ MediaRefusedError         the node said no; the call goes on
     ├─ MediaLostError            the node, or what it knew of the call, is gone: the call cannot go on
     └─ MediaStateError           asked for at the wrong time: a mistake of who asks
"""

from __future__ import annotations

from signalbox.errors import SignalboxError


class MediaError(SignalboxError):
    """Base. Never sent over gRPC."""


class NoMediaNodeError(MediaError):
    """No node can take the call. ``reasons``: why, by the id of each node; empty: none is known."""

    def __init__(self, reasons: dict[str, str]) -> None:
        told = "; ".join(f"{id}: {reason}" for id, reason in reasons.items())
        super().__init__(f"no media node takes the call: {told or 'none is known'}")
        self.reasons = reasons


class UnusableDescriptionError(MediaError):
    """A session description has no audio that we can take part in. ``why``: what is wrong with it."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"session description: {reason}")
        self.why = reason


class MediaRefusedError(MediaError):
    """The node refused a command, and has the call still."""


class MediaLostError(MediaError):
    """The node is gone, or it has lost the call. Whatever waits for something of this call gets this."""


class MediaStateError(MediaError):
    """A command that the state of the session does not allow."""

    def __init__(self, command: str, state: str) -> None:
        super().__init__(f"{command} is not possible: the session is {state}")
