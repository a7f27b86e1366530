"""``signalbox speech``: the parts that numbers, times and amounts are spoken of. See docs/speech.md."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from signalbox.commands.failure import UnreachableError
from signalbox.commands.output import print_table
from signalbox.commands.processes import config_option, load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

language_option = click.option("--language", required=True, metavar="TAG", help="BCP 47, e.g. zh-CN or en.")


@contextmanager
def _told() -> Iterator[None]:
    """Turn what goes wrong into messages and exit codes."""
    # Loads what other commands need not wait for.
    from signalbox.errors import ConfigurationError, InvalidFieldError, ObjectsUnavailableError
    from signalbox.speech.espeak import SpeechUnavailableError

    try:
        yield
    except ConfigurationError as error:
        raise click.UsageError(str(error)) from error
    except (SpeechUnavailableError, ObjectsUnavailableError) as error:
        raise UnreachableError(str(error)) from error
    except InvalidFieldError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from error


@click.group()
def speech() -> None:
    """Make and store what numbers, times and amounts are spoken of. docs/speech.md tells how."""


@speech.command("list")
@language_option
def list_parts(language: str) -> None:
    """Show the names of all parts of a language and what they say, for whoever records them."""
    from signalbox.speech.languages import language_of
    from signalbox.speech.spoken import parts_of

    with _told():
        print_table(["part", "says"], parts_of(language_of(language)).items())


@speech.command("parts")
@language_option
@click.option(
    "--to", "folder", required=True, type=click.Path(path_type=Path, file_okay=False), help="Where they are put."
)
@click.option(
    "--recordings",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder with recordings that take the place of parts, each named by its part: zh.1.wav.",
)
def parts(language: str, folder: Path, recordings: Path | None) -> None:
    """Make all parts of a language, by espeak-ng and of recordings: audio, and a manifest."""
    from signalbox.speech import parts as libraries
    from signalbox.speech.espeak import synthesize
    from signalbox.speech.languages import language_of

    with _told():
        recorded = _recordings(recordings) if recordings else {}
        library = asyncio.run(libraries.build(language_of(language), synthesize, recorded))
        libraries.write(library, folder)
    click.echo(f"{folder}: {len(library.manifest.parts)} parts, {len(recorded)} of recordings")


def _recordings(folder: Path) -> dict[str, bytes]:
    """Files by the parts that they are named by; hidden ones are left out."""
    found: dict[str, bytes] = {}
    for file in sorted(folder.iterdir()):
        if not file.name.startswith("."):
            if file.stem in found:
                raise click.ClickException(f"{file}: there is another recording of {file.stem}")
            found[file.stem] = file.read_bytes()
    return found


@speech.command("store")
@config_option
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
def store(config: Path | None, folder: Path) -> None:
    """Store what `speech parts` has put into FOLDER in the object store, in place of what there was of its language."""
    from signalbox.speech import parts as libraries
    from signalbox.store.objectstore import ObjectStore

    settings = load_settings(config)
    with _told():
        library = libraries.read(folder)
        stored = asyncio.run(libraries.store(library, ObjectStore.open(settings.objects)))
    language = library.manifest.language.value
    click.echo(
        f"{language}: {len(library.manifest.parts)} parts stored, {stored} of {len(library.files)} files were new"
    )
