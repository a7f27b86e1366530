"""Prompts: what callers hear, and what is known of it."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

from signalbox.api.types.v1 import types_pb2
from signalbox.domain.flow_check import Kind
from signalbox.provisioning import flow_references, validate, validate_flows
from signalbox.provisioning.collection import Owned
from signalbox.provisioning.promptaudio import objects
from signalbox.provisioning.writer import Plan
from signalbox.store import keys, promptnames
from signalbox.store.base import Compare, Delete, Put

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from signalbox.api.types.v1 import prompts_pb2
    from signalbox.errors import FieldViolation

    Change = Callable[[types_pb2.Prompt], prompts_pb2.PromptAudio | None]


class Prompts(Owned[types_pb2.Prompt]):
    """All prompts. One that a flow uses cannot be deleted."""

    resource = "prompt"
    message = types_pb2.Prompt

    def _violations(self, rule: types_pb2.Prompt) -> Iterable[FieldViolation]:
        return validate_flows.prompt(rule)

    async def _user(self, rule: types_pb2.Prompt) -> str:
        return await flow_references.user(self._store, Kind.PROMPT, rule.tenant, rule.id, self._clock())

    async def _rewritten(self, rule: types_pb2.Prompt) -> list[Put | Delete]:
        writes: list[Put | Delete] = []
        if rule.audio.HasField("speech") and not speakable(rule):
            writes += self._released(rule)
            rule.ClearField("audio")
        return [*writes, *await super()._rewritten(rule)]

    async def _indexed(self, rule: types_pb2.Prompt, *, deleted: bool = False) -> list[Put | Delete]:
        """Whether its text is yet to be spoken; and, if it is deleted, that its audio may have to go."""
        note = keys.prompt_speech(rule.tenant, rule.id)
        if not deleted and unspoken(rule):
            return [Put(note, b"")]
        writes: list[Put | Delete] = [Delete(note)] if await self._store.get(note) is not None else []
        return [*writes, *self._released(rule)] if deleted else writes

    async def voice(self, tenant: str, id: str, etag: str, change: Change) -> types_pb2.Prompt:
        """Give a prompt the audio that ``change`` makes of it as it is; None: it has none. With an etag only if it is
        the stored one.

        The objects of new audio must be in the store already. Raises as update, GoneError if one was deleted since,
        and what ``change`` raises.
        """
        identity = types_pb2.Prompt(tenant=tenant, id=id)
        validate.require(self._identity(identity, ""))
        fence = self._fence(identity)

        async def plan() -> Plan[types_pb2.Prompt]:
            entry, stored = await self._stored(identity, fence, etag)
            rule = types_pb2.Prompt()
            rule.CopyFrom(stored)
            audio = change(stored)
            rule.ClearField("audio")
            if audio is not None:
                rule.audio.CopyFrom(audio)
                if stored.HasField("audio"):
                    rule.audio.create_time.CopyFrom(stored.audio.create_time)
            if rule == stored:
                return Plan(stored)
            now = max(self._clock(), stored.update_time.ToDatetime(tzinfo=UTC))
            rule.update_time.FromDatetime(now)
            had = promptnames.files(stored.audio) if stored.HasField("audio") else ()
            has = promptnames.files(rule.audio) if audio is not None else ()
            if audio is not None:
                rule.audio.create_time.FromDatetime(now)
            compares, claims = await objects.claimed(self._store, tenant, [file for file in has if file not in had])
            gone = [file for file in had if file not in has]
            writes = [*claims, *objects.released(tenant, gone, now.timestamp())]
            return Plan(rule, [Compare(entry.key, entry.revision), *compares], [*writes, *await self._rewritten(rule)])

        return await self._write("prompt_audio_changed", fence, plan)

    def _released(self, rule: types_pb2.Prompt) -> Iterable[Put]:
        if not rule.HasField("audio"):
            return ()
        return objects.released(rule.tenant, promptnames.files(rule.audio), self._clock().timestamp())


def speakable(prompt: types_pb2.Prompt) -> bool:
    """True if a prompt says what is to be spoken, and in which language."""
    return bool(prompt.text.strip() and prompt.language)


def unspoken(prompt: types_pb2.Prompt) -> bool:
    """True if a prompt's text is to be spoken, and it is not what its audio says."""
    spoken = prompt.audio.speech
    return (
        speakable(prompt)
        and not prompt.audio.HasField("file")
        and (spoken.text, spoken.language) != (prompt.text, prompt.language)
    )
