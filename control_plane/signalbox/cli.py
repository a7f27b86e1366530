"""The ``signalbox`` command: starts the processes and talks to a running cluster.

Exit codes: 0 done, 1 refused, 2 used wrongly, 3 nobody there to answer.
"""

from __future__ import annotations

import click

from signalbox.commands import apikeys, apply, calls, completion, entries, explain, processes, rules
from signalbox.settings_doc import settings_doc


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="signalbox")
def main() -> None:
    """Signalbox: a rule decides where every call to a service number goes."""


_OTHERS = (apikeys.api_keys, apply.apply, explain.explain, calls.calls, completion.completion, settings_doc)

for command in entries.COMMANDS:
    rules.GROUPS["ScreeningList"].add_command(command)
for command in (*processes.COMMANDS, *rules.GROUPS.values(), *_OTHERS):
    main.add_command(command)
