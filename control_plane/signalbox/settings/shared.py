"""What the settings are made of: sections, addresses, TLS, and the servers that several processes use."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from signalbox import address


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


ID_LENGTH = 63
HOST_ID_LENGTH = 260
"""A name of DNS, 253 characters at most, with what tells edges from media nodes before it."""
_HOST_ID = re.compile(r"[a-z][a-z0-9-]*(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")


def _id(given: object) -> object:
    """The id that is meant by a name of a host, as of a node of Kubernetes: ``edge-a.example`` is edge-a-example.

    Ids have no dots: at rtpengine calls of workers are told from calls of proxies by one. A name that is too long is
    cut, and told apart by eight digits of its SHA-256. What is neither id nor name stays, to be refused.
    """
    if not isinstance(given, str) or len(given) > HOST_ID_LENGTH or not _HOST_ID.fullmatch(given):
        return given
    id = given.replace(".", "-")
    if len(id) <= ID_LENGTH:
        return id
    digest = hashlib.sha256(given.encode()).hexdigest()[:8]
    return f"{id[: ID_LENGTH - 1 - len(digest)]}-{digest}"


Id = Annotated[str, BeforeValidator(_id), Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
"""Name of a process in the cluster; a name of a host becomes one."""
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


class S3Settings(Section):
    """How a bucket is reached."""

    endpoint: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="URL of a server that speaks S3; by default that of AWS. http:// is for tests.",
    )
    region: str = Field(default="us-east-1", description="Region of the bucket.")
    access_key_id: str | None = Field(
        default=None, description="Id of the access key; by default what the environment or the machine's role gives."
    )
    secret_key_file: Path | None = Field(default=None, description="File with the secret of the access key.")
    timeout_s: float = Field(default=30.0, gt=0, description="Time for one request, seconds.")

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.access_key_id is None) != (self.secret_key_file is None):
            raise ValueError("access_key_id and secret_key_file go together")
        return self


class ObjectsSettings(Section):
    """The object store: what is too large for etcd, such as the documents of applications."""

    location: str = Field(
        default="var/objects",
        min_length=1,
        description="A folder, which all replicas must see, or a bucket that is there: s3://bucket or "
        "s3://bucket/prefix.",
    )
    master_key_file: Path = Field(
        default=Path("var/objects.key"),
        description="Secret that the keys of tenants are encrypted with; the same at every replica, made if absent. "
        "Without it no content can be read any more: keep a copy apart from the content. Several, one a line: the "
        "first is for new keys, the others are still known.",
    )
    s3: S3Settings = S3Settings()


class DatabaseSettings(Section):
    """The database: which recordings there are. A file for one machine, PostgreSQL for several."""

    url: str = Field(
        default="sqlite:///var/signalbox.db",
        pattern=r"^(sqlite:///.+|postgresql://.+)$",
        description="sqlite:///<path of a file>, or "
        "postgresql://user@host:port/database, which must be there. Tables are made and brought up to date at start.",
    )
    password_file: Path | None = Field(default=None, description="File with the user's password.")
    connections: int = Field(default=5, ge=1, le=100, description="Most connections of a process.")
    timeout_s: float = Field(default=10.0, gt=0, description="Time for a connection or a statement, seconds.")
    tls: ClientTlsSettings = ClientTlsSettings()


class MetricsSettings(Section):
    """The HTTP side door of a process: /metrics, /healthz, /readyz."""

    listen: Address = Field(default="127.0.0.1:0", description="host:port; port 0 takes any free one.")
