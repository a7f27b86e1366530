"""Calls at a worker with voice: SIP on a clock of its own, a media node that does what it is told, scripted ports."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from google.protobuf import duration_pb2
from signalbox.api.routing.v1 import routing_pb2
from signalbox.api.types.v1 import flows_pb2
from signalbox.ivr import runner
from signalbox.ivr.media.keys import Key
from signalbox.ivr.media.session import MediaSession
from signalbox.ivr.ports import Ports, Prepared
from signalbox.speech.languages import Language
from signalbox.speech.manifest import PartAudio, Source
from signalbox.speech.spoken import parts_of

from support.ivr_media import media_node, worker
from support.ng import FakeNg
from support.rtpengine import sdp
from support.sip_calls import Calls, settle
from support.sip_world import of_invite
from support.wait import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from signalbox.api.events.v1 import events_pb2
    from signalbox.api.media.v1 import media_pb2
    from signalbox.api.recording.v1 import recording_pb2
    from signalbox.bencode import Encodable
    from signalbox.ivr.media.nodes import MediaNodes
    from signalbox.ivr.ports import MessageLimits, Proxy
    from signalbox.ng import Reply
    from signalbox.sip.incoming import IncomingCall
    from signalbox.sip.source import Address

WAIT_S = 20.0
OFFER = sdp("192.0.2.7", 4000)
WRITTEN = sdp("198.51.100.1", 30_000)
CURSOR = ("X-Signalbox-Cursor", "cursor-0")
EDGE = ("X-Signalbox-Edge", "edge-1")
CALL = routing_pb2.FlowCall(
    call_id="call-1", tenant="acme", number="4001234567", caller="02887654321", flow="main", revision=3
)


def seconds(value: float) -> duration_pb2.Duration:
    """As a node has it."""
    duration = duration_pb2.Duration()
    duration.FromMilliseconds(round(value * 1000))
    return duration


def step(node: flows_pb2.FlowNode | None = None, **fields: object) -> routing_pb2.ContinueResponse:
    """A step that is a node."""
    made = routing_pb2.ContinueResponse(node=node, **fields)  # type: ignore[arg-type]
    if node is not None:
        made.node_id = node.id
    return made


def announcing(prompt: str, *, id: str = "hello", answer: bool = False) -> routing_pb2.ContinueResponse:
    """A step that announces."""
    return step(flows_pb2.FlowNode(id=id, announce=flows_pb2.AnnounceNode(prompt=prompt, answer=answer, next="next")))


def end(code: int = 480) -> routing_pb2.ContinueResponse:
    """The end of a flow."""
    return routing_pb2.ContinueResponse(end=routing_pb2.Reject(code=code))


def prompt(id: str) -> routing_pb2.FlowPrompt:
    """Audio; it is its id to who hears it."""
    return routing_pb2.FlowPrompt(
        alaw_object=f"prompts/acme/{id}.alaw.wav",
        alaw_sha256="a" * 64,
        ulaw_object=f"prompts/acme/{id}.ulaw.wav",
        ulaw_sha256="b" * 64,
        duration_ms=500,
    )


class Routing:
    """Gives the steps of a test in their order, whatever it is told; an exception is raised. The last one stays."""

    def __init__(self) -> None:
        self.steps: list[routing_pb2.ContinueResponse | Exception] = []
        self.asked: list[routing_pb2.ContinueRequest] = []
        self.took_calls: list[tuple[str, str]] = []
        self.at: list[tuple[str, int]] = []
        self.prompts: dict[str, routing_pb2.FlowPrompt] = {}

    async def proceed(self, request: routing_pb2.ContinueRequest) -> routing_pb2.ContinueResponse:
        self.asked.append(request)
        found = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        if isinstance(found, Exception):
            raise found
        given = routing_pb2.ContinueResponse()
        given.CopyFrom(found)
        if not given.HasField("end"):
            given.cursor = f"cursor-{len(self.asked)}"
            for id, audio in self.prompts.items():
                given.prompts[id].CopyFrom(audio)
        if not request.HasField("outcome"):
            given.call.CopyFrom(CALL)
        return given

    @property
    def outcomes(self) -> list[routing_pb2.StepOutcome]:
        """What it was told."""
        return [request.outcome for request in self.asked if request.HasField("outcome")]

    def answered(self, call_id: str, line: str) -> None:
        self.took_calls.append((call_id, line))

    def anchored(self, call_id: str, node: int) -> None:
        self.at.append((call_id, node))


class Audio:
    """Files that are named by what is in them: ``welcome``, or ``tone-450 silence-4000``."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[media_pb2.AudioPart]]] = []
        self.anew: list[bool] = []
        self.error: Exception | None = None

    async def prepare(self, node: str, parts: Sequence[media_pb2.AudioPart], *, anew: bool = False) -> Prepared:
        self.asked.append((node, list(parts)))
        self.anew.append(anew)
        if self.error is not None:
            raise self.error
        return Prepared("/audio/" + " ".join(map(_name, parts)), 0.5)


def _name(part: media_pb2.AudioPart) -> str:
    match part.WhichOneof("part"):
        case "stored":
            return part.stored.object.rpartition("/")[2].split(".")[0]
        case "tone":
            return f"tone-{part.tone.frequency_hz}"
    return f"silence-{part.silence_ms}"


class Parts:
    """Spoken parts whose files are named by them."""

    def __init__(self, *languages: Language) -> None:
        self.languages = languages

    def of(self, language: Language) -> Mapping[str, PartAudio]:
        if language not in self.languages:
            return {}
        return {
            name: PartAudio(name.replace(".", "-"), name.replace(".", "-"), 300, Source.SYNTHESIZED)
            for name in parts_of(language)
        }


@dataclass
class Elsewhere:
    """The ports that a call without lines hardly needs; ``answer``, ``error``: of requests and messages.

    ``recorded``: what was asked of recordings. ``silence``: when it comes; ``judged``: what a recording is found to be;
    ``unpausable``, and exceptions in their place, are raised.
    """

    posted: list[tuple[str, str, str]] = field(default_factory=list)
    sent: list[tuple[str, str, str, str]] = field(default_factory=list)
    events: list[events_pb2.CallEvent] = field(default_factory=list)
    promises: list[recording_pb2.Promise] = field(default_factory=list)
    answer: Mapping[str, str] = field(default_factory=dict)
    error: Exception | None = None
    proxies: Sequence[Proxy] = ()
    failures: list[str] = field(default_factory=list)
    recorded: list[str] = field(default_factory=list)
    silence: asyncio.Event | Exception = field(default_factory=asyncio.Event)
    judged: bool | Exception = True
    unpausable: Exception | None = None

    def ways(self, first: Address) -> Sequence[Proxy]:
        return self.proxies

    def failed(self, proxy: Proxy) -> None:
        self.failures.append(proxy.id)

    async def post(self, node: flows_pb2.RequestNode, tenant: str, body: str) -> Mapping[str, str]:
        self.posted.append((node.url, tenant, body))
        if self.error is not None:
            raise self.error
        return self.answer

    async def send(self, call: routing_pb2.FlowCall, sender: str, to: str, text: str) -> None:
        self.sent.append((call.call_id, sender, to, text))
        if self.error is not None:
            raise self.error

    def tell(self, event: events_pb2.CallEvent) -> None:
        self.events.append(event)

    def promise(self, promise: recording_pb2.Promise) -> None:
        self.promises.append(promise)

    async def silent(self, node: str, call_id: str, silence_s: float) -> None:
        self.recorded.append(f"silent {silence_s:g}")
        if isinstance(self.silence, Exception):
            raise self.silence
        await self.silence.wait()

    async def pause(self, node: str, call_id: str, *, paused: bool) -> None:
        self.recorded.append("pause" if paused else "go on")
        if self.unpausable is not None:
            raise self.unpausable

    async def end(self, node: str, call_id: str, message: MessageLimits | None = None) -> bool:
        self.recorded.append("end" if message is None else f"end {message.least_ms} {message.trim_ms}")
        if isinstance(self.judged, Exception):
            raise self.judged
        return self.judged


class World(Calls):
    """A worker ``w1`` at one media node. ``lasts_ms``: how long every file is."""

    def __init__(self, fake: FakeNg, nodes: MediaNodes) -> None:
        super().__init__()
        self.fake = fake
        self.nodes = nodes
        self.lasts_ms = 20
        self.otherwise: dict[str, Encodable | None] = {}
        """Replies of the media node by command; None: none at all."""
        self.routing = Routing()
        self.audio = Audio()
        self.parts = Parts(Language.CHINESE)
        self.elsewhere = Elsewhere()
        here = self.elsewhere
        self.ports = Ports(self.routing, self.audio, self.parts, here, here, here, here, here, here)
        self.runs: list[asyncio.Task[None]] = []
        fake.answer = self._ng

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, **node: object) -> AsyncIterator[World]:
        """``node``: what is different of the media node."""
        async with FakeNg.open() as fake, worker(media_node(fake.address, **node)) as nodes:
            world = cls(fake, nodes)
            yield world
            await world.over()

    async def handler(self, call: IncomingCall) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.runs.append(task)
        await runner.run(call, self.ua, self.nodes, self.ports, "w1")

    def script(self, *steps: routing_pb2.ContinueResponse | Exception, prompts: str = "") -> None:
        """What routing gives; ``prompts``: ids of those that have audio."""
        self.routing.steps = list(steps)
        self.routing.prompts = {id: prompt(id) for id in prompts.split()}

    async def comes(self, *headers: tuple[str, str], body: str = OFFER) -> None:
        """A call comes, by way of a proxy."""
        self.invite = await self.invited([CURSOR, *headers], body=body.encode())

    async def cancelled(self) -> None:
        """The caller gives up."""
        self.arrive(of_invite(self.invite, "CANCEL"))
        await settle()

    async def see(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so."""
        await until(condition, WAIT_S)

    async def sees(self, what: str) -> None:
        """Wait until a message of that method or status was sent."""
        await self.see(lambda: what in self.sent)

    async def plays(self, *files: str) -> None:
        """Wait until these were played, in this order, and nothing else."""
        await self.see(lambda: len(self.played) >= len(files))
        assert self.played == list(files)

    async def over(self) -> None:
        """Wait until all calls are over and freed, and nobody works for one."""
        await self.see(lambda: not self.ua.running and not self.tasks())

    def tasks(self) -> list[asyncio.Task[object]]:
        """What works for the call still."""
        return [one for one in asyncio.all_tasks() if CALL.call_id in one.get_name()]

    async def acknowledged(self) -> None:
        """The call is answered."""
        await self.sees("200")
        await self.asked("ACK")

    async def press(self, keys: str, tag: str = "caller") -> None:
        """Keys, as the node tells them."""
        session = await self.session()
        for key in keys:
            session.key(tag, Key(key))

    async def session(self) -> MediaSession:
        """The media of the call."""
        id = f"w1.{CALL.call_id}"
        await self.see(lambda: self.nodes.session(id) is not None)
        found = self.nodes.session(id)
        assert isinstance(found, MediaSession)
        return found

    @property
    def played(self) -> list[str]:
        """Files, as they began to be played."""
        return [str(one["file"]).removeprefix("/audio/") for one in self.commands("play media")]

    def commands(self, name: str) -> list[Reply]:
        """What the media node was asked of that kind."""
        return [request for _, request in self.fake.requests if request["command"] == name]

    @property
    def steps(self) -> list[tuple[str, str, str, str]]:
        """Events of steps: node, kind, outcome, digits."""
        told = [one.flow_step for one in self.elsewhere.events if one.HasField("flow_step")]
        return [(one.node, one.kind, one.outcome, one.digits) for one in told]

    @property
    def ends(self) -> list[tuple[str, int, str]]:
        """Events of ends: cause, code, detail."""
        told = [one.flow_ended for one in self.elsewhere.events if one.HasField("flow_ended")]
        return [(one.cause, one.code, one.detail) for one in told]

    def _ng(self, request: Reply) -> Encodable | None:
        command = str(request["command"])
        if command == "ping":
            return self.fake.well(request)
        if command in self.otherwise:
            return self.otherwise[command]
        if command in ("offer", "answer"):
            return {"result": "ok", "sdp": WRITTEN}
        return {"result": "ok", "duration": self.lasts_ms} if command == "play media" else {"result": "ok"}
