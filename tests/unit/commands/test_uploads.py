"""``signalbox inventory documents`` and ``apply``: files go up and come down, whatever comes between."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest
from signalbox.commands import retrying, uploads
from signalbox.errors import DrainingError
from signalbox.store import keys
from signalbox.store.envelope import Vault
from support.documents import JPEG, PDF, PNG

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from support.commands import Service, Shell

LARGE = PDF + bytes(range(256)) * 8000


@pytest.fixture
def desk(service: Service, shell: Shell, elsewhere: Path) -> Shell:
    """A tenant with a reserved number, and some files."""
    for line in (
        "tenants create acme",
        "inventory ranges create main 4001230000 4001230099",
        "inventory reserve 4001230001 --tenant acme",
    ):
        shell(line)
    for name, content in (("a.pdf", PDF), ("b.png", PNG), ("c.jpeg", JPEG), ("large.pdf", LARGE)):
        (elsewhere / name).write_bytes(content)
    return shell


def uploaded(desk: Shell, file: str) -> str:
    (made,) = desk.json(f"inventory documents upload --tenant acme {file}")
    return str(made["id"])


def test_an_application_uploads_its_files(desk: Shell) -> None:
    earlier = uploaded(desk, "business-licence=a.pdf")
    desk(
        f"inventory apply 4001230001 --uploaded {earlier} --document legal-person-id=b.png "
        "--elsewhere signed-order c.jpeg s3://papers/c"
    )
    shown = desk.json("inventory show 4001230001")["documents"]
    assert [(one["kind"], one["file_name"], one["content"]) for one in shown] == [
        ("DOCUMENT_KIND_LEGAL_PERSON_ID", "b.png", ""),
        ("DOCUMENT_KIND_BUSINESS_LICENCE", "a.pdf", ""),
        ("DOCUMENT_KIND_SIGNED_ORDER", "c.jpeg", "s3://papers/c"),
    ]
    listed = desk.json("inventory documents list --tenant acme")
    assert [(one["uses"], one["judged"]) for one in listed] == [(1, True), (1, True)]
    refused = desk(f"inventory documents delete --tenant acme {earlier}", code=1)
    assert "(RESOURCE_IN_USE)" in refused.output


def test_a_document_comes_down_as_it_went_up(desk: Shell, elsewhere: Path) -> None:
    id = uploaded(desk, "other=large.pdf")
    told = desk(f"inventory documents get --tenant acme {id} --to copy.pdf").output
    assert told == f"copy.pdf: {len(LARGE):,} bytes, SHA-256 {hashlib.sha256(LARGE).hexdigest()}\n"
    copy = elsewhere / "copy.pdf"
    assert copy.read_bytes() == LARGE
    assert copy.stat().st_mode & 0o777 == 0o600, "it is nobody else's to read"
    again = desk(f"inventory documents get --tenant acme {id} --to copy.pdf", code=2)
    assert "is there already" in again.output
    (elsewhere / "large.pdf").unlink()
    desk(f"inventory documents get --tenant acme {id}")
    assert (elsewhere / "large.pdf").read_bytes() == LARGE


def test_a_name_that_begins_with_a_dot_is_not_taken_from_who_uploaded(desk: Shell, elsewhere: Path) -> None:
    hidden = elsewhere / ".profile.pdf"
    hidden.write_bytes(PDF)
    id = uploaded(desk, "other=.profile.pdf")
    hidden.unlink()
    told = desk(f"inventory documents get --tenant acme {id}", code=2).output
    assert ".profile.pdf is the name of a hidden file: name another with --to" in told
    assert not list(elsewhere.glob(".profile*"))
    desk(f"inventory documents get --tenant acme {id} --to .profile.pdf")
    assert hidden.read_bytes() == PDF


@pytest.mark.parametrize("held", [1, 65_536, 100_000, len(LARGE), len(LARGE) + 5])
def test_what_was_interrupted_goes_on_where_it_was(desk: Shell, service: Service, elsewhere: Path, held: int) -> None:
    id = uploaded(desk, "other=large.pdf")
    part = elsewhere / f"copy.pdf.{id}.part"
    part.write_bytes((LARGE + b"xxxxx")[:held])
    desk(f"inventory documents get --tenant acme {id} --to copy.pdf")
    assert (elsewhere / "copy.pdf").read_bytes() == LARGE
    assert not part.exists()


def test_a_part_of_something_else_is_thrown_away(desk: Shell, elsewhere: Path) -> None:
    id = uploaded(desk, "other=large.pdf")
    part = elsewhere / f"copy.pdf.{id}.part"
    part.write_bytes(b"y" * 1000)
    told = desk(f"inventory documents get --tenant acme {id} --to copy.pdf", code=1)
    assert "what has come is not what is kept there" in told.output
    desk(f"inventory documents get --tenant acme {id} --to copy.pdf")
    assert (elsewhere / "copy.pdf").read_bytes() == LARGE


def test_a_stream_that_breaks_is_gone_on_with(
    desk: Shell, elsewhere: Path, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = uploaded(desk, "other=large.pdf")
    monkeypatch.setattr(retrying, "RETRY_S", 0.01)
    offsets = []
    get = Vault.get

    async def breaking(self: Any, tenant: str, name: str, offset: int = 0) -> AsyncGenerator[bytes, None]:
        offsets.append(offset)
        async for piece in get(self, tenant, name, offset):
            yield piece
            if len(offsets) < 3:
                raise DrainingError("this replica is stopping")

    monkeypatch.setattr(Vault, "get", breaking)
    desk(f"inventory documents get --tenant acme {id} --to copy.pdf")
    assert (elsewhere / "copy.pdf").read_bytes() == LARGE
    assert offsets == [0, 65_536, 131_072]


def test_what_is_there_is_not_sent_again(desk: Shell, service: Service) -> None:
    id = uploaded(desk, "other=large.pdf")
    assert uploaded(desk, "other=large.pdf") == id
    assert [key for key in service.store._entries if key.startswith(keys.UPLOADS)] == []


def test_a_list_goes_on_over_pages(desk: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "PAGE_SIZE", 2)
    made = {uploaded(desk, file) for file in ("other=a.pdf", "other=b.png", "other=c.jpeg")}
    assert {one["id"] for one in desk.json("inventory documents list --tenant acme")} == made


@pytest.mark.parametrize(
    ("line", "code", "told"),
    [
        ("inventory documents upload --tenant acme paper=a.pdf", 2, "KIND=FILE is expected"),
        ("inventory documents upload --tenant acme other=", 2, "KIND=FILE is expected"),
        ("inventory documents upload --tenant acme other=nowhere.pdf", 2, "no such file"),
        ("inventory documents upload --tenant nobody other=a.pdf", 1, "(RESOURCE_NOT_FOUND)"),
        ("inventory documents list --tenant nobody", 1, "(RESOURCE_NOT_FOUND)"),
        (f"inventory documents get --tenant acme {'0' * 32}", 1, "(RESOURCE_NOT_FOUND)"),
        ("inventory apply 4001230001", 1, "(TRANSITION_REFUSED)"),
        (f"inventory apply 4001230001 --uploaded {'0' * 32}", 1, "documents[0].id: does not exist"),
    ],
)
def test_a_trial_of_what_does_not_go(desk: Shell, line: str, code: int, told: str) -> None:
    assert told in desk(line, code=code).output


def test_a_place_that_cannot_be_written_is_told(desk: Shell) -> None:
    id = uploaded(desk, "other=a.pdf")
    told = desk(f"inventory documents get --tenant acme {id} --to nowhere/copy.pdf", code=1)
    assert "No such file or directory" in told.output
