"""``signalbox health``: is a process alive, is it ready? What its side door says, as an exit code."""

from __future__ import annotations

import http.client
import sys

import click

from signalbox import address
from signalbox.commands.processes import WRONG_SETTING

TIMEOUT_S = 3.0
HTTP_OK = 200


@click.command()
@click.argument("side_door", metavar="HOST:PORT")
@click.option("--ready", is_flag=True, help="Whether it can do its work, not only whether it is alive.")
def health(side_door: str, ready: bool) -> None:
    """Ask the side door of a process (its metrics.listen) and print what it says.

    Exit code 0: well; 1: not well, or it does not answer; 2: no address.
    """
    try:
        host, port = address.split(side_door)
    except ValueError as error:
        click.echo(f"Error: {side_door!r} {error}", err=True)
        sys.exit(WRONG_SETTING)
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/readyz" if ready else "/healthz")
        answer = connection.getresponse()
        told = answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        click.echo(f"Error: {side_door}: {str(error) or type(error).__name__}", err=True)
        sys.exit(1)
    finally:
        connection.close()
    click.echo(told)
    sys.exit(0 if answer.status == HTTP_OK else 1)
