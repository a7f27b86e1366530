"""Plots of benchmarks and load tests, as SVG: the same figures give the same bytes."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

if TYPE_CHECKING:
    from collections.abc import Sequence

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Told apart by everybody (M. Okabe, K. Ito, 2008)."""
WIDTH_IN, HEIGHT_IN = 8.0, 3.0
_STYLE: Any = {
    "svg.hashsalt": "signalbox",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
}
Scale = Literal["linear", "log"]


@dataclass(frozen=True, slots=True)
class Line:
    """Points of one thing. ``None`` is a gap; ``low`` and ``high`` are its spread."""

    name: str
    x: Sequence[float]
    y: Sequence[float | None]
    low: Sequence[float | None] = field(default=())
    high: Sequence[float | None] = field(default=())
    points: bool = False
    """Each value is marked: there are few."""


def lines(
    title: str,
    x_label: str,
    y_label: str,
    drawn: Sequence[Line],
    *,
    x_scale: Scale = "linear",
    y_scale: Scale = "linear",
) -> str:
    """Lines over one axis, with their spread as a band; an SVG document."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), layout="constrained")
        axes = figure.add_subplot()
        for line, colour in zip(drawn, COLOURS * (1 + len(drawn) // len(COLOURS)), strict=False):
            values = [float("nan") if one is None else one for one in line.y]
            axes.plot(line.x, values, color=colour, label=line.name, marker="o" if line.points else "", markersize=4)
            if line.low and line.high:
                low, high = ([float("nan") if one is None else one for one in some] for some in (line.low, line.high))
                axes.fill_between(line.x, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.set_xscale(x_scale)
        axes.set_yscale(y_scale)
        for axis, scale in ((axes.xaxis, x_scale), (axes.yaxis, y_scale)):
            if scale == "log":
                axis.set_major_formatter(FuncFormatter(_plain))
                axis.set_minor_formatter(FuncFormatter(_plain_of_some))
        if y_scale == "linear":
            axes.set_ylim(bottom=0)
        if any(line.name for line in drawn):
            axes.legend(loc="best")
        return _svg(figure)


def bars(title: str, y_label: str, names: Sequence[str], parts: dict[str, Sequence[float]]) -> str:
    """A bar for each name, made of parts one above the other; an SVG document."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), layout="constrained")
        axes = figure.add_subplot()
        below = [0.0] * len(names)
        for (part, values), colour in zip(parts.items(), COLOURS * (1 + len(parts) // len(COLOURS)), strict=False):
            axes.bar(names, values, bottom=below, color=colour, label=part, width=0.6)
            below = [one + other for one, other in zip(below, values, strict=True)]
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_ylabel(y_label)
        axes.grid(visible=False, axis="x")
        axes.legend(loc="best")
        return _svg(figure)


def _plain(value: float, _position: int | None) -> str:
    """Not as a power of ten."""
    return f"{value:,.10g}"


def _plain_of_some(value: float, position: int | None) -> str:
    """2 and 5 of each decade: there is no room for more."""
    return _plain(value, position) if f"{value:e}"[0] in "25" else ""


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()
