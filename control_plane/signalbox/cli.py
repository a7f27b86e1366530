"""The ``signalbox`` command: starts the processes and talks to a running cluster.

Exit codes: 0 done, 1 refused, 2 used wrongly, 3 nobody there to answer.
"""

from __future__ import annotations

import click

from signalbox.commands import (
    apikeys,
    apply,
    audit,
    calls,
    completion,
    entries,
    etcd,
    explain,
    exporting,
    health,
    importing,
    inventory,
    processes,
    promptaudio,
    recordingfetch,
    recordings,
    reference,
    replay,
    rules,
    speech,
    testcall,
    trunkhealth,
    watch,
)
from signalbox.settings_doc import settings_doc


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="signalbox")
def main() -> None:
    """Signalbox: a rule decides where every call to a service number goes."""


_OTHERS = (
    apikeys.api_keys,
    apply.apply,
    audit.audit,
    etcd.etcd,
    explain.explain,
    importing.importing,
    exporting.exporting,
    inventory.inventory,
    watch.watch,
    calls.calls,
    recordings.recordings,
    replay.replay,
    speech.speech,
    testcall.test_call,
    health.health,
    completion.completion,
    reference.cli_doc,
    settings_doc,
)

for command in entries.COMMANDS:
    rules.GROUPS["ScreeningList"].add_command(command)
rules.GROUPS["Trunk"].add_command(trunkhealth.health)
for command in promptaudio.COMMANDS:
    rules.GROUPS["Prompt"].add_command(command)
for command in recordingfetch.COMMANDS:
    recordings.recordings.add_command(command)
for command in (*processes.COMMANDS, *rules.GROUPS.values(), *_OTHERS):
    main.add_command(command)
