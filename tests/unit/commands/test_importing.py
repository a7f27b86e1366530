"""``signalbox import numbers`` and ``export numbers``: files, exit codes, and going on after an interruption."""

from __future__ import annotations

import csv
import itertools
import json
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from signalbox.api.provisioning.v1 import bulk_pb2
from signalbox.commands import exporting, importrun, importstream, retrying
from signalbox.commands.importfile import FileError, Source

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.commands import Service, Shell


@pytest.fixture(autouse=True)
def acme(shell: Shell) -> None:
    shell("tenants create acme")


def write(file: Path, *rows: str, encoding: str = "utf-8") -> Path:
    file.write_bytes("\r\n".join(rows).encode(encoding))
    return file


def numbers(tmp_path: Path, count: int) -> Path:
    rows = (f"400{n:07d},acme,138{n:08d}" for n in range(count))
    return write(tmp_path / "numbers.csv", "number,tenant,lines", *rows)


def refused(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8-sig", newline="") as text:
        return list(csv.DictReader(text))


def test_a_file_is_imported_and_the_same_again_changes_nothing(shell: Shell, tmp_path: Path) -> None:
    file = numbers(tmp_path, 700)
    assert shell(f"import numbers {file}").stdout == "700 rows: 700 created, 0 updated, 0 unchanged, 0 refused\n"
    assert shell(f"import numbers {file}").stdout == "700 rows: 0 created, 0 updated, 700 unchanged, 0 refused\n"
    assert [path.name for path in tmp_path.iterdir()] == ["numbers.csv"]
    assert shell.json("numbers get 4000000007")["stages"][0]["lines"] == ["t13800000007"]


def test_refused_rows_can_be_mended_and_imported(shell: Shell, tmp_path: Path) -> None:
    rows = ["4000000001,Acme,a;b,x", '4000000002,acme,"13800001234",', "4000000003,acme,13800001234,"]
    file = write(tmp_path / "n.csv", "number,tenant,lines,concurrent_calls", *rows, "4000000004,acme,lost,")
    told = shell(f"import numbers {file} --refused {tmp_path}/bad.csv", code=1)
    assert "4 rows: 2 created, 0 updated, 0 unchanged, 2 refused" in told.stdout
    bad = refused(tmp_path / "bad.csv")
    assert bad[0] == {
        "number": "4000000001",
        "tenant": "Acme",
        "lines": "a;b",
        "concurrent_calls": "x",
        "line": "2",
        "reason": "concurrent_calls: must be a whole number, 0 to 4294967295",
    }
    assert (bad[1]["line"], bad[1]["reason"]) == ("5", "lines: tenant acme has no line lost")
    mended = (tmp_path / "bad.csv").read_text(encoding="utf-8-sig")
    mended = mended.replace("Acme", "acme").replace("a;b,x", "13800001234,9").replace("lost", "t13800001234")
    (tmp_path / "mended.csv").write_text(mended)
    assert "2 created" in shell(f"import numbers {tmp_path}/mended.csv").stdout


def test_columns_that_are_missing_stay(shell: Shell, tmp_path: Path) -> None:
    shell(f"import numbers {numbers(tmp_path, 2)}")
    file = write(tmp_path / "limits.csv", "number,concurrent_calls", "4000000000,50", "4000000001,")
    assert "2 rows: 0 created, 1 updated, 1 unchanged" in shell(f"import numbers {file} --tenant acme").stdout
    number = shell.json("numbers get 4000000000")
    assert (number["limits"]["concurrent_calls"], number["stages"][0]["lines"]) == (50, ["t13800000000"])


def test_a_dry_run_writes_nothing(shell: Shell, tmp_path: Path) -> None:
    told = shell(f"import numbers {numbers(tmp_path, 3)} --dry-run")
    assert told.stdout == "3 rows: 3 created, 0 updated, 0 unchanged, 0 refused; nothing was written\n"
    assert "0 rows" in shell("export numbers").stderr


@pytest.mark.parametrize(("encoding", "option"), [("utf-8-sig", "utf-8"), ("gb18030", "gb18030")])
def test_encodings(shell: Shell, tmp_path: Path, encoding: str, option: str) -> None:
    rows = ["4000000001,acme,13800001234,是", "4000000002,acme,没有,否"]
    file = write(tmp_path / "n.csv", "number,tenant,lines,refuse_anonymous", *rows, encoding=encoding)
    assert "1 created" in shell(f"import numbers {file} --encoding {option}", code=1).stdout
    assert refused(tmp_path / "n.refused.csv")[0]["lines"] == "没有"
    assert shell.json("numbers get 4000000001")["screening"]["refuse_anonymous"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("number,tenant\r\n400,企业".encode("gb18030"), "line 2 is not UTF-8; if a spreadsheet program saved it"),
        ("number,tenant\r\n400,acme".encode("utf-16"), "line 1 is not UTF-8"),
        (b"", "is empty"),
        (b'number,tenant,lines\r\n400,acme,"a\r\n', "line 2: unexpected end of data"),
        (b"number,lines\r\n400,a", "the tenant must be given"),
        (b"number;tenant\r\n400;acme", "unknown column 'number;tenant'"),
    ],
)
def test_files_that_cannot_be_used(shell: Shell, tmp_path: Path, content: bytes, told: str) -> None:
    file = tmp_path / "n.csv"
    file.write_bytes(content)
    assert told in " ".join(shell(["import", "numbers", str(file)], code=2).stderr.split())
    assert [path.name for path in tmp_path.iterdir()] == ["n.csv"]


def test_a_line_of_a_file_is_told_across_its_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signalbox.commands.importfile._BLOCK", 16)
    file = tmp_path / "n.csv"
    file.write_bytes(b"number,tenant\n" + "4001234567,号码\n".encode() * 9 + b"400\xff,acme\n")
    with pytest.raises(FileError, match="line 11 is not UTF-8"):
        Source(file, "utf-8")
    file.write_bytes(b"number,tenant\n" + '"4001234567\n","号码"\n,\n\n'.encode() * 9)
    source = Source(file, "utf-8")
    assert (source.rows, [row.position for row in source.read(after=7)]) == (9, [8, 9])


def test_after_an_interruption_the_same_command_goes_on(
    shell: Shell,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Interrupted at any row: in the end every row has one result, and every refused one is in the file once."""
    file = tmp_path / "n.csv"
    rows = [f"400{n:07d},acme,{'nowhere' if n % 5 == 0 else f'138{n:08d}'}" for n in range(90)]
    write(file, "number,tenant,lines", *rows)
    monkeypatch.setattr(importrun, "SAVE_S", 0.0)
    take = importrun.Run._take
    for stop in (1, 7, 30, 31, 89):

        def interrupted(self: importrun.Run, sent: Any, result: Any, stop: int = stop) -> None:
            if sent.row.position > stop:
                raise KeyboardInterrupt
            take(self, sent, result)

        monkeypatch.setattr(importrun.Run, "_take", interrupted)
        told = shell(f"import numbers {file}", code=130)
        assert f"interrupted: {stop} of 90 rows have a result" in told.stderr
    monkeypatch.setattr(importrun.Run, "_take", take)
    done = shell(f"import numbers {file}", code=1)
    assert "going on after row 89" in done.stderr
    assert done.stdout.startswith("90 rows: ")
    assert done.stdout.endswith("18 refused\n")
    assert [row["line"] for row in refused(tmp_path / "n.refused.csv")] == [str(n + 2) for n in range(0, 90, 5)]


def test_progress_of_another_file_is_told(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = numbers(tmp_path, 5)
    progress = tmp_path / "numbers.refused.csv.progress"
    progress.write_text(json.dumps({"version": 1, "key": {"sha256": "other"}, "rows": 3}))
    assert "is of another import; --restart begins anew" in shell(f"import numbers {file}", code=2).stderr
    progress.write_text("{")
    assert "is damaged; --restart begins anew" in shell(f"import numbers {file}", code=2).stderr
    assert "5 created" in shell(f"import numbers {file} --restart").stdout
    assert not progress.exists()


def test_a_service_that_stays_away(shell: Shell, service: Service, tmp_path: Path) -> None:
    file = numbers(tmp_path, 900)
    service.store.available = False
    told = shell(f"import numbers {file} --retry-for 0", code=3)
    assert "0 of 900 rows have a result; the same command goes on after them" in told.stderr
    assert "STORE_UNAVAILABLE" in told.stderr
    service.store.available = True
    assert "900 rows: 900 created" in shell(f"import numbers {file}").stdout


class Broken:
    """Streams that break after some responses."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, after: Iterator[int]) -> None:
        self.breaks = 0
        stream = importstream._stream

        def breaking(*arguments: Any) -> Iterator[Any]:
            left = next(after, None)
            for one in stream(*arguments):
                if left is not None:
                    left -= 1
                    if left < 0:
                        self.breaks += 1
                        raise importstream.UnreachableError("cut")
                yield one

        monkeypatch.setattr(importstream, "_stream", breaking)
        monkeypatch.setattr(retrying, "RETRY_S", 0.01)


def test_streams_that_break_are_followed_by_others(
    shell: Shell,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What had no result yet is sent again, in order, and nothing else."""
    monkeypatch.setattr(importstream, "REQUEST_ROWS", 10)
    monkeypatch.setattr(importstream, "WINDOW_ROWS", 30)
    broken = Broken(monkeypatch, iter([0, 1, 25, 3, 0, 100]))
    done = shell(f"import numbers {numbers(tmp_path, 400)}").stdout
    assert broken.breaks == 6
    assert done.startswith("400 rows: ")
    assert done.endswith("0 updated, " + done.split(", ")[2] + ", 0 refused\n")
    assert "400 unchanged" in shell(f"import numbers {tmp_path}/numbers.csv").stdout


def test_a_service_that_waits_for_room_is_told(
    shell: Shell,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = importstream._stream

    def waiting(*arguments: Any) -> Iterator[Any]:
        yield bulk_pb2.IMPORT_PAUSE_STORE_FULL
        yield from stream(*arguments)

    monkeypatch.setattr(importstream, "_stream", waiting)
    assert "3 created" in shell(f"import numbers {numbers(tmp_path, 3)}").stdout


def test_an_export_is_imported_as_it_was(shell: Shell, tmp_path: Path) -> None:
    shell("lines create acme desk --user 100 --host 192.0.2.7")
    rows = ["4000000001,acme,desk;13800001234,20;30,9,active", "4000000002,acme,1001@192.0.2.9|desk,,,suspended"]
    file = write(tmp_path / "n.csv", "number,tenant,lines,ring_time_s,concurrent_calls,state", *rows)
    shell(f"import numbers {file}")
    told = shell(f"export numbers --file {tmp_path}/out.csv")
    assert told.stderr == "2 rows\n"
    out = refused(tmp_path / "out.csv")
    assert [row["lines"] for row in out] == ["desk:100@192.0.2.7;13800001234", "1001@192.0.2.9|desk:100@192.0.2.7"]
    assert "0 updated, 2 unchanged" in shell(f"import numbers {tmp_path}/out.csv").stdout
    assert shell("export numbers --tenant acme").stdout.splitlines()[1].startswith("4000000001,acme,active,")
    objects = [json.loads(line) for line in shell("export numbers --output json").stdout.splitlines()]
    assert [one["number"]["number"] for one in objects] == ["4000000001", "4000000002"]
    assert "1 rows" in shell(["export", "numbers", "--filter", 'state = "NUMBER_STATE_SUSPENDED"']).stderr
    shell("export numbers --tenant nobody", code=1)
    assert "No such file" in shell(f"export numbers --file {tmp_path}/no/out.csv", code=2).stderr


def test_a_file_of_refused_rows_that_cannot_be_written(shell: Shell, tmp_path: Path) -> None:
    file = write(tmp_path / "n.csv", "number,tenant,lines", "4000000001,nobody,13800001234")
    assert "No such file" in shell(f"import numbers {file} --refused {tmp_path}/no/bad.csv", code=1).stderr
    assert "would be overwritten" in " ".join(shell(f"import numbers {file} --refused {file}", code=2).stderr.split())


class Call:
    """A call that is heard of no more."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()

    def cancel(self) -> None:
        self.cancelled.set()


def test_a_stream_of_which_nothing_is_heard_is_ended() -> None:
    call, ended = Call(), threading.Event()
    importstream._end_silence(call, [time.monotonic() - importstream.SILENCE_S - 1], ended)
    assert call.cancelled.is_set()
    call = Call()
    ended.set()
    importstream._end_silence(call, [0.0], ended)
    assert not call.cancelled.is_set()


def test_a_stream_that_ends_without_all_results_is_followed_by_another(
    shell: Shell,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retrying, "RETRY_S", 0.01)
    requests, often = importstream._requests, iter([2, None])

    def cut(*arguments: Any) -> Iterator[Any]:
        return itertools.islice(requests(*arguments), next(often))

    monkeypatch.setattr(importstream, "_requests", cut)
    assert "700 rows: 700 created" in shell(f"import numbers {numbers(tmp_path, 700)}").stdout


def test_an_export_goes_on_where_a_stream_broke(
    shell: Shell,
    service: Service,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And tells when the rules of its beginning are forgotten meanwhile."""
    shell(f"import numbers {numbers(tmp_path, 50)}")
    stub = exporting.bulk_pb2_grpc.BulkServiceStub
    streams = 0

    class Breaking:
        def __init__(self, channel: Any) -> None:
            self._stub = stub(channel)

        def ExportNumbers(self, request: Any) -> Iterator[Any]:
            nonlocal streams
            streams += 1
            for count, response in enumerate(self._stub.ExportNumbers(request)):
                if streams < 3 and count == 5:
                    raise retrying.UnreachableError("cut")
                yield response

    monkeypatch.setattr(exporting.bulk_pb2_grpc, "BulkServiceStub", Breaking)
    monkeypatch.setattr(retrying, "RETRY_S", 0.01)
    told = shell(f"export numbers --file {tmp_path}/out.csv")
    assert (streams, told.stderr) == (3, "50 rows\n")
    streams = 0
    sleep = time.sleep

    def forget(seconds: float) -> None:
        shell(f"tenants create t{streams}")
        service.store.compact(service.store._revision)
        sleep(seconds)

    monkeypatch.setattr(retrying.time, "sleep", forget)
    told = shell(f"export numbers --file {tmp_path}/again.csv")
    assert "rows are of 3 revisions up to" in told.stderr
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "out.csv").read_bytes()
    assert retrying.RETRY_S


def test_an_export_that_cannot_go_on(shell: Shell, service: Service) -> None:
    service.store.available = False
    assert "STORE_UNAVAILABLE" in shell("export numbers --retry-for 0", code=3).stderr
