"""Every scenario is a company of its own in the cluster that all scenarios share."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from support.company import Company

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from support.site import Site


@pytest.fixture
async def company(site: Site) -> AsyncIterator[Company]:
    """A tenant with nothing."""
    with contextlib.closing(Company(site)) as company:
        company.put("tenant", id=company.id)
        yield company
