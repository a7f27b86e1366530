"""Which node takes a call."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from signalbox.ivr.media import anchoring
from signalbox.ivr.media import nodes as nodes_module
from signalbox.ivr.media.errors import NoMediaNodeError, UnusableDescriptionError
from signalbox.ivr.media.nodes import TRIES, MediaNodes
from support.ivr_media import media_node, worker
from support.ng import FakeNg
from support.rtpengine import sdp
from support.wait import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from signalbox.api.routing.v1.routing_pb2 import MediaNode
    from signalbox.bencode import Encodable
    from signalbox.ng import Reply

    Answer = Callable[[Reply], Encodable | None]

WAIT_S = 15.0
OFFER = sdp("192.0.2.7", 4000)


def info(number: int, **differences: object) -> MediaNode:
    return media_node(f"127.0.0.1:{number}", number, **differences)


async def known(*infos: MediaNode, seed: int = 1) -> MediaNodes:
    nodes = MediaNodes(chance=random.Random(seed))
    await nodes.update(infos)
    return nodes


async def test_of_two_the_one_with_less_load() -> None:
    nodes = await known(info(1, calls=50), info(2, calls=90, capacity=1000))
    for _ in range(20):
        assert [node.id for node in nodes.candidates()] == ["media-2", "media-1"]
    await nodes.close()


async def test_among_many_no_single_node_gets_all_calls() -> None:
    nodes = await known(*(info(number, calls=number) for number in range(1, 11)))
    first = Counter(nodes.candidates()[0].id for _ in range(1000))
    assert len(first) == 9
    assert first["media-1"] < 350
    assert all(len(set(nodes.candidates())) == TRIES for _ in range(20))
    await nodes.close()


async def test_players_count_as_calls_do() -> None:
    nodes = await known(info(1, calls=10), info(2, calls=12))
    playing = next(node for node in nodes.candidates() if node.id == "media-1")
    playing.players = 3
    assert nodes.candidates()[0].id == "media-2"
    await nodes.close()


@pytest.mark.parametrize(
    ("differences", "why"),
    [
        ({"draining": True}, "is draining"),
        ({"healthy": False}, "is unhealthy, its sidecar says"),
        ({"calls": 100}, "is full"),
        ({}, "does not record"),
    ],
)
async def test_nodes_that_take_none_are_told_with_the_reason(differences: dict[str, object], why: str) -> None:
    nodes = await known(info(1, **differences))
    with pytest.raises(NoMediaNodeError) as caught:
        nodes.candidates(records=why == "does not record")
    assert caught.value.reasons == {"media-1": why}
    assert str(caught.value) == f"no media node takes the call: media-1: {why}"
    await nodes.close()


async def test_only_doubts_can_be_put_aside() -> None:
    unwell, leaving, full = ({"healthy": False, **more} for more in ({}, {"draining": True}, {"calls": 100}))
    nodes = await known(info(1, **unwell), info(2, **leaving), info(3, **full))
    with pytest.raises(NoMediaNodeError):
        nodes.candidates()
    assert [node.id for node in nodes.candidates(doubtful=True)] == ["media-1"]
    with pytest.raises(NoMediaNodeError, match="media-1: does not record"):
        nodes.candidates(records=True, doubtful=True)
    await nodes.close()


async def test_without_any_node_that_is_told() -> None:
    with pytest.raises(NoMediaNodeError, match="none is known"):
        (await known()).candidates()


async def test_a_node_with_a_wrong_address_is_left_out() -> None:
    nodes = await known(media_node("nowhere", 1), info(2))
    assert [node.id for node in nodes.candidates()] == ["media-2"]
    await nodes.close()


async def test_calls_begun_since_the_last_report_count() -> None:
    nodes = await known(info(1, calls=98))
    (node,) = nodes.candidates()
    node.joined(Stub("w1.1"))
    assert node.load == pytest.approx(0.99)
    node.joined(Stub("w1.2"))
    with pytest.raises(NoMediaNodeError, match="is full"):
        nodes.candidates()
    # What is told again is no report.
    await nodes.update([info(1, calls=98)])
    assert node.load == pytest.approx(1.0)
    # The next one has them.
    await nodes.update([info(1, calls=99)])
    assert node.load == pytest.approx(0.99)
    await nodes.close()


class Stub:
    """A session that only is there."""

    def __init__(self, call_id: str) -> None:
        self.call_id = call_id
        self.lost: list[str] = []

    def lose(self, error: Exception) -> None:
        self.lost.append(str(error))

    def key(self, tag: str, key: object) -> None:
        raise AssertionError("no key is pressed")


async def test_a_call_is_found_by_its_id_wherever_it_is() -> None:
    nodes = await known(info(1), info(2))
    first, second = nodes.candidates()
    stub, other = Stub("w1.1"), Stub("w1.1")
    first.joined(stub)
    await nodes.update([info(int(second.id[-1]))])
    assert nodes.session("w1.1") is stub
    assert nodes.session("w1.2") is None
    assert (nodes.has_calls(first.id), nodes.has_calls(second.id)) == (True, False)
    # Of a try that was given up, when another has taken its place.
    first.left(other)
    assert nodes.session("w1.1") is stub
    first.left(stub)
    assert not nodes.has_calls(first.id)
    await nodes.close()


async def test_a_node_that_leaves_keeps_the_calls_that_it_has() -> None:
    async with FakeNg.open() as fake, worker(media_node(fake.address), interval_s=0.02) as nodes:
        (node,) = nodes.candidates()
        stub = Stub("w1.1")
        node.joined(stub)
        await nodes.update([])
        with pytest.raises(NoMediaNodeError):
            nodes.candidates()
        count = len(fake.requests)
        await until(lambda: len(fake.requests) > count + 3, WAIT_S)
        assert stub.lost == []
        node.left(stub)
        assert await ends(fake)


async def test_a_node_that_comes_back_has_the_calls_that_it_had() -> None:
    async with FakeNg.open() as fake, worker(media_node(fake.address), interval_s=0.02) as nodes:
        (node,) = nodes.candidates()
        node.joined(Stub("w1.1"))
        await nodes.update([])
        await nodes.update([media_node(fake.address)])
        assert nodes.candidates() == [node]
        node.sessions.clear()
        count = len(fake.requests)
        await until(lambda: len(fake.requests) > count + 3, WAIT_S)


async def test_a_node_that_hangs_and_leaves_frees_its_calls_when_it_answers_again() -> None:
    async with FakeNg.open() as fake, worker(media_node(fake.address), interval_s=0.02) as nodes:
        (node,) = nodes.candidates()
        fake.silent = True
        await nodes.update([])
        await node.free_soon("w1.1")
        await asyncio.sleep(0.2)
        fake.requests.clear()
        fake.silent = False
        await until(lambda: any(request["command"] == "delete" for _, request in fake.requests), WAIT_S)
        assert await ends(fake)


async def test_a_node_that_never_answers_again_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes_module, "OWED_S", 0.1)
    async with FakeNg.open() as fake, worker(media_node(fake.address), interval_s=0.02) as nodes:
        (node,) = nodes.candidates()
        fake.silent = True
        await nodes.update([])
        await node.free_soon("w1.1")
        assert await ends(fake)


async def test_a_node_that_hangs_and_leaves_does_not_hold_up_the_pings_of_others() -> None:
    async with (
        FakeNg.open() as hanging,
        FakeNg.open() as well,
        worker(media_node(hanging.address, 1), media_node(well.address, 2), interval_s=0.02) as nodes,
    ):
        (node,) = (node for node in nodes.candidates() if node.id == "media-1")
        hanging.silent = True
        held = asyncio.Lock()
        await held.acquire()
        node.free_soon("w1.1", held)
        await nodes.update([media_node(well.address, 2)])
        await asyncio.sleep(0.1)
        count = len(well.requests)
        await until(lambda: len(well.requests) > count + 3, WAIT_S)
        held.release()


async def ends(fake: FakeNg) -> bool:
    """True once no more pings come."""
    count = -1
    for _ in range(100):
        if count == len(fake.requests):
            return True
        count = len(fake.requests)
        await asyncio.sleep(0.2)
    return False


async def test_a_node_that_refuses_is_passed_over_and_told_with_its_words() -> None:
    """Full, in the eyes of the node itself."""
    async with FakeNg.open() as fake, worker(media_node(fake.address)) as nodes:
        fake.answer = refusing(fake, "Parallel session limit reached")
        with pytest.raises(NoMediaNodeError, match="Parallel session limit reached"):
            await anchoring.anchor(nodes, "w1.1", OFFER)
        # Whether it has begun something is not known.
        await until(lambda: "delete" in commands(fake), WAIT_S)
        (node,) = nodes.candidates()
        assert not node.sessions


async def test_the_next_node_takes_the_call_that_one_refuses() -> None:
    async with FakeNg.open() as full, FakeNg.open() as other:
        full.answer, other.answer = refusing(full, "full"), serving(other)
        infos = media_node(full.address, 1, capacity=1000), media_node(other.address, 2)
        async with worker(*infos) as nodes:
            nodes.candidates()[0].players = -1
            session, answer = await anchoring.anchor(nodes, "w1.1", OFFER)
            assert session.node.id == "media-2"
            assert "c=IN IP4 198.51.100.1\r\n" in answer
            await session.close()
            assert commands(other)[-1] == "delete"


async def test_an_answer_without_a_description_is_no_answer() -> None:
    async with FakeNg.open() as fake, worker(media_node(fake.address)) as nodes:
        fake.answer = lambda request: {"result": "pong" if request["command"] == "ping" else "ok"}
        with pytest.raises(NoMediaNodeError, match="no session description"):
            await anchoring.anchor(nodes, "w1.1", OFFER)


async def test_an_offer_that_cannot_be_served_bothers_no_node() -> None:
    async with FakeNg.open() as fake, worker(media_node(fake.address)) as nodes:
        with pytest.raises(UnusableDescriptionError):
            await anchoring.anchor(nodes, "w1.1", OFFER.replace("PCMA", "GSM"))
        assert set(commands(fake)) <= {"ping"}


def commands(fake: FakeNg) -> list[str]:
    return [str(request["command"]) for _, request in fake.requests]


def refusing(fake: FakeNg, why: str) -> Answer:
    def answer(request: Reply) -> Encodable | None:
        if request["command"] == "ping":
            return fake.well(request)
        return {"result": "error", "error-reason": why}

    return answer


def serving(fake: FakeNg, written: str = sdp("198.51.100.1", 30_000)) -> Answer:
    def answer(request: Reply) -> Encodable | None:
        if request["command"] == "ping":
            return fake.well(request)
        return {"result": "ok", "sdp": written}

    return answer
