"""Links of all pages: files that are there, and headings as they are written (GitHub's anchors)."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
NOT_OURS = {"var", "build", "node_modules"}
PAGES = sorted(
    str(page.relative_to(ROOT))
    for page in ROOT.rglob("*.md")
    if not any(part.startswith(".") or part in NOT_OURS for part in page.relative_to(ROOT).parts)
)
LINK = re.compile(r"\]\((?!https?:|mailto:)([^()\s]+)\)")
FENCE = re.compile(r"^(```|~~~).*?^\1[^\n]*$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#{1,6} +(.+?)(?: +#+)?$", re.MULTILINE)
NAMED = re.compile(r'<a (?:id|name)="([^"]+)"')


@cache
def text(page: Path) -> str:
    """A page without its blocks of code."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


@cache
def anchors(page: Path) -> frozenset[str]:
    """Where links to a page may lead: small letters, digits, '_', '-', and '-' for a space; repeated ones end in -1."""
    found: set[str] = set(NAMED.findall(text(page)))
    for heading in HEADING.findall(text(page)):
        shown = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        same = (f"{name}-{n}" if n else name for n in range(len(found) + 1))
        found.add(next(one for one in same if one not in found))
    return frozenset(found)


def broken(page: Path) -> Iterator[str]:
    """Links of a page that lead nowhere."""
    for link in LINK.findall(re.sub(r"`[^`\n]*`", "", text(page))):
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if not target.exists():
            yield f"{link}: no such file"
        elif anchor and target.suffix == ".md" and anchor not in anchors(target):
            yield f"{link}: no such heading"


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_somewhere(page: str) -> None:
    assert list(broken(ROOT / page)) == []


def test_what_leads_nowhere_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# `make up`: a [cluster](x.md), *here*\n## Same\n## Same\n"
        "[1](#make-up-a-cluster-here) [2](#same-1) [3](#same-2) [4](gone.md) [5](page.md#same) `[6](code.md)`\n"
        "```\n# No heading\n[7](fenced.md)\n```\n[8](#no-heading) [9](https://example.org/x)\n"
    )
    assert list(broken(page)) == [
        "x.md: no such file", "#same-2: no such heading", "gone.md: no such file", "#no-heading: no such heading",
    ]  # fmt: skip
