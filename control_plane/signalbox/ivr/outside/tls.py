"""TLS towards services that are not ours."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from signalbox.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path


def context(ca_file: Path | None, setting: str) -> ssl.SSLContext:
    """Certificates and their names are checked, by the system's authorities and those of a file (PEM).

    Raises ConfigurationError that names the setting of the file.
    """
    made = ssl.create_default_context()
    made.set_alpn_protocols(["http/1.1"])
    if ca_file is not None:
        try:
            made.load_verify_locations(ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(f"{setting}: {ca_file}: {error}") from error
    return made
