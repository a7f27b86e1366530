"""What a media node is asked to join for what is to be heard."""

from __future__ import annotations

import pytest
from signalbox.api.media.v1 import media_pb2
from signalbox.ivr.sounds import Renderer, Sound, Tone
from signalbox.speech.languages import Language
from support.voice_calls import Parts, prompt

PROMPTS = {"welcome": prompt("welcome"), "bye": prompt("bye")}


def renderer(
    language: str = "",
    law: media_pb2.Law.ValueType = media_pb2.LAW_A,
    stored: tuple[Language, ...] = (Language.CHINESE, Language.ENGLISH),
) -> Renderer:
    return Renderer(PROMPTS, Parts(*stored), language, law)


def objects(sound: Sound, **of: object) -> list[str]:
    """Names of what is stored."""
    rendered = renderer(**of).render(sound)  # type: ignore[arg-type]
    assert rendered.missing == ()
    return [part.stored.object for part in rendered.parts]


@pytest.mark.parametrize(("law", "ending"), [(media_pb2.LAW_A, "alaw"), (media_pb2.LAW_MU, "ulaw")])
def test_prompts_and_numbers_are_of_the_law_that_the_caller_takes(law: media_pb2.Law.ValueType, ending: str) -> None:
    rendered = renderer(law=law).render(Sound.prompt("welcome") + Sound.number(12))
    assert [part.stored for part in rendered.parts] == [
        media_pb2.StoredAudio(
            object=f"prompts/acme/welcome.{ending}.wav", sha256=("a" if ending == "alaw" else "b") * 64
        ),
        media_pb2.StoredAudio(object=f"prompts/_parts/zh-CN/zh-10.{ending}.wav", sha256="zh-10"),
        media_pb2.StoredAudio(object=f"prompts/_parts/zh-CN/zh-2.{ending}.wav", sha256="zh-2"),
    ]


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("", ["zh-2"]),
        ("zh-TW", ["zh-2"]),
        ("en-US", ["two"]),
        ("fr", ["zh-2"]),
        ("zh-HK", ["zh-2"]),
    ],
)
def test_numbers_are_spoken_in_the_callers_language_or_in_chinese(language: str, said: list[str]) -> None:
    names = [name.rpartition("/")[2].split(".")[0] for name in objects(Sound.number(2), language=language)]
    assert [name.removeprefix("en-") for name in names] == said


def test_a_language_whose_parts_are_not_stored_gives_way_to_chinese() -> None:
    found = objects(Sound.number(2), language="en", stored=(Language.CHINESE,))
    assert found == ["prompts/_parts/zh-CN/zh-2.alaw.wav"]


def test_digits_are_said_one_by_one_and_a_place_as_a_sentence() -> None:
    names = [name.rpartition("/")[2].split(".")[0] for name in objects(Sound.digits("017") + Sound.position(3))]
    assert names == ["zh-0", "zh-digit-1", "zh-7", "zh-position", "zh-3", "zh-people"]


def test_tones_and_pauses_need_nothing_that_is_stored() -> None:
    rendered = renderer(law=media_pb2.LAW_MU, stored=()).render(Sound.tone(Tone.RINGING))
    tone = media_pb2.ToneAudio(frequency_hz=450, duration_ms=1_000, law=media_pb2.LAW_MU)
    assert rendered.parts == (media_pb2.AudioPart(tone=tone), media_pb2.AudioPart(silence_ms=4_000))
    beep = renderer().render(Sound.silence(200) + Sound.tone(Tone.BEEP))
    assert [part.WhichOneof("part") for part in beep.parts] == ["silence_ms", "tone"]


def test_what_has_no_audio_is_left_out_and_told() -> None:
    sound = Sound.prompt("gone") + Sound.prompt("bye") + Sound.digits("12a") + Sound.number(10**13)
    rendered = renderer().render(sound)
    assert [part.stored.object for part in rendered.parts] == ["prompts/acme/bye.alaw.wav"]
    gone, letters, large = rendered.missing
    assert gone == "prompt gone has no audio"
    assert "digits: must be 0-9" in letters
    assert "number: must be a whole number" in large


def test_without_spoken_parts_numbers_are_left_out() -> None:
    rendered = renderer("en", stored=()).render(Sound.number(2))
    assert (rendered.parts, rendered.missing) == ((), ("spoken parts of en are not stored",))


def test_silence_alone_is_nothing_to_play() -> None:
    rendered = renderer().render(Sound.silence(500) + Sound.prompt("gone"))
    assert (rendered.parts, rendered.missing) == ((), ("prompt gone has no audio",))


def test_what_says_nothing_is_false() -> None:
    assert not Sound()
    assert not Sound.prompt("")
    assert not Sound.digits("")
    assert not Sound.prompt("") + Sound()
    assert Sound.prompt("") + Sound.number(0)
