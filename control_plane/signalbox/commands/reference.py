"""Makes ``docs/cli.md`` of the commands: ``signalbox cli-doc [--check] docs/cli.md``."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING

import click

from signalbox.commands.connection import CONNECTION_OPTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD = """# The command

<!-- Made by `signalbox cli-doc` from the commands: change those, not this. -->

`signalbox` starts the processes and talks to a running cluster. Exit codes: 0 done, 1 refused, 2 used wrongly, 3 nobody
there to answer. `-h` after any command tells what is here; `source <(signalbox completion bash)` completes all of it.

[Provisioning](provisioning.md) shows the commands at work, [rules from a file](applying-rules.md) how to write many
objects at once.
"""

CONNECTING = """## Which cluster

Commands marked with ⇄ talk to a service and take these options, too. Without any they find the cluster of
`var/cluster.json`.
"""


def render(root: click.Command) -> str:
    """The document as Markdown: a section for each command, in the order of the alphabet."""
    context = click.Context(root, info_name="signalbox")
    commands = list(_commands(root, context))
    connecting = next(context for context in commands if _connects(context))
    parts = [HEAD, CONNECTING, _table(_options(connecting, of_connection=True))]
    for found in commands:
        parts += _section(found)
    return "\n".join(parts)


def _commands(command: click.Command, context: click.Context) -> Iterator[click.Context]:
    """A context for each command below one, groups before what is in them."""
    if isinstance(command, click.Group):
        for name in sorted(command.list_commands(context)):
            inner = command.get_command(context, name)
            if inner is not None and not inner.hidden:
                within = click.Context(inner, info_name=name, parent=context)
                yield within
                yield from _commands(inner, within)


def _section(context: click.Context) -> Iterator[str]:
    command = context.command
    depth = context.command_path.count(" ")
    yield f"{'#' * (depth + 1)} {context.command_path.partition(' ')[2]}{' ⇄' if _connects(context) else ''}\n"
    yield f"{inspect.cleandoc(command.help or '')}\n"
    if isinstance(command, click.Group):
        return
    yield f"    {' '.join([context.command_path, *command.collect_usage_pieces(context)])}\n"
    options = _options(context, of_connection=False)
    if options:
        yield _table(options)


def _options(context: click.Context, *, of_connection: bool) -> list[tuple[str, str]]:
    """Flags and meanings of a command's options: those by which it reaches a service, or all others."""
    connects = _connects(context)
    records = []
    for parameter in context.command.params:
        record = parameter.get_help_record(context) if isinstance(parameter, click.Option) else None
        if record is not None and (connects and parameter.name in CONNECTION_OPTIONS) is of_connection:
            records.append(record)
    return records


def _connects(context: click.Context) -> bool:
    return {parameter.name for parameter in context.command.params}.issuperset(CONNECTION_OPTIONS)


def _table(options: list[tuple[str, str]]) -> str:
    rows = [f"| `{_cell(flags)}` | {_cell(meaning)} |" for flags, meaning in options]
    return "\n".join(["| option | meaning |\n|---|---|", *rows, ""])


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


@click.command("cli-doc")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--check", is_flag=True, help="Write nothing; fail if the file is not what would be written.")
@click.pass_context
def cli_doc(context: click.Context, file: Path, check: bool) -> None:
    """Write the reference of the commands to FILE."""
    text = render(context.find_root().command)
    if not check:
        file.write_text(text)
    elif not file.exists() or file.read_text() != text:
        raise click.ClickException(f"{file} is out of date: run signalbox cli-doc {file}")
