"""Replays a file of calls: the work of ``signalbox replay``."""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import click

from signalbox.api.provisioning.v1 import provisioning_pb2_grpc
from signalbox.commands.failure import told
from signalbox.commands.output import clean
from signalbox.commands.replaydraft import Drafting
from signalbox.commands.replayfile import Damaged, read
from signalbox.commands.replayreport import Report, Summary, recorded
from signalbox.commands.replayrules import ReplayRules
from signalbox.domain.replay import Judge, Replay, from_recorded
from signalbox.domain.replay_counts import Counts
from signalbox.errors import ConfigurationError
from signalbox.routing import region_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import BinaryIO, TextIO

    from signalbox.commands.connection import Connection
    from signalbox.commands.replaydraft import Draft
    from signalbox.commands.replayreport import ReportFormat
    from signalbox.domain.replay import Comparison, PastCall
    from signalbox.domain.walk import Regions

CALLS_AT_ONCE = 5_000
"""Calls whose rules are read together."""
DAMAGE_TOLD = 100
"""Damaged lines that are named; more are counted."""
TIMEOUT_S = 30.0
"""At least: a busy service answers late when it is asked so much."""


class Given(NamedTuple):
    """What the draft is made of, as it stands on the command line."""

    files: Sequence[TextIO]
    gone: Sequence[TextIO]
    flows: Sequence[str]
    schedules: Sequence[str]
    added: Sequence[tuple[str, str]]
    removed: Sequence[tuple[str, str]]

    def draft(self, drafting: Drafting) -> Draft:
        """The draft."""
        drafting.files(self.files, delete=False)
        drafting.files(self.gone, delete=True)
        drafting.stored("Flow", self.flows)
        drafting.stored("Schedule", self.schedules)
        drafting.entries(self.added, add=True)
        drafting.entries(self.removed, add=False)
        return drafting.draft


@dataclass(frozen=True)
class Wanted:
    """What is looked for. ``ignored``: fields in which a difference is none; ``regions``: the operator's own table."""

    drafted: bool
    recorded: bool
    limits: bool
    ignored: frozenset[str]
    regions: Path | None


def run(
    connection: Connection, calls: BinaryIO, given: Given, wanted: Wanted, output_format: ReportFormat, *, rows: bool
) -> Summary:
    """Replay the calls of a file and print the report. Raises UsageError; a refusal of the service ends the command."""
    regions = _regions(wanted.regions)
    timeout_s = max(connection.timeout_s, TIMEOUT_S)
    report = Report(output_format, rows=rows)
    with connection.channel() as channel, told():
        draft = given.draft(Drafting(provisioning_pb2_grpc.ProvisioningServiceStub(channel), timeout_s))
        everything = wanted.recorded or wanted.limits
        rules = ReplayRules(channel, timeout_s, draft, time.time(), everything=everything)
        replay = _Run(rules, regions, wanted, report)
        name = getattr(calls, "name", "standard input")
        with _progress(calls, shown=not (rows and sys.stdout.isatty())) as moved:
            replay.all(read(calls, name, moved, ordered=wanted.limits))
    report.end(replay.summary, _notes(wanted, rules), recorded=wanted.recorded, drafted=wanted.drafted)
    return replay.summary


@dataclass
class _Run:
    """A replay on its way."""

    rules: ReplayRules
    regions: Regions
    wanted: Wanted
    report: Report
    summary: Summary = field(default_factory=Summary)

    def all(self, records: Iterable[PastCall | Damaged]) -> None:
        """Replay the calls of a file."""
        before, after = (
            Judge(rules, self.regions, Counts() if self.wanted.limits else None)
            for rules in (self.rules.before, self.rules.after)
        )
        replay = Replay(before, after)
        calls = self._sound(records)
        while some := list(itertools.islice(calls, CALLS_AT_ONCE)):
            self.rules.read(some)
            for call in some:
                if self.rules.concerns(call):
                    self._take(replay.compare(call))
                else:
                    self.summary.apart += 1

    def _sound(self, records: Iterable[PastCall | Damaged]) -> Iterator[PastCall]:
        """The calls; what is damaged is told and counted."""
        for record in records:
            if isinstance(record, Damaged):
                self.summary.damaged += 1
                if self.summary.damaged <= DAMAGE_TOLD:
                    click.echo(clean(f"line {record.line}: {record.why}"), err=True)
            else:
                self.summary.calls += 1
                yield record

    def _take(self, found: Comparison) -> None:
        wanted, summary = self.wanted, self.summary
        if wanted.drafted:
            differs = [name for name in found.differs if name not in wanted.ignored]
            summary.behind += found.behind
            if differs:
                summary.take(found)
                self.report.add(found.call, "draft", differs, found.before, found.after)
        if wanted.recorded:
            unlike = [name for name in from_recorded(found.call.recorded, found.before) if name not in wanted.ignored]
            if unlike:
                summary.unlike += 1
                self.report.add(found.call, "recorded", unlike, recorded(found.call), found.before)


def _regions(file: Path | None) -> Regions:
    try:
        return region_table.load(file)
    except ConfigurationError as error:
        raise click.UsageError(str(error).removeprefix("routing.regions_file: ")) from error


def _notes(wanted: Wanted, rules: ReplayRules) -> list[str]:
    """What the result leaves out."""
    notes = []
    if wanted.limits:
        notes.append("limits: calls at once and in a second are counted; months and caps of lines are not")
    else:
        notes.append("limits are left out; --limits counts calls at once and in a second")
    if rules.trunks_hidden:
        notes.append("trunks are the operator's to see: all are taken to be in service, and to carry every number")
    return notes


@contextlib.contextmanager
def _progress(file: BinaryIO, *, shown: bool) -> Iterator[Callable[[int], object]]:
    """A progress bar on standard error, if that is a terminal and the file has a size; gives what is to be told of
    bytes read."""
    size = 0
    with contextlib.suppress(OSError):
        status = os.fstat(file.fileno())
        size = status.st_size if stat.S_ISREG(status.st_mode) else 0
    if not (shown and size and sys.stderr.isatty()):
        yield lambda _: None
        return
    steps = max(1, size // 200)
    with click.progressbar(length=size, label="replaying", file=sys.stderr, update_min_steps=steps) as bar:
        yield bar.update
