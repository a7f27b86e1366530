"""The section of the workers with voice."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from signalbox.settings.outside import MessagesSettings, RequestsSettings
from signalbox.settings.shared import Address, ClientTlsSettings, Id, MetricsSettings, Replicas, Section


class IvrSettings(Section):
    """A worker with voice: it executes call flows."""

    id: Id = Field(
        default="ivr-1", description="Name of the worker, unique in the cluster; of a host's name, dots become hyphens."
    )
    listen: Address = Field(
        default="127.0.0.1:5070", description="host:port for SIP, UDP and TCP both; an address, not a name."
    )
    advertise: Address | None = Field(
        default=None, description="host:port as the proxies see it; by default the address that is listened at."
    )
    transport: Literal["udp", "tcp"] = Field(
        default="udp", description="By what proxies call the worker, and it calls lines by way of them: udp or tcp."
    )
    capacity: int = Field(
        default=500, ge=1, description="Calls that the worker may have at once; it is offered no more."
    )
    routing: list[Replicas] = Field(
        default=["127.0.0.1:7410"],
        min_length=1,
        description="Routing replicas that give the steps of flows: host:port each, or dns:name:port for a name's "
        "addresses.",
    )
    routing_tls: ClientTlsSettings = ClientTlsSettings()
    voice_tls: ClientTlsSettings = ClientTlsSettings()
    recorders: list[Replicas] = Field(
        default=[],
        description="Recorders that are told what is recorded here, so that one that is lost is known: host:port each, "
        "or dns:name:port. Without any, only what was captured is known.",
    )
    recorders_tls: ClientTlsSettings = ClientTlsSettings()
    state_dir: Path = Field(default=Path("var/ivr"), description="Journal of events and positions.")
    journal_max_mb: int = Field(default=256, ge=8, description="Most that the event journal may take on disk, MiB.")
    lease_ttl_s: int = Field(
        default=5, ge=2, description="Registration ends this long after the worker is gone, seconds."
    )
    drain_s: float = Field(
        default=300.0,
        ge=0,
        description="At SIGTERM the calls that are there may last so long, seconds; then they are ended.",
    )
    metrics: MetricsSettings = MetricsSettings()
    requests: RequestsSettings = RequestsSettings()
    messages: MessagesSettings = MessagesSettings()
