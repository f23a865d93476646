from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from hiast.data.io.inputs import find_files
from hiast.files import walk_files, write_atomically, write_json
from hiast.formats.source import Files


def test_links_that_lead_back_end(tmp_path: Path):
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/x.png").touch()
    (tmp_path / "a/b/up").symlink_to(tmp_path)
    assert list(walk_files(tmp_path)) == ["a/b/x.png"]
    assert Files(tmp_path).names() == ["a/b/x.png"]


def test_a_folder_that_cannot_be_read_is_no_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "open").mkdir()
    (tmp_path / "open/x.png").touch()
    (tmp_path / "locked").mkdir()
    scandir = os.scandir

    def refused(place):
        if Path(place).name in ("locked", "lost+found"):
            raise PermissionError(13, "Permission denied", str(place))
        return scandir(place)

    monkeypatch.setattr(os, "scandir", refused)
    for reader in (lambda: list(walk_files(tmp_path)), lambda: find_files(tmp_path), lambda: Files(tmp_path)):
        with pytest.raises(PermissionError, match="locked"):
            reader()
    assert list(walk_files(tmp_path / "missing")) == []
    (tmp_path / "locked").rename(tmp_path / "lost+found")
    assert list(walk_files(tmp_path)) == ["open/x.png"]


def test_an_error_names_the_file_and_not_the_temporary_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError) as raised:
        write_atomically(tmp_path / "folder", b"x")
    assert raised.value.filename == str(tmp_path / "folder") and raised.value.filename2 is None
    with pytest.raises(FileNotFoundError) as raised:
        write_atomically(tmp_path / "missing/x", b"x")
    assert raised.value.filename == str(tmp_path / "missing/x")

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left") as raised:
        write_atomically(tmp_path / "x", full)
    assert raised.value.filename == str(tmp_path / "x")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_names_of_files_that_are_no_utf_8_are_kept(tmp_path: Path):
    name = os.fsdecode(b"d\xe4ta")
    write_json(tmp_path / "x.json", {"place": name, "known": "Straße"})
    assert json.loads((tmp_path / "x.json").read_text("utf-8")) == {"place": name, "known": "Straße"}
    assert "Straße" in (tmp_path / "x.json").read_text("utf-8")
