"""What is free is found, what is held is listed, ranges and classes are kept; the index is what the store says."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from grpc import StatusCode
from signalbox.api.provisioning.v1 import inventory_pb2 as pb
from signalbox.api.types.v1 import inventory_pb2
from signalbox.domain.inventory import State
from signalbox.domain.numberpattern import fits, parse
from signalbox.provisioning.inventory.index import Index
from signalbox.provisioning.inventory.ranges import Classes
from signalbox.store import keys
from signalbox.store.base import Put
from signalbox.store.inventory import Page
from support.inventory import site
from support.provisioning import invalid, reason_of, refused
from support.stores import until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signalbox.store.memory import MemoryStore
    from support.inventory import Site

    from .conftest import Clock


def number_class(id: str, rank: int, *patterns: str, **fields: object) -> pb.CreateNumberClassRequest:
    made = inventory_pb2.NumberClass(id=id, rank=rank, patterns=patterns, **fields)  # type: ignore[arg-type]
    return pb.CreateNumberClassRequest(number_class=made)


async def everything(api: Site, size: int, pattern: str = "", **fields: object) -> list[str]:
    """All pages of a search."""
    token, found = "", []
    while True:
        page = await api.search(pattern, page_size=size, page_token=token, **fields)
        found += [one.number for one in page.numbers]
        token = page.next_page_token
        if not token:
            assert page.total_size == len(found)
            return found


async def update(api: Site, id: str, **fields: object) -> inventory_pb2.NumberRange:
    changed = inventory_pb2.NumberRange(id=id, **fields)  # type: ignore[arg-type]
    request = pb.UpdateNumberRangeRequest(number_range=changed, update_mask=FieldMask(paths=list(fields)))
    return await api.inventory.UpdateNumberRange(request)


async def test_pages_go_on_where_they_ended_over_all_lengths(api: Site) -> None:
    await api.range("hotlines", "95105", "95124")
    await api.range("shared", "95105000", "95105019")
    for number in ("95106", "95105003", "4001230007"):
        await api.reserve(number)
    expected = [
        *(str(n) for n in range(95105, 95125) if n != 95106),
        *(str(n) for n in range(95105000, 95105020) if n != 95105003),
        *(str(n) for n in range(4001230000, 4001230030) if n != 4001230007),
    ]
    assert (await everything(api, 7, range="hotlines"))[:19] == expected[:19]
    assert (await everything(api, 1000))[: len(expected)] == expected
    assert len(await everything(api, 999, "contains:1")) == len(await everything(api, 1000, "contains:1"))


async def test_a_token_is_good_for_its_search_alone(api: Site) -> None:
    token = (await api.search("AA", page_size=1)).next_page_token
    for pattern, given in (("BB", token), ("AA", token[:-2] + "xx"), ("AA", "x")):
        with invalid() as refusal:
            await api.search(pattern, page_token=given)
        assert list(refusal.fields) == ["page_token"]


async def test_a_bad_search_says_why(api: Site) -> None:
    for fields, path in (
        ({"pattern": "ends:x"}, "pattern"),
        ({"number_class": "x"}, "number_class"),
        ({"range": "x"}, "range"),
        ({"number_class": "x", "ordinary": True}, "ordinary"),
    ):
        with invalid() as refusal:
            await api.search(**fields)
        assert list(refusal.fields) == [path]


async def test_a_range_that_is_disabled_has_no_free_numbers_and_may_go(api: Site) -> None:
    await api.range("short", "95105000", "95105099")
    await api.reserve("95105050")
    with refused(StatusCode.FAILED_PRECONDITION, "RESOURCE_IN_USE"):
        await api.inventory.DeleteNumberRange(pb.DeleteNumberRangeRequest(id="short"))
    await update(api, "short", disabled=True)
    assert await everything(api, 1000, range="short") == []
    with refused(StatusCode.FAILED_PRECONDITION, "TRANSITION_REFUSED") as refusal:
        await api.reserve("95105051")
    assert refusal.metadata["reason"] == "its range takes no reservations"
    with refused(StatusCode.FAILED_PRECONDITION, "RESOURCE_IN_USE") as refusal:
        await api.inventory.DeleteNumberRange(pb.DeleteNumberRangeRequest(id="short"))
    assert refusal.metadata["referrer"] == "number 95105050, which is reserved"
    await api.inventory.WithdrawNumber(pb.WithdrawNumberRequest(number="95105050"))
    await api.inventory.DeleteNumberRange(pb.DeleteNumberRangeRequest(id="short"))
    assert await reason_of(api.reserve("95105051")) == "RESOURCE_NOT_FOUND"
    await api.range("again", "95105000", "95105199")
    assert len(await everything(api, 1000, range="again")) == 200
    request = pb.ListNumberHistoryRequest(number="95105050")
    assert len((await api.inventory.ListNumberHistory(request)).events) == 2, "its history stayed"


async def test_ranges_that_cannot_be(api: Site) -> None:
    for first, last, path in (
        ("4001239999", "4001240000", "first"),
        ("40012", "400123", "last"),
        ("40020", "40010", "last"),
        ("4", "5", "first"),
        ("4100000000", "4110000000", "last"),
    ):
        with invalid() as refusal:
            await api.range("bad", first, last)
        assert f"number_range.{path}" in refusal.fields
    with invalid() as refusal:
        await api.range("bad", "50000", "50001", number_class="x", reservation=Duration(seconds=1))
    assert set(refusal.fields) == {"number_range.reservation"}
    with invalid() as refusal:
        await api.range("bad", "50000", "50001", number_class="x")
    assert set(refusal.fields) == {"number_range.number_class"}
    await api.range("ten", "4100000000", "4109999999")
    with invalid() as refusal:
        await api.range("twenty", "4200000000", "4209999999")
    assert refusal.fields["number_range.last"] == "makes more than 20000000 numbers in all ranges"
    assert (await api.search(range="ten", page_size=1)).total_size == 10_000_000
    assert (await update(api, "main", last="4001239999")).last == "4001239999", "the same is no change"
    with invalid() as refusal:
        await update(api, "main", last="4001249999")
    assert refusal.fields == {"number_range.last": "cannot be changed"}


async def test_classes_that_cannot_be(api: Site) -> None:
    await api.inventory.CreateNumberClass(number_class("gold", 1, "AAA"))
    for made, path in (
        (number_class("other", 1), "rank"),
        (number_class("other", 2, "x:1"), "patterns[0]"),
        (number_class("other", 2, ""), "patterns[0]"),
        (number_class("other", 2, minimum_spend=1), "currency"),
        (number_class("other", 2, currency="yuan"), "currency"),
        (number_class("other", 2, contract_months=121), "contract_months"),
        (number_class("other", 2, *["AA"] * 17), "patterns"),
    ):
        with invalid() as refusal:
            await api.inventory.CreateNumberClass(made)
        assert list(refusal.fields) == [f"number_class.{path}"]
    await update(api, "main", number_class="gold")
    with refused(StatusCode.FAILED_PRECONDITION, "RESOURCE_IN_USE"):
        await api.inventory.DeleteNumberClass(pb.DeleteNumberClassRequest(id="gold"))
    await update(api, "main", number_class="")
    await api.inventory.DeleteNumberClass(pb.DeleteNumberClassRequest(id="gold"))


async def test_ranges_and_classes_are_listed(api: Site) -> None:
    await api.range("aaa", "95105", "95106")
    for rank, id in enumerate(("b", "a")):
        await api.inventory.CreateNumberClass(number_class(id, rank))
    ranges = await api.inventory.ListNumberRanges(pb.ListNumberRangesRequest())
    assert [one.id for one in ranges.number_ranges] == ["aaa", "main"]
    page = await api.inventory.ListNumberClasses(pb.ListNumberClassesRequest(page_size=1))
    assert [one.id for one in page.number_classes] == ["a"]
    request = pb.ListNumberClassesRequest(page_size=1, page_token=page.next_page_token)
    assert [one.id for one in (await api.inventory.ListNumberClasses(request)).number_classes] == ["b"]


async def test_a_number_has_the_class_of_the_lowest_rank_that_it_fits(api: Site) -> None:
    for made in (
        number_class("silver", 3, "AA", "ends:8"),
        number_class("gold", 2, "AAA"),
        number_class("special", 1),
    ):
        await api.inventory.CreateNumberClass(made)
    await api.range("vip", "95105", "95204", number_class="special")
    known = Classes.of((await api.inventory.ListNumberClasses(pb.ListNumberClassesRequest())).number_classes)
    expected: dict[str, list[str]] = {"": [], "gold": [], "silver": [], "special": []}
    for number in (*map(str, range(95105, 95205)), *map(str, range(4001230000, 4001240000))):
        expected[known.terms(number, "special" if len(number) == 5 else "").number_class].append(number)
    assert all(expected.values())
    for id, numbers in expected.items():
        assert await everything(api, 1000, **({"number_class": id} if id else {"ordinary": True})) == numbers


async def test_what_is_held_is_listed(api: Site) -> None:
    held = {f"40012{low:05d}": ("acme", "best")[low % 2] for low in range(30000, 30400, 37)}
    for number, tenant in held.items():
        await api.reserve(number, tenant)
    await api.apply("4001230037")
    await api.synced()

    async def listed(**fields: object) -> Sequence[str]:
        token, found = "", []
        while True:
            request = pb.ListInventoryNumbersRequest(page_size=2, page_token=token, **fields)
            page = await api.inventory.ListInventoryNumbers(request)
            found += [one.number for one in page.inventory_numbers]
            token = page.next_page_token
            if not token:
                assert page.total_size == len(found)
                return found

    assert await listed() == sorted(held)
    assert await listed(tenant="best") == sorted(number for number, tenant in held.items() if tenant == "best")
    assert await listed(state=inventory_pb2.INVENTORY_STATE_APPLIED) == ["4001230037"]
    assert await listed(pattern="ends:7", tenant="best") == ["4001230037"]
    assert await listed(tenant="nobody") == []
    assert await listed(state=inventory_pb2.INVENTORY_STATE_AVAILABLE) == []
    assert await listed(range="main") == sorted(held)


async def test_before_the_index_is_filled_nothing_is_found(store: MemoryStore) -> None:
    index = Index(store)
    with pytest.raises(Exception, match="not read yet"):
        index.check()


async def test_the_index_is_what_the_store_says(api: Site, store: MemoryStore, clock: Clock) -> None:
    """After any changes: followed, and read anew."""
    chance = random.Random(5)
    numbers = [f"400123{chance.randrange(10_000):04d}" for _ in range(60)]
    for number in numbers * 2:
        what = chance.choice([api.reserve, api.apply, api.activate])
        await reason_of(what(number))
        if chance.random() < 0.3:
            await reason_of(api.inventory.WithdrawNumber(pb.WithdrawNumberRequest(number=number)))
    await api.range("next", "4001220000", "4001229999")
    held = {}
    for entry in (await store.list(keys.INVENTORY_PAGES)).entries:
        for number, holding in Page(keys.last_part(entry.key), entry).numbers():
            if holding.state is not State.AVAILABLE:
                held[number] = holding
    assert len(held) > 20
    pattern = "ends:A?A without:7"
    expected = [
        number
        for number in map(str, range(4001220000, 4001240000))
        if number not in held and fits(parse(pattern), number)
    ]
    assert await everything(api, 1000, pattern) == expected
    async with site(store, clock) as other:
        assert await everything(other, 1000, pattern) == expected
        listed = await other.inventory.ListInventoryNumbers(pb.ListInventoryNumbersRequest(page_size=1000))
        assert [one.number for one in listed.inventory_numbers] == sorted(held)


async def test_a_damaged_page_does_not_stop_the_others(api: Site, store: MemoryStore) -> None:
    await api.reserve("4001230001")
    damaged = {}
    for key, value in (
        (keys.inventory_page("4001235500"), b"\xff"),
        (keys.inventory_page("4001235600"), b""),
        (keys.inventory_page("x00"), Page("x").encode()),
        (keys.number_range("broken"), b"\xff"),
        (keys.number_range("empty"), inventory_pb2.NumberRange(id="empty").SerializeToString()),
        (keys.number_class("odd"), inventory_pb2.NumberClass(id="odd", patterns=["?:"]).SerializeToString()),
    ):
        damaged[key] = await store.commit([], [Put(key, value)])
    assert (await api.search()).total_size == 9_999
    assert await reason_of(api.reserve("4001235501")) == "VALUE_DAMAGED"
    for key in [key for key in store._entries if key in damaged]:
        store._entries.pop(key)


async def test_what_was_missed_is_read_anew(api: Site, store: MemoryStore) -> None:
    store.available = False
    await until(lambda: not api.service.index._mirror.available, "the store is away")
    store.available = True
    await api.reserve("4001230001")
    store.compact(await store.revision())
    assert (await api.search()).total_size == 9_999
