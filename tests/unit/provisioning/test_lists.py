"""Lists: order, pages, tokens."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from grpc import StatusCode
from hypothesis import given
from hypothesis import strategies as st
from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.types.v1 import types_pb2
from signalbox.provisioning import listing
from signalbox.provisioning.numbers import merged
from signalbox.store import codec, keys
from signalbox.store.base import Put
from signalbox.store.memory import MemoryStore
from support.provisioning import Example, Stub, invalid, refused

if TYPE_CHECKING:
    from collections.abc import Callable

IDS = sorted(f"id-{n}" for n in range(25))
DIGITS = sorted([f"400{n * 7919 % 10_000_000:07d}" for n in range(25)] + ["123", "1234", "95105", "951050"])


@pytest.fixture(autouse=True)
async def filled(store: MemoryStore) -> None:
    """Two tenants; the first has everything."""
    await store.commit([], [Put(keys.tenant(id), codec.encode(types_pb2.Tenant(id=id))) for id in IDS])
    trunks = [types_pb2.Trunk(id=id, source_addresses=[f"192.0.2.{n}"]) for n, id in enumerate(IDS)]
    await store.commit([], [Put(keys.trunk(trunk.id), codec.encode(trunk)) for trunk in trunks])
    lines = [Example.line(id, "id-0") for id in IDS]
    await store.commit([], [Put(keys.line("id-0", line.id), codec.encode(line)) for line in lines])
    for digits in DIGITS:
        number = Example.number(digits, [IDS[0]], tenant="id-0")
        index = Put(keys.number_of("id-0", digits), IDS[0].encode())
        await store.commit([], [Put(keys.number(digits), codec.encode(number)), index])


LISTS: dict[str, tuple[Callable[[Stub], Any], Callable[..., Any], str, str, list[str]]] = {
    "tenants": (lambda api: api.ListTenants, pb.ListTenantsRequest, "tenants", "id", IDS),
    "trunks": (lambda api: api.ListTrunks, pb.ListTrunksRequest, "trunks", "id", IDS),
    "lines": (lambda api: api.ListLines, lambda **f: pb.ListLinesRequest(tenant="id-0", **f), "lines", "id", IDS),
    "numbers": (lambda api: api.ListNumbers, pb.ListNumbersRequest, "numbers", "number", DIGITS),
    "numbers of a tenant": (
        lambda api: api.ListNumbers,
        lambda **f: pb.ListNumbersRequest(tenant="id-0", **f),
        "numbers",
        "number",
        DIGITS,
    ),
}
lists = pytest.mark.parametrize("name", LISTS)


@lists
@pytest.mark.parametrize("size", [1, 2, 7, 24, 25, 29, 30, 1000, 0])
async def test_pages_make_up_the_whole_in_order(api: Stub, name: str, size: int) -> None:
    method, request, field, id, expected = LISTS[name]
    seen: list[str] = []
    token, pages = "", 0
    while True:
        page = await method(api)(request(page_size=size, page_token=token))
        found = [getattr(rule, id) for rule in getattr(page, field)]
        assert len(found) <= (size or 100)
        seen += found
        pages += 1
        token = page.next_page_token
        if not token:
            break
        assert found, "an empty page has no next one"
    assert seen == expected
    assert pages == -(-len(expected) // (size or 100))


@lists
async def test_objects_in_lists_have_their_etags(api: Stub, name: str) -> None:
    method, request, field, _, _ = LISTS[name]
    page = await method(api)(request())
    assert all(rule.etag.isdigit() for rule in getattr(page, field))


@lists
async def test_a_page_has_at_most_so_many_objects_however_many_are_asked_for(
    api: Stub, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "page_size", partial(listing.page_size, most=3))
    method, request, field, id, expected = LISTS[name]
    page = await method(api)(request(page_size=2**32 - 1))
    assert [getattr(rule, id) for rule in getattr(page, field)] == expected[:3]
    assert page.next_page_token


@lists
async def test_a_token_of_another_list_is_refused(api: Stub, name: str) -> None:
    method, request, *_ = LISTS[name]
    for other, (other_method, other_request, *_) in LISTS.items():
        token = (await other_method(api)(other_request(page_size=1))).next_page_token
        if other == name:
            await method(api)(request(page_token=token))
            continue
        with invalid() as refusal:
            await method(api)(request(page_token=token))
        assert list(refusal.fields) == ["page_token"]


@lists
async def test_a_large_page_ends_early(api: Stub, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "PAGE_BYTES_MAX", 1)
    method, request, field, id, expected = LISTS[name]
    page = await method(api)(request())
    assert [getattr(rule, id) for rule in getattr(page, field)] == expected[:1]
    page = await method(api)(request(page_token=page.next_page_token))
    assert [getattr(rule, id) for rule in getattr(page, field)] == expected[1:2]


async def test_a_tenant_without_anything(api: Stub) -> None:
    assert not (await api.ListLines(pb.ListLinesRequest(tenant="id-1"))).lines
    assert not (await api.ListNumbers(pb.ListNumbersRequest(tenant="id-1"))).numbers


async def test_lists_of_a_tenant_that_does_not_exist(api: Stub) -> None:
    for call in (
        api.ListLines(pb.ListLinesRequest(tenant="nobody")),
        api.ListNumbers(pb.ListNumbersRequest(tenant="nobody")),
    ):
        with refused(StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND") as refusal:
            await call
        assert refusal.metadata == {"resource": "tenant", "id": "nobody"}


async def test_lists_of_a_malformed_tenant(api: Stub) -> None:
    for call in (
        api.ListLines(pb.ListLinesRequest()),
        api.ListLines(pb.ListLinesRequest(tenant="A/B")),
        api.ListNumbers(pb.ListNumbersRequest(tenant="A/B")),
    ):
        with invalid() as refusal:
            await call
        assert list(refusal.fields) == ["tenant"]


async def test_a_number_deleted_under_a_list_makes_no_hole_in_it(api: Stub, store: MemoryStore) -> None:
    """The index still names numbers that are gone: the page is filled up from behind them."""
    for digits in DIGITS[:3]:
        key = keys.number(digits)
        entry = await store.get(key)
        assert entry is not None
        store._entries.pop(key)
    page = await api.ListNumbers(pb.ListNumbersRequest(tenant="id-0", page_size=5))
    assert [number.number for number in page.numbers] == DIGITS[3:8]
    assert page.next_page_token


async def test_a_store_that_is_away(api: Stub, store: MemoryStore) -> None:
    store.available = False
    for method, request, *_ in LISTS.values():
        with refused(StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE"):
            await method(api)(request())


@given(st.sets(st.from_regex(r"[0-9]{3,6}", fullmatch=True), max_size=60), st.integers(1, 30), st.data())
async def test_numbers_of_all_partitions_come_in_order(digits: set[str], limit: int, data: st.DataObject) -> None:
    store = MemoryStore()
    for one in digits:
        await store.commit([], [Put(keys.number(one), b"")])
    after = data.draw(st.sampled_from(sorted(digits))) if digits and data.draw(st.booleans()) else ""
    found = [keys.last_part(entry.key) for entry in await merged(store, after, limit)]
    assert found == sorted(one for one in digits if one > after)[:limit]


ORDERS = ["id desc", "update_time", "update_time desc", "create_time"]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("chunk", [1, 3, 25, 500])
@pytest.mark.parametrize(("size", "room"), [(1, 10**6), (7, 10**6), (25, 10**6), (1000, 10**6), (1000, 50), (1000, 1)])
async def test_pages_in_another_order_make_up_the_whole(
    api: Stub, monkeypatch: pytest.MonkeyPatch, order: str, chunk: int, size: int, room: int
) -> None:
    """However much is read at once, and however few objects a page has room for."""
    monkeypatch.setattr(listing, "CHUNK", chunk)
    monkeypatch.setattr(listing, "PAGE_BYTES_MAX", room)
    found: list[str] = []
    token = ""
    while True:
        request = pb.ListLinesRequest(tenant="id-0", order_by=order, page_size=size, page_token=token)
        page = await api.ListLines(request)
        assert len(page.lines) <= size
        found += [line.id for line in page.lines]
        token = page.next_page_token
        if not token:
            break
        assert page.lines
    assert found == (IDS[::-1] if order.endswith("desc") else IDS)


async def test_a_long_list_has_no_other_order(api: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    request = pb.ListLinesRequest(tenant="id-0", order_by="update_time")
    monkeypatch.setattr(listing, "SORT_MAX", len(IDS))
    assert len((await api.ListLines(request)).lines) == len(IDS)
    monkeypatch.setattr(listing, "SORT_MAX", len(IDS) - 1)
    with invalid() as refusal:
        await api.ListLines(request)
    assert set(refusal.fields) == {"order_by"}
    assert len((await api.ListLines(pb.ListLinesRequest(tenant="id-0", order_by="id"))).lines) == len(IDS)
