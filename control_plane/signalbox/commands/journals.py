"""Reads the event journals of edges; the one command module that knows their code."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

import click

from signalbox.commands.eventtext import milliseconds
from signalbox.commands.output import clean
from signalbox.edge import eventrow, journal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from signalbox.api.events.v1 import events_pb2


class JournalReader:
    """Reads a journal on from where it stopped."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._next = 1

    def read(self) -> Iterator[events_pb2.CallEvent]:
        """The events that were written since the last time. One that cannot be read is told on standard error."""
        for sequence, row in journal.read(self._directory, self._next):
            self._next = sequence + 1
            try:
                event = eventrow.parse_row(row)
            except eventrow.BadRowError as error:
                click.echo(f"{self._directory}: event {sequence}: {clean(str(error))}", err=True)
                continue
            event.sequence = sequence
            yield event


def in_order(readers: Iterable[JournalReader]) -> Iterator[events_pb2.CallEvent]:
    """The new events of all journals by time; those of one journal stay in its order."""
    return heapq.merge(*(reader.read() for reader in readers), key=milliseconds)
