"""docs/recording.md: every example is run, and its output is what the page shows.

After a change of output, write the page anew: ``WRITE_DOCS=1 python -m pytest tests/unit/docs``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from signalbox.provisioning.recordings.service import TABLE
from support.pages import check_page
from support.recordings import ANSWERED_MS

if TYPE_CHECKING:
    import pytest
    from support.commands import Service

PAGE = Path(__file__).parents[3] / "docs" / "recording.md"


def test_the_page_shows_what_happens(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recorder = service.record()

    async def make() -> None:
        await recorder.store("edge-1-1769851800-17267-11", bytes(400_044))
        reasons = ("media_node_died",)
        await recorder.store("edge-1-1769851801-17267-12", b"x", answer_ms=ANSWERED_MS + 1000, reasons=reasons)
        await recorder.promise("edge-1-1769851802-17267-13", answer_ms=ANSWERED_MS + 2000)

    service.run(make())
    check_page(PAGE, service)


def test_who_may_what_is_as_the_page_says() -> None:
    text = PAGE.read_text()
    table = text[text.index("Who may what") : text.index("Every access has")]
    rows = [line.split("|")[1:-1] for line in table.splitlines() if line.startswith("| ")]
    told = {row[0].strip(): sum(bool(cell.strip()) for cell in row[1:]) for row in rows[1:]}
    roles = {name: len(rule.roles) for name, rule in TABLE.items()}
    assert told == {
        "list, get what is known, events": roles["ListRecordings"],
        "fetch, play, verify": roles["DownloadRecording"],
        "pause, resume, set a hold": roles["PauseRecording"],
        "lift a hold, delete": roles["DeleteRecording"],
    }
    assert roles["GetRecording"] == roles["ListRecordingEvents"] == 3
    assert roles["SetLegalHold"] == roles["ResumeRecording"] == 2
