"""The sections of the processes, each with its own. Long, for it is one table: what can be set is read in one place."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from signalbox.settings.shared import (
    Address,
    ClientTlsSettings,
    Id,
    MetricsSettings,
    Replicas,
    Section,
    ServerTlsSettings,
)


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
        description="Copy of the rules on local disk, used while etcd is away. What tenants own lies beside it, in a "
        "memory map of the same name with .map at its end.",
    )
    snapshot_interval_s: float = Field(
        default=10.0, gt=0, description="Least time between two writes of the snapshot, seconds."
    )
    stale_after_s: float = Field(
        default=3600.0,
        gt=0,
        description="Rules older than this make the replica not ready, seconds. "
        "It decides calls all the same, for those who reach no other.",
    )
    drain_s: float = Field(default=5.0, ge=0, description="Time for streams to move elsewhere at SIGTERM, seconds.")
    drain_min_s: float = Field(
        default=0.0,
        ge=0,
        description="Whoever asks is answered for at least so long after SIGTERM, seconds: as long as clients may take "
        "the address of a replica that has gone from a name for good (the name's time to live, and some).",
    )
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
    password_key_file: Path | None = Field(
        default=None,
        description="Checks passwords that callers key; the same secret as provisioning.password_key_file. Without it "
        "no password is right.",
    )
    counters: CountersSettings = CountersSettings()


class BulkSettings(Section):
    """Imports of many numbers."""

    rows_per_second: int = Field(
        default=2500,
        ge=0,
        description="Most rows that a replica imports in a second, all imports together; 0: as many as go. Routing "
        "replicas take them in beside their calls.",
    )
    slow_commit_ms: int = Field(
        default=150,
        ge=10,
        description="Imports slow down when a commit of theirs takes longer than this, milliseconds: then calls and "
        "other writers might feel it.",
    )
    store_quota_mb: int = Field(
        default=2048,
        ge=1,
        description="What etcd's --quota-backend-bytes is at its members, MiB. Imports stop well before it is reached.",
    )
    store_full_percent: int = Field(
        default=80, ge=1, le=95, description="Imports wait while etcd has more of its quota in use than this, percent."
    )
    full_wait_s: float = Field(
        default=900.0,
        ge=0,
        description="An import that has waited so long for room in etcd ends with STORE_FULL, seconds. More than "
        "etcd's --auto-compaction-retention.",
    )


class AuditSettings(Section):
    """The audit log, which one replica keeps for all (docs/audit.md)."""

    directory: Path | None = Field(
        default=Path("var/provisioning/audit"),
        description="Where the log is kept, by the first replica that begins to; empty for one that never does.",
    )
    segment_mb: int = Field(default=64, ge=1, le=1024, description="Size from which a file of the log is full, MiB.")
    retention_days: int = Field(
        default=0, ge=0, description="Records older than this are deleted, file by file, days; 0: none ever is."
    )
    outbox_max_mb: int = Field(
        default=64,
        ge=1,
        le=512,
        description="Records that may wait in etcd while the log cannot be written, MiB. Beyond that nothing is "
        "changed any more; calls go on.",
    )
    replicas: list[Replicas] = Field(
        default=[],
        description="Replicas that may keep the log, which one that does not asks: host:port each, or dns:name:port.",
    )
    tls: ClientTlsSettings = ClientTlsSettings()

    @field_validator("directory", mode="before")
    @classmethod
    def _none(cls, value: object) -> object:
        return value or None


class DocumentsSettings(Section):
    """Documents of applications for numbers. The content is in the object store."""

    unused_hours: int = Field(
        default=168,
        ge=1,
        le=8760,
        description="A document that no application names is deleted so long after its upload, hours.",
    )
    unused_max: int = Field(
        default=100, ge=1, le=100_000, description="Documents that a tenant may have which no application has named."
    )
    retention_days: int = Field(
        default=730,
        ge=1,
        le=36_500,
        description="The documents of an application are deleted so long after the number was released, or the "
        "application rejected or withdrawn, days. What was released before a change of this keeps its time.",
    )


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
    drain_s: float = Field(
        default=5.0,
        ge=0,
        description="Time for requests that have begun to end at SIGTERM, seconds.",
    )
    bulk: BulkSettings = BulkSettings()
    audit: AuditSettings = AuditSettings()
    documents: DocumentsSettings = DocumentsSettings()
    captures_tls: ClientTlsSettings = ClientTlsSettings()
    password_key_file: Path | None = Field(
        default=None,
        description="Seals passwords that callers are to key, so that what is kept of them tells nothing; the same "
        "secret as routing.password_key_file. Without it flows can have no passwords; if it is lost, they must be "
        "given anew.",
    )


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
    calls_per_second: float = Field(
        default=0,
        ge=0,
        le=10_000,
        description="New calls a second that the proxy takes, of all trunks together; further ones get 503 with "
        "Retry-After at once. 0: no limit. A load test tells what a proxy carries.",
    )
    media_timeout_ms: int = Field(
        default=200, ge=50, le=2000, description="Time for one answer of rtpengine, milliseconds."
    )
    script: Path | None = Field(
        default=None, description="kamailio.cfg, which all proxies share; by default that of the checkout."
    )
    ends_with_edge: bool = Field(
        default=False,
        description="The edge ends the proxy when it has drained, as in a pod of Kubernetes; both must see each "
        "other's processes. Without it, whoever started the proxy ends it.",
    )


class EdgeSettings(Section):
    """The sidecar of a proxy."""

    id: Id = Field(
        default="edge-1", description="Name of the proxy, unique in the cluster; of a host's name, dots become hyphens."
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
        description="Secret of the cluster that signs Record-Route; the same at every proxy. Further lines are secrets "
        "that are accepted, too, four in all, so that it can be changed.",
    )
    decide_timeout_ms: int = Field(default=350, ge=50, description="Time for an answer of routing, milliseconds.")
    hedge_after_ms: int = Field(
        default=40, ge=1, description="A second replica is asked after this time, milliseconds."
    )
    batch_window_ms: float = Field(
        default=20.0,
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
    recorders: list[Replicas] = Field(
        default=[],
        description="Recorders that are told which calls are to be recorded, so that one that is lost is known: "
        "host:port each, or dns:name:port. Without any, only what was captured is known.",
    )
    recorders_tls: ClientTlsSettings = ClientTlsSettings()
    journal_max_mb: int = Field(default=1024, ge=8, description="Most that the event journal may take on disk, MiB.")
    drain_s: float = Field(
        default=0.0,
        ge=0,
        description="At SIGTERM the proxy answers OPTIONS and new INVITEs with 503 until no call is being set up any "
        "more, seconds at most; 0: the edge ends at once, for who stops both stops the proxy first.",
    )
    drain_min_s: float = Field(
        default=0.0,
        ge=0,
        description="It does so for at least so long, seconds: whoever probes with OPTIONS has learnt it then.",
    )
    kamailio: KamailioSettings = KamailioSettings()

    @model_validator(mode="after")
    def _timeouts(self) -> Self:
        if not self.hedge_after_ms < self.decide_timeout_ms < self.kamailio.decision_timeout_ms:
            raise ValueError("hedge_after_ms < decide_timeout_ms < kamailio.decision_timeout_ms must hold")
        return self


class CapturesSettings(Section):
    """What a media node captures of calls that are recorded, and how recorders get it."""

    spool_dir: Path | None = Field(
        default=None,
        description="Where rtpengine captures (its --recording-dir); the sidecar must see and write it. Without it the "
        "node records no calls.",
    )
    listen: Address = Field(default="127.0.0.1:7440", description="gRPC host:port for recorders; port 0 takes any.")
    advertise: Address | None = Field(
        default=None, description="host:port as recorders see it; by default the address that is listened at."
    )
    tls: ServerTlsSettings = ServerTlsSettings()
    free_percent: float = Field(
        default=10.0,
        ge=0,
        le=90,
        description="With less of the disk free than this the node promises no more recordings, percent. What is "
        "being captured goes on, and nothing is deleted.",
    )
    free_mb: int = Field(default=1024, ge=1, description="The same, MiB.")

    @field_validator("spool_dir", mode="before")
    @classmethod
    def _none(cls, value: object) -> object:
        return value or None


class VoiceSettings(Section):
    """What a media node does for workers with voice: it tells them of keys, and has files to play."""

    cache_dir: Path | None = Field(
        default=None,
        description="Where prompts lie that rtpengine plays; it must be able to read it, by the same path. Without it "
        "the node speaks to no caller.",
    )
    cache_mb: int = Field(
        default=2048,
        ge=64,
        description="What they may take, MiB; 2,048 is 74 hours of audio. What was not asked for the longest time is "
        "deleted first.",
    )
    listen: Address = Field(default="127.0.0.1:7450", description="gRPC host:port for workers; port 0 takes any.")
    advertise: Address | None = Field(
        default=None, description="host:port as workers see it; by default the address that is listened at."
    )
    tls: ServerTlsSettings = ServerTlsSettings()
    keys_listen: Address = Field(
        default="127.0.0.1:7451",
        description="Where rtpengine tells of keys (its --dtmf-log-dest), UDP host:port, a loopback address.",
    )

    @field_validator("cache_dir", mode="before")
    @classmethod
    def _none(cls, value: object) -> object:
        return value or None


class MediaSettings(Section):
    """The sidecar of an rtpengine."""

    id: Id = Field(
        default="media-1", description="Name of the node, unique in the cluster; of a host's name, dots become hyphens."
    )
    control: Address = Field(
        default="127.0.0.1:2223",
        description="ng protocol of the rtpengine, host:port, UDP and TCP, as the sidecar sees it.",
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
    daemon_pid_file: Path | None = Field(
        default=None,
        description="The rtpengine's (its --pidfile): the sidecar ends it when it has drained, as in a pod of "
        "Kubernetes; both must see each other's processes. Without it, whoever started rtpengine ends it.",
    )
    dead_after_s: int = Field(
        default=60, ge=2, description="A call in which no RTP came from anybody for so long is ended, seconds."
    )
    held_dead_after_s: int = Field(
        default=3600, ge=2, description="The same for a call that is on hold or muted by its SDP, seconds."
    )
    routing: list[Replicas] = Field(
        default=["127.0.0.1:7410"],
        min_length=1,
        description="Routing replicas that are told which calls' media live: host:port each, or dns:name:port for a "
        "name's addresses.",
    )
    routing_tls: ClientTlsSettings = ClientTlsSettings()
    metrics: MetricsSettings = MetricsSettings()
    captures: CapturesSettings = CapturesSettings()
    voice: VoiceSettings = VoiceSettings()


class RecorderSettings(Section):
    """The recorder: brings what media nodes have captured into the object store."""

    id: Id = Field(
        default="recorder-1", description="Name of the process, for people; of a host's name, dots become hyphens."
    )
    listen: Address = Field(default="127.0.0.1:7430", description="gRPC host:port where proxies tell of promises.")
    tls: ServerTlsSettings = ServerTlsSettings()
    work_dir: Path = Field(
        default=Path("var/recorder"),
        description="Where captures lie while they are worked on: as much room as the longest calls at work need. "
        "Emptied at start.",
    )
    jobs: int = Field(default=1, ge=1, le=64, description="Captures that are worked on at once, each by a process.")
    lease_s: float = Field(
        default=30.0, ge=1, le=600, description="A capture is another recorder's this long after we are gone, seconds."
    )
    captures_tls: ClientTlsSettings = ClientTlsSettings()
    node_lost_after_s: float = Field(
        default=3600.0,
        ge=1,
        description="Recordings of a media node that could not be reached for so long count as missing until it is "
        "back, seconds.",
    )
    drain_s: float = Field(
        default=20.0, ge=0, description="Time for captures at work to be finished at SIGTERM, seconds."
    )
    metrics: MetricsSettings = MetricsSettings()
