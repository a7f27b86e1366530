"""Takes a file in, has it prepared, and makes it the audio of a prompt: whole or not at all."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from signalbox.api.provisioning.v1 import prompts_pb2 as pb
from signalbox.api.types.v1 import prompts_pb2, types_pb2
from signalbox.audio.decoding import UnusableAudioError
from signalbox.audio.preparation import CONTENT_MAX
from signalbox.errors import EtagMismatchError, FieldViolation, InvalidFieldError, NotFoundError
from signalbox.provisioning import requestids, taking, validate
from signalbox.provisioning.promptaudio import making
from signalbox.provisioning.prompts import Prompts
from signalbox.store import codec, keys

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator

    from signalbox.audio.preparation import Prepared
    from signalbox.audio.preparer import Preparer
    from signalbox.provisioning.access import Principal
    from signalbox.provisioning.collection import Clock
    from signalbox.provisioning.draft import Draft
    from signalbox.provisioning.promptaudio.objects import PromptObjects
    from signalbox.provisioning.writes import Writes
    from signalbox.store.base import Store

FILE_NAME_MAX = 200
AT_ONCE = 4
"""Uploads that a process takes in at once; others wait. Each may take 60 MiB of memory."""
AT_ONCE_TENANT = 2
"""Those of one tenant: however slow its uploads are, there is room for others'."""


class PromptUploads:
    """The handler of UploadPromptAudio."""

    def __init__(self, store: Store, objects: PromptObjects, preparer: Preparer, writes: Writes, clock: Clock) -> None:
        self._store = store
        self._objects = objects
        self._preparer = preparer
        self._writes = writes
        self._clock = clock
        self._places = taking.Places(AT_ONCE, AT_ONCE_TENANT)

    async def __call__(
        self, principal: Principal, requests: AsyncIterator[pb.UploadPromptAudioRequest]
    ) -> AsyncGenerator[types_pb2.Prompt, None]:
        """See the API's description. Raises InvalidFieldError, NotFoundError, EtagMismatchError, and what the stores
        raise."""
        yield await taking.heard(self._take(principal, requests), requests)

    async def _take(
        self, principal: Principal, requests: AsyncIterator[pb.UploadPromptAudioRequest]
    ) -> types_pb2.Prompt:
        first = await anext(requests)
        requestids.check(first.request_id)
        validate.require(_violations(first.file))
        async with self._places.taken(first.file.tenant):
            await self._admit(first)
            content = await _content(first, requests)
            try:
                prepared = await self._preparer.prepare(content)
            except UnusableAudioError as error:
                raise InvalidFieldError(FieldViolation("content", str(error))) from error
            return await self._given(principal, first, content, prepared)

    async def _admit(self, first: pb.UploadPromptAudioRequest) -> None:
        """Nothing need be sent for a prompt that is not there, or has changed; one that came before is known by its id.

        Raises NotFoundError, EtagMismatchError and TooManyUnusedError.
        """
        file = first.file
        entry = await self._store.get(keys.prompt(file.tenant, file.id))
        if entry is None:
            raise NotFoundError("prompt", f"{file.tenant}/{file.id}")
        found = codec.decode(types_pb2.Prompt, entry).etag
        if file.etag and file.etag != found and not first.request_id:
            raise EtagMismatchError("prompt", f"{file.tenant}/{file.id}", file.etag, found)
        await self._objects.admit(file.tenant)

    async def _given(
        self, principal: Principal, first: pb.UploadPromptAudioRequest, content: bytes, prepared: Prepared
    ) -> types_pb2.Prompt:
        request = pb.UploadPromptAudioRequest(file=first.file, request_id=first.request_id)
        request.file.size_bytes, request.file.sha256 = len(content), hashlib.sha256(content).digest()
        file = request.file
        audio = making.described(prepared)
        audio.file.CopyFrom(
            prompts_pb2.PromptFile(
                file_name=file.file_name, format=prepared.format, size_bytes=file.size_bytes, sha256=file.sha256
            )
        )

        async def work(draft: Draft) -> types_pb2.Prompt:
            prompts = Prompts(draft, draft, self._clock, principal.tenant)
            return await prompts.voice(file.tenant, file.id, file.etag, lambda stored: audio)

        return await making.given(
            self._objects,
            file.tenant,
            prepared,
            audio,
            lambda: self._writes.run(principal, "UploadPromptAudio", request, types_pb2.Prompt, work),
        )


def _violations(file: pb.PromptUpload) -> Iterator[FieldViolation]:
    """What is wrong with what an upload says of its file. The content is not looked at."""
    yield from validate.identifier(file.tenant, "file.tenant")
    yield from validate.identifier(file.id, "file.id")
    if not 1 <= len(file.file_name) <= FILE_NAME_MAX:
        yield FieldViolation("file.file_name", f"must have 1 to {FILE_NAME_MAX} characters")
    elif not file.file_name.isprintable():
        yield FieldViolation("file.file_name", "must not have control characters")
    elif "/" in file.file_name or "\\" in file.file_name:
        yield FieldViolation("file.file_name", "must not have a path")
    yield from taking.described(file, CONTENT_MAX, "file")


async def _content(first: pb.UploadPromptAudioRequest, requests: AsyncIterator[pb.UploadPromptAudioRequest]) -> bytes:
    """All bytes of an upload. Raises InvalidFieldError for what is not what the first request says."""
    taking.check_piece(first.content)
    content = bytearray(first.content)
    async for request in requests:
        if request.HasField("file"):
            raise InvalidFieldError(FieldViolation("file", "must be in the first request only"))
        taking.check_piece(request.content)
        content += request.content
        if len(content) > CONTENT_MAX:
            raise InvalidFieldError(FieldViolation("content", f"is more than {CONTENT_MAX} bytes"))
    validate.require(taking.contradicted(first.file, len(content), hashlib.sha256(content).digest(), "file"))
    return bytes(content)
