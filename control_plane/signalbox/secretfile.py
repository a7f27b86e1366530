"""Secrets in files: shared by processes of one machine, made by whichever comes first."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

from signalbox.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

SECRET_BYTES = 32


def read_or_make(file: Path) -> str:
    """The secret in a file, URL-safe text without white space; made (mode 0600) if there is none.

    Any number of processes may ask at once: all get the same one. Raises ConfigurationError if the file cannot be read
    or made, or is empty.
    """
    try:
        if not file.exists():
            _make(file)
        secret = file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file}: {error}") from error
    if not secret:
        raise ConfigurationError(f"{file}: holds no secret")
    return secret


def read(file: Path, setting: str) -> bytes:
    """The secret in a file that must be there, for all who share it must have the same one; ``setting`` names it.

    Raises ConfigurationError.
    """
    if not file.exists():
        raise ConfigurationError(f"{setting}: {file} does not exist")
    return read_or_make(file).encode()


def _make(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as out:
            out.write(secrets.token_urlsafe(SECRET_BYTES) + "\n")
        try:
            # A link, unlike a rename, does not replace a file that another process has just made.
            os.link(temporary, file)
        except FileExistsError:
            return
    finally:
        temporary.unlink(missing_ok=True)
