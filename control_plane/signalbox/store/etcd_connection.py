"""The way to etcd: endpoints, TLS, user and token, time limits, and one table from gRPC status to our errors."""

from __future__ import annotations

import asyncio
import ipaddress
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import grpc
import structlog
from grpc import StatusCode

from signalbox import address, renewing
from signalbox.errors import ConfigurationError, SignalboxError, StoreFullError, StoreUnavailableError
from signalbox.store.base import CompactedError, LeaseLostError
from signalbox.store.etcdpb import rpc_pb2, rpc_pb2_grpc
from signalbox.tlsfiles import TlsFiles

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from signalbox.settings import EtcdSettings

logger = structlog.get_logger(__name__)

MAX_RECEIVE_BYTES = 256 * 1024 * 1024
TRIES = 3
RETRY_S = 0.05

OPTIONS: list[tuple[str, str | int]] = [
    ("grpc.lb_policy_name", "round_robin"),
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.max_receive_message_length", MAX_RECEIVE_BYTES),
    # A peer that vanished without a word is noticed after 23 s at most. etcd ends connections that ping more often
    # than every 5 s, or that ping while no call is open.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    # gRPC 1.85 goes by this time for every ping, those to keep alive and those by which it measures bandwidth; by
    # default it is 60 s.
    ("grpc.http2.ping_timeout_ms", 13_000),
    ("grpc.http2.max_pings_without_data", 0),
    # A member whose name has another address now is found at once, and not 30 s later.
    ("grpc.dns_min_time_between_resolutions_ms", 500),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 2_000),
]

ERRORS: dict[StatusCode, type[SignalboxError]] = {
    StatusCode.RESOURCE_EXHAUSTED: StoreFullError,
    StatusCode.OUT_OF_RANGE: CompactedError,
    # The only thing that we refer to and that can be missing is a lease.
    StatusCode.NOT_FOUND: LeaseLostError,
}
"""What a status from etcd means to us. All others: StoreUnavailableError, also for refused credentials, which are ours
and not our caller's."""

TOKEN_REFUSED = {StatusCode.UNAUTHENTICATED, StatusCode.INVALID_ARGUMENT}
"""The token is unknown (the member was restarted, or it ran out), or older than the last change of users and roles."""

Response = TypeVar("Response")
Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Stubs:
    """etcd's services on one channel."""

    kv: rpc_pb2_grpc.KVAsyncStub
    watch: rpc_pb2_grpc.WatchAsyncStub
    lease: rpc_pb2_grpc.LeaseAsyncStub
    auth: rpc_pb2_grpc.AuthAsyncStub
    maintenance: rpc_pb2_grpc.MaintenanceAsyncStub

    @classmethod
    def on(cls, channel: grpc.aio.Channel) -> Stubs:
        """The stubs of a channel."""
        return cls(
            rpc_pb2_grpc.KVStub(channel),
            rpc_pb2_grpc.WatchStub(channel),
            rpc_pb2_grpc.LeaseStub(channel),
            rpc_pb2_grpc.AuthStub(channel),
            rpc_pb2_grpc.MaintenanceStub(channel),
        )


Attempt = Callable[[Stubs, Metadata], Awaitable[Response]]
"""One try of a request: the stubs to do it on and the metadata to send with it."""


def to_error(error: grpc.aio.AioRpcError) -> SignalboxError:
    """Our error for one of gRPC's; raise it ``from`` that one."""
    code = error.code()
    return ERRORS.get(code, StoreUnavailableError)(f"etcd: {code.name}: {error.details()}")


def targets(endpoints: Sequence[str], *, one_name: bool) -> list[str]:
    """gRPC targets for host:port endpoints.

    Addresses of one family share a target, over which calls are spread, if all have the same name for TLS
    (``one_name``); a DNS name is a target by itself, all its addresses in use. Raises ConfigurationError.
    """
    families: dict[str, list[str]] = {}
    found: list[str] = []
    for endpoint in endpoints:
        try:
            host, _ = address.split(endpoint)
        except ValueError as error:
            raise ConfigurationError(f"etcd.endpoints: {endpoint!r} {error}") from error
        try:
            family = f"ipv{ipaddress.ip_address(host).version}"
        except ValueError:
            found.append(f"dns:///{endpoint}")
            continue
        if one_name:
            families.setdefault(family, []).append(endpoint)
        else:
            found.append(f"{family}:{endpoint}")
    found += [f"{family}:{','.join(addresses)}" for family, addresses in families.items()]
    if not found:
        raise ConfigurationError("etcd.endpoints: none given")
    return found


class Connection:
    """Channels to etcd, and requests with token, time limit and a second try.

    There is one channel unless DNS names are mixed: then the next one is used after a failure.
    """

    def __init__(self, settings: EtcdSettings) -> None:
        """Raises ConfigurationError. Connects with the first request; must be made within the event loop."""
        tls = settings.tls
        one_name = not tls.enabled or tls.server_name is not None
        self.timeout_s = settings.request_timeout_s
        self._user = settings.username
        self._password = _read(settings.password_file).decode().rstrip("\r\n") if settings.password_file else ""
        options = list(OPTIONS)
        files = None
        if tls.enabled:
            files = TlsFiles("etcd.tls", ca=tls.ca_file, cert=tls.cert_file, key=tls.key_file)
            if tls.server_name:
                options.append(("grpc.ssl_target_name_override", tls.server_name))
        names = targets(settings.endpoints, one_name=one_name)
        self._channels = [
            renewing.channel(name, files, options) if files else grpc.aio.insecure_channel(name, options)
            for name in names
        ]
        self._stubs = [Stubs.on(channel) for channel in self._channels]
        self._current = 0
        self._token: str | None = None
        self._authenticating = asyncio.Lock()

    async def call(self, attempt: Attempt[Response], *, repeatable: bool = True) -> Response:
        """Do a request and return its response. The time limit is the attempt's affair.

        Tries again with a new token if the old one is refused, and if ``repeatable`` when a member was unavailable.
        Raises what the table ERRORS says.
        """
        tries = 0
        authenticated = False
        while True:
            stubs, metadata, token = await self.ready()
            tries += 1
            try:
                return await attempt(stubs, metadata)
            except grpc.aio.AioRpcError as error:
                self.failed(stubs)
                if self._user is not None and not authenticated and error.code() in TOKEN_REFUSED:
                    authenticated = True
                    await self.authenticate(token)
                elif repeatable and error.code() is StatusCode.UNAVAILABLE and tries < TRIES:
                    await asyncio.sleep(RETRY_S * tries * random.uniform(0.5, 1.5))
                else:
                    raise to_error(error) from error

    async def ready(self) -> tuple[Stubs, Metadata, str | None]:
        """The stubs in use, the metadata that goes with a call, and the token in it. Raises StoreUnavailableError."""
        if self._user is not None and self._token is None:
            await self.authenticate(None)
        # A member that has lost its leader refuses at once, instead of being silent until it has one.
        metadata: Metadata = (("hasleader", "true"),)
        if self._token:
            metadata += (("token", self._token),)
        return self._stubs[self._current], metadata, self._token

    def failed(self, stubs: Stubs) -> None:
        """Tell that a call on these stubs failed: the next one goes to the next channel."""
        if stubs is self._stubs[self._current]:
            self._current = (self._current + 1) % len(self._stubs)

    async def authenticate(self, refused: str | None) -> None:
        """Get a new token, unless somebody else has replaced the ``refused`` one meanwhile."""
        if self._user is None:
            return
        async with self._authenticating:
            if self._token != refused:
                return
            stubs = self._stubs[self._current]
            request = rpc_pb2.AuthenticateRequest(name=self._user, password=self._password)
            try:
                self._token = (await stubs.auth.Authenticate(request, timeout=self.timeout_s)).token
            except grpc.aio.AioRpcError as error:
                self.failed(stubs)
                if error.code() is StatusCode.FAILED_PRECONDITION:
                    logger.warning("etcd_authentication_is_off", user=self._user)
                    self._token = ""
                elif error.code() is StatusCode.INVALID_ARGUMENT:
                    raise StoreUnavailableError(f"etcd refuses the password of user {self._user}") from error
                else:
                    raise to_error(error) from error

    async def close(self) -> None:
        """Close the channels; calls that run end with an error."""
        for channel in self._channels:
            await channel.close()


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"etcd: {error}") from error
