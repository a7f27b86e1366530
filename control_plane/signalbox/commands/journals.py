"""Reads the event journals of edges and workers; the one command module that knows their code."""

from __future__ import annotations

import itertools
from collections import deque
from typing import TYPE_CHECKING

import click

from signalbox import eventrow, journal
from signalbox.api.events.v1 import events_pb2
from signalbox.commands.eventtext import milliseconds
from signalbox.commands.output import clean

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    Journals = Mapping[Path, str]
    """Journal directories, and the edges and workers that they belong to."""


class JournalReader:
    """Reads the journal of ``proxy``, an edge or a worker, on from where it stopped.

    An event that cannot be read is told on standard error and passed over.
    """

    def __init__(self, directory: Path, proxy: str = "") -> None:
        self._directory = directory
        self._proxy = proxy
        self._next = 1

    def read(self) -> Iterator[events_pb2.CallEvent]:
        """The events that were written since the last time; one of kind ``events_lost`` stands for those given up."""
        return self._parsed(self._rows(), self._lost())

    def latest(self, count: int) -> Iterator[events_pb2.CallEvent]:
        """The last ``count`` of them."""
        lost = self._lost()
        rows = deque(self._rows(), maxlen=count)
        return self._parsed(rows, lost if len(rows) < count else None)

    def of_calls(self, ids: Collection[str]) -> Iterator[events_pb2.CallEvent]:
        """Those of some calls, by their ids in Signalbox, and what was asked for lines that workers called for them."""
        # Ids stand in every row in clear: most rows need not be taken apart.
        wanted = [id.encode() for id in ids]
        rows = ((sequence, row) for sequence, row in self._rows() if any(id in row for id in wanted))
        return (event for event in self._parsed(rows) if event.call_id in ids or event.asked.parent in ids)

    def _lost(self) -> events_pb2.CallEvent | None:
        """What was given up for lack of disk and would have come next."""
        hole = journal.hole(self._directory)
        if hole is None or hole.first + hole.missing <= self._next:
            return None
        first = max(hole.first, self._next)
        lost = events_pb2.EventsLost(first_sequence=first, count=hole.first + hole.missing - first)
        return events_pb2.CallEvent(proxy=self._proxy, sequence=first, events_lost=lost)

    def _rows(self) -> Iterator[tuple[int, bytes]]:
        for sequence, row in journal.read(self._directory, self._next):
            self._next = sequence + 1
            yield sequence, row

    def _parsed(
        self, rows: Iterable[tuple[int, bytes]], before: events_pb2.CallEvent | None = None
    ) -> Iterator[events_pb2.CallEvent]:
        """The rows' events; ``before`` comes first, at the first one's time."""
        for sequence, row in rows:
            try:
                event = eventrow.parse(row.decode(errors="replace"))
            except eventrow.EventRowError as error:
                click.echo(f"{self._directory}: event {sequence}: {clean(str(error))}", err=True)
                continue
            event.sequence = sequence
            event.proxy = self._proxy
            if before is not None:
                before.time.CopyFrom(event.time)
                yield before
                before = None
            yield event


def in_order(events: Iterable[Iterable[events_pb2.CallEvent]]) -> list[events_pb2.CallEvent]:
    """The events of several journals by time; those of one millisecond stay as their journal has them."""
    return sorted(itertools.chain.from_iterable(events), key=milliseconds)


def call_ids(journals: Journals, sip_call_id: str) -> set[str]:
    """Ids in Signalbox of the calls whose caller's side has this Call-ID."""
    return {
        event.call_id
        for directory, proxy in journals.items()
        for event in JournalReader(directory, proxy).read()
        if event.asked.sip_call_id == sip_call_id
    }


def events_of(journals: Journals, call_id: str) -> list[events_pb2.CallEvent]:
    """All events of a call in order of time, by its id in Signalbox, and those of lines that a worker called for it."""
    found = _of_calls(journals, {call_id})
    legs = {event.call_id for event in found if event.asked.parent == call_id}
    if not legs:
        return found
    return in_order([[event for event in found if event.call_id == call_id], _of_calls(journals, legs)])


def _of_calls(journals: Journals, ids: Collection[str]) -> list[events_pb2.CallEvent]:
    return in_order(JournalReader(directory, proxy).of_calls(ids) for directory, proxy in journals.items())
