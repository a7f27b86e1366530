"""Options of a load test: those that Locust gets besides its own, and where they say the cluster is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from signalbox import address
from signalbox.commands import testtargets
from signalbox.commands.connection import Connection, Credentials
from signalbox.errors import ConfigurationError
from signalbox_local import manifest

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from loadtest.engine.messages import Address

HERE = Path(__file__).parent
TIMEOUT_S = 10.0
_TEXT: tuple[tuple[str, str, str], ...] = (
    ("--cluster", "", "cluster.json of a cluster on this machine, in place of the four that follow."),
    ("--proxies", "", "The proxies, host:port with commas; of a name all its addresses."),
    ("--provisioning", "", "Address of the provisioning service, host:port."),
    ("--routing", "", "Address of a routing replica, host:port; none: no GrpcRouter, and edits are not looked for."),
    ("--ca", "", "Authority of the provisioning service's certificate, a PEM file."),
    ("--cert", "", "Own certificate for the provisioning service."),
    ("--key", "", "Key of the own certificate."),
    ("--routing-ca", "", "The same three for the routing service; none: without TLS."),
    ("--routing-cert", "", ""),
    ("--routing-key", "", ""),
    ("--caller-host", "", "Address of the callers: their trunk's. By default that by which the proxy is reached."),
    ("--line-host", "", "Address of the lines; by default the same."),
    ("--media-host", "", "Address of their sound; by default the same."),
    ("--traffic", str(HERE / "traffic.toml"), "What callers do."),
    ("--objectives", str(HERE / "objectives.toml"), "What the run must reach."),
    ("--report", "var/loadtest", "Folder for the report."),
)
_NUMBERS: tuple[tuple[str, float, str], ...] = (
    ("--calls-per-user", 0.25, "New calls a second of each SipCaller, on average."),
    ("--peak", 20.0, "Shapes: call attempts a second at most."),
    ("--base", 5.0, "Shapes: call attempts a second before and after, or at the first step."),
    ("--step", 5.0, "Step to failure: so many a second more at each step."),
    ("--step-seconds", 20.0, "Step to failure: length of a step."),
    ("--seconds", 180.0, "Shapes: length of the run."),
)


def add(parser: argparse.ArgumentParser) -> None:
    """Add ours to Locust's. Each can be given in the environment, too: LOADTEST_PEAK for --peak."""
    group: Any = parser.add_argument_group("Load test of a Signalbox cluster")
    for name, default, help in _TEXT:
        group.add_argument(name, default=default, env_var=_variable(name), help=help)
    for name, value, help in _NUMBERS:
        group.add_argument(name, type=float, default=value, env_var=_variable(name), help=help)
    group.add_argument("--keep-rules", action="store_true", env_var="LOADTEST_KEEP_RULES", help="Leave the rules.")


def _variable(option: str) -> str:
    return "LOADTEST_" + option.removeprefix("--").replace("-", "_").upper()


@dataclass(frozen=True, slots=True)
class Target:
    """A cluster, as far as a load test has to know it."""

    proxies: Sequence[Address]
    provisioning: Connection
    routing: Connection | None


def target(options: argparse.Namespace) -> Target:
    """Where the cluster is. Raises ConfigurationError that names the option."""
    if options.cluster:
        return _of_file(Path(options.cluster))
    if not options.proxies or not options.provisioning:
        raise ConfigurationError("--cluster, or --proxies and --provisioning, must say where the cluster is")
    try:
        proxies = [one.at for one in testtargets.resolve(options.proxies.split(","))]
    except click.BadParameter as error:
        raise ConfigurationError(f"--proxies: {error.message}") from error
    if (options.cert or options.key) and not options.ca:
        raise ConfigurationError("--cert and --key need --ca")
    _address("--provisioning", options.provisioning)
    if options.routing:
        _address("--routing", options.routing)
    return Target(
        proxies,
        _connection(options.provisioning, options.ca, options.cert, options.key),
        _connection(options.routing, options.routing_ca, options.routing_cert, options.routing_key)
        if options.routing
        else None,
    )


def _of_file(file: Path) -> Target:
    try:
        found = manifest.read(file.parent if file.name == manifest.FILE_NAME else file)
    except manifest.ManifestError as error:
        raise ConfigurationError(f"--cluster: {error}") from error
    if found is None:
        raise ConfigurationError(f"--cluster: {file} is not there: no cluster runs")
    credentials = found.credentials
    return Target(
        [address.split(one.addresses["sip"]) for one in found.processes if one.kind == "kamailio"],
        _connection(found.grpc["provisioning"][0], credentials["ca"], credentials["cert"], credentials["key"]),
        _connection(found.grpc["routing"][0], "", "", ""),
    )


def _connection(at: str, ca: str, cert: str, key: str) -> Connection:
    credentials = Credentials(Path(ca), Path(cert) if cert else None, Path(key) if key else None) if ca else None
    return Connection([at], credentials, TIMEOUT_S)


def _address(option: str, text: str) -> Address:
    try:
        return address.split(text.strip())
    except ValueError as error:
        raise ConfigurationError(f"{option}: {error}") from error
