"""The ``signalbox`` command: starts the processes and talks to a running cluster.

Exit codes: 0 done, 1 refused, 2 used wrongly, 3 nobody there to answer.
"""

from __future__ import annotations

import click

from signalbox.commands import processes


class Commands(click.Group):
    """Those that run a process are there at once. The others are imported when one of them, or the list, is asked for:
    a process that starts need not wait 0.3 s for them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all."""
        self._complete()
        return super().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One of them; None if there is none."""
        if cmd_name not in self.commands:
            self._complete()
        return super().get_command(ctx, cmd_name)

    def _complete(self) -> None:
        from signalbox.commands import others

        for command in others.COMMANDS:
            self.add_command(command)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="signalbox")
def main() -> None:
    """Signalbox: a rule decides where every call to a service number goes."""


for command in processes.COMMANDS:
    main.add_command(command)
