"""``host:port`` taken apart and put together: the one parser of addresses in settings and messages.

A host is a name, an IPv4 address, or an IPv6 address in brackets (RFC 3986 section 3.2.2).
"""

from __future__ import annotations

import ipaddress
import re

from signalbox.errors import ConfigurationError

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_PORT = re.compile(r"0|[1-9][0-9]{0,4}")


def split(text: str) -> tuple[str, int]:
    """Host (an IPv6 one without its brackets) and port, 0 to 65535. Raises ValueError with what the text must be."""
    host, _, port = text.rpartition(":")
    in_brackets = host.startswith("[") and host.endswith("]")
    if not host or "/" in host or (":" in host) != in_brackets:
        raise ValueError("must be host:port, an IPv6 host in brackets")
    if not _PORT.fullmatch(port) or int(port) > 65_535:
        raise ValueError("must end in a port, 0 to 65535")
    return host[1:-1] if in_brackets else host, int(port)


def endpoint(text: str, *, least_port: int = 1) -> tuple[IpAddress, int]:
    """As :func:`split`, for an address and not a name, with a port that one can send to unless 0 is allowed."""
    host, port = split(text)
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        raise ValueError("must have an IP address before the port, not a name") from None
    if port < least_port:
        raise ValueError(f"must end in a port, {least_port} to 65535")
    return ip, port


def setting(name: str, text: str, *, loopback: bool = False, least_port: int = 1) -> tuple[IpAddress, int]:
    """The :func:`endpoint` of a setting; with ``loopback`` of this machine alone.

    Raises ConfigurationError that names the setting.
    """
    try:
        ip, port = endpoint(text, least_port=least_port)
    except ValueError as error:
        raise ConfigurationError(f"{name}: {text!r} {error}") from error
    if loopback and not ip.is_loopback:
        raise ConfigurationError(f"{name}: {text!r} must be a loopback address")
    return ip, port


def bracketed(host: str | IpAddress) -> str:
    """The host as it stands before a port: IPv6 in brackets."""
    return f"[{host}]" if ":" in str(host) else str(host)


def join(host: str | IpAddress, port: int) -> str:
    """``host:port``."""
    return f"{bracketed(host)}:{port}"
