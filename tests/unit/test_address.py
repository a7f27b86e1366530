"""host:port taken apart and put together."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from signalbox import address
from signalbox.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("127.0.0.1:7410", ("127.0.0.1", 7410)),
        ("[2001:db8::1]:0", ("2001:db8::1", 0)),
        ("name:65535", ("name", 65_535)),
    ],
)
def test_host_and_port(text: str, parts: tuple[str, int]) -> None:
    assert address.split(text) == parts
    assert address.join(*parts) == text


@pytest.mark.parametrize("text", ["", "name", ":1", "::1:7410", "[::1:1", "::1]:1", "[name]:1", "http://name:1"])
def test_without_a_host(text: str) -> None:
    with pytest.raises(ValueError, match="must be host:port, an IPv6 host in brackets"):
        address.split(text)


@pytest.mark.parametrize("port", ["", "sip", "-1", "+1", " 1", "01", "1_0", "65536", "123456", "٣", "1\n"])
def test_without_a_port(port: str) -> None:
    with pytest.raises(ValueError, match="must end in a port, 0 to 65535"):
        address.split(f"name:{port}")


@pytest.mark.parametrize("text", ["192.0.2.1:1", "[2001:db8::1]:65535"])
def test_an_endpoint_is_an_address_and_a_port(text: str) -> None:
    assert address.join(*address.endpoint(text)) == text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name:1", "an IP address before the port"),
        ("192.0.2:1", "an IP address before the port"),
        ("192.0.2.1:0", "a port, 1 to 65535"),
        ("192.0.2.1", "must be host:port"),
    ],
)
def test_what_is_no_endpoint(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        address.endpoint(text)


def test_port_0_is_for_those_who_take_any() -> None:
    assert address.endpoint("[::1]:0", least_port=0) == (ip_address("::1"), 0)


@pytest.mark.parametrize("text", ["127.0.0.1:9007", "127.9.9.9:1", "[::1]:9007"])
def test_a_setting_on_loopback(text: str) -> None:
    assert address.join(*address.setting("edge.ask_listen", text, loopback=True)) == text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("0.0.0.0:9007", "must be a loopback address"),
        ("192.0.2.1:9007", "must be a loopback address"),
        ("[2001:db8::1]:9007", "must be a loopback address"),
        ("localhost:9007", "must have an IP address"),
        ("127.0.0.1:0", "must end in a port"),
        ("127.0.0.1", "must be host:port"),
    ],
)
def test_a_wrong_setting_is_named(text: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^edge\.ask_listen: .* {told}"):
        address.setting("edge.ask_listen", text, loopback=True)


@pytest.mark.parametrize(("host", "told"), [("192.0.2.1", "192.0.2.1"), ("name", "name"), ("::1", "[::1]")])
def test_a_host_before_a_port(host: str, told: str) -> None:
    assert address.bracketed(host) == told
