"""Settings: parsed once at start, typed, with units; unknown keys are refused.

Every setting has one name: ``section.key`` in the TOML file, ``SIGNALBOX_SECTION__KEY`` in the environment (which
wins), and the same path in the chart's values. ``docs/configuration.md`` is generated from the descriptions here.
"""

from __future__ import annotations

import os
import tomllib
from typing import TYPE_CHECKING

from pydantic import ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from signalbox.errors import ConfigurationError
from signalbox.settings.ivr import IvrSettings
from signalbox.settings.outside import MessagesSettings, RequestsSettings
from signalbox.settings.processes import (
    AuditSettings,
    BulkSettings,
    CapturesSettings,
    CountersSettings,
    DocumentsSettings,
    EdgeSettings,
    KamailioSettings,
    MediaSettings,
    ProvisioningSettings,
    RecorderSettings,
    RoutingSettings,
    VoiceSettings,
)
from signalbox.settings.shared import (
    ClientTlsSettings,
    DatabaseSettings,
    EtcdSettings,
    LogSettings,
    MetricsSettings,
    ObjectsSettings,
    RedisSettings,
    RedisTlsSettings,
    S3Settings,
    Section,
    ServerTlsSettings,
)

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic_core import ErrorDetails

__all__ = [
    "CLUSTER_VARIABLE",
    "ENV_PREFIX",
    "AuditSettings",
    "BulkSettings",
    "CapturesSettings",
    "ClientTlsSettings",
    "CountersSettings",
    "DatabaseSettings",
    "DocumentsSettings",
    "EdgeSettings",
    "EtcdSettings",
    "IvrSettings",
    "KamailioSettings",
    "LogSettings",
    "MediaSettings",
    "MessagesSettings",
    "MetricsSettings",
    "ObjectsSettings",
    "ProvisioningSettings",
    "RecorderSettings",
    "RedisSettings",
    "RedisTlsSettings",
    "RequestsSettings",
    "RoutingSettings",
    "S3Settings",
    "Section",
    "ServerTlsSettings",
    "Settings",
    "VoiceSettings",
    "load",
]

ENV_PREFIX = "SIGNALBOX_"

CLUSTER_VARIABLE = "SIGNALBOX_CLUSTER"
"""Names the cluster file for the command; the one variable of our prefix that is no setting."""


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
    objects: ObjectsSettings = ObjectsSettings()
    database: DatabaseSettings = DatabaseSettings()
    routing: RoutingSettings = RoutingSettings()
    provisioning: ProvisioningSettings = ProvisioningSettings()
    edge: EdgeSettings = EdgeSettings()
    media: MediaSettings = MediaSettings()
    recorder: RecorderSettings = RecorderSettings()
    ivr: IvrSettings = IvrSettings()

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
        raise ConfigurationError(problems(error)) from error
    except SettingsError as error:
        raise ConfigurationError(f"environment: {error}") from error


def problems(error: ValidationError) -> str:
    """Each wrong key of settings, and why, for people."""
    return "; ".join(map(_problem, error.errors()))


def _problem(error: ErrorDetails) -> str:
    """One wrong key and why, for people."""
    path = ".".join(map(str, error["loc"]))
    match error["type"]:
        case "extra_forbidden":
            return f"{path}: no such setting"
        case "value_error":
            return f"{path}: {error['ctx']['error']}"
    return f"{path}: {error['msg'][:1].lower()}{error['msg'][1:]}"
