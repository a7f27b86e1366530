"""JSON-RPC to the proxy."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from signalbox.edge import control as module
from signalbox.edge.control import Control, ProxyRefusedError, ProxyUnreachableError
from support.kamailio_fake import KamailioFake

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def kamailio(tmp_path: Path) -> AsyncIterator[KamailioFake]:
    fake = KamailioFake(tmp_path)
    fake.start()
    yield fake
    fake.stop()


@pytest.fixture
async def control(tmp_path: Path) -> AsyncIterator[Control]:
    client = Control(tmp_path)
    yield client
    client.close()


async def test_results_come_back_to_who_asked(kamailio: KamailioFake, control: Control) -> None:
    await control.call("htable.sets", "cfg", "a", "1")
    answers = await asyncio.gather(*(control.call("htable.get", "cfg", "a") for _ in range(10)))
    assert [answer["item"]["value"] for answer in answers] == ["1"] * 10


async def test_a_refusal_has_its_code(kamailio: KamailioFake, control: Control) -> None:
    with pytest.raises(ProxyRefusedError, match="Key not found") as caught:
        await control.call("htable.delete", "ban", "192.0.2.1")
    assert caught.value.code == 404


async def test_nobody_there(control: Control) -> None:
    with pytest.raises(ProxyUnreachableError):
        await control.call("core.uptime")


async def test_a_proxy_that_died_and_came_back(kamailio: KamailioFake, control: Control) -> None:
    await control.call("core.uptime")
    kamailio.stop()
    with pytest.raises(ProxyUnreachableError):
        await control.call("core.uptime")
    kamailio.start()
    await control.call("core.uptime")


async def test_silence_ends_and_a_late_answer_is_not_taken_for_another(
    kamailio: KamailioFake, control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TIMEOUT_S", 0.05)
    kamailio.silent = True
    with pytest.raises(ProxyUnreachableError, match="no answer"):
        await control.call("htable.get", "cfg", "version")
    kamailio.silent = False
    assert kamailio._socket is not None
    late = b'{"jsonrpc":"2.0","id":1,"result":"late"}'
    for datagram in (late, b"no json", b"[]"):
        kamailio._socket.sendto(datagram, str(kamailio.runtime_dir / "rpc-edge.sock"))
    assert await control.call("core.uptime") == {}


async def test_the_reply_socket_is_removed_at_the_end(kamailio: KamailioFake, tmp_path: Path) -> None:
    client = Control(tmp_path)
    await client.call("core.uptime")
    path = tmp_path / "rpc-edge.sock"
    assert path.stat().st_mode & 0o777 == 0o600
    client.close()
    assert not path.exists()


async def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    client = Control(tmp_path / "absent")
    with pytest.raises(ProxyUnreachableError):
        await client.call("core.uptime")
