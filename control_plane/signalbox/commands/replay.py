"""``signalbox replay``: which past calls would come to something else by a draft of the rules."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from signalbox.commands.connection import Connection, connects_to

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO, TextIO

    from signalbox.commands.replayreport import ReportFormat

FIELDS = ("action", "why", "code", "lines", "jumps", "shares", "media", "duration", "priority", "number", "way")
"""Those of domain.replay. The engine is not loaded before it is needed: other commands need not wait for it."""

_RULE_FILE = click.File(encoding="utf-8")


@click.command()
@click.argument("calls", metavar="CALLS", type=click.File("rb"))
@click.option("--file", "-f", "files", type=_RULE_FILE, multiple=True, help="Objects of the draft, as for apply -f.")
@click.option("--delete", "-d", "gone", type=_RULE_FILE, multiple=True, help="Objects that the draft has not.")
@click.option("--flow", "flows", metavar="TENANT/ID", multiple=True, help="The stored draft of this flow.")
@click.option("--schedule", "schedules", metavar="TENANT/ID", multiple=True, help="The stored draft of this schedule.")
@click.option(
    "--add",
    "added",
    nargs=2,
    metavar="TENANT/LIST ENTRY",
    multiple=True,
    help="An entry more in a screening list, written as for add-entries; @FILE: those of a file, one a line.",
)
@click.option(
    "--remove", "removed", nargs=2, metavar="TENANT/LIST ENTRY", multiple=True, help="An entry less, written likewise."
)
@click.option("--recorded", "compare_recorded", is_flag=True, help="Calls too that went otherwise than the rules say.")
@click.option("--limits", is_flag=True, help="Count calls at once and in a second, by the times in the file.")
@click.option(
    "--ignore", "ignored", type=click.Choice(FIELDS), multiple=True, help="A difference in this alone is none."
)
@click.option(
    "--regions",
    "regions_file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="The operator's own table of regions, as routing.regions_file.",
)
@click.option("--summary", "summary_only", is_flag=True, help="The counts alone, without the calls.")
@click.option("--fail-on-change", is_flag=True, help="Exit with 1 if a call changes, or a line is damaged.")
@click.option(
    "--output",
    "-o",
    "output_format",
    type=click.Choice(["table", "csv", "json"]),
    default="table",
    show_default=True,
    help="For people or for programs.",
)
@connects_to("provisioning")
def replay(
    calls: BinaryIO,
    files: Sequence[TextIO],
    gone: Sequence[TextIO],
    flows: Sequence[str],
    schedules: Sequence[str],
    added: Sequence[tuple[str, str]],
    removed: Sequence[tuple[str, str]],
    compare_recorded: bool,
    limits: bool,
    ignored: Sequence[str],
    regions_file: Path | None,
    summary_only: bool,
    fail_on_change: bool,
    output_format: ReportFormat,
    connection: Connection,
) -> None:
    """List the past calls that would come to something else by a draft of the rules. Nothing is written.

    CALLS is a file that `signalbox calls export` wrote, CSV or JSON; - is standard input. Each call is decided at its
    own time of day by the rules that are in force now, and by these with the draft over them. Callers' numbers stay
    on this machine: the rules are read from the service, and the calls are decided here.
    """
    from signalbox.commands import replayrun

    given = replayrun.Given(files, gone, flows, schedules, added, removed)
    if not any(given) and not compare_recorded:
        raise click.UsageError("nothing to compare with: give a draft, or --recorded")
    wanted = replayrun.Wanted(any(given), compare_recorded, limits, frozenset(ignored), regions_file)
    summary = replayrun.run(connection, calls, given, wanted, output_format, rows=not summary_only)
    if fail_on_change and (summary.changed or summary.damaged):
        sys.exit(1)
