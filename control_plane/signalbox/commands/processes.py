"""Commands that run a process or make a file from the settings."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from signalbox import settings as settings_module
from signalbox.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from signalbox.settings import Settings

WRONG_SETTING = 2

_config = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Settings (TOML); SIGNALBOX_SECTION__KEY in the environment wins.",
)


@contextlib.contextmanager
def _wrong_settings_told() -> Iterator[None]:
    try:
        yield
    except ConfigurationError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(WRONG_SETTING)


def load_settings(file: Path | None) -> Settings:
    """The settings; ends the command with exit code 2 if one is wrong."""
    with _wrong_settings_told():
        return settings_module.load(file)


@click.command()
@_config
def routing(config: Path | None) -> None:
    """Run the routing service."""
    from signalbox.routing.main import serve

    serve(load_settings(config))


@click.command()
@_config
def edge(config: Path | None) -> None:
    """Run the sidecar of a Kamailio."""
    from signalbox.edge.main import serve

    serve(load_settings(config))


@click.command()
@_config
def media(config: Path | None) -> None:
    """Run the sidecar of an rtpengine."""
    from signalbox.media.main import serve

    serve(load_settings(config))


@click.command()
@_config
def provisioning(config: Path | None) -> None:
    """Run the provisioning service."""
    from signalbox.provisioning.main import serve

    serve(load_settings(config))


@click.command("kamailio-config")
@_config
def kamailio_config(config: Path | None) -> None:
    """Write what Kamailio is started with into edge.kamailio.runtime_dir, and print the path of the file."""
    from signalbox.edge import kamailio_config as rendering
    from signalbox.edge import secrets

    edge = load_settings(config).edge
    with _wrong_settings_told():
        click.echo(rendering.write(edge, token=secrets.token(edge), cluster_key=secrets.cluster_key(edge)))


COMMANDS = (routing, edge, media, provisioning, kamailio_config)
