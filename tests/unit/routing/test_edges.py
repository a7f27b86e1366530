"""What edges are told, and how they stay registered."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from signalbox.api.types.v1 import types_pb2
from signalbox.domain.objects import Target
from signalbox.routing import edges
from signalbox.routing.book import Book
from signalbox.routing.edges import EdgeFeed, EdgeRegistry, content, version_of
from signalbox.store import keys
from signalbox.store.base import Change, Listing
from signalbox.store.codec import key_of
from signalbox.store.memory import MemoryStore
from support import routing
from support.wait import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from signalbox.store.codec import Object


def book_of(*messages: Object, feed: EdgeFeed | None = None) -> Book:
    book = Book(feed.mark if feed else lambda: None)
    routing.at_once(book.reset_rules(routing.listing(*(m for m in messages if key_of(m).startswith(keys.RULES)))))
    book.reset_live(routing.listing(*(m for m in messages if key_of(m).startswith(keys.LIVE))))
    return book


TRUNKS = (routing.trunk("a"), routing.trunk("b", "192.0.2.2"))
NODES = (
    routing.node(1),
    routing.node(2, calls=7, records=True, captures_address="192.0.2.2:7440", voice_address="192.0.2.2:7450"),
)
EDGES = (routing.edge("e1"), routing.edge("e2", "192.0.2.101:5060", "[2001:db8::1]:5060"))


def test_equal_content_has_an_equal_version_at_every_replica() -> None:
    one = book_of(*TRUNKS, *NODES, *EDGES)
    other = Book(lambda: None)
    routing.at_once(other.reset_rules(Listing([], 1)))
    other.reset_live(Listing([], 1))
    for message in reversed((*NODES, *EDGES)):
        other.change_live([Change(key_of(message), routing.entry(message, 50), 50)])
    for message in reversed(TRUNKS):
        other.change_rules([Change(key_of(message), routing.entry(message, 60), 60)])
    assert content(one) == content(other)
    assert version_of(content(one)) == version_of(content(other))


def test_content_is_whole_and_in_order() -> None:
    told = content(book_of(*TRUNKS, *NODES, *EDGES))
    assert [(t.id, list(t.source_addresses), t.disabled) for t in told.trunks] == [
        ("a", ["192.0.2.1"], False),
        ("b", ["192.0.2.2"], False),
    ]
    assert list(told.peers) == list(EDGES)
    # Without what is nothing to an edge.
    assert list(told.media_nodes) == [routing.node(1), routing.node(2)]


def test_workers_call_lines_from_a_trunk_of_their_own() -> None:
    workers = routing.voice(2, draining=True), routing.voice(1), routing.voice(3, sip_address="[2001:db8::3]:5070")
    told = content(book_of(*TRUNKS, *workers)).trunks
    assert [trunk.id for trunk in told] == ["a", "b", "_voice"]
    assert list(told[-1].source_addresses) == ["192.0.2.1", "192.0.2.2", "2001:db8::3"]
    assert not told[-1].targets


def checked(**fields: object) -> types_pb2.Trunk:
    targets = [
        types_pb2.TrunkTarget(host="192.0.2.5"),
        types_pb2.TrunkTarget(host="2001:db8::5", port=5062, transport=types_pb2.SIP_TRANSPORT_TCP),
    ]
    return routing.trunk("c", targets=targets, **fields)  # type: ignore[arg-type]


def test_targets_that_are_to_be_asked_are_told_with_every_value_given() -> None:
    (told,) = content(book_of(checked())).trunks
    assert [(one.host, one.port, one.transport) for one in told.targets] == [
        ("192.0.2.5", 5060, types_pb2.SIP_TRANSPORT_UDP),
        ("2001:db8::5", 5062, types_pb2.SIP_TRANSPORT_TCP),
    ]
    check = told.health_check
    assert (check.interval.seconds, check.failures, check.successes) == (30, 3, 2)


@pytest.mark.parametrize("fields", [{"disabled": True}, {"health_check": types_pb2.HealthCheck(disabled=True)}])
def test_targets_that_are_not_to_be_asked_are_not_told(fields: dict[str, object]) -> None:
    (told,) = content(book_of(checked(**fields))).trunks
    assert not told.targets
    assert not told.HasField("health_check")


@pytest.mark.parametrize(
    "change", [routing.trunk("a", disabled=True), routing.node(1, healthy=False), routing.edge("e1", "192.0.2.9:5060")]
)
def test_other_content_has_another_version(change: Object) -> None:
    everything = (*TRUNKS, *NODES, *EDGES)
    changed = {key_of(m): m for m in (*everything, change)}
    assert version_of(content(book_of(*everything))) != version_of(content(book_of(*changed.values())))


async def turn_loop() -> None:
    """Let every task go on as far as it can: a store in memory never waits for anything outside."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
async def feed() -> AsyncIterator[EdgeFeed]:
    return EdgeFeed(lambda: 5)


async def test_nothing_is_published_before_the_book_is_loaded(feed: EdgeFeed) -> None:
    book = Book(feed.mark)
    running = asyncio.create_task(feed.run(book))
    routing.at_once(book.reset_rules(Listing([], 1)))
    waiting = asyncio.create_task(feed.next(""))
    await turn_loop()
    assert not waiting.done()
    book.reset_live(Listing([], 1))
    assert (await asyncio.wait_for(waiting, 5)).revision == 5
    running.cancel()


async def test_the_revision_told_is_that_of_now_and_never_goes_back() -> None:
    revision = 5
    feed = EdgeFeed(lambda: revision)
    book = book_of(*TRUNKS, feed=feed)
    running = asyncio.create_task(feed.run(book))
    first = await asyncio.wait_for(feed.next(""), 5)
    revision = 9
    assert (await feed.next("")).revision == 9, "still the content: a proxy that comes now must not take it for old"
    revision = 0
    assert (await feed.next("")).revision == first.revision == 5
    book.change_live([Change(key_of(NODES[0]), routing.entry(NODES[0], 7), 7)])
    assert (await asyncio.wait_for(feed.next(first.version), 5)).revision == 5, "the store is being listed anew"
    running.cancel()


async def test_the_first_change_goes_out_at_once_and_those_that_follow_go_together(
    feed: EdgeFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    pause = asyncio.Event()

    async def sleep(seconds: float) -> None:
        assert seconds == edges.PUBLISH_INTERVAL_S
        await pause.wait()
        pause.clear()

    monkeypatch.setattr("signalbox.routing.edges.asyncio.sleep", sleep)
    book = book_of(feed=feed)
    running = asyncio.create_task(feed.run(book))
    first = await asyncio.wait_for(feed.next(""), 5)
    waiting = asyncio.create_task(feed.next(first.version))
    for message in TRUNKS:
        book.change_rules([Change(key_of(message), routing.entry(message, 2), 2)])
    pause.set()
    second = await asyncio.wait_for(waiting, 5)
    assert len(second.trunks) == 2
    running.cancel()


async def test_content_that_comes_back_as_it_was_is_not_sent_again(feed: EdgeFeed) -> None:
    book = book_of(*TRUNKS, feed=feed)
    running = asyncio.create_task(feed.run(book))
    first = await asyncio.wait_for(feed.next(""), 5)
    feed.mark()
    await until(lambda: not feed._dirty.is_set())
    assert feed.current is not None
    assert feed.current.version == first.version
    running.cancel()


async def test_watchers_are_told_when_the_replica_stops(feed: EdgeFeed) -> None:
    running = asyncio.create_task(feed.run(book_of(feed=feed)))
    first = await asyncio.wait_for(feed.next(""), 5)
    waiting = asyncio.create_task(feed.next(first.version))
    await turn_loop()
    feed.drain()
    told = await asyncio.wait_for(waiting, 5)
    assert told.draining
    assert told.version == first.version
    running.cancel()


async def test_what_each_edge_has_taken_over_is_known_while_it_watches(feed: EdgeFeed) -> None:
    with feed.watcher("e1") as old, feed.watcher("e2") as other:
        old.acknowledged = "v1"
        assert feed.acknowledged() == {"e1": "v1", "e2": ""}
        other.acknowledged = "v2"
        assert feed.acknowledged() == {"e1": "v1", "e2": "v2"}
    assert feed.acknowledged() == {}


class Registered:
    """A registry over a memory store whose live keys a book follows."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(edges, "CHECK_INTERVAL_S", 0.005)
        self.store = MemoryStore()
        self.book = book_of()
        self.registry = EdgeRegistry(self.store, self.book)

    async def follow(self) -> None:
        """Bring the book to the store's state."""
        self.book.reset_live(await self.store.list(keys.LIVE))

    def writes(self) -> int:
        """Writes so far."""
        return self.store._revision


@pytest.fixture
async def registered(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Registered]:
    registered = Registered(monkeypatch)
    yield registered
    await registered.store.close()


async def test_a_registration_outlives_the_stream_that_made_it(registered: Registered) -> None:
    keeping = asyncio.create_task(registered.registry.keep(EDGES[0]))
    await until(lambda: registered.writes() > 1)
    keeping.cancel()
    await registered.follow()
    assert registered.book.edges == {"e1": EDGES[0]}


async def test_a_registration_that_is_lost_or_changed_is_put_again(registered: Registered) -> None:
    keeping = asyncio.create_task(registered.registry.keep(EDGES[0]))
    await until(lambda: registered.writes() > 1)
    await registered.follow()
    await routing.delete(registered.store, EDGES[0])
    await registered.follow()
    seen = registered.writes()
    await until(lambda: registered.writes() > seen)
    await registered.follow()
    assert registered.book.edges == {"e1": EDGES[0]}
    keeping.cancel()


async def test_an_edge_that_comes_back_soon_costs_no_new_lease(registered: Registered) -> None:
    for _ in range(3):
        keeping = asyncio.create_task(registered.registry.keep(EDGES[0]))
        await until(lambda: registered.writes() > 1)
        await registered.follow()
        await turn_loop()
        keeping.cancel()
    assert len(registered.store._leases) == 1


async def test_a_store_that_is_away_is_tried_again(registered: Registered) -> None:
    registered.store.available = False
    keeping = asyncio.create_task(registered.registry.keep(EDGES[0]))
    await turn_loop()
    assert not keeping.done()
    registered.store.available = True
    await until(lambda: registered.writes() > 1)
    keeping.cancel()


async def test_what_an_edge_sees_of_targets_is_kept_under_a_lease_and_outlives_the_stream(
    registered: Registered,
) -> None:
    keeper = registered.registry.targets("e1")
    running = asyncio.create_task(keeper.run())
    await turn_loop()
    assert registered.writes() == 1, "before it has told anything there is nothing to keep"
    for dead in (["192.0.2.5"], ["192.0.2.5", "192.0.2.6"], []):
        before = registered.writes()
        keeper.take(routing.targets("somebody-else", *dead))
        await until(lambda before=before: registered.writes() > before)  # type: ignore[misc]
        await registered.follow()
        assert registered.book.dead == {"e1": {Target(host) for host in dead}}
    assert (await registered.store.list(keys.LIVE_TARGETS)).entries[0].key == keys.live_targets("e1")
    running.cancel()
    await registered.follow()
    assert registered.book.dead == {"e1": frozenset()}
    assert len(registered.store._leases) == 1
