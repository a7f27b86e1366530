"""The secrets of a proxy: the token that it shares with its sidecar, and the keys that all proxies share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox import secretfile
from signalbox.errors import ConfigurationError

if TYPE_CHECKING:
    from signalbox.settings import EdgeSettings


def token(settings: EdgeSettings) -> str:
    """The token; made (mode 0600) if there is none. Raises ConfigurationError."""
    return secretfile.read_or_make(settings.token_file)


def cluster_keys(settings: EdgeSettings) -> tuple[str, ...]:
    """The cluster's keys, one a line of their file: the first one signs, all are accepted.

    They are never made here: a proxy with a key of its own would refuse the others' dialogs. Raises ConfigurationError
    if there are none.
    """
    if not settings.cluster_key_file.exists():
        raise ConfigurationError(f"edge.cluster_key_file: {settings.cluster_key_file} does not exist")
    return tuple(secretfile.read_or_make(settings.cluster_key_file).split())
