"""What a replica knows after listings and changes."""

from __future__ import annotations

import asyncio
import gc
import time
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signalbox.api.routing.v1 import routing_pb2
from signalbox.api.types.v1 import types_pb2
from signalbox.domain.objects import Transport
from signalbox.routing.book import Book
from signalbox.routing.edges import content, version_of
from signalbox.store import codec, keys
from signalbox.store.base import Change, Entry, Listing
from support import routing
from support.deciding import decided

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


class Told:
    """Counts what the edges would hear."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def book(told: Told) -> Book:
    book = Book(told)
    routing.at_once(
        book.reset_rules(
            routing.listing(routing.trunk(), routing.line(), routing.number(), types_pb2.Tenant(id="acme"))
        )
    )
    book.reset_live(routing.listing(routing.node(1), routing.edge()))
    told.times = 0
    return book


def put(message: codec.Object) -> Change:
    return Change(codec.key_of(message), routing.entry(message, 2), 2)


def gone(message: codec.Object) -> Change:
    return Change(codec.key_of(message), None, 2)


def damaged(message: codec.Object, value: bytes = b"\xff\xff") -> Change:
    return Change(codec.key_of(message), replace(routing.entry(message, 2), value=value), 2)


def test_what_edges_see_of_targets_is_known_as_long_as_they_tell_it(book: Book, told: Told) -> None:
    dead = book.dead
    one, other = routing.targets("edge-1", "192.0.2.5"), routing.targets("edge-2", "192.0.2.6", "192.0.2.7")
    book.change_live([put(one), put(other)])
    assert {edge: {target.host for target in found} for edge, found in dead.items()} == {
        "edge-1": {"192.0.2.5"},
        "edge-2": {"192.0.2.6", "192.0.2.7"},
    }
    book.change_live([put(routing.targets("edge-1")), gone(other)])
    assert dead == {"edge-1": frozenset()}
    book.change_live([put(other), damaged(other)])
    assert len(dead["edge-2"]) == 2, "what was known before stays in force"
    book.reset_live(routing.listing(routing.node(1), routing.edge()))
    assert dead == {}
    assert told.times == 1, "the edges need not hear of it"


def why(book: Book, called: str = routing.NUMBER) -> str:
    return decided(book.rules, routing.call(called)).why.value


def test_a_book_is_loaded_when_rules_and_live_nodes_are_known() -> None:
    book = Book(lambda: None)
    assert not book.loaded
    routing.at_once(book.reset_rules(Listing([], 1)))
    assert not book.loaded
    book.reset_live(Listing([], 1))
    assert book.loaded


def test_changes_are_in_force_at_once(book: Book) -> None:
    assert why(book) == "dial"
    book.change_rules([gone(routing.line())])
    assert why(book) == "no_line"
    book.change_rules([put(routing.line()), put(routing.number("4007654321"))])
    assert (why(book), why(book, "4007654321")) == ("dial", "dial")
    book.change_rules([put(routing.trunk(disabled=True))])
    assert why(book) == "trunk_disabled"
    book.change_rules([gone(routing.trunk()), gone(routing.number())])
    assert why(book) == "trunk_unknown"


def test_a_reset_replaces_everything(book: Book) -> None:
    routing.at_once(book.reset_rules(routing.listing(routing.trunk())))
    assert why(book) == "number_unknown"
    book.reset_live(Listing([], 3))
    assert not book.edges
    assert set(book.media_nodes) == {"m1"}, "the last one is asked all the same"
    book.change_live([put(routing.node(1, draining=True))])
    book.reset_live(Listing([], 4))
    assert not book.media_nodes
    assert book.media.assign("x").node == 0


@pytest.fixture
def no_collector() -> Iterator[None]:
    """As a replica has it meanwhile."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
async def test_calls_are_decided_by_the_old_rules_while_many_new_ones_are_read() -> None:
    book, count = Book(lambda: None), 100_000
    rules = [routing.entry(routing.number(f"400{n:07d}")) for n in range(count)]
    rules += [routing.entry(message) for message in (routing.trunk(), routing.line())]
    await book.reset_rules(Listing(rules[count // 2 :], 1))
    turns = [time.process_time()]
    last = f"400{count - 1:07d}"
    resetting = asyncio.create_task(book.reset_rules(Listing(rules, 2)))
    while not resetting.done():
        assert why(book, last) == "dial"
        if book.rules.numbers == count // 2:
            assert why(book, "4000000000") == "number_unknown"
        turns.append(time.process_time())
        await asyncio.sleep(0)
    assert why(book, "4000000000") == "dial"
    longest = max(after - before for before, after in pairwise(turns))
    assert longest < 0.1, "seconds of our own work: a few milliseconds each; all of it is one second"
    assert len(turns) > 500


def test_edges_hear_of_trunks_and_nodes_but_not_of_numbers_lines_live_calls_and_recording(
    book: Book, told: Told
) -> None:
    book.change_rules([put(routing.number(routing.NUMBER, ("a", "b"))), put(routing.line("b"))])
    book.change_live([put(routing.node(1, calls=50)), put(routing.edge())])
    book.change_live([put(routing.node(1, records=True, captures_address="192.0.2.1:7440"))])
    assert told.times == 0
    for expected, changes in enumerate(([put(routing.trunk("other"))], [gone(routing.trunk("other"))]), 1):
        book.change_rules(changes)
        assert told.times == expected
    live = (
        put(routing.node(1, draining=True)),
        put(routing.node(2)),
        put(routing.node(1)),
        gone(routing.node(2)),
        put(routing.edge("e2")),
    )
    for expected, change in enumerate((*live, gone(routing.edge("e2"))), 3):
        book.change_live([change])
        assert told.times == expected


def test_media_follows_the_live_nodes(book: Book) -> None:
    assert book.media.assign("x").node == 1
    book.change_live([put(routing.node(1, healthy=False)), put(routing.node(2))])
    assert book.media.assign("x").node == 2
    assert not book.media.records
    book.change_live([put(routing.node(2, records=True))])
    assert book.media.records
    book.change_live([gone(routing.node(2))])
    assert book.media.assign("x").node == 2, "no other is left"
    book.change_live([put(routing.node(1))])
    assert book.media.assign("x").node == 1
    book.change_live([put(routing.node(1, draining=True)), gone(routing.node(1))])
    assert book.media.assign("x").node == 2, "it was drained, and is not used again"


def test_workers_with_voice_follow_their_registrations(book: Book, told: Told) -> None:
    pool = book.voice

    def tried() -> set[str]:
        return {f"{line.id} {line.host}:{line.port}" for n in range(50) for line in pool.tried(f"call-{n}")}

    assert tried() == set()
    book.change_live([put(routing.voice(1)), put(routing.voice(2)), put(routing.voice(3))])
    assert tried() == {"ivr-1 192.0.2.1:5070", "ivr-2 192.0.2.2:5070", "ivr-3 192.0.2.3:5070"}
    book.change_live([put(routing.voice(1, calls=9)), put(routing.voice(2, draining=True)), gone(routing.voice(2))])
    assert tried() == {"ivr-3 192.0.2.3:5070"}
    book.change_live([gone(routing.voice(3))])
    assert tried() == {"ivr-3 192.0.2.3:5070"}, "the last one is asked all the same"
    book.change_live([damaged(routing.voice(4)), put(routing.voice(1))])
    assert tried() == {"ivr-1 192.0.2.1:5070"}
    assert list(book.damaged) == [keys.live_voice("ivr-4")]
    book.reset_live(routing.listing(routing.voice(5)))
    assert tried() == {"ivr-5 192.0.2.5:5070"}
    assert told.times == 2, "the first ones, and a listing"


def test_a_worker_is_called_by_the_transport_that_it_names(book: Book) -> None:
    book.change_live([put(routing.voice(1)), put(routing.voice(2, transport=types_pb2.SIP_TRANSPORT_TCP))])
    assert {line.id: line.transport for line in book.voice.tried("call")} == {
        "ivr-1": Transport.UDP, "ivr-2": Transport.TCP,
    }  # fmt: skip


def test_the_edges_are_told_where_workers_call_from(book: Book, told: Told) -> None:
    book.change_live([put(routing.voice(2)), put(routing.voice(1)), put(routing.voice(3, sip_address="[::1]:5070"))])
    assert book.voice_addresses == ["192.0.2.1", "192.0.2.2", "::1"]
    book.change_live([put(routing.voice(1, calls=3)), put(routing.voice(2, draining=True))])
    assert told.times == 1, "load is nothing to an edge"
    book.change_live([gone(routing.voice(1)), gone(routing.voice(2))])
    assert book.voice_addresses == ["192.0.2.1", "192.0.2.2", "::1"], "they may live, and have calls"
    assert told.times == 1
    book.reset_live(routing.listing(routing.voice(4)))
    assert book.voice_addresses == ["192.0.2.1", "192.0.2.2", "192.0.2.4", "::1"]


@pytest.mark.parametrize(
    "wrong", [{"sip_address": "ivr.example:5070"}, {"sip_address": "192.0.2.1"}, {"sip_address": ""}, {"capacity": 0}]
)
def test_a_worker_with_voice_that_nobody_can_reach_is_damaged(book: Book, wrong: dict[str, Any]) -> None:
    book.change_live([put(routing.voice(1, **wrong))])
    assert book.voice.tried("a") == ()
    assert list(book.damaged) == [keys.live_voice("ivr-1")]


def test_a_damaged_value_leaves_what_was_known_and_is_named_until_it_is_mended(book: Book) -> None:
    book.change_rules([damaged(routing.number())])
    book.change_live([damaged(routing.node(1)), damaged(routing.edge())])
    assert why(book) == "dial"
    assert book.media.assign("x").node == 1
    assert set(book.damaged) == {keys.number(routing.NUMBER), keys.live_media("m1"), keys.live_edge("edge-1")}
    book.change_rules([put(routing.number())])
    book.change_live([gone(routing.node(1)), put(routing.edge())])
    assert not book.damaged


def test_a_damaged_value_in_a_listing_is_passed_over() -> None:
    book = Book(lambda: None)
    bad = replace(routing.entry(routing.number("4007654321")), value=b"\x01")
    misplaced = replace(routing.entry(routing.line("z")), key=keys.line("acme", "y"))
    good = routing.listing(routing.trunk(), routing.line(), routing.number())
    routing.at_once(book.reset_rules(Listing([*good.entries, bad, misplaced], 5)))
    assert why(book) == "dial"
    assert set(book.damaged) == {keys.number("4007654321"), keys.line("acme", "y")}
    routing.at_once(book.reset_rules(good))
    assert not book.damaged


def test_keys_of_unknown_families_are_passed_over(book: Book, told: Told) -> None:
    strange = [Change(key, Entry(key, b"?", 3, 3), 3) for key in ("rules/holidays/2026", "live/recorders/r1")]
    book.change_rules([strange[0], Change("rules/holidays/2026", None, 4)])
    book.change_live([strange[1], Change("live/recorders/r1", None, 4)])
    assert told.times == 0
    assert not book.damaged


IDS = st.sampled_from("ab")
NUMBERS = st.sampled_from(["4001234567", "4007654321"])
OBJECTS = st.one_of(
    st.builds(
        lambda id, disabled: routing.trunk(id, disabled=disabled), st.sampled_from(["carrier", "t2"]), st.booleans()
    ),
    st.builds(lambda id, port: routing.line(id, port=port), IDS, st.integers(5060, 5062)),
    st.builds(
        lambda digits, stages, media: routing.number(digits, *stages, media=media),
        NUMBERS,
        st.lists(st.sets(IDS, min_size=1), min_size=1, max_size=3),
        st.sampled_from([types_pb2.MEDIA_MODE_ANCHOR, types_pb2.MEDIA_MODE_BYPASS]),
    ),
    st.builds(lambda n, calls: routing.node(n, calls=calls), st.integers(1, 3), st.sampled_from([0, 50, 100])),
    st.builds(routing.edge, st.sampled_from(["e1", "e2"]), st.sampled_from(["192.0.2.1:5060", "192.0.2.2:5060"])),
)


@given(st.lists(st.tuples(OBJECTS, st.booleans(), st.booleans()), max_size=40))
def test_changes_one_by_one_lead_to_what_a_listing_of_the_end_gives(
    steps: list[tuple[codec.Object, bool, bool]],
) -> None:
    followed, stored = Book(lambda: None), {}
    routing.at_once(followed.reset_rules(Listing([], 1)))
    followed.reset_live(Listing([], 1))
    # One that takes calls is always there: without any, those that were there last would go on.
    for message, deleted, asked in [(routing.node(9), False, False), *steps]:
        key = codec.key_of(message)
        change = gone(message) if deleted else put(message)
        stored.pop(key, None)
        if change.entry is not None:
            stored[key] = change.entry
        if isinstance(message, routing_pb2.Edge | routing_pb2.MediaNode):
            followed.change_live([change])
        else:
            followed.change_rules([change])
        if asked:
            _decisions(followed)
    listed = Book(lambda: None)
    routing.at_once(
        listed.reset_rules(Listing([e for key, e in sorted(stored.items()) if key.startswith(keys.RULES)], 9))
    )
    listed.reset_live(Listing([e for key, e in sorted(stored.items()) if key.startswith(keys.LIVE)], 9))
    assert _decisions(followed) == _decisions(listed)
    assert version_of(content(followed)) == version_of(content(listed))
    assert [followed.media.assign(str(n)) for n in range(50)] == [listed.media.assign(str(n)) for n in range(50)]


def _decisions(book: Book) -> list[object]:
    return [
        decided(book.rules, routing.call(called, trunk=trunk, diversions=diversions))
        for called in ("4001234567", "4007654321", "4000000000")
        for trunk in ("carrier", "t2")
        for diversions in (0, 3)
    ]
