"""Secrets in files."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from signalbox import secretfile
from signalbox.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_secret_is_made_once_and_private(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "token"
    secret = secretfile.read_or_make(file)
    assert len(secret) >= 40
    assert secretfile.read_or_make(file) == secret
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(file.parent.iterdir()) == [file]


def test_whoever_comes_at_once_gets_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        secrets = set(pool.map(lambda _: secretfile.read_or_make(tmp_path / "token"), range(64)))
    assert len(secrets) == 1


def test_one_that_is_there_is_taken(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(" given \n")
    assert secretfile.read_or_make(tmp_path / "token") == "given"


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff"])
def test_a_file_that_holds_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(ConfigurationError, match="token"):
        secretfile.read_or_make(tmp_path / "token")


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="token"):
        secretfile.read_or_make(tmp_path / "file" / "token")


def test_a_secret_that_others_must_have_too_is_not_made(tmp_path: Path) -> None:
    file = tmp_path / "key"
    with pytest.raises(ConfigurationError, match=r"routing.some_file: .*key does not exist"):
        secretfile.read(file, "routing.some_file")
    file.write_text("secret\n")
    assert secretfile.read(file, "routing.some_file") == b"secret"


def _mounted(directory: Path, generation: str, **files: str) -> None:
    """As Kubernetes mounts a Secret: files are links through ..data to a folder that is replaced as a whole."""
    folder = directory / f"..{generation}"
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_text(content)
        (folder / name).chmod(0o440)
        if not (directory / name).is_symlink():
            (directory / name).symlink_to(f"..data/{name}")
    (directory / "..data_tmp").symlink_to(folder.name)
    (directory / "..data_tmp").rename(directory / "..data")


def test_a_secret_that_kubernetes_mounts_is_read_and_read_again(tmp_path: Path) -> None:
    _mounted(tmp_path, "2026_1", key="one\n")
    assert secretfile.read_or_make(tmp_path / "key") == "one"
    assert secretfile.read(tmp_path / "key", "edge.cluster_key_file") == b"one"
    _mounted(tmp_path, "2026_2", key="two\n")
    assert secretfile.read_or_make(tmp_path / "key") == "two"
    assert (tmp_path / "key").is_symlink()


def test_where_nothing_can_be_written_it_is_told_which_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mount without the key, read-only; root may write in a folder of mode 0555."""

    def refuse(path: str | Path, *_: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    _mounted(tmp_path, "2026_1", other="x")
    monkeypatch.setattr(secretfile.os, "open", refuse)
    with pytest.raises(ConfigurationError, match=rf"^{tmp_path}/objects.key: .*Read-only file system"):
        secretfile.read_or_make(tmp_path / "objects.key")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["..2026_1", "..data", "other"]
