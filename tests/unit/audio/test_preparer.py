"""Files are prepared by processes that may die or hang: what they were at is refused, and nothing else is hurt."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from signalbox.audio import preparing
from signalbox.audio.decoding import UnusableAudioError
from signalbox.audio.preparation import prepare
from signalbox.audio.preparer import PreparationFailedError, Preparer
from support.sounds import file, tone
from support.wait import until

SOUND = file("wav", tone(1_000, 1, rate=8_000), 8_000)


async def test_a_process_prepares_as_the_function_does() -> None:
    assert await Preparer().prepare(SOUND) == prepare(SOUND)


async def test_what_the_function_refuses_the_process_refuses() -> None:
    with pytest.raises(UnusableAudioError, match=r"^is neither WAV"):
        await Preparer().prepare(b"text")


async def test_more_than_a_process_reads_is_refused() -> None:
    with pytest.raises(UnusableAudioError, match=r"^is more than"):
        await Preparer().prepare(bytes(21 << 20))


@pytest.mark.parametrize(
    "does",
    [
        "import os; os.abort()",
        "raise RuntimeError('no such thing')",
        "pass",
        "import sys; sys.stdout.write('{}')",
        "import sys; sys.stdout.write('{\"duration_ms\": 1}\\nabc')",
        "import sys; sys.stdout.write('[]\\nabcd')",
    ],
)
async def test_a_process_that_dies_refuses_the_file_it_was_at(does: str) -> None:
    preparer = Preparer((sys.executable, "-c", does))
    with pytest.raises(PreparationFailedError, match="reading it ended the process that did"):
        await preparer.prepare(SOUND)


async def test_a_machine_without_room_for_a_process_refuses_and_goes_on() -> None:
    preparer = Preparer(("/nowhere/python",), at_once=1)
    for _ in range(2):
        with pytest.raises(PreparationFailedError, match=r"no process was to be had: .*No such file"):
            await preparer.prepare(SOUND)


def hanging(note: Path) -> tuple[str, ...]:
    """Tells who it is, and then does nothing."""
    return "sh", "-c", f"echo $$ > {note}.part && mv {note}.part {note} && exec sleep 600"


def lives(note: Path) -> bool:
    return Path(f"/proc/{note.read_text().strip()}").exists()


async def test_a_process_that_hangs_is_ended(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    with pytest.raises(PreparationFailedError, match="could not be prepared within 4 s"):
        await Preparer(hanging(note), time_s=4).prepare(SOUND)
    assert not lives(note)


async def test_who_asked_and_goes_away_leaves_no_process(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    asking = asyncio.create_task(Preparer(hanging(note)).prepare(SOUND))
    await until(note.exists, 30)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert not lives(note)


async def test_a_process_takes_no_more_memory_than_it_may() -> None:
    does = "from signalbox.audio import preparing; preparing._limit(); bytearray(preparing.MEMORY_BYTES)"
    with pytest.raises(UnusableAudioError, match="reading it ended the process"):
        await Preparer((sys.executable, "-c", does)).prepare(SOUND)


async def test_a_process_writes_no_file(tmp_path: Path) -> None:
    place = tmp_path / "file"
    does = f"from signalbox.audio import preparing; preparing._limit(); open({str(place)!r}, 'w').write('x')"
    with pytest.raises(UnusableAudioError, match="reading it ended the process"):
        await Preparer((sys.executable, "-c", does)).prepare(SOUND)
    assert not place.exists() or not place.stat().st_size


def test_an_answer_is_read_as_it_was_written() -> None:
    prepared = prepare(SOUND)
    assert preparing.answered(preparing.answer(prepared)) == prepared


async def test_a_process_gets_none_of_our_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNALBOX_DATABASE__PASSWORD", "secret")
    does = "import json, os; print(json.dumps({'refused': ' '.join(sorted(os.environ))}))"
    with pytest.raises(UnusableAudioError) as caught:
        await Preparer((sys.executable, "-c", does)).prepare(SOUND)
    assert "SIGNALBOX" not in str(caught.value)
    assert "PATH" in str(caught.value).split()
