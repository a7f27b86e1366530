"""How a command finds and reaches a service: a cluster file, or an address and credentials given by hand."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from signalbox.commands.failure import NOBODY_THERE, UnreachableError
from signalbox.settings import CLUSTER_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Sequence

CLUSTER_FILE = Path("var/cluster.json")
CLUSTER_VERSION = 1
API_KEY_VARIABLE = "SIGNALBOX_API_KEY"

CONNECTION_OPTIONS = frozenset({"cluster", "api", "ca", "cert", "key", "api_key", "timeout"})
"""Names of the options that :func:`connects_to` adds."""

ASK = "ask"

Service = Literal["provisioning", "routing"]
Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class Credentials:
    """PEM files of a client: the server's authority, and its own certificate and key; or the secret of an API key."""

    ca: Path
    cert: Path | None
    key: Path | None
    api_key: str = ""

    def load(self) -> grpc.ChannelCredentials:
        """Read the files. Raises UsageError that names the one that cannot be read."""
        tls = grpc.ssl_channel_credentials(
            root_certificates=_read(self.ca),
            private_key=_read(self.key) if self.key else None,
            certificate_chain=_read(self.cert) if self.cert else None,
        )
        if not self.api_key:
            return tls
        return grpc.composite_channel_credentials(tls, grpc.access_token_call_credentials(self.api_key))


@dataclass(frozen=True)
class Connection:
    """Where the services are, with what credentials, and how long an answer may take (seconds)."""

    addresses: Sequence[str]
    credentials: Credentials | None
    timeout_s: float

    @contextlib.contextmanager
    def channel(self) -> Iterator[grpc.Channel]:
        """A channel to the first address that takes a connection. Raises UnreachableError if none does."""
        failures = []
        for address in self.addresses:
            with self.open(address) as channel:
                if _connects(channel, self.timeout_s):
                    yield channel
                    return
            failures.append(address)
        raise UnreachableError(f"no connection to {' or '.join(failures)}")

    def open(self, address: str) -> grpc.Channel:
        """A channel to an address, which need not be there yet."""
        if self.credentials is None:
            return grpc.insecure_channel(address)
        return grpc.secure_channel(address, self.credentials.load())


@dataclass(frozen=True)
class Cluster:
    """What ``var/cluster.json`` says of a running one-machine cluster."""

    addresses: dict[str, list[str]]
    credentials: Credentials
    journals: dict[Path, str]
    """Journal directories, and the edges and workers that they belong to."""
    doors: list[Path]
    """UNIX sockets of the edges."""
    proxies: list[str]
    """host:port of the proxies, for SIP."""

    @classmethod
    def load(cls, file: Path) -> Cluster:
        """Read the file. Raises UsageError if it is not there or not what it should be."""
        try:
            content = json.loads(file.read_text())
            if content["version"] != CLUSTER_VERSION:
                raise click.UsageError(f"{file}: version {content['version']}, this command reads {CLUSTER_VERSION}")
            ca, cert, key = (Path(content["credentials"][name]) for name in ("ca", "cert", "key"))
            return cls(
                {str(service): list(addresses) for service, addresses in content["grpc"].items()},
                Credentials(ca, cert, key),
                {Path(process["journal"]): process["name"] for process in content["processes"] if "journal" in process},
                [Path(process["door"]) for process in content["processes"] if "door" in process],
                [process["addresses"]["sip"] for process in content["processes"] if process.get("kind") == "kamailio"],
            )
        except OSError as error:
            raise click.UsageError(f"{file}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise click.UsageError(f"{file} is not a cluster file: {error!r}") from error


def cluster_option(command: Command) -> Command:
    """The option that names the cluster file."""
    return click.option(
        "--cluster",
        type=click.Path(path_type=Path, dir_okay=False),
        envvar=CLUSTER_VARIABLE,
        help=f"Cluster file.  [default: {CLUSTER_FILE}, if it is there]",
    )(command)


def find_cluster(file: Path | None) -> Cluster | None:
    """The cluster of the file, or of the default one if that is there."""
    if file is None:
        return Cluster.load(CLUSTER_FILE) if CLUSTER_FILE.exists() else None
    return Cluster.load(file)


def connects_to(service: Service) -> Callable[[Command], Command]:
    """Give a command the connection options; it is called with a ``connection``.

    Its option ``ASK``, if it has one, names another service to connect to.
    """

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def wrapper(
            *args: Any,
            cluster: Path | None,
            api: str | None,
            ca: Path | None,
            cert: Path | None,
            key: Path | None,
            api_key: str,
            timeout: float,
            **kwargs: Any,
        ) -> Any:
            asked = kwargs.get(ASK, service)
            connection = _connection(asked, cluster, api, ca, cert, key, api_key, timeout)
            return command(*args, connection=connection, **kwargs)

        pem = click.Path(path_type=Path, dir_okay=False)
        options = (
            cluster_option,
            click.option("--api", metavar="HOST:PORT", help=f"Address of the {service} service."),
            click.option("--ca", type=pem, help="With --api: authority of the server's certificate; without: no TLS."),
            click.option("--cert", type=pem, help="With --ca: own certificate."),
            click.option("--key", type=pem, help="With --ca: key of the own certificate."),
            click.option(
                "--api-key",
                metavar="SECRET",
                envvar=API_KEY_VARIABLE,
                default="",
                help=f"Secret of an API key, with TLS; {API_KEY_VARIABLE} keeps it out of sight.",
            ),
            click.option(
                "--timeout",
                type=click.FloatRange(min=0.1),
                metavar="SECONDS",
                default=5.0,
                show_default="5",
                help="How long to wait for an answer.",
            ),
        )
        for option in reversed(options):
            wrapper = option(wrapper)
        return wrapper  # type: ignore[return-value]

    return decorate


def _connection(
    service: Service,
    cluster_file: Path | None,
    api: str | None,
    ca: Path | None,
    cert: Path | None,
    key: Path | None,
    api_key: str,
    timeout_s: float,
) -> Connection:
    if (cert is None) != (key is None):
        raise click.UsageError("--cert and --key go together")
    if ca is None and cert is not None:
        raise click.UsageError("--cert and --key need --ca")
    if api is not None:
        if api_key and ca is None:
            raise click.UsageError("--api-key needs --ca: a secret is not sent without TLS")
        return Connection([api], Credentials(ca, cert, key, api_key) if ca else None, timeout_s)
    if ca is not None:
        raise click.UsageError("--ca needs --api")
    cluster = find_cluster(cluster_file)
    if cluster is None:
        raise click.UsageError(f"which cluster? Give --cluster or --api ({CLUSTER_FILE} is not there)")
    addresses = cluster.addresses.get(service)
    if not addresses:
        raise click.UsageError(f"the cluster file names no {service} service")
    # A one-machine cluster's routing service listens on loopback without TLS: it can change nothing.
    credentials = replace(cluster.credentials, api_key=api_key) if service == "provisioning" else None
    return Connection(addresses, credentials, timeout_s)


def _connects(channel: grpc.Channel, timeout_s: float) -> bool:
    """Whether somebody answers: a question about health does no harm anywhere, unlike a write that is tried twice."""
    health = health_pb2_grpc.HealthStub(channel)
    try:
        health.Check(health_pb2.HealthCheckRequest(), timeout=timeout_s)  # type: ignore[attr-defined]
    except grpc.RpcError as error:
        return error.code() not in NOBODY_THERE
    return True


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise click.UsageError(f"{file}: {error.strerror}") from error
