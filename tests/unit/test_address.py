"""host:port taken apart."""

from __future__ import annotations

import pytest
from signalbox import address


@pytest.mark.parametrize(
    ("text", "parts"),
    [("127.0.0.1:7410", ("127.0.0.1", 7410)), ("[2001:db8::1]:0", ("2001:db8::1", 0)), ("name:1", ("name", 1))],
)
def test_host_and_port(text: str, parts: tuple[str, int]) -> None:
    assert address.split(text) == parts


@pytest.mark.parametrize("text", ["", "name", "name:", "name:sip"])
def test_without_a_port(text: str) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        address.split(text)
