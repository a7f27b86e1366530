"""``python -m signalbox_local``: the cluster on this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click
import grpc
from rich.console import Console

from signalbox_local import interrupts, speaking, view
from signalbox_local.cluster import Cluster, ClusterError
from signalbox_local.layout import Options
from signalbox_local.manifest import ManifestError
from signalbox_local.ports import NoFreePortsError
from signalbox_local.rules import Rules, existing_is_fine
from signalbox_local.runner import RunnerError

SIP_PORTS = (5060, 5070)
"""What a softphone's user expects, if it is free."""
VOICE_WORKERS = 2
INTERRUPTED = 130

console = Console(highlight=False)

directory_option = click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("var"),
    show_default=True,
    help="Where the cluster keeps all of its files.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """The whole cluster on this machine, on loopback."""


@main.command()
@directory_option
def up(directory: Path) -> None:
    """Start the cluster and leave it running."""
    found = Cluster.attach(directory)
    if found is not None:
        console.print(f"The cluster is up already; [bold]make down[/bold] ends it. ({directory / 'cluster.json'})\n")
        view.show_addresses(console, found)
        return
    # One that was killed while it started or stopped leaves no cluster.json.
    Cluster(directory).stop()
    cluster = Cluster(directory, Options(sip_ports=SIP_PORTS, voice_workers=VOICE_WORKERS))
    speak_numbers(directory)
    with console.status("starting"):
        cluster.start(detached=True)
        try:
            provision_sample(cluster)
        except BaseException:
            cluster.stop()
            raise
    view.show_addresses(console, cluster)
    view.show_how_to_call(console, cluster)


@main.command()
@directory_option
def down(directory: Path) -> None:
    """End the cluster that was left running."""
    cluster = Cluster(directory)
    was_running = cluster.running
    cluster.stop()
    console.print("The cluster is down." if was_running else "No cluster is running.")


@main.command()
@directory_option
def status(directory: Path) -> None:
    """Show processes, rule versions and calls. Exit code 1 if something is down."""
    cluster = Cluster.attach(directory)
    if cluster is None:
        console.print("No cluster is running; [bold]make up[/bold] starts one.")
        sys.exit(1)
    if not view.show_status(console, cluster):
        sys.exit(1)


@main.command()
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("var/demo"),
    show_default=True,
    help="Where the demo's cluster keeps its files; emptied at the start.",
)
def demo(directory: Path) -> None:
    """Make real calls through a cluster of its own, break things, and show what happens."""
    from signalbox_local.demo.main import run

    sys.exit(run(directory, console))


@main.command("test-images")
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("var/test-images"),
    show_default=True,
    help="Where the cluster keeps its files; emptied at the start.",
)
def test_images(directory: Path) -> None:
    """The demo in containers of the images, on a private network, each with an address of its own."""
    from signalbox_local.containers import ContainerCluster, Engine
    from signalbox_local.demo.main import run

    if os.geteuid():
        raise click.ClickException("containers with addresses that callers reach need root")
    engine = Engine.of_environment(os.environ)
    sys.exit(run(directory, console, lambda directory, options: ContainerCluster(directory, options, engine)))


def speak_numbers(directory: Path) -> None:
    """Once: a cluster can do without."""
    languages = speaking.missing(directory)
    if languages:
        with console.status("speaking numbers, once"):
            try:
                speaking.store(directory, languages)
            except speaking.NotSpokenError as error:
                console.print(f"[yellow]Numbers are not spoken[/yellow] in announcements of call flows: {error}\n")


def provision_sample(cluster: Cluster) -> None:
    """Numbers that anybody on this machine can call, and a line that rings a softphone on it."""
    with Rules.of(cluster) as rules:
        # From the last time.
        with existing_is_fine():
            rules.tenant(view.SAMPLE_TENANT)
        with existing_is_fine():
            rules.trunk("loopback", ["127.0.0.1"])
        with existing_is_fine():
            rules.line(view.SAMPLE_TENANT, "softphone", view.SAMPLE_LINE)
        with existing_is_fine():
            rules.number(view.SAMPLE_TENANT, view.SAMPLE_NUMBER, [["softphone"]])
        rules.voice_number(view.SAMPLE_TENANT, view.SAMPLE_VOICE_NUMBER, "softphone", view.SAMPLE_WELCOME)


def run() -> None:
    """Run a command; every way to interrupt it ends it in order."""
    interrupts.install()
    try:
        main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except (ClusterError, ManifestError, NoFreePortsError, RunnerError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except grpc.RpcError as error:
        print(f"error: the provisioning service refused: {error.code().name}: {error.details()}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    run()
