"""Page tokens come back whole, and only to the request that gave them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signalbox.errors import InvalidFieldError
from signalbox.provisioning import pagetoken


@given(st.from_regex(r"[a-z][a-z0-9-]{0,62}", fullmatch=True))
def test_a_token_says_where_the_page_begins(after: str) -> None:
    assert pagetoken.decode("ListLines", "acme", pagetoken.encode("ListLines", "acme", after)) == after


def test_no_token_is_the_first_page() -> None:
    assert pagetoken.decode("ListLines", "acme", "") == ""


@pytest.mark.parametrize(("method", "parent"), [("ListNumbers", "acme"), ("ListLines", "best"), ("ListLines", "")])
def test_a_token_of_another_request_is_refused(method: str, parent: str) -> None:
    token = pagetoken.encode("ListLines", "acme", "a")
    with pytest.raises(InvalidFieldError, match="page_token"):
        pagetoken.decode(method, parent, token)


@given(st.text(min_size=1, max_size=40))
def test_made_up_tokens_are_refused(token: str) -> None:
    with pytest.raises(InvalidFieldError):
        pagetoken.decode("ListLines", "acme", token)


@given(st.integers(0, 200), st.integers(1, 127))
def test_damaged_tokens_are_refused(place: int, change: int) -> None:
    token = pagetoken.encode("ListLines", "acme", "front-desk")
    place %= len(token)
    damaged = token[:place] + chr(ord(token[place]) ^ change) + token[place + 1 :]
    with pytest.raises(InvalidFieldError):
        pagetoken.decode("ListLines", "acme", damaged)
