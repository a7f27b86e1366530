"""Requests of call flows to HTTP services of tenants.

Whoever writes flows names the URL, so it is an outsider's: nothing is asked that lies within our own network. Every
socket is checked just before it is connected, by the address that it is connected to, wherever that came from: what a
name stands for cannot change in between. A connection serves one request: a service that has closed an idle one would
cost a call, for nothing is asked twice.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from typing import TYPE_CHECKING

import aiohttp
import yarl
from aiohttp.abc import AbstractResolver, ResolveResult

from signalbox.domain.flow_nodes import REQUEST_TIMEOUT_MS_DEFAULT, is_request_port
from signalbox.ivr.outside import signing, tls
from signalbox.ivr.outside.names import Names
from signalbox.ivr.outside.reach import Reach
from signalbox.ivr.outside.slots import Slots
from signalbox.ivr.outside.values import values_of
from signalbox.ivr.ports import RequestFailedError
from signalbox.store import durations

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from aiohappyeyeballs import AddrInfoType

    from signalbox.api.types.v1 import flows_pb2
    from signalbox.ivr.outside.signing import Secrets
    from signalbox.settings.outside import RequestsSettings

ANSWER_MAX = 16 * 1024
"""Longest answer, bytes."""

SIGNATURE = "Signalbox-Signature"

_HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "Content-Type": "application/json",
    "User-Agent": "signalbox",
}


class HttpRequests:
    """The :class:`~signalbox.ivr.ports.Requests`. Raises ConfigurationError if the file of authorities is bad."""

    def __init__(
        self,
        settings: RequestsSettings,
        secrets: Secrets,
        *,
        names: Names | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._secrets = secrets
        self._names = names or Names()
        self._clock = clock
        self._reach = Reach(settings.allowed_networks, settings.refused_networks)
        self._slots = Slots(settings.concurrent, settings.concurrent_per_tenant)
        self._tls = tls.context(settings.ca_file, "ivr.requests.ca_file")

    async def post(self, node: flows_pb2.RequestNode, tenant: str, body: str) -> Mapping[str, str]:
        """Ask once, and give the answer's values that are text, by the keys that the node names.

        Raises RequestFailedError, whose text names the host at most: a path may be a secret.
        """
        timeout_s = durations.ms(node, "timeout", REQUEST_TIMEOUT_MS_DEFAULT) / 1000
        try:
            async with asyncio.timeout(timeout_s), self._slots.taken(tenant):
                answer = await self._ask(node, tenant, body.encode())
        except TimeoutError as error:
            raise RequestFailedError(f"no whole answer within {timeout_s:g} s") from error
        return values_of(answer, {one.key for one in node.receive} | {node.branch_key} - {""})

    async def _ask(self, node: flows_pb2.RequestNode, tenant: str, body: bytes) -> bytes:
        url = _parsed(node.url)
        host, port = url.raw_host or "", url.port or 0
        if not is_request_port(port):
            raise RequestFailedError(f"{host}: port {port} is not asked: 80, 443, and those from 1024 on are")
        key = await self._secrets.of(tenant, node.api_key)
        found = await self._names.addresses(tenant, host, port)
        headers = {**_HEADERS, SIGNATURE: signing.signature(key, int(self._clock()), body)}
        try:
            async with (
                self._session(found) as session,
                session.post(url, data=body, headers=headers, allow_redirects=False, ssl=self._tls) as response,
            ):
                return await _read(response)
        except aiohttp.ClientError as error:
            raise RequestFailedError(f"{host}: {_why(error)}") from error

    def _session(self, addresses: Sequence[str]) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            resolver=_Found(addresses), use_dns_cache=False, force_close=True, socket_factory=self._socket
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(),
            trust_env=False,
        )

    def _socket(self, info: AddrInfoType) -> socket.socket:
        """A socket for a connection. Raises PermissionError if the address is not to be asked."""
        family, kind, protocol, _, address = info
        if not self._reach.permits(str(address[0])):
            raise PermissionError(errno.EACCES, f"{address[0]} is no public address")
        return socket.socket(family, kind, protocol)


class _Found(AbstractResolver):
    """Gives addresses that were looked up before."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in self._addresses
        ]

    async def close(self) -> None:
        """There is nothing to close."""


def _parsed(text: str) -> yarl.URL:
    """The URL, as it was written, of http or https and with a host. Raises RequestFailedError."""
    try:
        if not text.isascii() or not text.isprintable() or " " in text:
            raise ValueError("not of printable ASCII characters")
        url = yarl.URL(text, encoded=True)
        if url.scheme not in ("http", "https") or not url.raw_host or url.port is None:
            raise ValueError("not http or https with a host")
    except ValueError as error:
        raise RequestFailedError("the URL is none that can be asked") from error
    return url


async def _read(response: aiohttp.ClientResponse) -> bytes:
    if response.status != 200:
        raise RequestFailedError(f"{response.url.host}: answered {response.status}")
    answer = b""
    async for piece in response.content.iter_any():
        answer += piece
        if len(answer) > ANSWER_MAX:
            raise RequestFailedError(f"{response.url.host}: answered more than {ANSWER_MAX} bytes")
    return answer


def _why(error: aiohttp.ClientError) -> str:
    """What went wrong, without the URL, which errors of the library may have."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return f"certificate: {getattr(error.certificate_error, 'verify_message', '') or 'bad'}"
        case aiohttp.ClientSSLError():
            return "TLS failed"
        case aiohttp.ClientConnectorError():
            return error.os_error.strerror or "cannot be reached"
        case aiohttp.ServerDisconnectedError():
            return "closed the connection"
        case aiohttp.ClientPayloadError():
            return "sent half an answer"
        case aiohttp.InvalidURL():
            return "is no host"
    return f"gave no answer of HTTP ({type(error).__name__})"
