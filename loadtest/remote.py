"""``python -m loadtest.remote --shape steady ...``: Locust with our users, on a cluster that is there."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from loadtest import shapes

if TYPE_CHECKING:
    from collections.abc import Sequence


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": ["-h", "--help"]})
@click.option(
    "--shape", type=click.Choice(shapes.NAMES), default="busy_hour", show_default=True, help="Calls over time."
)
@click.argument("locust", nargs=-1, type=click.UNPROCESSED)
def main(shape: str, locust: Sequence[str]) -> None:
    """Become Locust with this shape. LOCUST: its options and those of the load test: docs/load-testing.md."""
    os.execv(sys.executable, [sys.executable, "-m", "locust", "-f", shapes.files(shape), *locust])


if __name__ == "__main__":
    main()
