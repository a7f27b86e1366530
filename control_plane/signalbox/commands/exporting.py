"""``signalbox export``: objects into files, many at once."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from signalbox.api.provisioning.v1 import bulk_pb2, bulk_pb2_grpc
from signalbox.commands import numbercsv
from signalbox.commands.connection import Connection, connects_to
from signalbox.commands.failure import told
from signalbox.commands.output import as_dict
from signalbox.commands.retrying import retries, streamed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import grpc


@click.group("export")
def exporting() -> None:
    """Export objects into files, many at once."""


@exporting.command("numbers")
@click.option("--tenant", default="", metavar="ID", help="Only the numbers of this tenant.")
@click.option("--filter", "condition", default="", help='Only numbers that fit, e.g. state = "NUMBER_STATE_SUSPENDED".')
@click.option(
    "--file", "-f", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True), default="-", help="Where to."
)
@click.option(
    "--output",
    "-o",
    "form",
    type=click.Choice(["csv", "json"]),
    default="csv",
    show_default=True,
    help="What to write.",
)
@retries
@connects_to("provisioning")
def numbers(tenant: str, condition: str, file: Path, form: str, retry_for: float, connection: Connection) -> None:
    """Write numbers with their lines as CSV, which `signalbox import numbers` reads, or as JSON, one a line.

    All of it is as it was at one revision of the rules, unless etcd forgets that before the end; then it is told.
    """
    # Other commands need not wait for it.
    from rich.console import Console
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    request = bulk_pb2.ExportNumbersRequest(tenant=tenant, filter=condition)
    console = Console(stderr=True)
    columns = (TextColumn("{task.completed} rows"), TimeElapsedColumn())
    target = sys.stdout if str(file) == "-" else _opened(file)
    revisions: list[int] = []
    count = 0
    try:
        writer = _Writer(target, form)
        bar = Progress(*columns, console=console, disable=not console.is_terminal or target is sys.stdout)
        with told(), bar:
            task = bar.add_task("rows", total=None)
            for response in _responses(connection, request, retry_for):
                writer.write(response)
                count += len(response.rows)
                if response.revision not in revisions:
                    revisions.append(response.revision)
                bar.update(task, completed=count)
        target.flush()
    except OSError as error:
        raise click.ClickException(f"{file}: {error.strerror}") from error
    finally:
        if target is not sys.stdout:
            target.close()
    if len(revisions) > 1:
        click.echo(
            f"etcd forgot revision {revisions[0]} meanwhile: rows are of {len(revisions)} revisions up to "
            f"{revisions[-1]}",
            err=True,
        )
    click.echo(f"{count} rows", err=True)


def _opened(file: Path) -> Any:
    try:
        return file.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise click.UsageError(f"{file}: {error.strerror}") from error


class _Writer:
    def __init__(self, target: Any, form: str) -> None:
        self._target = target
        self._csv = csv.writer(target) if form == "csv" else None
        if self._csv is not None:
            if target is not sys.stdout:
                # Spreadsheet programs take it for another encoding without.
                target.write("\ufeff")
            self._csv.writerow(numbercsv.COLUMNS)

    def write(self, response: bulk_pb2.ExportNumbersResponse) -> None:
        """Raises OSError."""
        for row in response.rows:
            if self._csv is not None:
                self._csv.writerow(numbercsv.cells(row))
            else:
                self._target.write(json.dumps(as_dict(row), ensure_ascii=False) + "\n")


def _responses(
    connection: Connection, request: bulk_pb2.ExportNumbersRequest, retry_s: float
) -> Iterator[bulk_pb2.ExportNumbersResponse]:
    """All responses; after a failure that may pass it goes on after the last one. Raises RpcError, UnreachableError."""

    def stream(channel: grpc.Channel) -> Iterable[bulk_pb2.ExportNumbersResponse]:
        return bulk_pb2_grpc.BulkServiceStub(channel).ExportNumbers(request)

    for response in streamed(connection, stream, retry_s):
        yield response
        request.cursor = response.cursor
