"""What keys make together."""

from __future__ import annotations

import asyncio

import pytest
from signalbox.ivr.media.errors import MediaLostError
from signalbox.ivr.media.keys import WAITING_MAX, Collected, Ended, Key, Keys
from signalbox.ivr.media.playback import End, Playback

LONG_S, SHORT_S = 60.0, 0.05


def pressed(digits: str) -> Keys:
    keys = Keys()
    for digit in digits:
        keys.pressed(Key(digit))
    return keys


def playing(seconds: float | None = None) -> Playback:
    async def stop(playback: Playback) -> None:
        playback.ended(End.STOPPED)

    return Playback(seconds, stop)


async def collect(keys: Keys, most: int = 3, terminator: str = "#", next_timeout_s: float = SHORT_S) -> Collected:
    return await keys.collect(most, first_timeout_s=SHORT_S, next_timeout_s=next_timeout_s, terminator=terminator)


@pytest.mark.parametrize(
    ("digits", "expected"),
    [
        ("123", Collected("123", Ended.FULL)),
        ("1234", Collected("123", Ended.FULL)),
        ("12#", Collected("12", Ended.TERMINATED)),
        ("#", Collected("", Ended.TERMINATED)),
        ("12", Collected("12", Ended.TIMEOUT)),
        ("", Collected("", Ended.TIMEOUT)),
        ("1*2", Collected("1*2", Ended.FULL)),
    ],
)
async def test_what_was_pressed(digits: str, expected: Collected) -> None:
    assert await collect(pressed(digits)) == expected


async def test_without_a_terminator_every_key_is_a_digit() -> None:
    assert await collect(pressed("#*"), most=2, terminator="") == Collected("#*", Ended.FULL)


async def test_any_of_several_terminators_ends_it() -> None:
    assert await collect(pressed("1*"), terminator="*#") == Collected("1", Ended.TERMINATED)


async def test_digits_that_are_whole_end_at_once() -> None:
    keys = pressed("12")
    found = await keys.collect(
        9, first_timeout_s=SHORT_S, next_timeout_s=LONG_S, is_whole=lambda digits: digits == "12"
    )
    assert found == Collected("12", Ended.FULL)


@pytest.mark.parametrize("ahead", [True, False])
async def test_a_terminator_that_was_not_needed_is_nobodys_key(ahead: bool) -> None:
    keys = pressed("123#5" if ahead else "123")
    assert (await collect(keys, next_timeout_s=LONG_S)).digits == "123"
    if not ahead:
        keys.pressed(Key("#"))
        keys.pressed(Key("5"))
    assert await keys.next(SHORT_S) == Key("5")


async def test_a_terminator_after_another_key_or_too_late_is_a_key() -> None:
    keys = pressed("123")
    await collect(keys, next_timeout_s=LONG_S)
    keys.pressed(Key("4"))
    keys.pressed(Key("#"))
    assert [await keys.next(SHORT_S), await keys.next(SHORT_S)] == [Key("4"), Key("#")]
    for digit in "123":
        keys.pressed(Key(digit))
    await collect(keys, next_timeout_s=SHORT_S)
    await asyncio.sleep(2 * SHORT_S)
    keys.pressed(Key("#"))
    assert await keys.next(SHORT_S) == Key("#")


async def test_what_was_pressed_and_not_asked_for_yet_is_waiting() -> None:
    keys = pressed("1")
    assert keys.waiting
    await keys.next()
    assert not keys.waiting


async def test_the_rest_is_for_the_next_who_asks() -> None:
    keys = pressed("12345")
    assert (await collect(keys, most=2)).digits == "12"
    assert (await collect(keys, most=2)).digits == "34"
    keys.forget()
    assert await collect(keys) == Collected("", Ended.TIMEOUT)


async def test_what_is_no_key_is_not_taken() -> None:
    assert await collect(pressed("1E\n\N{FULLWIDTH DIGIT TWO}2")) == Collected("12", Ended.TIMEOUT)


async def test_of_too_many_keys_the_oldest_are_forgotten() -> None:
    keys = pressed("1" * 10 + "2" * WAITING_MAX)
    assert (await collect(keys, most=100)).digits == "2" * WAITING_MAX


async def test_the_time_for_the_first_key_begins_with_the_end_of_the_playback() -> None:
    keys, playback = Keys(), playing()
    collecting = asyncio.create_task(keys.collect(1, first_timeout_s=SHORT_S, next_timeout_s=LONG_S, playback=playback))
    await asyncio.sleep(3 * SHORT_S)
    assert not collecting.done()
    playback.ended(End.FINISHED)
    assert await collecting == Collected("", Ended.TIMEOUT)


async def test_the_first_key_stops_the_playback() -> None:
    keys, playback = Keys(), playing()
    collecting = asyncio.create_task(keys.collect(2, first_timeout_s=LONG_S, next_timeout_s=LONG_S, playback=playback))
    await asyncio.sleep(0)
    keys.pressed(Key("1"))
    assert await playback.done() is End.STOPPED
    keys.pressed(Key("2"))
    assert await collecting == Collected("12", Ended.FULL)


async def test_a_key_from_before_stops_the_playback_too() -> None:
    playback = playing()
    collected = await pressed("1").collect(1, first_timeout_s=LONG_S, next_timeout_s=LONG_S, playback=playback)
    assert collected.digits == "1"
    assert await playback.done() is End.STOPPED


async def test_without_barge_in_keys_count_from_the_end_of_the_playback() -> None:
    keys, playback = pressed("1"), playing()
    collecting = asyncio.create_task(
        keys.collect(1, first_timeout_s=LONG_S, next_timeout_s=LONG_S, playback=playback, barge_in=False)
    )
    await asyncio.sleep(0)
    keys.pressed(Key("2"))
    await asyncio.sleep(0)
    assert not playback.over
    playback.ended(End.FINISHED)
    await asyncio.sleep(0.01)
    keys.pressed(Key("3"))
    assert await collecting == Collected("3", Ended.FULL)


@pytest.mark.parametrize("during_playback", [True, False])
async def test_who_waits_is_told_of_lost_media(during_playback: bool) -> None:
    keys = Keys()
    playback = playing() if during_playback else None
    collecting = asyncio.create_task(keys.collect(1, first_timeout_s=LONG_S, next_timeout_s=LONG_S, playback=playback))
    await asyncio.sleep(0)
    keys.fail(MediaLostError("gone"))
    with pytest.raises(MediaLostError, match="gone"):
        await collecting
    with pytest.raises(MediaLostError, match="gone"):
        await keys.next()


async def test_one_key_or_none_in_time() -> None:
    keys = pressed("7")
    assert await keys.next(LONG_S) == Key("7")
    assert await keys.next(SHORT_S) is None


async def test_a_playback_ends_once_and_tells_all_who_wait() -> None:
    told: list[str] = []
    playback = playing(0.01)
    playback.when_over(lambda: told.append("before"))
    assert await playback.done() is End.FINISHED
    playback.ended(End.REPLACED)
    playback.ended(MediaLostError("late"))
    playback.when_over(lambda: told.append("after"))
    await playback.stop()
    assert await playback.done() is End.FINISHED
    assert told == ["before", "after"]


async def test_a_playback_that_is_lost_raises_for_each_who_waits() -> None:
    playback = playing(LONG_S)
    playback.ended(MediaLostError("gone"))
    for _ in range(2):
        with pytest.raises(MediaLostError, match="gone"):
            await playback.done()
