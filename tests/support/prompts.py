"""Prompts with sound: the services in this process over any store, with a folder for objects and a voice of tones."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
from signalbox import rpc
from signalbox.api.provisioning.v1 import prompts_pb2 as pb
from signalbox.api.provisioning.v1 import prompts_pb2_grpc, provisioning_pb2
from signalbox.api.types.v1 import types_pb2
from signalbox.audio.preparation import prepare
from signalbox.audio.preparer import Preparer
from signalbox.errors import FieldViolation, InvalidFieldError, SignalboxError
from signalbox.provisioning.access import OPERATOR, Principal
from signalbox.provisioning.collection import Clock, utc_now
from signalbox.provisioning.credentials import Authenticator
from signalbox.provisioning.promptaudio.service import PromptService
from signalbox.settings import ObjectsSettings
from signalbox.speech.sound import Speech
from signalbox.store.objectstore import ObjectStore

from support import provisioning
from support.sounds import file, tone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from signalbox.audio.preparation import Prepared
    from signalbox.store.base import Store

SOUND = file("wav", tone(1_000, 1, rate=16_000), 16_000)
OTHER = file("wav", tone(500, 2, rate=16_000), 16_000)
RATE = 22_050


class Voice:
    """Speaks Chinese: a tone, 0.1 s for each character."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.broken = False
        self.silent = False
        self.stuck_at = ""
        """It never comes to the end of a text that has this in it."""
        self.meanwhile: Callable[[], Awaitable[object]] | None = None
        """What somebody does while it speaks, once."""

    async def __call__(self, text: str, language: str) -> Speech:
        """See Synthesizer."""
        self.texts.append(text)
        if self.broken:
            raise SignalboxError("espeak-ng cannot be run: No such file or directory")
        if self.stuck_at and self.stuck_at in text:
            raise SignalboxError("espeak-ng did not end within 30 s")
        if not language.startswith("zh"):
            raise InvalidFieldError(FieldViolation("language", f"{language!r} cannot be spoken"))
        if self.meanwhile:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        hertz = 400 + sum(map(ord, text)) % 1_000
        samples = tone(hertz, len(text) / 10, 0.0 if self.silent else 0.3, RATE) * 32_767
        return Speech(samples.astype(np.int16), RATE)


class Here(Preparer):
    """Prepares in this process: no process for each of hundreds of prompts."""

    async def prepare(self, content: bytes) -> Prepared:
        """See Preparer."""
        return await asyncio.to_thread(prepare, content)


def parts(
    content: bytes, size: int = 10_000, request_id: str = "", **fields: Any
) -> Iterator[pb.UploadPromptAudioRequest]:
    """The requests of an upload."""
    described = {"tenant": "acme", "id": "welcome", "file_name": "a.wav", "size_bytes": len(content), **fields}
    yield pb.UploadPromptAudioRequest(file=pb.PromptUpload(**described), request_id=request_id)
    for begin in range(0, len(content), size):
        yield pb.UploadPromptAudioRequest(content=content[begin : begin + size])


class Booth:
    """The services, with tenants acme and best, and prompts welcome and closed of acme."""

    def __init__(self, store: Store, folder: Path, voice: Voice, service: PromptService, channel: Any) -> None:
        self.store = store
        self.folder = folder
        self.voice = voice
        self.service = service
        self.api = prompts_pb2_grpc.PromptServiceStub(channel)
        self.rules = provisioning.Stub(channel)

    async def fill(self) -> None:
        """Create tenants and prompts."""
        for tenant in ("acme", "best"):
            await self.rules.CreateTenant(provisioning_pb2.CreateTenantRequest(tenant=types_pb2.Tenant(id=tenant)))
        for id in ("welcome", "closed"):
            await self.create(id)

    async def create(self, id: str, tenant: str = "acme", **fields: Any) -> types_pb2.Prompt:
        """Create a prompt."""
        given = types_pb2.Prompt(tenant=tenant, id=id, **fields)
        made: types_pb2.Prompt = await self.rules.CreatePrompt(provisioning_pb2.CreatePromptRequest(prompt=given))
        return made

    async def get(self, id: str = "welcome") -> types_pb2.Prompt:
        """A prompt of acme."""
        asked = provisioning_pb2.GetPromptRequest(tenant="acme", id=id)
        found: types_pb2.Prompt = await self.rules.GetPrompt(asked)
        return found

    async def change(self, id: str = "welcome", **fields: Any) -> types_pb2.Prompt:
        """Change fields of a prompt of acme."""
        request = provisioning_pb2.UpdatePromptRequest(prompt=types_pb2.Prompt(tenant="acme", id=id, **fields))
        request.update_mask.paths.extend(fields)
        changed: types_pb2.Prompt = await self.rules.UpdatePrompt(request)
        return changed

    async def upload(self, content: bytes = SOUND, api: Any = None, **fields: Any) -> types_pb2.Prompt:
        """Upload a file for a prompt."""
        made: types_pb2.Prompt = await (api or self.api).UploadPromptAudio(parts(content, **fields))
        return made

    async def speak(self, id: str = "welcome", **fields: Any) -> types_pb2.Prompt:
        """Have a prompt of acme spoken."""
        made: types_pb2.Prompt = await self.api.SpeakPrompt(pb.SpeakPromptRequest(tenant="acme", id=id, **fields))
        return made

    async def remove(self, id: str = "welcome", **fields: Any) -> types_pb2.Prompt:
        """Take the file from a prompt of acme."""
        request = pb.RemovePromptAudioRequest(tenant="acme", id=id, **fields)
        made: types_pb2.Prompt = await self.api.RemovePromptAudio(request)
        return made

    async def download(self, id: str = "welcome", api: Any = None, **fields: Any) -> bytes:
        """A prompt's prepared audio."""
        request = pb.DownloadPromptAudioRequest(tenant="acme", id=id, **fields)
        return b"".join([one.content async for one in (api or self.api).DownloadPromptAudio(request)])

    async def delete(self, id: str = "welcome") -> None:
        """Delete a prompt of acme."""
        await self.rules.DeletePrompt(provisioning_pb2.DeletePromptRequest(tenant="acme", id=id))

    def files(self) -> set[str]:
        """The objects that are in the folder, without their tenant's."""
        return {path.name for path in (self.folder / "prompts").rglob("*") if path.is_file()}


@asynccontextmanager
async def booth(
    store: Store, folder: Path, clock: Clock = utc_now, preparer: Preparer | None = None
) -> AsyncIterator[Booth]:
    """The services, whose callers are the operator unless they show an API key."""
    server = grpc.aio.server(options=rpc.server_options(reuse_port=False))
    authenticator = Authenticator(store, clock, anonymous=Principal(OPERATOR))
    voice = Voice()
    objects = ObjectStore.open(ObjectsSettings(location=str(folder)))
    service = PromptService(store, objects, voice, authenticator, clock, preparer or Here())
    service.add_to(server)
    provisioning.service(store, clock).add_to(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Booth(store, folder, voice, service, channel)
    finally:
        await server.stop(None)
