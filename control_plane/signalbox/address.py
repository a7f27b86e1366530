"""``host:port``, as addresses stand in the settings."""

from __future__ import annotations


def split(address: str) -> tuple[str, int]:
    """Host (an IPv6 one without its brackets) and port. Raises ValueError if there is no port."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
