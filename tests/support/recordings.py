"""Recordings in a catalog and an object store as recorders leave them, and the service that gives them out."""

from __future__ import annotations

import hashlib
import random
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf import json_format
from signalbox import rpc
from signalbox.api.provisioning.v1 import provisioning_pb2, recordings_pb2_grpc
from signalbox.api.provisioning.v1 import recordings_pb2 as pb
from signalbox.api.recording.v1 import recording_pb2, recording_pb2_grpc
from signalbox.api.routing.v1 import routing_pb2
from signalbox.api.types.v1 import recordings_pb2, types_pb2
from signalbox.catalog import names
from signalbox.catalog.catalog import Catalog
from signalbox.provisioning.access import OPERATOR, Principal
from signalbox.provisioning.collection import Clock, utc_now
from signalbox.provisioning.credentials import Authenticator
from signalbox.provisioning.recordings.captures import Captures
from signalbox.provisioning.recordings.service import RecordingService
from signalbox.settings import ClientTlsSettings, DatabaseSettings, ObjectsSettings
from signalbox.store import codec, keys
from signalbox.store.base import Put
from signalbox.store.objectstore import once

from support import provisioning
from support.documents import open_vault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from signalbox.store.base import Store
    from signalbox.store.envelope import Vault

NODE = 3
ANSWERED_MS = 1_769_851_800_000
"""2026-01-31 09:30:00 UTC."""
DAY_MS = 24 * 3600 * 1000
WAV = types_pb2.RECORDING_FORMAT_WAV


def sound(seed: int = 1, size: int = 200_000) -> bytes:
    """What is as long as some pieces of the envelope, and unlike any other."""
    return random.Random(seed).randbytes(size)


def facts(call_id: str, tenant: str = "acme", **fields: Any) -> recording_pb2.CallFacts:
    """What the proxy knows of a call."""
    given = {"number": "4001234567", "caller": "13800001234", "line": "desk", "media_node": NODE, **fields}
    answered = given.pop("answer_ms", ANSWERED_MS)
    made = recording_pb2.CallFacts(call_id=call_id, tenant=tenant, **given)
    made.answer_time.FromMilliseconds(answered)
    return made


@dataclass
class Recorder:
    """Promises, and keeps promises, through the catalog and the vault."""

    opened: Callable[[], Catalog]
    vault: Vault
    sequence: int = 0

    @property
    def catalog(self) -> Catalog:
        """Where they are listed."""
        return self.opened()

    async def promise(self, call_id: str, tenant: str = "acme", **fields: Any) -> None:
        """A call that is being recorded."""
        self.sequence += 1
        one = recording_pb2.Promise(proxy="edge-1", sequence=self.sequence, facts=facts(call_id, tenant, **fields))
        await self.catalog.promise([one])

    async def store(
        self,
        call_id: str,
        content: bytes | None = None,
        tenant: str = "acme",
        *,
        expire_ms: int = ANSWERED_MS + 180 * DAY_MS,
        reasons: tuple[str, ...] = (),
        **fields: Any,
    ) -> recordings_pb2.Recording:
        """A recording that is stored."""
        content = sound() if content is None else content
        known = facts(call_id, tenant, **fields)
        begun = await self.catalog.begin(known)
        made = recordings_pb2.Recording(
            tenant=tenant,
            call_id=call_id,
            state=recordings_pb2.RECORDING_STATE_STORED,
            number=known.number,
            caller=known.caller,
            line=known.line,
            media_node=known.media_node,
            answer_time=known.answer_time,
            start_time=known.answer_time,
            format=WAV,
            sample_rate=8000,
            size_bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            partial=bool(reasons),
            reasons=reasons,
        )
        made.duration.FromMilliseconds(12_500)
        made.expire_time.FromMilliseconds(expire_ms)
        audio = names.audio(known, begun.attempt, WAV)
        await self.vault.put(tenant, audio, once(content))
        await self.vault.put(tenant, names.metadata(audio), once(json_format.MessageToJson(made).encode()))
        assert await self.catalog.finish(made, begun.attempt, audio)
        return made


@dataclass
class Node(recording_pb2_grpc.CaptureServiceServicer):
    """The sidecar of a media node, as far as it pauses."""

    asked: list[tuple[str, bool]] = field(default_factory=list)
    error: Exception | None = None

    @rpc.serve_errors
    async def SetPaused(self, request: recording_pb2.SetPausedRequest, context: Any) -> recording_pb2.SetPausedResponse:
        if self.error is not None:
            raise self.error
        self.asked.append((request.call_id, request.paused))
        return recording_pb2.SetPausedResponse()


async def register(store: Store, address: str, number: int = NODE) -> None:
    """Put a media node into the registry."""
    node = routing_pb2.MediaNode(id=f"media-{number}", number=number, healthy=True, captures_address=address)
    await store.commit([], [Put(keys.live_media(node.id), codec.encode(node))])


@dataclass
class Tapes:
    """The service, a recorder beside it, and media node 3."""

    store: Store
    folder: Path
    catalog: Catalog
    recorder: Recorder
    service: RecordingService
    api: recordings_pb2_grpc.RecordingServiceStub
    rules: provisioning.Stub
    node: Node

    async def get(self, call_id: str, **fields: Any) -> recordings_pb2.Recording:
        """What is known of a recording."""
        found: recordings_pb2.Recording = await self.api.GetRecording(pb.GetRecordingRequest(call_id=call_id, **fields))
        return found

    async def download(self, call_id: str, offset: int = 0, tenant: str = "", api: Any = None) -> bytes:
        """A recording's content."""
        request = pb.DownloadRecordingRequest(tenant=tenant, call_id=call_id, offset=offset)
        return b"".join([one.content async for one in (api or self.api).DownloadRecording(request)])

    async def happened(self, call_id: str = "") -> list[tuple[str, str, str]]:
        """Kind, call and actor of all events but of those that recorders make."""
        answer = await self.api.ListRecordingEvents(pb.ListRecordingEventsRequest(call_id=call_id))
        return [
            (kind_of(one), one.call_id, one.actor)
            for one in answer.events
            if one.kind != recordings_pb2.RECORDING_EVENT_KIND_STORED
        ]

    def files(self) -> list[Path]:
        """The objects that are in the folder."""
        return sorted(path for path in (self.folder / "recordings").rglob("*") if path.is_file())


async def caller_of(api: Tapes, tenant: str, role: types_pb2.Role.ValueType) -> Any:
    """A client with an API key."""
    if tenant:
        await provisioning.reason_of(
            api.rules.CreateTenant(provisioning_pb2.CreateTenantRequest(tenant=types_pb2.Tenant(id=tenant)))
        )
    return provisioning.As(api.api, await provisioning.key(api.rules, tenant, role, f"k{role}"))  # type: ignore[arg-type]


def kind_of(event: recordings_pb2.RecordingEvent) -> str:
    """Short name of what happened."""
    return recordings_pb2.RecordingEventKind.Name(event.kind).removeprefix("RECORDING_EVENT_KIND_").lower()


def database(directory: Path) -> DatabaseSettings:
    """A file of its own."""
    return DatabaseSettings(url=f"sqlite:///{directory / 'signalbox.db'}")


@asynccontextmanager
async def tapes(
    store: Store,
    directory: Path,
    clock: Clock = utc_now,
    *,
    objects: ObjectsSettings | None = None,
    catalog: Callable[[], Catalog] | None = None,
    elapsed: Callable[[], float] | None = None,
) -> AsyncIterator[Tapes]:
    """The services, whose callers are the operator unless they show an API key."""
    server = grpc.aio.server(options=rpc.server_options(reuse_port=False))
    authenticator = Authenticator(store, clock, anonymous=Principal(OPERATOR))
    vault = open_vault(store, objects or directory / "objects")
    opened = await Catalog.open(database(directory))
    captures = Captures(store, ClientTlsSettings(), deadline_s=1.0)
    service = RecordingService(
        store,
        vault,
        catalog or (lambda: opened),
        captures,
        authenticator,
        clock,
        row_s=0.2,
        elapsed=elapsed or (lambda: clock().timestamp()),
    )
    service.add_to(server)
    node = Node()
    provisioning.service(store, clock).add_to(server)
    recording_pb2_grpc.add_CaptureServiceServicer_to_server(node, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    await register(store, f"127.0.0.1:{port}")
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Tapes(
                store,
                directory / "objects",
                opened,
                Recorder(lambda: opened, vault),
                service,
                recordings_pb2_grpc.RecordingServiceStub(channel),
                provisioning.Stub(channel),
                node,
            )
    finally:
        await server.stop(None)
        await opened.close()
