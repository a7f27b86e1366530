"""What every gRPC server of ours does alike: options, TLS, errors with ErrorInfo, health and reflection.

Errors are turned into statuses by a decorator on each handler and not by an interceptor: an interceptor costs on every
message of every stream, the decorator once per call.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status

from signalbox import renewing
from signalbox.errors import ConfigurationError, SignalboxError, to_status
from signalbox.tlsfiles import TlsFiles

if TYPE_CHECKING:
    from signalbox.settings import ClientTlsSettings, ServerTlsSettings
    from signalbox.tlsfiles import Material

logger = structlog.get_logger(__name__)

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
"""Largest message that is taken: a snapshot of some 100,000 trunks."""

RESOLVE_MS = 500
"""Least time between two questions for the addresses of a name."""
CONNECTION_AGE_MS = 30_000
"""A client connects anew so often, and asks for the addresses of a name then: so all replicas get their part of the
load, those too that came later (docs/design/rebalancing.md). What is open on the old connection stays there."""
DNS_SERVER = ""
"""host:port of who is asked for addresses; by default whom the system asks."""
KEEPALIVE_MS = 10_000
KEEPALIVE_TIMEOUT_MS = 3_000
PING_TIMEOUT_MS = 13_000
"""gRPC 1.85 goes by this time for every ping, those to keep alive and those by which it measures bandwidth; by default
it is 60 s."""
SILENCE_S = (KEEPALIVE_MS + PING_TIMEOUT_MS) / 1000
"""A peer that vanished without a word is noticed after so long at most, seconds."""

_KEEPALIVE: list[tuple[str, int]] = [
    ("grpc.keepalive_time_ms", KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
    ("grpc.http2.ping_timeout_ms", PING_TIMEOUT_MS),
    ("grpc.http2.max_pings_without_data", 0),
]

LASTING: list[tuple[str, str | int]] = [
    ("grpc.use_local_subchannel_pool", 1),
    *_KEEPALIVE,
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
]
"""Channel arguments of a connection that is kept for the life of a process."""

Handler = TypeVar("Handler", bound=Callable[..., Any])


def server_options(*, reuse_port: bool) -> list[tuple[str, int]]:
    """Channel arguments of a server.

    ``reuse_port`` lets several processes share a port (SO_REUSEPORT); without it a port that is taken is an error.
    """
    return [
        ("grpc.so_reuseport", int(reuse_port)),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        *_KEEPALIVE,
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", KEEPALIVE_MS // 2),
        # gRPC varies it by a tenth, so that not all come at once; streams are left alone, as no grace is set.
        ("grpc.max_connection_age_ms", CONNECTION_AGE_MS),
    ]


def server_credentials(tls: ServerTlsSettings) -> grpc.ServerCredentials | None:
    """Credentials of a listener, or None to serve without TLS. Files that are renewed are taken at the next connection.

    With ``ca_file`` clients must present a certificate of that authority. Raises ConfigurationError if a file is
    missing or cannot be read, or the key is not that of the certificate.
    """
    if tls.cert_file is None and tls.key_file is None and tls.ca_file is None:
        return None
    if tls.cert_file is None or tls.key_file is None:
        raise ConfigurationError("tls: cert_file and key_file are both needed to serve TLS")
    files = TlsFiles("tls", ca=tls.ca_file, cert=tls.cert_file, key=tls.key_file)
    material = files.material

    def renewed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal material
        found = files.material
        if found is material:
            return None
        material = found
        return _certificate(found)

    # None: no change; the stubs forget it.
    fetch = cast("Callable[[], grpc.ServerCertificateConfiguration]", renewed)
    return grpc.dynamic_ssl_server_credentials(_certificate(material), fetch, tls.ca_file is not None)


def _certificate(material: Material) -> grpc.ServerCertificateConfiguration:
    assert material.key is not None
    assert material.cert is not None
    return grpc.ssl_server_certificate_configuration([(material.key, material.cert)], root_certificates=material.ca)


def client_files(tls: ClientTlsSettings) -> TlsFiles:
    """The files of connections to a server. Raises ConfigurationError as :class:`TlsFiles` does."""
    return TlsFiles("tls", ca=tls.ca_file, cert=tls.cert_file, key=tls.key_file)


def channel_credentials(tls: ClientTlsSettings) -> grpc.ChannelCredentials:
    """Credentials of a connection that does not last. Raises ConfigurationError if a file cannot be read."""
    return renewing.credentials(client_files(tls).material)


def channel(replicas: str, tls: ClientTlsSettings, *, lasting: bool = False) -> grpc.aio.Channel:
    """A channel to ``host:port``, or with ``dns:name:port`` to all addresses of a name in turn.

    ``lasting``: for one that is kept for the life of a process, and waited for: a peer that vanished without a word is
    noticed, and one that is away is tried again each second.

    To be called within the event loop. Raises ConfigurationError if a file of ``tls`` cannot be read.
    """
    name = replicas.removeprefix("dns:")
    target = f"dns://{DNS_SERVER}/{name}" if name != replicas else replicas
    options: list[tuple[str, str | int]] = [
        ("grpc.lb_policy_name", "round_robin"),
        # A name whose addresses change one after the other, as those of replicas in an upgrade, is asked for at each
        # loss. By default it is at most every 30 s, and by then the addresses that are known may all be gone.
        ("grpc.dns_min_time_between_resolutions_ms", RESOLVE_MS),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ]
    if lasting:
        options += LASTING
    if not tls.enabled:
        return grpc.aio.insecure_channel(target, options=options)
    if tls.server_name is not None:
        options.append(("grpc.ssl_target_name_override", tls.server_name))
    return renewing.channel(target, client_files(tls), options)


def bind(server: grpc.aio.Server, listen: str, tls: ServerTlsSettings) -> int:
    """Listen on ``host:port`` (port 0: any free one), with TLS if it is set up; returns the port.

    Raises ConfigurationError if the address cannot be had.
    """
    credentials = server_credentials(tls)
    try:
        if credentials is None:
            return server.add_insecure_port(listen)
        return server.add_secure_port(listen, credentials)
    except RuntimeError as error:
        raise ConfigurationError(f"cannot listen on {listen}: {error}") from error


class Health:
    """The standard health service (grpc.health.v1) for all services of a server at once; it begins with NOT_SERVING."""

    def __init__(self, servicer: health.aio.HealthServicer, services: Sequence[str]) -> None:
        self._servicer = servicer
        self._services = services
        self._told: tuple[bool, bool] | None = None

    async def set(self, serving: bool, *, usable: bool | None = None) -> None:
        """Tell SERVING or NOT_SERVING; watchers hear of a change at once.

        ``usable``: of the services by name, where that may differ from the server as a whole (""), which is then not
        serving though it can be asked if there is no better one.
        """
        told = serving, serving if usable is None else usable
        if told == self._told:
            return
        self._told = told
        for service, well in (("", told[0]), *((service, told[1]) for service in self._services)):
            status = health_pb2.HealthCheckResponse.SERVING if well else health_pb2.HealthCheckResponse.NOT_SERVING
            await self._servicer.set(service, status)

    async def stop(self) -> None:
        """NOT_SERVING for good: the process is stopping."""
        await self._servicer.enter_graceful_shutdown()


async def add_health_and_reflection(server: grpc.aio.Server, services: Sequence[str]) -> Health:
    """Add both standard services for the fully named ``services``. Call before the server starts."""
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    names = (*services, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server)
    told = Health(servicer, services)
    await told.set(False)
    return told


def serve_errors(handler: Handler) -> Handler:
    """Decorate a handler method ``(self, request, context)`` of any kind: coroutine or asynchronous generator.

    A SignalboxError ends the call with its status and ErrorInfo (AIP-193); any other exception is logged and ends it
    with INTERNAL, without its text.
    """
    if inspect.isasyncgenfunction(handler):

        @functools.wraps(handler)
        async def generator(self: Any, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            try:
                async for response in handler(self, request, context):
                    yield response
            except Exception as error:
                await _abort(context, error, handler.__name__)

        return generator  # type: ignore[return-value]

    @functools.wraps(handler)
    async def coroutine(self: Any, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        try:
            return await handler(self, request, context)
        except Exception as error:
            await _abort(context, error, handler.__name__)

    return coroutine  # type: ignore[return-value]


async def _abort(context: grpc.aio.ServicerContext[Any, Any], error: Exception, method: str) -> None:
    """End the call with the error's status. An abort on its way passes as it is."""
    if isinstance(error, grpc.aio.AbortError):
        raise error
    if not isinstance(error, SignalboxError):
        logger.error("rpc_failed", method=method, exc_info=error)
    elif error.status is grpc.StatusCode.DATA_LOSS:
        logger.error("data_lost", method=method, error=str(error))
    await context.abort_with_status(rpc_status.to_status(to_status(error)))
