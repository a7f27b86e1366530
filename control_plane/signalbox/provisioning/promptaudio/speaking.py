"""Has the texts of prompts spoken: of those that were written, soon after; and when somebody asks for it.

Whoever writes a text that is to be spoken notes that in the same commit; every replica looks for such notes. The audio
is committed only if the prompt still says that text and has got no file, and the note goes in the same commit: so a
text that is changed meanwhile is spoken again, and what a replica that dies was at, another one does.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

import structlog

from signalbox.api.types.v1 import prompts_pb2, types_pb2
from signalbox.audio.decoding import UnusableAudioError
from signalbox.audio.preparer import PreparationFailedError
from signalbox.errors import (
    EtagMismatchError,
    InvalidFieldError,
    NotFoundError,
    NotSpokenError,
    SignalboxError,
    WriteContentionError,
)
from signalbox.provisioning.draft import Draft, Transactions
from signalbox.provisioning.promptaudio import making
from signalbox.provisioning.promptaudio.objects import TooManyUnusedError
from signalbox.provisioning.prompts import Prompts, speakable, unspoken
from signalbox.store import codec, keys
from signalbox.store.base import Delete
from signalbox.store.codec import DamagedValueError

if TYPE_CHECKING:
    from signalbox.audio.preparation import Prepared
    from signalbox.audio.preparer import Preparer
    from signalbox.provisioning.collection import Clock
    from signalbox.provisioning.promptaudio.objects import PromptObjects
    from signalbox.store.base import Store

logger = structlog.get_logger(__name__)

INTERVAL_S = 1.0
RETRY_S = 60.0
"""How long a replica rests that could not speak, or not store what it spoke."""
PAGE = 100
TRIES = 3
"""A text that could not be spoken so often, while others could, never will be."""


class Speech(Protocol):
    """Spoken text."""

    def wav(self) -> bytes:
        """A file of it: WAV."""


Synthesizer = Callable[[str, str], Awaitable[Speech]]
"""Speaks a text in a language (BCP 47). Raises InvalidFieldError for what cannot be spoken, another SignalboxError if
nothing can be now."""
Commit = Callable[[Callable[[Draft], Awaitable[types_pb2.Prompt]]], Awaitable[types_pb2.Prompt]]
"""Carries out a step."""


class Speaking:
    """Speaks the texts of prompts."""

    def __init__(
        self, store: Store, objects: PromptObjects, preparer: Preparer, synthesize: Synthesizer, clock: Clock
    ) -> None:
        self._store = store
        self._transactions = Transactions(store)
        self._objects = objects
        self._preparer = preparer
        self._synthesize = synthesize
        self._clock = clock
        self._spoken_ever = 0
        self._strikes: dict[str, tuple[int, int]] = {}
        """By note: how often it could not be spoken, and how many others had been when that was first so."""

    async def speak(self, tenant: str, id: str, etag: str, commit: Commit) -> types_pb2.Prompt:
        """Have a prompt's text spoken, and give it to the prompt. With an etag only if it is the stored one.

        Raises NotFoundError, EtagMismatchError, NotSpokenError, TooManyUnusedError, WriteContentionError if the text
        was changed meanwhile, and what the stores raise.
        """
        prompt = await self._there(tenant, id)
        await self._objects.admit(tenant)
        prepared = await self._spoken(prompt)
        audio = making.described(prepared)
        audio.speech.CopyFrom(prompts_pb2.PromptSpeech(text=prompt.text, language=prompt.language))

        def change(stored: types_pb2.Prompt) -> prompts_pb2.PromptAudio:
            if (stored.text, stored.language) != (prompt.text, prompt.language) or stored.audio.HasField("file"):
                raise WriteContentionError(f"prompt {tenant}/{id} was changed while its text was spoken")
            return audio

        async def work(draft: Draft) -> types_pb2.Prompt:
            return await Prompts(draft, draft, self._clock).voice(tenant, id, etag, change)

        return await making.given(self._objects, tenant, prepared, audio, lambda: commit(work))

    async def run(self) -> None:
        """Long-lived coroutine: speaks what is yet to be spoken."""
        while True:
            # Jitter, lest all replicas speak the same.
            await asyncio.sleep(INTERVAL_S * random.uniform(0.5, 1.5))
            try:
                await self.catch_up()
            except SignalboxError as error:
                logger.warning("prompts_not_spoken", error=str(error), again_s=RETRY_S)
                await asyncio.sleep(RETRY_S)

    async def catch_up(self) -> int:
        """Speak all that is yet to be spoken; returns how many prompts that were.

        What cannot be spoken is told, and is as if it had no text until that is changed. Raises NotSpokenError if
        nothing can be now, and what the stores raise.
        """
        count, after = 0, ""
        failure: NotSpokenError | None = None
        failed: dict[str, tuple[int, int]] = {}
        waiting: set[str] = set()
        while notes := await self._store.page(keys.PROMPT_SPEECH, after, PAGE):
            for note in notes:
                tenant, id = note.key.removeprefix(keys.PROMPT_SPEECH).split("/")
                if tenant in waiting:
                    continue
                try:
                    count += await self._caught_up(tenant, id)
                except TooManyUnusedError:
                    # So it is with all of its texts.
                    waiting.add(tenant)
                except NotSpokenError as error:
                    failure = error
                    times, others = self._strikes.get(note.key, (0, self._spoken_ever))
                    failed[note.key] = times + 1, others
            after = notes[-1].key
        self._strikes = failed
        self._spoken_ever += count
        if failure is not None and not count:
            raise failure
        return count

    async def _caught_up(self, tenant: str, id: str) -> bool:
        """Speak one prompt that was to be spoken; says whether that was done. Raises TooManyUnusedError."""
        try:
            return await self._tried(await self._there(tenant, id))
        except (NotFoundError, EtagMismatchError, WriteContentionError):
            # It was deleted or changed, and what is to be spoken now is noted.
            return False
        except DamagedValueError as error:
            logger.error("prompt_not_spoken", tenant=tenant, prompt=id, error=str(error))
            return False

    async def _tried(self, prompt: types_pb2.Prompt) -> bool:
        if unspoken(prompt):
            try:
                await self.speak(prompt.tenant, prompt.id, prompt.etag, self._commit)
                return True
            except NotSpokenError as error:
                times, others = self._strikes.get(keys.prompt_speech(prompt.tenant, prompt.id), (0, 0))
                hopeless = times + 1 >= TRIES and self._spoken_ever > others
                if not (isinstance(error, _NeverSpokenError) or hopeless):
                    raise
                logger.warning("prompt_cannot_be_spoken", tenant=prompt.tenant, prompt=prompt.id, error=str(error))
        await self._give_up(prompt)
        return False

    async def _commit(self, work: Callable[[Draft], Awaitable[types_pb2.Prompt]]) -> types_pb2.Prompt:
        made, _ = await self._transactions.run(work)
        return made

    async def _give_up(self, prompt: types_pb2.Prompt) -> None:
        """Take the note away, and what was spoken of an earlier text. Raises EtagMismatchError if it was changed."""

        async def work(draft: Draft) -> types_pb2.Prompt:
            def change(stored: types_pb2.Prompt) -> prompts_pb2.PromptAudio | None:
                return None if unspoken(stored) or not stored.HasField("audio") else stored.audio

            made = await Prompts(draft, draft, self._clock).voice(prompt.tenant, prompt.id, prompt.etag, change)
            draft.add([], [Delete(keys.prompt_speech(prompt.tenant, prompt.id))])
            return made

        await self._commit(work)

    async def _there(self, tenant: str, id: str) -> types_pb2.Prompt:
        entry = await self._store.get(keys.prompt(tenant, id))
        if entry is None:
            raise NotFoundError("prompt", f"{tenant}/{id}")
        return codec.decode(types_pb2.Prompt, entry)

    async def _spoken(self, prompt: types_pb2.Prompt) -> Prepared:
        """The audio of a prompt's text. Raises NotSpokenError."""
        name = f"{prompt.tenant}/{prompt.id}"
        if prompt.audio.HasField("file"):
            raise _NeverSpokenError(name, "it has an uploaded file, which must be removed first")
        if not speakable(prompt):
            raise _NeverSpokenError(name, f"it has no {'language' if prompt.text.strip() else 'text'}")
        try:
            speech = await self._synthesize(prompt.text, prompt.language)
        except InvalidFieldError as error:
            raise _NeverSpokenError(
                name, "; ".join(f"{one.field}: {one.reason}" for one in error.violations)
            ) from error
        except SignalboxError as error:
            raise NotSpokenError(name, str(error)) from error
        try:
            return await self._preparer.prepare(speech.wav())
        except PreparationFailedError as error:
            raise NotSpokenError(name, f"what is spoken {error}") from error
        except UnusableAudioError as error:
            raise _NeverSpokenError(name, f"what is spoken {error}") from error


class _NeverSpokenError(NotSpokenError):
    """It will not be spoken later either, unless it is changed."""
