"""What voice workers ask and send for call flows: services of tenants, and short messages."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from signalbox.settings.shared import Section


def _network(text: str) -> str:
    """A network: address/bits."""
    ipaddress.ip_network(text)
    return text


Network = Annotated[str, AfterValidator(_network)]


class RequestsSettings(Section):
    """Requests to the HTTP services of tenants (docs/rules/flows.md#request)."""

    allowed_networks: list[Network] = Field(
        default=[],
        description="Networks, address/bits, whose addresses are asked though they are not public, such as a company's "
        "own behind a tunnel. Every tenant can reach them: keep the cluster's own addresses out.",
    )
    refused_networks: list[Network] = Field(
        default=[],
        description="Networks, address/bits, that are never asked, whatever else holds: the cluster's own, if its "
        "addresses are public.",
    )
    ca_file: Path | None = Field(
        default=None, description="Authorities (PEM) that are trusted for https besides those of the system."
    )
    concurrent: int = Field(
        default=512, ge=1, description="Most requests at a time of a worker; others wait, as part of their time-out."
    )
    concurrent_per_tenant: int = Field(
        default=32, ge=1, description="Most of them of one tenant, so that a slow service holds up no other tenant's."
    )


class MessagesSettings(Section):
    """Short messages (docs/messages.md)."""

    sender: Literal["none", "log", "http"] = Field(
        default="none",
        description="none: no message is sent, and flows take failed; log: for trials, what would be sent is logged, "
        "number and text at level debug alone; http: they go to the operator's gateway.",
    )
    url: str | None = Field(default=None, pattern=r"^https?://", description="Where the gateway takes messages.")
    token_file: Path | None = Field(default=None, description="File with the bearer token for the gateway.")
    ca_file: Path | None = Field(
        default=None, description="Authorities (PEM) that are trusted for https besides those of the system."
    )
    timeout_s: float = Field(
        default=5.0, gt=0, le=10, description="The gateway must have taken a message by then, seconds; the call waits."
    )

    @model_validator(mode="after")
    def _gateway(self) -> Self:
        if (self.sender == "http") != (self.url is not None):
            raise ValueError("url is needed with sender http, and is for nothing else")
        if self.sender != "http" and (self.token_file or self.ca_file):
            raise ValueError("token_file and ca_file are for sender http")
        return self
