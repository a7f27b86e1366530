"""An import under way, as its user sees it: a bar, the file of refused rows, and the sum at the end."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING

import click
import grpc
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from signalbox.api.provisioning.v1 import bulk_pb2
from signalbox.api.types.v1 import types_pb2
from signalbox.commands import numbercsv
from signalbox.commands.failure import REFUSED, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from signalbox.commands.importfile import Progress as Reached
    from signalbox.commands.importfile import ProgressFile, Refused
    from signalbox.commands.importstream import Sent

INTERRUPTED = 130
SAVE_S = 1.0
"""Time between two savings of how far the import came."""

OUTCOMES = {
    bulk_pb2.IMPORT_OUTCOME_CREATED: "created",
    bulk_pb2.IMPORT_OUTCOME_UPDATED: "updated",
    bulk_pb2.IMPORT_OUTCOME_UNCHANGED: "unchanged",
    bulk_pb2.IMPORT_OUTCOME_REFUSED: "refused",
}


class Run:
    """An import under way: keeps what it came to, shows it, and remembers it."""

    def __init__(self, reached: Reached, refused: Refused, remembered: ProgressFile, total: int) -> None:
        self._reached = reached
        self._refused = refused
        self._remembered = remembered
        self._total = total
        self._saved_at = 0.0

    def follow(self, results: Iterator[tuple[Sent, bulk_pb2.ImportResult] | bulk_pb2.ImportPause.ValueType]) -> None:
        """Take all results. However it ends, what was reached is remembered."""
        console = Console(stderr=True)
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"), TimeRemainingColumn())
        try:
            with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
                task = bar.add_task("rows", total=self._total, completed=self._reached.rows, note="")
                for one in results:
                    if isinstance(one, tuple):
                        self._take(*one)
                        note = f"{self._reached.counts['refused']} refused"
                    else:
                        note = "waiting for room in etcd"
                    if time.monotonic() - self._saved_at >= SAVE_S or not isinstance(one, tuple):
                        self._save()
                        bar.update(task, completed=self._reached.rows, note=note)
                bar.update(task, completed=self._reached.rows)
            self._refused.sync()
            self._remembered.remove()
        except (grpc.RpcError, UnreachableError):
            self._stop("the rest is to come")
            raise
        except KeyboardInterrupt:
            self._stop("interrupted")
            sys.exit(INTERRUPTED)
        except OSError as error:
            raise click.ClickException(f"{error.filename or 'file'}: {error.strerror}") from error
        finally:
            self._refused.close()

    def _take(self, sent: Sent, result: bulk_pb2.ImportResult) -> None:
        outcome = OUTCOMES[result.outcome]
        if outcome == "refused":
            self._refused.add(sent.row, sent.reason or _reason(result))
        self._reached.rows = sent.row.position
        self._reached.refused_bytes = self._refused.length
        self._reached.counts[outcome] += 1

    def _save(self) -> None:
        self._refused.sync()
        self._remembered.save(self._reached)
        self._saved_at = time.monotonic()

    def _stop(self, why: str) -> None:
        with contextlib.suppress(OSError):
            self._save()
        rows = f"{self._reached.rows} of {self._total} rows"
        click.echo(f"{why}: {rows} have a result; the same command goes on after them", err=True)

    def tell(self, refused_path: Path, dry_run: bool) -> None:
        """Say what it came to, and end with exit code 1 if rows were refused."""
        counts = self._reached.counts
        parts = ", ".join(f"{counts[name]} {name}" for name in OUTCOMES.values())
        click.echo(f"{self._reached.rows} rows: {parts}{'; nothing was written' if dry_run else ''}")
        if counts["refused"]:
            click.echo(f"refused rows are in {refused_path}", err=True)
            sys.exit(REFUSED)


def _reason(result: bulk_pb2.ImportResult) -> str:
    """Why a row was refused, with the columns of the file for the fields of the row."""
    if result.violations:
        told = (f"{numbercsv.column_of(one.field)}: {one.description}" for one in result.violations)
        return "; ".join(dict.fromkeys(told))
    return result.message or types_pb2.ErrorReason.Name(result.reason)
