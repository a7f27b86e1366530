"""The RPCs of ``PromptService``."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from signalbox.api.provisioning.v1 import prompts_pb2 as pb
from signalbox.api.types.v1 import types_pb2
from signalbox.audio.preparer import Preparer
from signalbox.errors import FieldViolation, InvalidFieldError, NotFoundError
from signalbox.provisioning import validate
from signalbox.provisioning.access import Rule, reads, writes
from signalbox.provisioning.collection import Clock, utc_now
from signalbox.provisioning.promptaudio.objects import PromptObjects
from signalbox.provisioning.promptaudio.speaking import Speaking
from signalbox.provisioning.promptaudio.uploading import PromptUploads
from signalbox.provisioning.prompts import Prompts
from signalbox.provisioning.serving import Served, Stream, Unary
from signalbox.provisioning.writes import Writes
from signalbox.store import codec, keys, promptnames
from signalbox.store.objectsplace import ObjectsPlace

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from signalbox.api.types.v1 import prompts_pb2
    from signalbox.provisioning.access import Principal
    from signalbox.provisioning.credentials import Authenticator
    from signalbox.provisioning.draft import Draft
    from signalbox.provisioning.promptaudio.speaking import Synthesizer
    from signalbox.store.base import Store
    from signalbox.store.objectstore import ObjectStore

_DESCRIPTOR = pb.DESCRIPTOR.services_by_name["PromptService"]

TABLE: dict[str, Rule] = {
    "UploadPromptAudio": writes("file.tenant"),
    "DownloadPromptAudio": reads(),
    "RemovePromptAudio": writes(),
    "SpeakPrompt": writes(),
}


class PromptService(Served):
    """The service; see the API's description for what each method does."""

    def __init__(
        self,
        store: Store,
        objects: ObjectStore,
        synthesize: Synthesizer,
        authenticator: Authenticator,
        clock: Clock = utc_now,
        preparer: Preparer | None = None,
    ) -> None:
        preparer = preparer or Preparer()
        self._store = store
        self._writes = Writes(store)
        self._clock = clock
        self.objects = PromptObjects(store, objects, ObjectsPlace(store, objects), clock)
        """Its sweep is to be run beside the service."""
        self.speaking = Speaking(store, self.objects, preparer, synthesize, clock)
        """To be run beside the service."""
        unary: dict[str, Unary] = {"RemovePromptAudio": self._remove, "SpeakPrompt": self._speak}
        uploads = PromptUploads(store, self.objects, preparer, self._writes, clock)
        streams: dict[str, Stream] = {"UploadPromptAudio": uploads, "DownloadPromptAudio": self._download}
        super().__init__(_DESCRIPTOR, TABLE, authenticator, unary, streams)

    async def _remove(self, principal: Principal, request: pb.RemovePromptAudioRequest) -> types_pb2.Prompt:
        def change(stored: types_pb2.Prompt) -> prompts_pb2.PromptAudio | None:
            return stored.audio if stored.audio.HasField("speech") else None

        async def work(draft: Draft) -> types_pb2.Prompt:
            prompts = Prompts(draft, draft, self._clock, principal.tenant)
            return await prompts.voice(request.tenant, request.id, request.etag, change)

        return await self._writes.run(principal, "RemovePromptAudio", request, types_pb2.Prompt, work)

    async def _speak(self, principal: Principal, request: pb.SpeakPromptRequest) -> types_pb2.Prompt:
        _identified(request.tenant, request.id)

        def commit(work: Callable[[Draft], Awaitable[types_pb2.Prompt]]) -> Awaitable[types_pb2.Prompt]:
            return self._writes.run(principal, "SpeakPrompt", request, types_pb2.Prompt, work)

        return await self.speaking.speak(request.tenant, request.id, request.etag, commit)

    async def _download(
        self, principal: Principal, request: pb.DownloadPromptAudioRequest
    ) -> AsyncGenerator[pb.DownloadPromptAudioResponse, None]:
        _identified(request.tenant, request.id)
        if request.law not in pb.PromptLaw.values():
            raise InvalidFieldError(FieldViolation("law", f"has no value {request.law}"))
        name = f"{request.tenant}/{request.id}"
        entry = await self._store.get(keys.prompt(request.tenant, request.id))
        if entry is None:
            raise NotFoundError("prompt", name)
        prompt = codec.decode(types_pb2.Prompt, entry)
        if not prompt.HasField("audio"):
            raise NotFoundError("audio of prompt", name)
        mulaw = request.law == pb.PROMPT_LAW_ULAW
        digest = prompt.audio.ulaw_sha256 if mulaw else prompt.audio.alaw_sha256
        violations = []
        if request.sha256 not in (b"", digest):
            violations.append(FieldViolation("sha256", f"the audio has been changed: it is {digest.hex()}"))
        elif request.offset > prompt.audio.size_bytes:
            violations.append(FieldViolation("offset", f"must be at most {prompt.audio.size_bytes}"))
        if violations:
            raise InvalidFieldError(*violations)
        yield pb.DownloadPromptAudioResponse(prompt=prompt)
        if request.offset == prompt.audio.size_bytes:
            return
        file = promptnames.files(prompt.audio)[mulaw]
        async with aclosing(self.objects.get(request.tenant, file, request.offset)) as content:
            async for piece in content:
                yield pb.DownloadPromptAudioResponse(content=piece)


def _identified(tenant: str, id: str) -> None:
    validate.require([*validate.identifier(tenant, "tenant"), *validate.identifier(id, "id")])
