"""Flows of a worker with lines: a caller, a worker whose routing is a script, and lines behind a proxy.

SIP is our own at all of them, on loopback; media are a real rtpengine's. The proxy answers as the line would: what a
real one does to the messages is tested elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from signalbox.api.routing.v1 import routing_pb2
from signalbox.api.types.v1 import types_pb2
from signalbox.ivr import runner
from signalbox.ivr.media.session import MediaSession
from signalbox.ivr.ports import AudioUnavailableError, Ports, Prepared, Proxy
from signalbox.sip.ended import CallOverError
from signalbox.sip.headers import NameAddr
from signalbox.sip.offering import OfferRefusedError
from signalbox.sip.outgoing import Invitation
from signalbox.sip.sdp import SessionDescription
from signalbox.sip.transactions.layer import Transactions
from signalbox.sip.transport import Transports
from signalbox.sip.useragent import UserAgent
from signalbox.speech.manifest import PartAudio, Source
from signalbox_local.rtp_party import RtpParty, tone

from support.ivr_media import sent_to
from support.ports import free_port
from support.wait import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence

    from signalbox.api.events.v1 import events_pb2
    from signalbox.api.media.v1 import media_pb2
    from signalbox.api.recording.v1 import recording_pb2
    from signalbox.ivr.ports import MessageLimits, Recordings
    from signalbox.sip.incoming import IncomingCall
    from signalbox.sip.message import Response
    from signalbox.sip.outgoing import OutgoingCall
    from signalbox.sip.source import Address
    from signalbox.sip.useragent import Handler

    from support.ivr_media import Desk

HOST = "127.0.0.1"
WAIT_S = 20.0
CALL = "parent-1"
CALLER_TONE = 300
RINGING_TONE = BUSY_TONE = 450
PROMPTS = {"ring-back": 1000, "music": 1100, "whisper": 1200, "before": 1300, "after": 1400}
"""What each prompt sounds like, Hz."""
DIGITS = {digit: 1500 + 100 * int(digit) for digit in "0123456789"}
WORD_TONE = 2600
"""All that is spoken and no digit."""
PROMPT_S = 0.4


@contextlib.asynccontextmanager
async def agent(handler: Handler) -> AsyncIterator[tuple[UserAgent, int]]:
    """A user agent and its port, of UDP and TCP. In the end nothing of its calls may be left."""
    transports, port = Transports(), free_port()
    ua = UserAgent(Transactions(transports), handler)
    await transports.listen_udp(HOST, port)
    await transports.listen_tcp(HOST, port)
    try:
        yield ua, port
        await until(lambda: not ua.calls and not ua.sessions and not ua.running, WAIT_S)
    finally:
        ua.transactions.close()
        await transports.close()


class Line:
    """A telephone at the end of a leg; ``behave`` is what it does with a call.

    ``calls`` are all that came; ``hertz`` is what it says once it has answered, or before with :meth:`talks_early`.
    """

    def __init__(self, party: RtpParty, hertz: int) -> None:
        self.party = party
        self.hertz = hertz
        self.calls: list[IncomingCall] = []
        self.behave: Callable[[IncomingCall], Coroutine[object, object, None]] = self.answers
        self.may_answer = asyncio.Event()
        """What :meth:`rings` waits for."""

    @property
    def call(self) -> IncomingCall:
        """The last one."""
        return self.calls[-1]

    async def answers(self, call: IncomingCall) -> None:
        """Rings and answers at once."""
        call.ring()
        await self._answer(call)

    async def rings(self, call: IncomingCall) -> None:
        """Rings, and answers when it may."""
        call.ring()
        await self.may_answer.wait()
        await self._answer(call)

    async def talks_early(self, call: IncomingCall) -> None:
        """Is heard before it answers, which it does when it may."""
        call.ring(183, SessionDescription.parse(self.party.description()))
        self._talk(call)
        await self.may_answer.wait()
        await self._answer(call)

    def refuses(self, status: int, *, after_ringing: bool = False) -> None:
        """From now on."""

        async def refuse(call: IncomingCall) -> None:
            if after_ringing:
                call.ring()
            call.reject(status)

        self.behave = refuse

    async def answers_without_audio(self, call: IncomingCall) -> None:
        """With an answer that refuses all media."""
        port = f"m=audio {self.party.address[1]}"
        await call.answer(SessionDescription.parse(self.party.description().replace(port, "m=audio 0")))

    async def change(self, direction: str, *formats: str) -> str:
        """Offer something else: the direction that it is answered, or the status that refuses it."""
        offer = SessionDescription.parse(self.party.description(*formats, direction=direction))
        try:
            answer = await self.call.change(offer)
        except OfferRefusedError as error:
            return str(error.code)
        return answer.direction(answer.media[0])

    async def leave(self) -> None:
        """Hang up."""
        self.call.hang_up()

    async def take(self, call: IncomingCall) -> None:
        """A call comes."""
        self.calls.append(call)
        call.on_offer = self._moved
        behaving = asyncio.ensure_future(self.behave(call))
        await call.over()
        behaving.cancel()
        with contextlib.suppress(CallOverError, asyncio.CancelledError):
            await behaving

    async def _moved(self, offer: SessionDescription) -> SessionDescription:
        """It is described another place for its media."""
        self.party.talk_to(sent_to(str(offer)), tone(self.hertz))
        return SessionDescription.parse(self.party.description())

    async def _answer(self, call: IncomingCall) -> None:
        # Before: what it says from the first moment on is to be heard.
        self._talk(call)
        await call.answer(SessionDescription.parse(self.party.description()))

    def _talk(self, call: IncomingCall) -> None:
        assert call.offer is not None
        self.party.talk_to(sent_to(str(call.offer)), tone(self.hertz))


class Script:
    """Routing that gives these steps, one after the other, and then the end. ``outcomes``: how they ended."""

    def __init__(self, steps: Sequence[routing_pb2.ContinueResponse]) -> None:
        self.outcomes: list[routing_pb2.StepOutcome] = []
        self.talking: list[bool] = []
        self.lines: list[str] = []
        self._steps = list(steps)
        self._at = 0

    async def proceed(self, request: routing_pb2.ContinueRequest) -> routing_pb2.ContinueResponse:
        """The next one."""
        if request.HasField("outcome"):
            self.outcomes.append(request.outcome)
            self.talking.append(request.talking)
        self._at += 1
        if self._at > len(self._steps):
            return routing_pb2.ContinueResponse(end=routing_pb2.Reject(code=480))
        step = self._steps[self._at - 1]
        step.cursor = f"cursor-{self._at}"
        for id in PROMPTS:
            step.prompts[id].alaw_object = id
        if self._at == 1:
            step.call.call_id, step.call.tenant, step.call.number = CALL, "acme", "4001234567"
            step.call.media = types_pb2.MEDIA_MODE_ANCHOR
        return step

    def answered(self, call_id: str, line: str) -> None:
        """A line has the call."""
        assert call_id == CALL
        self.lines.append(line)

    def anchored(self, call_id: str, node: int) -> None:
        """Its media are at a node."""
        assert call_id == CALL
        assert node

    @property
    def kinds(self) -> list[str]:
        """The outcomes by name."""
        return [str(one.WhichOneof("outcome")) for one in self.outcomes]


class _Parts(dict[str, PartAudio]):
    """Of all names."""

    def __bool__(self) -> bool:
        return True

    def __missing__(self, name: str) -> PartAudio:
        return PartAudio(name, name, 100, Source.RECORDED)


@dataclass
class FakePorts:
    """What the calls of a worker have of everything else."""

    desk: Desk
    proxies_at: Sequence[Proxy]
    script: Script = field(default_factory=lambda: Script([]))
    events: list[events_pb2.CallEvent] = field(default_factory=list)
    asked_of: list[Address] = field(default_factory=list)
    """Addresses that ways were asked for."""
    failed_ones: list[str] = field(default_factory=list)
    """Ids of proxies that were of no help."""
    promises: list[recording_pb2.Promise] = field(default_factory=list)
    recordings: Recordings | None = None
    """A real sidecar's."""
    recorded: list[str] = field(default_factory=list)
    """What the sidecar was asked to do to recordings, if there is none."""
    late: dict[str, asyncio.Event] = field(default_factory=dict)
    """Prompts whose objects the store gives when these are set."""
    gone: set[str] = field(default_factory=set)
    """Prompts whose objects the store has not."""

    def ports(self) -> Ports:
        """All of them; what lines do not need is missing."""
        return Ports(
            routing=self.script,
            audio=self,
            parts=self,
            proxies=self,
            requests=None,  # type: ignore[arg-type]
            messages=None,  # type: ignore[arg-type]
            events=self,
            promises=self,
            recordings=self.recordings or self,
        )

    async def prepare(self, node: str, parts: Sequence[media_pb2.AudioPart], *, anew: bool = False) -> Prepared:
        """A file at the node."""
        for name in [part.stored.object for part in parts]:
            if name in self.late:
                await self.late[name].wait()
            if name in self.gone:
                raise AudioUnavailableError(f"{name} is gone")
        codes = b"".join(map(self._codes, parts))
        return Prepared(self.desk.file(codes), len(codes) / 8000)

    def of(self, language: object) -> Mapping[str, PartAudio]:
        """Each part is stored under its own name."""
        return _Parts()

    def ways(self, first: Address) -> Sequence[Proxy]:
        """All proxies."""
        self.asked_of.append(first)
        return self.proxies_at

    def failed(self, proxy: Proxy) -> None:
        """One was of no help."""
        self.failed_ones.append(proxy.id)

    def tell(self, event: events_pb2.CallEvent) -> None:
        """An event."""
        self.events.append(event)

    def promise(self, promise: recording_pb2.Promise) -> None:
        """Of a recording."""
        self.promises.append(promise)

    async def silent(self, node: str, call_id: str, silence_s: float) -> None:
        """Nobody ever is."""
        await asyncio.get_running_loop().create_future()

    async def pause(self, node: str, call_id: str, *, paused: bool) -> None:
        """Of a recording."""
        self.recorded.append("pause" if paused else "go on")

    async def end(self, node: str, call_id: str, message: MessageLimits | None = None) -> bool:
        """Of a recording."""
        self.recorded.append("end")
        return True

    @staticmethod
    def _codes(part: media_pb2.AudioPart) -> bytes:
        if part.WhichOneof("part") == "silence_ms":
            return b"\xd5" * (8 * part.silence_ms)
        if part.WhichOneof("part") == "tone":
            return tone(part.tone.frequency_hz, part.tone.duration_ms / 1000)
        name = part.stored.object
        if name in PROMPTS:
            return tone(PROMPTS[name], PROMPT_S)
        # A spoken digit, "prompts/_parts/zh-CN/zh.d4.alaw.wav".
        digits = [one for one in name.split("/")[-1] if one in DIGITS]
        return tone(DIGITS[digits[0]] if len(digits) == 1 else WORD_TONE, 0.3)


class World:
    """A worker, its caller and its lines. ``flow``: what the next call does."""

    def __init__(
        self, desk: Desk, ports: FakePorts, worker: Address, caller: UserAgent, caller_at: Address, party: RtpParty
    ) -> None:
        self.desk = desk
        self.ports = ports
        self.party = party
        self.worker = worker
        self.caller_at = caller_at
        """Where the caller's INVITE comes from."""
        self.lines: dict[str, Line] = {}
        self.call: OutgoingCall
        self.events = True
        """The caller presses keys as RTP events, and not as tones in its sound."""
        self.progress: list[int] = []
        """Provisional responses that came for the caller."""
        self._caller = caller

    @property
    def script(self) -> Script:
        """What routing says, and was told."""
        return self.ports.script

    @property
    def media(self) -> MediaSession:
        """Of the call."""
        session = self.desk.nodes.session(f"w1.{CALL}")
        assert isinstance(session, MediaSession)
        return session

    def flow(self, *steps: routing_pb2.ContinueResponse) -> None:
        """Of calls from now on."""
        self.ports.script = Script(steps)

    async def begin(self, *steps: routing_pb2.ContinueResponse, protocol: str = "udp") -> None:
        """The caller calls."""
        self.flow(*steps)
        sip = NameAddr.parse('"Alice" <sip:13800001234@192.0.2.1>')
        invitation = Invitation(
            "sip:ivr@worker.invalid",
            sip,
            NameAddr.parse("<sip:4001234567@192.0.2.1>"),
            protocol,
            self.worker,
            (
                ("X-Signalbox-Cursor", "cursor-0"),
                ("P-Asserted-Identity", "<tel:+8613800001234>"),
                ("Privacy", "id"),
                ("Diversion", "<sip:somebody@192.0.2.1>"),
            ),
            max_forwards=20,
        )
        offer = SessionDescription.parse(self.party.description(events=self.events))
        self.call = call = self._caller.call(invitation, offer)
        call.on_progress = self._progress

    async def answered(self) -> None:
        """Wait until the worker has answered; the caller talks."""
        async with asyncio.timeout(WAIT_S):
            await self.call.answered()
        assert self.call.remote is not None
        self.party.talk_to(sent_to(str(self.call.remote)), tone(CALLER_TONE))

    async def ended(self) -> None:
        """Wait until the flow is at its end, and the caller is told."""
        async with asyncio.timeout(WAIT_S):
            await self.call.over()
        await until(lambda: any(one.HasField("flow_ended") for one in self.ports.events), WAIT_S)

    async def hear_each_other(self, line: Line) -> None:
        """Caller and line."""
        await until(lambda: self.party.hears(line.hertz) and line.party.hears(CALLER_TONE), WAIT_S)

    async def left_with_nothing(self) -> None:
        """Nothing of calls is left at rtpengine, or at the lines."""
        calls = [call for line in self.lines.values() for call in line.calls]
        await until(lambda: all(call.ended is not None for call in calls), WAIT_S)
        node = self.desk.nodes.candidates()[0]
        await until(lambda: not node.busy, WAIT_S)
        assert len(node.sessions) == 0
        assert node.players == 0
        ids = [f"w1.{CALL}", *(f"w1.{CALL}.{n}" for n in range(2, 5))]
        assert [id for id in ids if await node.has(id)] == []

    def _progress(self, response: Response) -> None:
        self.progress.append(response.status)
        if response.body:
            self.party.talk_to(sent_to(response.body.decode()), tone(CALLER_TONE))


@contextlib.asynccontextmanager
async def world(desk: Desk, *lines: str, before: Sequence[Proxy] = ()) -> AsyncIterator[World]:
    """A world with lines of these names. ``before``: proxies that come first."""
    async with contextlib.AsyncExitStack() as stack:
        made: World

        async def take_leg(call: IncomingCall) -> None:
            await made.lines[call.request.target.user or ""].take(call)

        async def take_call(call: IncomingCall) -> None:
            await runner.run(call, worker, desk.nodes, made.ports.ports(), "w1")

        async def nobody(call: IncomingCall) -> None:
            call.reject(403)

        _, proxy = await stack.enter_async_context(agent(take_leg))
        ports = FakePorts(desk, [*before, Proxy("edge-1", (HOST, proxy))])
        worker, worker_port = await stack.enter_async_context(agent(take_call))
        caller, caller_port = await stack.enter_async_context(agent(nobody))
        party = await stack.enter_async_context(RtpParty.open())
        made = World(desk, ports, (HOST, worker_port), caller, (HOST, caller_port), party)
        desk.listen_to_all()
        for at, name in enumerate(lines):
            line = await stack.enter_async_context(RtpParty.open())
            made.lines[name] = Line(line, 600 + 100 * at)
        yield made
        if hasattr(made, "call"):
            made.call.hang_up()
        await made.left_with_nothing()


def branch(line: str) -> routing_pb2.Branch:
    """A line as a step names it."""
    return routing_pb2.Branch(uri=f"sip:{line}@192.0.2.99:5060", line=line, leg=f"leg-of-{line}")


def stage(*lines: str, ring_s: float = 30.0, jumps: tuple[int, int, int] = (486, 480, 0)) -> routing_pb2.Stage:
    """Lines that ring together. ``jumps``: on busy, no answer, failure."""
    busy, no_answer, failed = jumps
    return routing_pb2.Stage(
        branches=[branch(line) for line in lines],
        ring_time_ms=round(ring_s * 1000),
        on_busy=busy,
        on_no_answer=no_answer,
        on_failed=failed,
    )


def dial(*stages: routing_pb2.Stage, **node: object) -> routing_pb2.ContinueResponse:
    """A step that rings. ``node``: fields of its DialNode."""
    step = routing_pb2.ContinueResponse(node_id="agents", dial=routing_pb2.Dial(stages=stages))
    step.dial_node.SetInParent()
    for name, value in node.items():
        setattr(step.dial_node, name, value)
    return step


def transfer(*stages: routing_pb2.Stage, **node: object) -> routing_pb2.ContinueResponse:
    """A step that transfers. ``node``: fields of its TransferNode."""
    step = routing_pb2.ContinueResponse(node_id="on", dial=routing_pb2.Dial(stages=stages))
    step.transfer_node.SetInParent()
    for name, value in node.items():
        setattr(step.transfer_node, name, value)
    return step


def untransferable(**node: object) -> routing_pb2.ContinueResponse:
    """A step that would transfer, attended, while everybody is busy."""
    step = transfer(attended=True, **node)
    step.in_vain.busy = True
    return step


def announced(*, answer: bool = True) -> routing_pb2.ContinueResponse:
    """A step that says something first."""
    step = routing_pb2.ContinueResponse(node_id="hello")
    step.node.id = "hello"
    step.node.announce.prompt, step.node.announce.answer = "before", answer
    return step


def queue(**node: object) -> routing_pb2.ContinueResponse:
    """A step that waits for the lines of :func:`dial`. ``node``: fields of its QueueNode, and ``position``."""
    step = routing_pb2.ContinueResponse(node_id="in-line", queue_position=int(str(node.pop("position", 0))))
    step.node.id = "in-line"
    step.node.queue.dial, step.node.queue.music = "agents", "music"
    for name, value in node.items():
        setattr(step.node.queue, name, value)
    return step
