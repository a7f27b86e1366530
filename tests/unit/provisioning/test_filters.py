"""Filters and orders of lists (AIP-160, AIP-132)."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.types.v1 import types_pb2
from signalbox.errors import InvalidFieldError
from signalbox.provisioning import filters, listing
from support.provisioning import Example, Stub, invalid

if TYPE_CHECKING:
    from .conftest import Clock

TRUNK = types_pb2.Trunk(
    id="carrier",
    display_name='Carrier "One"',
    source_addresses=["192.0.2.1", "192.0.2.2"],
    disabled=True,
    called_format=types_pb2.NUMBER_FORMAT_E164,
    limits=types_pb2.Limits(concurrent_calls=30),
)
TRUNK.create_time.FromJsonString("2026-01-31T09:30:00.5Z")


def fits(text: str, rule: Any = TRUNK) -> bool:
    return filters.parse(text, rule.DESCRIPTOR)(rule)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ("   ", True),
        ("id = carrier", True),
        ("id=carrier", True),
        ('id = "carrier"', True),
        ("id = 'carrier'", True),
        ("id != carrier", False),
        ("id < d", True),
        ("id >= carrier", True),
        ('id = "car*"', True),
        ('id = "*rier"', True),
        ('id = "*rri*"', True),
        ('id = "*"', True),
        ('id = "x*"', False),
        ('id != "x*"', True),
        (r'display_name = "Carrier \"One\""', True),
        ("disabled = true", True),
        ("disabled = false", False),
        ("NOT disabled = true", False),
        ("-disabled = true", False),
        ("called_format = NUMBER_FORMAT_E164", True),
        ("called_format != NUMBER_FORMAT_E164", False),
        ("limits.concurrent_calls > 20", True),
        ("limits.concurrent_calls <= 20", False),
        ("limits.calls_per_second = 0", True),
        ("limits:*", True),
        ("limits.calls_per_second:*", False),
        ("targets:*", False),
        ('source_addresses:"192.0.2.2"', True),
        ("source_addresses:192.0.2.3", False),
        ('create_time > "2026-01-31T09:30:00Z"', True),
        ('create_time < "2026-01-31T10:30:00.6+01:00"', True),
        ("id = carrier AND disabled = false", False),
        ("id = x OR disabled = true", True),
        ("id = x OR id = y OR id = carrier", True),
        # OR binds closer than AND.
        ("disabled = true AND id = x OR id = carrier", True),
        ("id = x AND disabled = true OR id = carrier", False),
        ("(id = x AND disabled = true) OR id = carrier", True),
        ("NOT (id = x OR id = y)", True),
    ],
)
def test_what_fits(text: str, expected: bool) -> None:
    assert fits(text) is expected


@pytest.mark.parametrize(
    ("text", "at", "what"),
    [
        ("nonsense = 1", 1, "a field of Trunk"),
        ("limits.nonsense = 1", 1, "a field of Trunk"),
        ("id.x = 1", 1, "a field of Trunk"),
        ("targets.host = x", 1, "a field of Trunk"),
        ("id", 3, "an operator"),
        ("id =", 5, "a value"),
        ("id = = x", 6, "a value"),
        ("= x", 1, "a field"),
        ("id = x id = y", 8, "AND, OR or the end"),
        ("id = x AND", 11, "a field"),
        ("(id = x", 8, '")"'),
        ("id = x)", 7, "AND, OR or the end"),
        ("disabled = yes", 12, 'a value of "disabled"'),
        ("disabled < true", 12, "with = or !="),
        ("called_format = E164", 17, 'a value of "called_format": one of NUMBER_FORMAT_UNSPECIFIED, '),
        ("limits.concurrent_calls > many", 27, 'a value of "concurrent_calls"'),
        ("limits.concurrent_calls > 1_000", 27, 'a value of "concurrent_calls"'),
        ("limits = 5", 10, "can be compared"),
        ("source_addresses = x", 20, 'with ":"'),
        ("id:carrier", 4, "with ="),
        ("create_time > yesterday", 15, 'a value of "create_time"'),
        ('create_time > "2026-01-31T09:30:00"', 15, "a time zone"),
        ('id = "open', 6, "cannot be here"),
        ("(" * 22 + "id = x" + ")" * 22, 22, "parentheses"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, at: int, what: str) -> None:
    with pytest.raises(InvalidFieldError) as caught:
        filters.parse(text, types_pb2.Trunk.DESCRIPTOR)
    (violation,) = caught.value.violations
    assert violation.field == "filter"
    assert violation.reason.startswith(f"at character {at}: "), violation.reason
    assert what in violation.reason


def test_a_filter_has_a_length() -> None:
    with pytest.raises(InvalidFieldError, match="at most"):
        filters.parse("id = " + "x" * 2000, types_pb2.Trunk.DESCRIPTOR)


@given(st.text(max_size=60) | st.text(alphabet="idx=!<>:()\"'* ANDORT-.\\", max_size=40))
def test_no_text_is_a_defect(text: str) -> None:
    with contextlib.suppress(InvalidFieldError):
        fits(text)


@pytest.fixture(autouse=True)
async def lines(api: Stub, clock: Clock) -> None:
    """Lines l0 to l9, created in the reverse order, every second to the host of the others."""
    await api.CreateTenant(pb.CreateTenantRequest(tenant=types_pb2.Tenant(id="acme")))
    for n in reversed(range(10)):
        clock.advance(1)
        await api.CreateLine(pb.CreateLineRequest(line=Example.line(f"l{n}", host=f"192.0.2.{n % 2 * 10 + 1}")))


async def listed(api: Stub, size: int, **fields: Any) -> list[str]:
    """Ids of all pages."""
    found, token = list[str](), ""
    while True:
        page = await api.ListLines(pb.ListLinesRequest(tenant="acme", page_size=size, page_token=token, **fields))
        found += [line.id for line in page.lines]
        token = page.next_page_token
        if not token:
            return found


@pytest.mark.parametrize("size", [1, 3, 5, 100])
@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"filter": 'host = "192.0.2.11"'}, "13579"),
        ({"order_by": "id desc"}, "9876543210"),
        ({"order_by": "id"}, "0123456789"),
        ({"order_by": "create_time"}, "9876543210"),
        ({"order_by": "create_time desc"}, "0123456789"),
        ({"order_by": "update_time asc", "filter": 'host = "192.0.2.11"'}, "97531"),
        ({"filter": "id = none"}, ""),
    ],
)
async def test_filtered_and_ordered_pages_make_up_the_whole(
    api: Stub, size: int, fields: dict[str, str], expected: str
) -> None:
    assert await listed(api, size, **fields) == [f"l{n}" for n in expected]


async def test_a_long_search_is_cut_into_pages(api: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "SCAN_MAX", 3)
    monkeypatch.setattr(listing, "CHUNK", 2)
    page = await api.ListLines(pb.ListLinesRequest(tenant="acme", filter="id = l9"))
    assert not page.lines
    assert page.next_page_token
    assert await listed(api, 100, filter="id = l9") == ["l9"]


async def test_a_token_is_of_one_filter_and_order(api: Stub) -> None:
    token = (await api.ListLines(pb.ListLinesRequest(tenant="acme", page_size=1))).next_page_token
    for fields in ({"filter": "id = l1"}, {"order_by": "id desc"}):
        with invalid() as refusal:
            await api.ListLines(pb.ListLinesRequest(tenant="acme", page_token=token, **fields))
        assert list(refusal.fields) == ["page_token"]


@pytest.mark.parametrize("order", ["user", "id up", "id desc asc", "id,create_time"])
async def test_an_order_that_is_none(api: Stub, order: str) -> None:
    with invalid() as refusal:
        await api.ListLines(pb.ListLinesRequest(tenant="acme", order_by=order))
    assert list(refusal.fields) == ["order_by"]
