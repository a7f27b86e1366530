"""What the coroutine of a call works with, as it sees it: everything outside of SIP and the media of its own call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from signalbox.errors import SignalboxError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from signalbox.api.events.v1 import events_pb2
    from signalbox.api.media.v1 import media_pb2
    from signalbox.api.recording.v1 import recording_pb2
    from signalbox.api.routing.v1 import routing_pb2
    from signalbox.api.types.v1 import flows_pb2
    from signalbox.sip.source import Address
    from signalbox.speech.languages import Language
    from signalbox.speech.manifest import PartAudio


class RoutingAwayError(SignalboxError):
    """No replica of the routing service gave the next step in time."""


class FlowRefusedError(SignalboxError):
    """The routing service refuses to go on: the cursor is none of its own, or a step cannot have ended so."""


class AudioUnavailableError(SignalboxError):
    """What is to be played is not there: the object is gone, or the node has no room, or neither answers."""


class RequestFailedError(SignalboxError):
    """An HTTP service of a tenant gave no good answer."""


class RecordingAwayError(SignalboxError):
    """The sidecar of a media node does not say whether what was asked of a recording was done."""


class NotCapturedError(SignalboxError):
    """The media node captures nothing of a call."""


class NotSentError(SignalboxError):
    """A message was not handed over for sending."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A file that a media node can play."""

    path: str
    seconds: float


@dataclass(frozen=True, slots=True)
class MessageLimits:
    """What is a message: ``least_ms`` from its beginning to its last sound. What came in the last ``trim_ms`` is none
    of it."""

    least_ms: int
    trim_ms: int


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy by which lines are called. ``remote``: its address and port for SIP, IP as text."""

    id: str
    remote: Address


class Routing(Protocol):
    """The routing service."""

    async def proceed(self, request: routing_pb2.ContinueRequest) -> routing_pb2.ContinueResponse:
        """The next step; another replica is asked if one does not answer. Raises RoutingAwayError, FlowRefusedError."""

    def answered(self, call_id: str, line: str) -> None:
        """A line has the call now: told soon, until a replica has taken it."""

    def anchored(self, call_id: str, node: int) -> None:
        """The call is answered, and its media are at the node of that number: told as :meth:`answered`."""


class Audio(Protocol):
    """Files at media nodes."""

    async def prepare(self, node: str, parts: Sequence[media_pb2.AudioPart], *, anew: bool = False) -> Prepared:
        """A file at the node of that id, made of parts. ``anew``: the one given before is not there any more.

        Raises AudioUnavailableError.
        """


class Parts(Protocol):
    """What numbers are spoken of, in the object store."""

    def of(self, language: Language) -> Mapping[str, PartAudio]:
        """The parts of a language by their names; none while it is not known what is stored. Does not wait."""


class Proxies(Protocol):
    """The proxies of the cluster."""

    def ways(self, first: Address) -> Sequence[Proxy]:
        """Those by which a line may be called, in this order; the one with that address comes first."""

    def failed(self, proxy: Proxy) -> None:
        """It did not help: it is the last one to be tried for a while."""


class Requests(Protocol):
    """HTTP services of tenants."""

    async def post(self, node: flows_pb2.RequestNode, tenant: str, body: str) -> Mapping[str, str]:
        """The answer's values by the keys that the node names. Raises RequestFailedError."""


class Messages(Protocol):
    """Short messages."""

    async def send(self, call: routing_pb2.FlowCall, sender: str, to: str, text: str) -> None:
        """Hand one over. Raises NotSentError."""


class Events(Protocol):
    """The trace of calls."""

    def tell(self, event: events_pb2.CallEvent) -> None:
        """Keep an event; proxy, sequence and time are put in here. Never fails and never waits."""


class Promises(Protocol):
    """Recordings that have begun, for those who see to it that none is missing."""

    def promise(self, promise: recording_pb2.Promise) -> None:
        """Tell the recorders of it, soon and until one has taken it."""


class Recordings(Protocol):
    """What is captured at media nodes. ``call_id``: as the node knows it.

    Everything raises RecordingAwayError, and NotCapturedError.
    """

    async def silent(self, node: str, call_id: str, silence_s: float) -> None:
        """Wait until the caller, who is alone, has been silent for so long from now on."""

    async def pause(self, node: str, call_id: str, *, paused: bool) -> None:
        """Capture nothing from now on, or go on."""

    async def end(self, node: str, call_id: str, message: MessageLimits | None = None) -> bool:
        """What was captured is a recording of its own. False: it was no message, and is gone."""


@dataclass(frozen=True, slots=True)
class Ports:
    """All of them."""

    routing: Routing
    audio: Audio
    parts: Parts
    proxies: Proxies
    requests: Requests
    messages: Messages
    events: Events
    promises: Promises
    recordings: Recordings
