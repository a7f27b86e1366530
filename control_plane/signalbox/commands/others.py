"""All commands but those that run a process: imported when one of them is wanted, so that no process waits for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    import click

for command in entries.COMMANDS:
    rules.GROUPS["ScreeningList"].add_command(command)
rules.GROUPS["Trunk"].add_command(trunkhealth.health)
for command in promptaudio.COMMANDS:
    rules.GROUPS["Prompt"].add_command(command)
for command in recordingfetch.COMMANDS:
    recordings.recordings.add_command(command)

COMMANDS: tuple[click.Command, ...] = (
    *rules.GROUPS.values(),
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
