"""What ``signalbox replay`` prints: the calls that differ, as they are found, and a summary."""

from __future__ import annotations

import csv
import json
import sys
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import click

from signalbox.commands.output import TABLE_PAGE, clean, display_width
from signalbox.domain.decided import Dial
from signalbox.domain.replay import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from signalbox.domain.decided import Stage
    from signalbox.domain.replay import Comparison, PastCall, Share

ReportFormat = Literal["table", "csv", "json"]
Told = dict[str, "str | int"]
"""An outcome as programs read it."""

MOST_NAMED = 20
"""Numbers, flows and reasons in a summary for people."""

_LAST_WAYS = 486, 480, 0
"""How a dial ends that nothing follows."""
_COLUMNS = ("BEGIN (UTC)", "NUMBER", "CALLER", "BEFORE", "AFTER", "DIFFERS")
_CALL = ("call_id", "begin", "number", "calling", "against", "differs")
_OUTCOME = ("action", "why", "code", "lines", "shares", "flow", "way")


@dataclass
class Summary:
    """Counts of a replay. ``apart``: calls to numbers that the draft says nothing of; ``behind``: calls that are handed
    over to a worker with voice at a node behind which the draft's flow is another; ``unlike``: calls that went
    otherwise than the present rules say."""

    calls: int = 0
    apart: int = 0
    changed: int = 0
    behind: int = 0
    unlike: int = 0
    damaged: int = 0
    numbers: Counter[str] = field(default_factory=Counter)
    flows: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    def take(self, found: Comparison) -> None:
        """Count a call that changes."""
        self.changed += 1
        before, after = found.before, found.after
        self.numbers[after.number or before.number or found.call.called] += 1
        flow = after if after.flow else before
        self.flows[f"{flow.tenant}/{flow.flow}" if flow.flow else "no flow"] += 1
        self.reasons[f"{_reason(before)} → {_reason(after)}"] += 1

    def as_dict(self) -> dict[str, object]:
        """For programs."""
        counts = {name: getattr(self, name) for name in ("calls", "apart", "changed", "behind", "unlike", "damaged")}
        named = {name: dict(getattr(self, name).most_common()) for name in ("numbers", "flows", "reasons")}
        return {**counts, **named}

    def lines(self, *, recorded: bool, drafted: bool) -> Iterator[str]:
        """For people."""
        yield f"calls: {self.calls}"
        if drafted:
            if self.apart:
                yield f"to numbers that the draft says nothing of: {self.apart}"
            yield f"would come to something else: {self.changed}"
        if self.behind:
            yield f"handed over to a part of the flow that is another, which is not replayed: {self.behind}"
        if recorded:
            yield f"went otherwise than the present rules say: {self.unlike}"
        if self.damaged:
            yield f"damaged lines, not looked at: {self.damaged}"
        for label, counter in (("number", self.numbers), ("flow", self.flows), ("why", self.reasons)):
            for name, count in counter.most_common(MOST_NAMED):
                yield f"  {label} {name}: {count}"
            if len(counter) > MOST_NAMED:
                yield f"  and {len(counter) - MOST_NAMED} more"


def _reason(outcome: Outcome) -> str:
    return f"{outcome.why} {outcome.code}" if outcome.code else outcome.why


class Report:
    """Prints calls as they come, to standard output; the summary follows, but in CSV, where it goes to standard
    error. ``rows`` False: the summary alone."""

    def __init__(self, output_format: ReportFormat, *, rows: bool) -> None:
        self._format = output_format
        self._rows = rows
        self._begun = self._any = False
        self._csv = csv.writer(sys.stdout)
        self._page: list[Sequence[str]] = []
        self._widths = [0] * len(_COLUMNS)

    def add(self, call: PastCall, against: str, differs: Sequence[str], before: Told | Outcome, after: Outcome) -> None:
        """A call that differs ``against`` the "draft", or what was "recorded"."""
        if not self._rows:
            return
        self._begin()
        number = after.number or (before.number if isinstance(before, Outcome) else "")
        begin = datetime.fromtimestamp(call.begin, UTC)
        identity = [call.id, f"{begin:%Y-%m-%dT%H:%M:%S}.{begin.microsecond // 1000:03d}Z", number or call.called]
        if self._format == "table":
            label = ",".join(differs) if against == "draft" else f"recorded: {','.join(differs)}"
            told = _texts(before, after)
            self._add_row([f"{begin:%Y-%m-%d %H:%M:%S}", identity[2], call.calling or "-", *told, label])
            return
        sides = _told(before), _told(after)
        if self._format == "csv":
            cells = [*identity, call.calling, against, " ".join(differs)]
            cells += [str(side.get(name, "")) for side in sides for name in _OUTCOME]
            self._csv.writerow([clean(cell) for cell in cells])
        else:
            row = dict(zip(_CALL, [*identity, call.calling, against, list(differs)], strict=True))
            text = json.dumps({**row, "before": sides[0], "after": sides[1]}, ensure_ascii=False)
            click.echo(("," if self._separated() else "") + "\n" + text, nl=False)

    def end(self, summary: Summary, notes: Sequence[str], *, recorded: bool, drafted: bool) -> None:
        """Print the summary."""
        self._begin()
        self._print_page()
        if self._format == "json":
            told = json.dumps({**summary.as_dict(), "notes": list(notes)}, ensure_ascii=False)
            click.echo(f'\n],\n"summary": {told}}}')
            return
        sys.stdout.flush()
        for line in (*summary.lines(recorded=recorded, drafted=drafted), *notes):
            click.echo(clean(line), err=self._format == "csv")

    def _begin(self) -> None:
        if self._begun:
            return
        self._begun = True
        if self._format == "json":
            click.echo('{"calls": [', nl=False)
        elif self._format == "csv" and self._rows:
            self._csv.writerow([*_CALL, *(f"{side}_{name}" for side in ("before", "after") for name in _OUTCOME)])
        elif self._rows:
            self._add_row(_COLUMNS)

    def _separated(self) -> bool:
        before, self._any = self._any, True
        return before

    def _add_row(self, cells: Sequence[str]) -> None:
        """Calls are printed as they are found, by pages: each is aligned for itself and with those before."""
        cleaned = [clean(cell) for cell in cells]
        self._widths = [max(width, display_width(cell)) for width, cell in zip(self._widths, cleaned, strict=True)]
        self._page.append(cleaned)
        if len(self._page) == TABLE_PAGE:
            self._print_page()

    def _print_page(self) -> None:
        for row in self._page:
            padded = (cell + " " * (width - display_width(cell)) for cell, width in zip(row, self._widths, strict=True))
            click.echo("  ".join(padded).rstrip())
        self._page.clear()


def _texts(before: Told | Outcome, after: Outcome) -> tuple[str, str]:
    """Two outcomes in a few words, for people: in more if the few are the same."""
    few = _text(before, full=False), _text(after, full=False)
    return few if few[0] != few[1] else (_text(before, full=True), _text(after, full=True))


def _text(outcome: Told | Outcome, *, full: bool) -> str:
    told = _told(outcome)
    said = str(told.get("code") or told.get("lines") or "")
    if isinstance(outcome, Outcome) and outcome.stages and not full:
        said = " ".join(dict.fromkeys(map(_rung, outcome.stages)))
    ways = [str(told[name]) for name in ("shares", "way") if told.get(name) and (full or name == "way")]
    if full and isinstance(outcome, Outcome) and isinstance(outcome.action, Dial):
        ways.append(_media(outcome.action))
    return " ".join([str(told.get("why", "")), said, *(f"({way})" for way in ways)]).strip()


def _media(dial: Dial) -> str:
    """The media's way, and which lines are recorded: "media: record a b"."""
    recorded = [_rung(stage) for stage in dial.stages if stage.record]
    return " ".join([f"media: {dial.media.value}", *recorded])


def _told(outcome: Told | Outcome) -> Told:
    if not isinstance(outcome, Outcome):
        return outcome
    return {
        "action": outcome.kind,
        "why": outcome.why,
        "code": outcome.code,
        "lines": " ".join(_stages(outcome.stages)),
        "shares": " ".join(map(_share, outcome.shares)),
        "flow": f"{outcome.tenant}/{outcome.flow}" if outcome.flow else "",
        "way": ">".join(outcome.way),
    }


def _stages(stages: Sequence[Stage]) -> Iterator[str]:
    """Each stage with its lines, ring time in seconds, and what follows if it is not simply the next: "a+b/20"."""
    for position, stage in enumerate(stages, 1):
        ways = stage.on_busy, stage.on_no_answer, stage.on_failed
        plain = ((position + 1,) * 3,) if position < len(stages) else ((0,) * 3, _LAST_WAYS)
        jumps = "" if ways in plain else "[{},{},{}]".format(*ways)
        yield f"{_rung(stage)}/{stage.ring_time_ms / 1000:g}{jumps}"


def _rung(stage: Stage) -> str:
    return f"voice:{stage.cursor}" if stage.cursor else "+".join(line.id for line in stage.lines)


def _share(share: Share) -> str:
    weighted = any(weight > 1 for _, weight in share.among)
    return f"{share.how.value}:" + ",".join(f"{id}={weight}" if weighted else id for id, weight in share.among)


def recorded(call: PastCall) -> Told:
    """What was recorded of a call, as an outcome is told."""
    known = call.recorded
    return {"why": known.why, "lines": " ".join(known.tried)}
