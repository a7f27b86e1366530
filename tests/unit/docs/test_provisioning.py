"""docs/provisioning.md: every example is run, and its output is what the page shows.

After a change of output, write the page anew: ``WRITE_DOCS=1 python -m pytest tests/unit/docs``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from support.pages import check_page

if TYPE_CHECKING:
    from support.commands import Service

PAGE = Path(__file__).parents[3] / "docs" / "provisioning.md"


def test_the_page_shows_what_happens(service: Service) -> None:
    check_page(PAGE, service)
