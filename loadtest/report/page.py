"""The report as a page of HTML that needs nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jinja2

from loadtest.report import tables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loadtest.report.summary import Summary


def render(summary: Summary, plots: Mapping[str, str]) -> str:
    """The page, with the plots (SVG documents) in it."""
    environment = jinja2.Environment(loader=jinja2.PackageLoader("loadtest", "report"), autoescape=True)
    within = {name: svg[svg.index("<svg") :] for name, svg in plots.items()}
    return environment.get_template("page.html").render(summary=summary, plots=within, tables=tables)
