"""Whatever is done to the files of a log is found, and named."""

from __future__ import annotations

import hashlib
import itertools
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from signalbox.api.types.v1 import audit_pb2
from signalbox.provisioning.audit.chain import HEAD_BYTES, frame, frames
from signalbox.provisioning.audit.log import AuditLog, identity, segments
from signalbox.provisioning.audit.verify import verify

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

RECORDS = 12
Log = tuple[Path, audit_pb2.AuditHead]


def record(n: int) -> audit_pb2.AuditRecord:
    made = audit_pb2.AuditRecord(method="UpdateLine", revision=100 + n, commit=f"{n:016x}", request_id=f"r{n}")
    made.actor.name = "certificate ops"
    made.time.FromSeconds(1_790_000_000 + n)
    made.change.kind, made.change.tenant, made.change.id = "line", "acme", f"line-{n}"
    made.change.after.object.type_url, made.change.after.object.value = "type.googleapis.com/x", bytes([n]) * 20
    return made


@pytest.fixture(scope="module")
def log() -> Iterator[Log]:
    """Twelve records in three segments."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        identity(path)
        opened = AuditLog(path, 1_000, 0)
        for n in range(RECORDS):
            opened.append([record(n)])
        head = audit_pb2.AuditHead(
            sequence=opened.tail.sequence, sha256=opened.tail.sha256, first_sequence=1, first_previous=bytes(32)
        )
        opened.close()
        assert len(segments(path)) >= 3
        yield path, head


def copied(log: Log, directory: str) -> Log:
    for path in segments(log[0]):
        (Path(directory) / path.name).write_bytes(path.read_bytes())
    return Path(directory), log[1]


def places(path: Path) -> list[tuple[int, int, int]]:
    """Sequence, beginning and end of each record of a segment."""
    with path.open("rb") as file:
        return [(found.record.sequence, found.offset, found.end) for found in frames(file)]


def contents(path: Path) -> list[bytes]:
    return [path.read_bytes()[begin:end] for _, begin, end in places(path)]


def named(log: Log) -> set[int]:
    return {fault.sequence for fault in verify(*log).faults}


def test_a_log_as_it_was_written_is_well(log: Log) -> None:
    for head in (log[1], None):
        verdict = verify(log[0], head)
        assert (verdict.records, verdict.first, verdict.last, verdict.faults) == (RECORDS, 1, RECORDS, [])
        assert verdict.sha256 == log[1].sha256


def test_any_byte_that_is_changed_is_found_in_its_record(log: Log, tmp_path: Path) -> None:
    """Of every record the length, the hash and each byte of the message."""
    path, head = copied(log, str(tmp_path))
    for segment in segments(path):
        content = segment.read_bytes()
        for sequence, begin, end in places(segment):
            for offset in range(begin, end):
                damaged = bytearray(content)
                damaged[offset] ^= 1 << (offset % 8)
                segment.write_bytes(damaged)
                faults = verify(path, head).faults
                assert faults, (sequence, offset - begin)
                assert (faults[0].sequence, faults[0].segment) == (sequence, segment.name)
        segment.write_bytes(content)


@given(data=st.data())
@settings(deadline=None, max_examples=300)
def test_random_tampering_is_always_found(log: Log, data: st.DataObject) -> None:
    """Bytes changed, put in and taken out; also where it looks like a record."""
    with tempfile.TemporaryDirectory() as directory:
        path, head = copied(log, directory)
        files = segments(path)
        before = [file.read_bytes() for file in files]
        known = contents(files[0])
        for _ in range(data.draw(st.integers(1, 3))):
            file = data.draw(st.sampled_from(files))
            content = bytearray(file.read_bytes())
            begin = data.draw(st.integers(0, len(content)))
            end = data.draw(st.integers(begin, min(len(content), begin + 300)))
            content[begin:end] = data.draw(st.one_of(st.binary(max_size=50), st.sampled_from(known)))
            file.write_bytes(content)
        after = [file.read_bytes() for file in files]
        # A piece of a record behind the last one is one that is being written.
        only_more = before[:-1] == after[:-1] and after[-1].startswith(before[-1])
        assert only_more or verify(path, head).faults


def rewritten(path: Path, change: Sequence[bytes]) -> None:
    path.write_bytes(b"".join(change))


def forged(content: bytes, **fields: object) -> bytes:
    """A record changed by somebody who knows the format: with the hash that it should have."""
    message = audit_pb2.AuditRecord.FromString(content[HEAD_BYTES:])
    for field, value in fields.items():
        setattr(message, field, value)
    return frame(message.SerializeToString())[0]


def test_a_record_that_was_changed_with_its_hash_is_named(log: Log, tmp_path: Path) -> None:
    path, head = copied(log, str(tmp_path))
    for segment in segments(path):
        whole = contents(segment)
        for position, (sequence, _, _) in enumerate(places(segment)):
            rewritten(segment, [*whole[:position], forged(whole[position], method="GetLine"), *whole[position + 1 :]])
            assert named((path, head)) == {sequence}
            rewritten(segment, whole)


def test_a_record_that_was_taken_out_is_named(log: Log, tmp_path: Path) -> None:
    path, head = copied(log, str(tmp_path))
    for segment in segments(path):
        whole = contents(segment)
        for position, (sequence, _, _) in enumerate(places(segment)):
            rewritten(segment, whole[:position] + whole[position + 1 :])
            assert sequence in named((path, head))
        rewritten(segment, whole)


def test_a_record_that_was_put_in_or_comes_twice_is_found(log: Log, tmp_path: Path) -> None:
    path, head = copied(log, str(tmp_path))
    segment = segments(path)[0]
    whole, known = contents(segment), places(segment)
    for position, (sequence, _, _) in enumerate(known):
        previous = hashlib.sha256(whole[position][HEAD_BYTES:]).digest()
        false = forged(whole[position], sequence=sequence + 1, previous=previous, method="DeleteLine")
        for extra in (whole[position], false):
            rewritten(segment, [*whole[: position + 1], extra, *whole[position + 1 :]])
            assert named((path, head)) & {sequence + 1, sequence + 2}


def test_records_that_changed_places_are_found(log: Log, tmp_path: Path) -> None:
    path, head = copied(log, str(tmp_path))
    segment = segments(path)[1]
    whole = contents(segment)
    for one, other in itertools.combinations(range(len(whole)), 2):
        swapped = list(whole)
        swapped[one], swapped[other] = swapped[other], swapped[one]
        rewritten(segment, swapped)
        assert places(segment)
        assert named((path, head))


def test_a_cut_tail_is_found_by_the_head_alone(log: Log, tmp_path: Path) -> None:
    path, head = copied(log, str(tmp_path))
    segment = segments(path)[-1]
    whole = contents(segment)
    for kept in range(len(whole)):
        rewritten(segment, whole[:kept])
        assert verify(path, None).faults == []
        sequence = RECORDS - len(whole) + kept + 1
        assert named((path, head)) == {sequence}
    segment.unlink()
    assert RECORDS - len(whole) + 1 in named((path, head))


def test_a_missing_file_is_found(log: Log, tmp_path: Path) -> None:
    for position, missing in enumerate(segments(log[0])):
        directory = tmp_path / str(position)
        directory.mkdir()
        path, head = copied(log, str(directory))
        (path / missing.name).unlink()
        assert int(missing.stem) in named((path, head))


def test_a_log_that_was_made_anew_as_a_whole_is_not_that_of_the_head(log: Log, tmp_path: Path) -> None:
    identity(tmp_path)
    other = AuditLog(tmp_path, 1_000, 0)
    for n in range(RECORDS):
        made = record(n)
        made.actor.name = "certificate somebody-else"
        other.append([made])
    other.close()
    assert verify(tmp_path, None).faults == []
    assert named((tmp_path, log[1])) == {RECORDS}


def test_a_record_that_is_being_written_is_no_fault(log: Log, tmp_path: Path) -> None:
    path, head = copied(log, str(tmp_path))
    with segments(path)[-1].open("ab") as file:
        file.write(frame(record(99).SerializeToString())[0][:40])
    assert verify(path, head).faults == []
