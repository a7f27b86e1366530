"""``signalbox import``: objects from files, many at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from google.protobuf.field_mask_pb2 import FieldMask

from signalbox.api.provisioning.v1 import bulk_pb2
from signalbox.commands import importstream, numbercsv
from signalbox.commands.connection import Connection, connects_to
from signalbox.commands.failure import told
from signalbox.commands.importfile import FileError, ProgressFile, Refused, Row, Source
from signalbox.commands.importfile import Progress as Reached
from signalbox.commands.numbercsv import CellError, Header
from signalbox.commands.retrying import retries

if TYPE_CHECKING:
    from collections.abc import Iterator


@click.group("import")
def importing() -> None:
    """Import objects from files, many at once."""


@importing.command("numbers")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--tenant", default="", metavar="ID", help="Tenant of all rows, for a file without that column.")
@click.option(
    "--encoding",
    type=click.Choice(["utf-8", "gb18030"]),
    default="utf-8",
    show_default=True,
    help="Of the file; a byte order mark makes no difference.",
)
@click.option(
    "--refused",
    "refused_path",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where refused rows go, with what is wrong with each; mended, it can be imported itself.  "
    "[default: beside the file, .refused.csv]",
)
@click.option("--dry-run", is_flag=True, help="Have all rows checked; write nothing.")
@click.option("--rate", type=click.IntRange(min=1), metavar="ROWS", help="Most rows in a second.")
@click.option("--restart", is_flag=True, help="Begin with the first row, though the import was interrupted before.")
@retries
@connects_to("provisioning")
def numbers(
    file: Path,
    tenant: str,
    encoding: str,
    refused_path: Path | None,
    dry_run: bool,
    rate: int | None,
    restart: bool,
    retry_for: float,
    connection: Connection,
) -> None:
    """Bring numbers, and their lines, to what a CSV FILE says.

    Each row is written as a whole or refused. Columns that are not in the file stay as they are. Interrupted by
    whatever, the same command goes on where it was; the same file again changes nothing. docs/bulk.md has the columns.

    Exit code 1: rows were refused.
    """
    # Loads what other commands need not wait for.
    from signalbox.commands.importrun import Run

    try:
        source = Source(file, encoding)
        header = Header(source.header, tenant)
        refused_path = refused_path or file.with_name(f"{file.stem}.refused.csv")
        if refused_path.absolute() == file.absolute():
            raise FileError(f"{file} would be overwritten: name another --refused")
        key: dict[str, object] = {"sha256": source.digest, "tenant": tenant, "encoding": encoding, "dry_run": dry_run}
        remembered = ProgressFile(refused_path.with_name(f"{refused_path.name}.progress"), key)
        reached = None if restart else remembered.load()
        if reached:
            click.echo(f"going on after row {reached.rows}", err=True)
        reached = reached or Reached()
        refused = Refused(refused_path, source.header, reached.refused_bytes)
    except (FileError, ValueError) as error:
        raise click.UsageError(str(error)) from error
    options = bulk_pb2.ImportOptions(
        number_mask=FieldMask(paths=header.mask),
        line_mask=FieldMask(paths=numbercsv.LINE_FIELDS),
        validate_only=dry_run,
        rows_per_second=rate or 0,
    )
    rows = importstream.Rows(_sent(header, source.read(reached.rows)))
    run = Run(reached, refused, remembered, source.rows)
    with told():
        run.follow(importstream.results(connection, options, rows, retry_for))
    run.tell(refused_path, dry_run)


def _sent(header: Header, rows: Iterator[Row]) -> Iterator[importstream.Sent]:
    for row in rows:
        try:
            yield importstream.Sent(row, header.row(row.cells))
        except CellError as error:
            yield importstream.Sent(row, bulk_pb2.NumberRow(), str(error) if error.column else error.args[0][2:])
