"""Telephones that call each other, without anybody between them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from signalbox_local import telephone
from signalbox_local.telephone import Telephone, TelephoneError
from support.heard import noise
from support.ports import free_port
from support.wait import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HOST = "127.0.0.1"
HELLO, ANSWER, NEVER = noise(1, 0.3), noise(2, 0.3), noise(3, 0.3)


@pytest.fixture
async def pair(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Telephone, Telephone]]:
    """Who calls, and who answers at once."""
    monkeypatch.setattr(telephone, "RING_S", 0.0)
    async with Telephone.open(HOST) as caller, Telephone.open(HOST) as line:
        yield caller, line


async def test_each_hears_what_the_other_says_and_then_its_hiss(pair: tuple[Telephone, Telephone]) -> None:
    caller, line = pair
    talk = await caller.call("400", line.address, "138")
    other = await line.rung()
    assert talk.call_id == other.call_id
    await talk.connected(other)
    await asyncio.gather(talk.say(HELLO), other.say(ANSWER))
    await other.hears("hello", HELLO)
    await talk.hears("the answer", ANSWER)
    await talk.connected(other)


async def test_a_key_is_an_event(pair: tuple[Telephone, Telephone]) -> None:
    caller, line = pair
    talk = await caller.call("400", line.address, "138")
    other = await line.rung()
    await talk.press("1")
    await until(lambda: any(packet.payload_type == 101 for packet in other.voice.packets), 15)


async def test_what_is_not_heard_is_named(pair: tuple[Telephone, Telephone], monkeypatch: pytest.MonkeyPatch) -> None:
    caller, line = pair
    talk = await caller.call("400", line.address, "138")
    other = await line.rung()
    monkeypatch.setattr(telephone, "WAIT_S", 0.2)
    with pytest.raises(TelephoneError, match="the menu was not heard within 0 s"):
        await talk.hears("the menu", NEVER)
    with pytest.raises(TelephoneError, match="the call was not over within"):
        await talk.over()
    other.hang_up()
    monkeypatch.setattr(telephone, "WAIT_S", 15.0)
    await talk.over()
    with pytest.raises(TelephoneError, match=r"the menu was not heard: the call is over \(hung up\)"):
        await talk.hears("the menu", NEVER)


async def test_whoever_is_not_there_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Telephone.open(HOST) as caller:
        monkeypatch.setattr(telephone, "WAIT_S", 0.2)
        with pytest.raises(TelephoneError, match="400 did not answer"):
            await caller.call("400", (HOST, free_port(HOST)), "138")
        with pytest.raises(TelephoneError, match="the line was not called within"):
            await caller.rung()


async def test_a_refusal_is_told_with_its_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telephone, "RING_S", 60.0)
    async with Telephone.open(HOST) as caller:
        async with Telephone.open(HOST) as line:
            calling = asyncio.create_task(caller.call("400", line.address, "138"))
            await until(lambda: len(line.ua.calls) > 0, 15)
        with pytest.raises(TelephoneError, match=r"400 did not answer \(refused 503"):
            await calling
