"""Lists of calls over TCP: in pieces, late, broken, and from another process than before."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest
from signalbox.bencode import decode, encode
from signalbox.media import lister
from signalbox.media.lister import Lister
from signalbox.ng import NgProtocolError, NgTimeoutError, NgUnreachableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class FakeNode:
    """The TCP side of an rtpengine."""

    def __init__(self) -> None:
        self.calls = [f"call-{n}" for n in range(3)]
        self.piece = 1 << 16
        self.raw: bytes | None = None
        self.silent = False
        self.writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[FakeNode]:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            yield self
        finally:
            self._server.close()
            self.hang_up()

    @property
    def control(self) -> str:
        assert self._server is not None
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def hang_up(self) -> None:
        for writer in self.writers:
            writer.close()
        self.writers = []

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                cookie, _, request = data.partition(b" ")
                question = decode(request)
                assert isinstance(question, dict)
                assert question["command"] == "list"
                answer = encode({"calls": self.calls, "result": "ok"}) if self.raw is None else self.raw
                answer = cookie + b" " + answer
                for start in range(0, 0 if self.silent else len(answer), self.piece):
                    writer.write(answer[start : start + self.piece])
                    await writer.drain()
                    await asyncio.sleep(0)


@pytest.fixture
async def node() -> AsyncIterator[FakeNode]:
    async with FakeNode().listening() as node:
        yield node


@pytest.fixture
async def asking(node: FakeNode) -> AsyncIterator[Lister]:
    asking = Lister(node.control)
    yield asking
    asking.close()


async def test_the_connection_is_kept(asking: Lister, node: FakeNode) -> None:
    assert await asking.calls() == {"call-0", "call-1", "call-2"}
    node.calls = []
    assert await asking.calls() == frozenset()
    assert asking.connections == 1


async def test_a_list_in_pieces_of_any_size_is_read_whole(asking: Lister, node: FakeNode) -> None:
    node.calls = [f"call-{n}-eee" for n in range(50)]
    for node.piece in (1, 2, 3, 17):
        assert await asking.calls() == {*node.calls}


async def test_ten_thousand_calls(asking: Lister, node: FakeNode) -> None:
    node.calls = [f"edge-1-1795318705-{n}-1234567" for n in range(10_000)]
    assert await asking.calls() == {*node.calls}


async def test_a_broken_connection_is_made_again_and_counted(asking: Lister, node: FakeNode) -> None:
    await asking.calls()
    node.hang_up()
    assert await asking.calls() == {*node.calls}
    assert asking.connections == 2


async def test_nobody_listens(node: FakeNode) -> None:
    asking = Lister("127.0.0.1:9")
    with pytest.raises(NgUnreachableError):
        await asking.calls()
    assert asking.connections == 0


async def test_no_answer(asking: Lister, node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lister, "TIMEOUT_S", 0.1)
    node.silent = True
    with pytest.raises(NgTimeoutError):
        await asking.calls()
    node.silent = False
    assert len(await asking.calls()) == 3


@pytest.mark.parametrize("raw", [b"d6:result5:errore", b"le", b"d5:callsi1e6:result2:oke"])
async def test_an_answer_that_is_no_list(asking: Lister, node: FakeNode, raw: bytes) -> None:
    node.raw = raw
    with pytest.raises(NgProtocolError):
        await asking.calls()


async def test_an_answer_that_nobody_waited_for_is_not_taken_for_the_next(asking: Lister, node: FakeNode) -> None:
    await asking.calls()
    node.silent = True
    cancelled = asyncio.create_task(asking.calls())
    await asyncio.sleep(0.01)
    cancelled.cancel()
    await asyncio.wait([cancelled])
    node.silent = False
    assert await asking.calls() == {*node.calls}
    assert asking.connections == 2
