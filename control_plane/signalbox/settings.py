"""Settings: parsed once at start, typed, with units; unknown keys are refused.

Every setting has one name: ``section.key`` in the TOML file, ``SIGNALBOX_SECTION__KEY`` in the environment (which
wins), and the same path in the chart's values. ``docs/configuration.md`` is generated from the descriptions here.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from signalbox import address
from signalbox.errors import ConfigurationError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

ENV_PREFIX = "SIGNALBOX_"

CLUSTER_VARIABLE = "SIGNALBOX_CLUSTER"
"""Names the cluster file for the command; the one variable of our prefix that is no setting."""


class Section(BaseModel):
    """A group of settings. Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _address(text: str) -> str:
    """host:port, an IPv6 host in brackets."""
    address.split(text)
    return text


def _replicas(text: str) -> str:
    """host:port, or dns:name:port."""
    _address(text.removeprefix("dns:"))
    return text


Address = Annotated[str, AfterValidator(_address)]
Replicas = Annotated[str, AfterValidator(_replicas)]


class LogSettings(Section):
    """Logging of every process."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severity that is written."
    )
    format: Literal["json", "console"] = Field(default="json", description="json for machines, console for people.")


class _KeyPair(Section):
    """Own certificate and key (PEM files): both or none."""

    cert_file: Path | None = Field(default=None, description="Own certificate chain.")
    key_file: Path | None = Field(default=None, description="Key of the own certificate.")

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together")
        return self


class ServerTlsSettings(_KeyPair):
    """TLS of a listener (PEM files); off while none is given."""

    ca_file: Path | None = Field(
        default=None, description="With it, clients must present a certificate of this authority."
    )

    @property
    def clients_authenticated(self) -> bool:
        """True if clients must present a certificate."""
        return self.ca_file is not None


class ClientTlsSettings(_KeyPair):
    """TLS of a connection to a server (PEM files); off without ca_file."""

    ca_file: Path | None = Field(
        default=None, description="Authority that the server's certificate must come from; turns TLS on."
    )
    server_name: str | None = Field(
        default=None, description="Name expected in the server's certificate, if it differs from the address."
    )

    @property
    def enabled(self) -> bool:
        """True if the server's certificate is to be checked."""
        return self.ca_file is not None


class EtcdSettings(Section):
    """etcd, where rules and the registry of live nodes are."""

    endpoints: list[Address] = Field(
        default=["127.0.0.1:2379"], min_length=1, description="Addresses of the members, host:port."
    )
    prefix: str = Field(default="/signalbox/", min_length=1, description="All keys are below this one.")
    username: str | None = Field(default=None, description="User, if etcd has authentication on.")
    password_file: Path | None = Field(default=None, description="File with the user's password.")
    request_timeout_s: float = Field(default=3.0, gt=0, description="Time for one request, seconds.")
    tls: ClientTlsSettings = ClientTlsSettings()

    @model_validator(mode="after")
    def _user(self) -> Self:
        if (self.username is None) != (self.password_file is None):
            raise ValueError("username and password_file go together")
        return self


class RedisTlsSettings(_KeyPair):
    """TLS of the connection to redis (PEM files); off without ca_file."""

    ca_file: Path | None = Field(
        default=None, description="Authority that the server's certificate must come from; turns TLS on."
    )

    @property
    def enabled(self) -> bool:
        """True if the server's certificate is to be checked."""
        return self.ca_file is not None


class RedisSettings(Section):
    """redis or valkey, where live counts are. One primary; with appendonly on, counts outlive its restart."""

    address: Address = Field(default="127.0.0.1:6379", description="host:port of the primary.")
    database: int = Field(default=0, ge=0, description="Number of the database.")
    prefix: str = Field(default="signalbox:", min_length=1, description="All keys begin with it.")
    username: str | None = Field(default=None, description="User, if access lists are on.")
    password_file: Path | None = Field(default=None, description="File with the password.")
    timeout_ms: int = Field(
        default=30, ge=1, le=1000, description="Time for one answer; then calls go on uncounted, milliseconds."
    )
    tls: RedisTlsSettings = RedisTlsSettings()


class MetricsSettings(Section):
    """The HTTP side door of a process: /metrics, /healthz, /readyz."""

    listen: Address = Field(default="127.0.0.1:0", description="host:port; port 0 takes any free one.")


class CountersSettings(Section):
    """How long what is counted holds if nobody says otherwise."""

    setup_lease_s: float = Field(
        default=3600.0, gt=0, description="A call that was neither answered nor ended is free after this time, seconds."
    )
    call_lease_s: float = Field(
        default=87_000.0,
        gt=0,
        description="An answered call that nobody ended is free after this time, seconds; more than the longest call.",
    )
    media_lease_s: float = Field(
        default=300.0,
        gt=0,
        description="A call whose media were once reported alive is free this long after the last report, seconds.",
    )
    sticky_days: float = Field(
        default=30.0, gt=0, le=3650, description="It is remembered so long which line served a caller, days."
    )


class RoutingSettings(Section):
    """The routing service."""

    listen: Address = Field(default="127.0.0.1:7410", description="gRPC host:port.")
    workers: int = Field(default=1, ge=1, le=64, description="Worker processes that share the port.")
    tls: ServerTlsSettings = ServerTlsSettings()
    metrics: MetricsSettings = MetricsSettings()
    snapshot_file: Path = Field(
        default=Path("var/routing/rules.snapshot"),
        description="Copy of the rules on local disk, used while etcd is away.",
    )
    snapshot_interval_s: float = Field(
        default=10.0, gt=0, description="Least time between two writes of the snapshot, seconds."
    )
    stale_after_s: float = Field(
        default=3600.0,
        gt=0,
        description="Rules older than this make the replica not ready, seconds. Calls are still routed.",
    )
    drain_s: float = Field(default=5.0, ge=0, description="Time for streams to move elsewhere at SIGTERM, seconds.")
    max_diversions: int = Field(
        default=2, ge=0, description="Calls forwarded more often than this are refused (loop guard)."
    )
    regions_file: Path | None = Field(
        default=None,
        description="The operator's own table of regions (CSV, docs/rules/regions.md), over the delivered one. Read at "
        "start.",
    )
    cursor_key_file: Path | None = Field(
        default=None,
        description="Signs where calls are in their flows; the same secret at every replica. Without it no call is "
        "handed to a worker with voice.",
    )
    counters: CountersSettings = CountersSettings()


class ProvisioningSettings(Section):
    """The provisioning service."""

    listen: Address = Field(default="127.0.0.1:7420", description="gRPC host:port.")
    tls: ServerTlsSettings = ServerTlsSettings()
    insecure: bool = Field(
        default=False,
        description="Serve without TLS. Anyone who reaches the port can change every rule: for tests only.",
    )
    keys_listen: Address | None = Field(
        default=None,
        description="gRPC host:port for clients without a certificate: TLS with the same certificate, and each request "
        "must show an API key. Off by default.",
    )
    routing: list[Replicas] = Field(
        default=["127.0.0.1:7410"],
        min_length=1,
        description="Routing replicas that explain calls: host:port each, or dns:name:port for a name's addresses.",
    )
    routing_tls: ClientTlsSettings = ClientTlsSettings()
    metrics: MetricsSettings = MetricsSettings()


class KamailioSettings(Section):
    """The proxy beside an edge: what `signalbox kamailio-config` renders for kamailio.cfg."""

    listen: list[Address] = Field(
        default=["127.0.0.1:5060"], min_length=1, description="host:port for SIP; UDP and TCP both."
    )
    advertise: Address | None = Field(
        default=None, description="host:port written into Via and Record-Route; by default the first of listen."
    )
    route_listen: Address = Field(
        default="127.0.0.1:5066", description="Loopback UDP host:port where decisions are received."
    )
    runtime_dir: Path = Field(default=Path("var/kamailio"), description="Control socket, tables and pid file.")
    event_dir: Path = Field(default=Path("var/kamailio/events"), description="Where the proxy writes call events.")
    udp_workers: int = Field(default=4, ge=1, le=256, description="Worker processes per UDP socket.")
    decision_workers: int = Field(
        default=4,
        ge=1,
        le=64,
        description="Worker processes that take decisions over. Each waits for rtpengine while it makes an offer; a "
        "proxy that anchors no media spends least with one.",
    )
    tcp_workers: int = Field(default=2, ge=1, le=256, description="Worker processes for TCP.")
    shared_memory_mb: int = Field(
        default=1024,
        ge=64,
        description="Most shared memory the proxy may take (-m), MiB: about 20 KiB a transaction, kept 5 s.",
    )
    private_memory_mb: int = Field(default=16, ge=8, description="Private memory per worker (-M), MiB.")
    decision_timeout_ms: int = Field(
        default=450, ge=100, le=2000, description="Time for a decision before the caller gets 503, milliseconds."
    )
    connect_timeout_ms: int = Field(
        default=4000,
        ge=500,
        description="Time for the first reply of a line before the next one is tried, milliseconds.",
    )
    unknown_source: Literal["silence", "403"] = Field(
        default="silence", description="What a request gets that comes from no trunk."
    )
    flood_requests: int = Field(
        default=0,
        ge=0,
        description="Requests per source address and 2 s above which it is banned; 0: no limit. Loopback and peers are "
        "exempt. A trunk is never banned, but its further new calls get 503: leave room for the busiest one.",
    )
    flood_ban_s: int = Field(default=300, ge=1, description="How long a flooding source is banned, seconds.")
    media_timeout_ms: int = Field(
        default=200, ge=50, le=2000, description="Time for one answer of rtpengine, milliseconds."
    )


class EdgeSettings(Section):
    """The sidecar of a proxy."""

    id: str = Field(
        default="edge-1", pattern=r"^[a-z][a-z0-9-]{0,62}$", description="Name of the proxy, unique in the cluster."
    )
    ask_listen: Address = Field(
        default="127.0.0.1:9007", description="Loopback UDP host:port where the proxy's questions arrive."
    )
    routing: list[Replicas] = Field(
        default=["127.0.0.1:7410"],
        min_length=1,
        description="Routing replicas: host:port each, or dns:name:port for all addresses of a name.",
    )
    streams_per_replica: int = Field(
        default=1,
        ge=1,
        le=16,
        description="Connections to each routing replica. The kernel spreads connections over the replica's worker "
        "processes: with several workers, several times as many connections use them all.",
    )
    routing_tls: ClientTlsSettings = ClientTlsSettings()
    metrics: MetricsSettings = MetricsSettings()
    state_dir: Path = Field(default=Path("var/edge"), description="Journal of events and positions.")
    token_file: Path = Field(
        default=Path("var/edge/token"), description="Secret shared with the proxy, made if absent."
    )
    cluster_key_file: Path = Field(
        default=Path("var/cluster.key"),
        description="Secret of the cluster that signs Record-Route; the same at every proxy.",
    )
    decide_timeout_ms: int = Field(default=350, ge=50, description="Time for an answer of routing, milliseconds.")
    hedge_after_ms: int = Field(
        default=40, ge=1, description="A second replica is asked after this time, milliseconds."
    )
    batch_window_ms: float = Field(
        default=10.0,
        ge=0,
        description="Longest time that a question waits for company before it is sent, milliseconds. Below 600 "
        "questions/s none waits; from there on they wait longer and longer, this long at 1,000 questions/s and more.",
    )
    queue_limit: int = Field(default=2000, ge=1, description="Open questions above which new calls get 503 at once.")
    last_good_max_age_s: float = Field(
        default=3600.0,
        ge=0,
        description="How old a decision may be that is used while routing is away, seconds; 0: none.",
    )
    journal_max_mb: int = Field(default=1024, ge=8, description="Most that the event journal may take on disk, MiB.")
    kamailio: KamailioSettings = KamailioSettings()

    @model_validator(mode="after")
    def _timeouts(self) -> Self:
        if not self.hedge_after_ms < self.decide_timeout_ms < self.kamailio.decision_timeout_ms:
            raise ValueError("hedge_after_ms < decide_timeout_ms < kamailio.decision_timeout_ms must hold")
        return self


class MediaSettings(Section):
    """The sidecar of an rtpengine."""

    id: str = Field(
        default="media-1", pattern=r"^[a-z][a-z0-9-]{0,62}$", description="Name of the node, unique in the cluster."
    )
    control: Address = Field(
        default="127.0.0.1:2223", description="ng protocol of the rtpengine, UDP host:port, as the sidecar sees it."
    )
    advertise_control: Address | None = Field(
        default=None, description="ng protocol as the proxies see it, host:port; by default the same."
    )
    capacity: int = Field(default=1000, ge=1, description="Calls that the node may carry at once.")
    ping_interval_ms: int = Field(default=200, ge=20, description="Time between two health checks, milliseconds.")
    ping_timeout_ms: int = Field(default=250, ge=20, description="Time for the answer to one, milliseconds.")
    lease_ttl_s: int = Field(
        default=5, ge=2, description="Registration ends this long after the sidecar is gone, seconds."
    )
    drain_s: float = Field(
        default=5.0, ge=0, description="At SIGTERM the node stays registered until its calls end, seconds at most."
    )
    metrics: MetricsSettings = MetricsSettings()


class Settings(BaseSettings):
    """All settings of all processes; each process reads its sections."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    log: LogSettings = LogSettings()
    etcd: EtcdSettings = EtcdSettings()
    redis: RedisSettings = RedisSettings()
    routing: RoutingSettings = RoutingSettings()
    provisioning: ProvisioningSettings = ProvisioningSettings()
    edge: EdgeSettings = EdgeSettings()
    media: MediaSettings = MediaSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file, which is passed to the constructor."""
        return env_settings, init_settings


def load(file: Path | None = None) -> Settings:
    """Read the file (TOML), lay the environment over it, and check everything.

    Raises ConfigurationError that names each wrong or unknown key.
    """
    values: dict[str, object] = {}
    if file is not None:
        try:
            values = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigurationError(f"{file}: {error}") from error
    known = {f"{ENV_PREFIX}{name.upper()}" for name in Settings.model_fields}
    for key in os.environ:
        if key.startswith(ENV_PREFIX) and key != CLUSTER_VARIABLE and key.partition("__")[0] not in known:
            raise ConfigurationError(f"{key}: no such setting")
    try:
        return Settings(**values)  # type: ignore[arg-type]
    except ValidationError as error:
        raise ConfigurationError("; ".join(map(_problem, error.errors()))) from error
    except SettingsError as error:
        raise ConfigurationError(f"environment: {error}") from error


def _problem(error: ErrorDetails) -> str:
    """One wrong key and why, for people."""
    path = ".".join(map(str, error["loc"]))
    match error["type"]:
        case "extra_forbidden":
            return f"{path}: no such setting"
        case "value_error":
            return f"{path}: {error['ctx']['error']}"
    return f"{path}: {error['msg'][:1].lower()}{error['msg'][1:]}"
