"""What requests of flows may ask: addresses, names, ports, certificates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError
from signalbox.errors import ConfigurationError
from signalbox.ivr.outside.names import Names
from signalbox.ivr.ports import RequestFailedError
from signalbox.settings.outside import RequestsSettings
from support.http import server_tls, service
from support.ivr_requests import ask, node, requests

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@pytest.mark.parametrize("host", ["127.0.0.1", "0x7f.1", "[::ffff:127.0.0.1]", "[::]", "localhost"])
async def test_nothing_of_our_own_network_is_asked(host: str) -> None:
    async with service() as ours:
        made = await requests(allowed_networks=[])
        with pytest.raises(RequestFailedError, match="is no public address"):
            await made.post(node(f"http://{host}:{ours.port}/"), "acme", "{}")
        assert not ours.asked


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0", "0177.0.0.1"])
async def test_an_address_that_is_not_written_in_full_is_not_asked(host: str) -> None:
    async with service() as ours:
        made = await requests()
        with pytest.raises(RequestFailedError, match=f"^{host}: is no host$"):
            await made.post(node(f"http://{host}:{ours.port}/"), "acme", "{}")
        assert not ours.asked


async def test_networks_that_are_refused_are_refused_within_those_allowed() -> None:
    async with service() as ours:
        with pytest.raises(RequestFailedError, match="is no public address"):
            await ask(ours.port, refused_networks=["127.0.0.1/32"])


async def test_a_name_is_looked_up_once_and_asked_at_what_was_found() -> None:
    answers = iter([["127.0.0.1"], ["169.254.169.254"], ["127.0.0.1"]])

    def look(host: str, port: int) -> Sequence[str]:
        assert (host, port) == ("crm.example.com", crm.port)
        return next(answers)

    async with service() as crm:
        made = await requests(names=Names(look))
        asked = node(f"http://crm.example.com:{crm.port}/")
        await made.post(asked, "acme", "{}")
        with pytest.raises(RequestFailedError, match=r"^crm\.example\.com: 169\.254\.169\.254 is no public address"):
            await made.post(asked, "acme", "{}")
        await made.post(asked, "acme", "{}")
        assert [got.headers["Host"] for got in crm.asked] == [f"crm.example.com:{crm.port}"] * 2


async def test_of_several_addresses_one_that_may_be_asked_is_taken() -> None:
    async with service() as crm:
        made = await requests(names=Names(lambda host, port: ["10.0.0.1", "fd00::1", "127.0.0.1"]))
        await made.post(node(f"http://crm.example.com:{crm.port}/"), "acme", "{}")
        assert len(crm.asked) == 1


async def test_a_name_that_stands_for_nothing_is_told() -> None:
    def look(host: str, port: int) -> Sequence[str]:
        raise OSError("Name or service not known")

    made = await requests(names=Names(look))
    with pytest.raises(RequestFailedError, match=r"^crm\.example\.com: Name or service not known$"):
        await made.post(node("http://crm.example.com/"), "acme", "{}")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/orders",
        "ftp://127.0.0.1/",
        "http://",
        "http://[::1/",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1:8080/a\r\nHost: b",
        "http://127.0.0.1:8080/a b",
        "http://crm.例子/",
    ],
)
async def test_a_url_that_cannot_be_asked_is_told(url: str) -> None:
    with pytest.raises(RequestFailedError, match=r"^the URL is none that can be asked$"):
        await (await requests()).post(node(url), "acme", "{}")


async def test_well_known_ports_of_others_than_http_are_not_asked() -> None:
    with pytest.raises(RequestFailedError, match=r"^127\.0\.0\.1: port 25 is not asked"):
        await (await requests()).post(node("http://127.0.0.1:25/"), "acme", "{}")


@pytest.mark.parametrize(("given", "reason"), [("10.0.0.1/8", "has host bits set"), ("crm", "does not appear to be")])
def test_what_is_no_network_ends_the_start(given: str, reason: str) -> None:
    for name in ("allowed_networks", "refused_networks"):
        with pytest.raises(ValidationError, match=f"{name}.*\n.*{reason}"):
            RequestsSettings(**{name: [given]})


async def test_a_key_that_does_not_exist_is_told_and_nothing_is_asked() -> None:
    async with service() as crm:
        made = await requests()
        with pytest.raises(RequestFailedError, match="API key crm does not exist"):
            await made.post(node(f"http://127.0.0.1:{crm.port}/"), "nobody", "{}")
        assert not crm.asked


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with service() as crm, service() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        await ask(crm.port)
        assert (len(crm.asked), len(proxy.asked)) == (1, 0)


async def test_a_service_with_a_good_certificate_is_asked_by_its_name(tmp_path: Path) -> None:
    context, authority = server_tls(tmp_path, "crm.example.com")
    shown: list[str | None] = []
    context.sni_callback = lambda _, name, __: shown.append(name)
    async with service(context) as crm:
        made = await requests(names=Names(lambda host, port: ["127.0.0.1"]), ca_file=authority)
        await made.post(node(f"https://crm.example.com:{crm.port}/"), "acme", "{}")
        assert len(crm.asked) == 1
    assert shown == ["crm.example.com"]


async def test_a_certificate_of_another_name_is_refused(tmp_path: Path) -> None:
    context, authority = server_tls(tmp_path, "else.example.com")
    async with service(context) as crm:
        made = await requests(names=Names(lambda host, port: ["127.0.0.1"]), ca_file=authority)
        with pytest.raises(RequestFailedError, match=r"^crm\.example\.com: certificate: Hostname mismatch"):
            await made.post(node(f"https://crm.example.com:{crm.port}/"), "acme", "{}")
        assert not crm.asked


async def test_a_certificate_of_an_unknown_authority_is_refused(tmp_path: Path) -> None:
    context, _ = server_tls(tmp_path, "crm.example.com")
    async with service(context) as crm:
        made = await requests(names=Names(lambda host, port: ["127.0.0.1"]))
        with pytest.raises(RequestFailedError, match=r"^crm\.example\.com: certificate: unable to get local issuer"):
            await made.post(node(f"https://crm.example.com:{crm.port}/"), "acme", "{}")
        assert not crm.asked


async def test_a_service_without_tls_is_not_asked_with_https() -> None:
    async with service() as crm:
        made = await requests()
        with pytest.raises(RequestFailedError, match=r"^localhost: TLS failed$"):
            await made.post(node(f"https://localhost:{crm.port}/"), "acme", "{}")
        assert not crm.asked


async def test_a_file_of_authorities_that_is_none_ends_the_start(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    for file in ("ca.pem", "missing.pem"):
        with pytest.raises(ConfigurationError, match=rf"^ivr\.requests\.ca_file: .*{file}"):
            await requests(ca_file=tmp_path / file)
