"""A call flow with a voice: two callers hear its menu, one speaks with an agent, the other one to a mailbox."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from signalbox import wav
from signalbox.address import join, split
from signalbox.api.types.v1 import recordings_pb2 as types
from signalbox.audio.preparation import prepare
from signalbox.files import write_atomically
from signalbox.speech import espeak
from signalbox.speech.sound import Speech

from signalbox_local import g711, tones
from signalbox_local.audio import random_digits
from signalbox_local.demo import hotline
from signalbox_local.demo.kept import fetch
from signalbox_local.demo.recorded import channels
from signalbox_local.demo.told import told
from signalbox_local.rtp_party import FRAME, pitch
from signalbox_local.telephone import Telephone

if TYPE_CHECKING:
    from pathlib import Path

    from signalbox_local.demo.report import Step
    from signalbox_local.demo.steps import Scene
    from signalbox_local.demo.told import Told
    from signalbox_local.telephone import Talk

CALLERS = ("13800001234", "13900005678")
SCORE = "5"
DIGITS = 6
BEEP_HZ, BEEP_CODES = 950, 800
"""The tone before a message, and how much of its end is looked at."""
BEEP_OVER_S = 0.2
"""It is over when nothing has come for so long."""


@dataclass(frozen=True, slots=True)
class Words:
    """What a party says: words for people, then digits as tones, which nobody can know beforehand."""

    digits: str
    codes: bytes
    """A-law, whole packets."""


async def serve(step: Step, scene: Scene) -> None:
    """Two calls at once: what everybody heard, what was scored, and what was kept."""
    here = scene.cluster
    async with (
        Telephone.open(here.caller_host, here.media_host) as phone,
        Telephone.open(here.line_host, here.media_host) as desk,
    ):
        number = await asyncio.to_thread(hotline.provision, scene.rules, join(*desk.address))
        prompts = await hotline.speak(scene.rules)
        await asyncio.to_thread(scene.cluster.wait_for_rules, number.etag)
        step.did += [
            f"had {len(prompts)} prompts spoken from text, Chinese and English; two callers rang {hotline.NUMBER} at "
            f"once: one keyed 1, spoke with agent {hotline.AGENT} and gave a score; one keyed 2 and left a message"
        ]
        callers = [_Caller(step, scene, prompts, phone, n) for n in range(2)]
        seen = await asyncio.gather(
            callers[0].speak_with_agent(desk), callers[1].leave_message(), return_exceptions=True
        )
    for lines in seen:
        if isinstance(lines, BaseException):
            raise lines
        step.saw += lines
    step.headline = f"every word was heard, score {SCORE} is agent {hotline.AGENT}'s, the message was kept"


class _Caller:
    """One caller's call, and what is looked at when it is over."""

    def __init__(self, step: Step, scene: Scene, prompts: dict[str, bytes], phone: Telephone, n: int) -> None:
        self._step, self._cluster, self._prompts, self._phone = step, scene.cluster, prompts, phone
        self._proxy = split(scene.proxies[n % len(scene.proxies)])
        self._number = CALLERS[n]

    async def speak_with_agent(self, desk: Telephone) -> list[str]:
        """Menu, agent, survey; what was seen."""
        number = await asyncio.to_thread(hotline.agent_number, self._cluster)
        announced = [self._prompts["your-agent"], *number, self._prompts["at-your-service"]]
        asks = await words("您好，我的订单号是", "zh-CN")
        answers = await words("好的，您的受理编号是", "zh-CN")
        talk = await self._choose("1")
        agent = await desk.rung()
        await talk.hears(f"the number of agent {hotline.AGENT}", b"".join(announced))
        await talk.connected(agent)
        await talk.say(asks.codes)
        await agent.say(answers.codes)
        await agent.hears("what the caller said", asks.codes)
        await talk.hears("what the agent said", answers.codes)
        agent.hang_up()
        await self._hears(talk, "score")
        await talk.press(SCORE)
        await self._hears(talk, "thanks")
        call = await self._over(talk)
        file = await asyncio.to_thread(_write, self._cluster.directory / "what-the-caller-heard.wav", talk)
        return [
            f"the caller heard the menu, agent {hotline.AGENT} announced digit by digit, the agent, the question and "
            f"the thanks, each code by code: {file.name}",
            self._score(call),
            await self._conversation(call, asks, answers),
        ]

    async def leave_message(self) -> list[str]:
        """Menu, mailbox; what was seen."""
        message = await words("Hello, please call me back. My number is", "en")
        talk = await self._choose("2")
        await self._hears(talk, "greeting")
        await talk.until(lambda: _beep_is_over(talk), "no tone was heard after the greeting")
        await talk.say(message.codes)
        await talk.press("#")
        await self._hears(talk, "goodbye")
        call = await self._over(talk)
        kept, file = await asyncio.to_thread(fetch, self._cluster, call.call_id, "message")
        kind, seconds = types.RecordingKind.Name(kept.kind), kept.duration.ToMilliseconds() / 1000
        self._step.check(
            (kept.kind, kept.line) == (types.RECORDING_KIND_MESSAGE, hotline.MAILBOX),
            f"{file.name} is no message for {hotline.MAILBOX}, but {kind} of {kept.line}",
        )
        (heard,) = self._digits(file, {"caller": message.digits})
        return [f"the mailbox kept {seconds:.1f} s of what the other caller said, {heard}: {file.name}"]

    async def _choose(self, key: str) -> Talk:
        talk = await self._phone.call(hotline.NUMBER, self._proxy, self._number)
        await self._hears(talk, "menu")
        await talk.press(key)
        return talk

    async def _hears(self, talk: Talk, prompt: str) -> None:
        await talk.hears(f"the prompt {prompt} ({hotline.TEXTS[prompt][1]})", self._prompts[prompt])

    async def _over(self, talk: Talk) -> Told:
        await talk.over()
        call = await told(self._cluster, talk.call_id)
        self._step.check(call.cause == "flow", f"the call of {self._number} was ended by {call.cause}: {call.path}")
        return call

    def _score(self, call: Told) -> str:
        survey = call.step("survey")
        score, line = (survey.digits, survey.line) if survey else ("nothing", "nobody")
        self._step.check((score, line) == (SCORE, hotline.LINE), f"the score is {score}, of {line}: {call.path}")
        self._step.figures["survey"] = {"keyed": SCORE, "score": score, "line": line, "worker": call.worker}
        return f"{call.worker} tells in its events: {call.path}; the score {score} is that of line {line}"

    async def _conversation(self, call: Told, asks: Words, answers: Words) -> str:
        _, file = await asyncio.to_thread(fetch, self._cluster, call.call_id, "conversation")
        left, right = self._digits(file, {"caller": asks.digits, "agent": answers.digits})
        return f"their conversation was recorded, left the caller, {left}, right the agent, {right}: {file.name}"

    def _digits(self, file: Path, said: dict[str, str]) -> list[str]:
        """What is heard of the digits that each side of a recording has said."""
        found = []
        for (who, digits), channel in zip(said.items(), channels(file), strict=False):
            heard = tones.text(tones.detect(channel)) or "nothing"
            self._step.check(heard == digits, f"{file.name}: {heard} instead of the {who}'s {digits}")
            self._step.figures[f"{file.stem}_{who}"] = {"said": digits, "kept": heard}
            found.append(heard)
        return found


async def words(text: str, language: str) -> Words:
    """A text, spoken, and digits after it."""
    speech = await espeak.synthesize(text, language)
    said = wav.parse((await asyncio.to_thread(prepare, speech.wav())).alaw).samples
    digits = random_digits(DIGITS)
    codes = said + g711.encode(tones.render(digits))
    return Words(digits, codes + bytes([g711.SILENCE]) * (-len(codes) % FRAME))


def _beep_is_over(talk: Talk) -> bool:
    return abs(pitch(talk.voice.heard()[-BEEP_CODES:]) - BEEP_HZ) < 20 and talk.voice.silent_for() > BEEP_OVER_S


def _write(file: Path, talk: Talk) -> Path:
    heard = Speech(g711.decode(talk.voice.all_heard()), tones.RATE_HZ)
    write_atomically(file, heard.wav(), mode=0o644)
    return file
