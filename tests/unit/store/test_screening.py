"""Pages of screening lists as they are stored."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signalbox.api.types.v1.screening_pb2 import ScreeningPage
from signalbox.domain.screening import Page
from signalbox.store import codec, keys, screening
from signalbox.store.base import Entry

ENTRIES = st.sets(
    st.text("0123456789", min_size=3, max_size=20).map("n{}".format)
    | st.text("0123456789", min_size=1, max_size=19).map("p{}".format)
    | st.sampled_from(["r内蒙古", "a0471", "x"])
)


@given(ENTRIES, st.sampled_from(["", "acme"]), st.integers(0, 98))
def test_a_page_comes_back_as_it_was_stored(entries: set[str], tenant: str, number: int) -> None:
    message = screening.page_message(tenant, "spam", number, Page.of(entries))
    entry = Entry(codec.key_of(message), codec.encode(message), 2, 2)
    assert set(screening.read_page(entry).entries()) == entries
    assert keys.screening_page_parts(entry.key) == (tenant, "spam", number)


def test_numbers_are_little_endian_whatever_the_machine_is(monkeypatch: pytest.MonkeyPatch) -> None:
    page = Page.of(["n123"])
    monkeypatch.setattr(sys, "byteorder", "little")
    stored = screening.page_message("acme", "spam", 0, page)
    assert stored.codes == (1123).to_bytes(8, "little")
    monkeypatch.setattr(sys, "byteorder", "big")
    assert screening.page_message("acme", "spam", 0, page).codes == (1123).to_bytes(8, "big")
    assert list(page.codes) == [1123]


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (ScreeningPage(page=99), "page 99"),
        (ScreeningPage(codes=b"1234567"), "7 bytes"),
        (ScreeningPage(codes=(1123).to_bytes(8, "little") * 2), "not in order"),
        (ScreeningPage(codes=(2).to_bytes(8, "little") + (1).to_bytes(8, "little")), "not in order"),
        (ScreeningPage(texts=["x", ""]), "empty"),
    ],
)
def test_a_damaged_page_is_refused(message: ScreeningPage, why: str) -> None:
    message.tenant, message.list = "acme", "spam"
    with pytest.raises(codec.DamagedValueError, match=why):
        screening.page(message)


@pytest.mark.parametrize("rest", ["", "acme", "acme/spam", "acme/spam/x", "acme/spam/1/2", "a/b/c/001"])
def test_a_key_of_no_page_names_none(rest: str) -> None:
    assert keys.screening_page_parts(keys.SCREENING_PAGES + rest) is None
