"""Commands that run a process or make a file from the settings."""

from __future__ import annotations

import contextlib
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from signalbox import settings as settings_module
from signalbox.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from signalbox.settings import Settings

WRONG_SETTING = 2

config_option = click.option(
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
@config_option
def routing(config: Path | None) -> None:
    """Run the routing service."""
    from signalbox.routing.main import serve

    serve(load_settings(config))


@click.command()
@config_option
def edge(config: Path | None) -> None:
    """Run the sidecar of a Kamailio."""
    from signalbox.edge.main import serve

    serve(load_settings(config))


@click.command()
@config_option
def media(config: Path | None) -> None:
    """Run the sidecar of an rtpengine."""
    from signalbox.media.main import serve

    serve(load_settings(config))


@click.command()
@config_option
def provisioning(config: Path | None) -> None:
    """Run the provisioning service."""
    from signalbox.provisioning.main import serve

    serve(load_settings(config))


@click.command()
@config_option
def recorder(config: Path | None) -> None:
    """Run a recorder."""
    from signalbox.recorder.main import serve

    serve(load_settings(config))


@click.command()
@config_option
def ivr(config: Path | None) -> None:
    """Run a worker with voice."""
    from signalbox.ivr.main import serve

    serve(load_settings(config))


@click.command("kamailio-config")
@config_option
@click.option("--command", is_flag=True, help="Print the command line that runs Kamailio with the file instead.")
def kamailio_config(config: Path | None, command: bool) -> None:
    """Write what Kamailio is started with into edge.kamailio.runtime_dir, and print the path of the file."""
    from signalbox.edge import kamailio_config as rendering
    from signalbox.edge import secrets

    edge = load_settings(config).edge
    with _wrong_settings_told():
        file = rendering.write(edge, token=secrets.token(edge), cluster_keys=secrets.cluster_keys(edge))
    click.echo(shlex.join(rendering.command(edge, file)) if command else file)


@click.command("rtpengine-command")
@config_option
@click.option("--interface", required=True, metavar="ADDRESS", help="For RTP; or ADDRESS!ADVERTISED.")
@click.option("--port-min", type=int, default=30_000, show_default=True, help="First port for RTP; a call takes 4.")
@click.option("--port-max", type=int, default=49_999, show_default=True, help="Last port for RTP.")
@click.option("--kernel-table", type=int, default=-1, show_default=True, help="Of the kernel module; -1: without.")
@click.option("--redis", default="", metavar="HOST:PORT/DB", help="Where calls are kept to outlive rtpengine.")
def rtpengine_command(config: Path | None, **options: Any) -> None:
    """Print the command line that runs the rtpengine of the node that the media settings describe."""
    from signalbox.media import rtpengine_config as rendering

    media = load_settings(config).media
    with _wrong_settings_told():
        node = rendering.RtpengineOptions(
            control=media.control,
            capacity=media.capacity,
            held_dead_after_s=media.held_dead_after_s,
            recording_dir=str(media.captures.spool_dir or ""),
            keys=media.voice.keys_listen if media.voice.cache_dir is not None else "",
            pid_file=str(media.daemon_pid_file or ""),
            **options,
        )
        click.echo(shlex.join(rendering.render(node)))


COMMANDS = (routing, edge, media, provisioning, recorder, ivr, kamailio_config, rtpengine_command)
