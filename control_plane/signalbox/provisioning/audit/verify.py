"""Reads a log from its first record to its last, and tells what is wrong with it. Needs nothing but the files.

With the head that the store has, a tail that was cut off is found too, and a log that was exchanged as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from signalbox.api.provisioning.v1 import audit_pb2 as pb
from signalbox.provisioning.audit.chain import NO_HASH, BrokenFrameError, CutFrameError, Framed, frames
from signalbox.provisioning.audit.log import segments

if TYPE_CHECKING:
    from pathlib import Path

    from signalbox.api.types.v1 import audit_pb2

FAULTS_MAX = 100


@dataclass(frozen=True)
class Fault:
    """Something wrong with one record."""

    sequence: int
    segment: str
    reason: str


@dataclass
class Verdict:
    """What was read, and what is wrong."""

    records: int = 0
    first: int = 0
    last: int = 0
    sha256: bytes = NO_HASH
    faults: list[Fault] = field(default_factory=list)

    def fault(self, sequence: int, segment: str, reason: str) -> None:
        """Note a fault, unless there are very many already."""
        if len(self.faults) < FAULTS_MAX:
            self.faults.append(Fault(sequence, segment, reason))


def verify(directory: Path, head: audit_pb2.AuditHead | None) -> Verdict:
    """Read the log of a directory; ``head``: where the store says that it ends. Blocks. Raises OSError."""
    reading = _Reading(head)
    files = segments(directory)
    for path in files:
        first = int(path.stem)
        if head is not None and path is not files[-1] and int(files[files.index(path) + 1].stem) <= head.first_sequence:
            # Too old to be kept, and not deleted yet.
            continue
        reading.segment(path, first, last=path is files[-1])
    reading.end()
    return reading.verdict


def read(directory: Path, head: audit_pb2.AuditHead | None) -> pb.VerifyAuditResponse:
    """The same as the API tells it. ``head`` may lack where the log begins: any first record will do then."""
    return told(verify(directory, head))


def told(verdict: Verdict) -> pb.VerifyAuditResponse:
    """A verdict as the API tells it."""
    faults = [pb.AuditFault(sequence=one.sequence, segment=one.segment, reason=one.reason) for one in verdict.faults]
    return pb.VerifyAuditResponse(
        records=verdict.records,
        first_sequence=verdict.first,
        last_sequence=verdict.last,
        sha256=verdict.sha256,
        faults=faults,
    )


class _Reading:
    """``expected``: the sequence of the next record, 0 before the first; ``known``: False after a broken record."""

    def __init__(self, head: audit_pb2.AuditHead | None) -> None:
        self._head = head
        self.verdict = Verdict()
        self._expected = head.first_sequence if head else 0
        self._previous = head.first_previous if head and head.first_sequence else None
        self._name = ""
        self._met_head = head is None or head.sequence == 0

    def segment(self, path: Path, first: int, *, last: bool) -> None:
        """Read one file."""
        if first == 1 and not self._expected:
            self._previous = NO_HASH
        if self._expected and first != self._expected:
            self._missing(first, path.name)
        self._expected, self._name = first, path.name
        offset: int | None = 0
        with path.open("rb") as file:
            while offset is not None:
                try:
                    for found in frames(file, offset):
                        self._record(found)
                    offset = None
                except BrokenFrameError as error:
                    if last and self._unanchored(error):
                        # It is being written just now, or its writer died: it has never been a part of the log.
                        return
                    self.verdict.fault(self._expected, path.name, error.why)
                    self._expected += 1
                    self._previous = None
                    offset = error.following

    def end(self) -> None:
        """After the last file: does the log reach the head?"""
        head = self._head
        if head is not None and self._expected <= head.sequence:
            reason = f"is missing, and all up to {head.sequence}: the end of the log was cut off"
            self.verdict.fault(self._expected, self._name, reason)
        elif not self._met_head and head is not None:
            self.verdict.fault(head.sequence, self._name, "is not the record that the store knows as the last")

    def _unanchored(self, error: BrokenFrameError) -> bool:
        head = self._head
        return isinstance(error, CutFrameError) and head is not None and self._expected > head.sequence

    def _record(self, found: Framed) -> None:
        record, verdict = found.record, self.verdict
        if record.sequence != self._expected:
            verdict.fault(self._expected, self._name, f"is not there: record {record.sequence} stands in its place")
        elif self._previous is not None and record.previous != self._previous:
            before = max(1, record.sequence - 1)
            verdict.fault(before, self._name, f"is not what it was when record {record.sequence} was written")
        if self._head is not None and record.sequence == self._head.sequence:
            self._met_head = self._met_head or found.sha256 == self._head.sha256
        verdict.records += 1
        verdict.first = verdict.first or record.sequence
        verdict.last, verdict.sha256 = record.sequence, found.sha256
        self._previous = found.sha256
        self._expected = record.sequence + 1

    def _missing(self, first: int, name: str) -> None:
        reason = f"is missing: the next file begins with record {first}"
        self.verdict.fault(self._expected, self._name or name, reason)
        self._previous = None
