"""Passwords of callers: what is kept of them, and who can make something of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signalbox.domain.passwords import fits, is_seal, seal

KEY = b"a key"
DIGITS = st.from_regex(r"[0-9]{4,20}", fullmatch=True)


@given(DIGITS, DIGITS)
def test_only_the_digits_that_were_sealed_fit(digits: str, others: str) -> None:
    sealed = seal(KEY, "acme", "main/ask", digits)
    assert is_seal(sealed)
    assert fits(KEY, "acme", sealed, digits)
    assert fits(KEY, "acme", sealed, others) == (digits == others)


def test_a_seal_is_good_for_its_tenant_and_key_alone() -> None:
    sealed = seal(KEY, "acme", "main/ask", "1234")
    assert not fits(KEY, "other", sealed, "1234")
    assert not fits(b"another key", "acme", sealed, "1234")


def test_equal_passwords_look_equal_in_one_place_alone() -> None:
    assert seal(KEY, "acme", "main/ask", "1234") == seal(KEY, "acme", "main/ask", "1234")
    seals = {seal(KEY, "acme", place, "1234") for place in ("main/ask", "main/again", "other/ask")}
    assert len(seals) == 3
    assert all(fits(KEY, "acme", one, "1234") for one in seals)


@pytest.mark.parametrize("sealed", ["", "1234", "A" * 31, "A" * 33, "=" * 32, "号" * 32])
def test_what_is_no_seal_fits_nothing(sealed: str) -> None:
    assert not is_seal(sealed)
    assert not fits(KEY, "acme", sealed, "1234")
