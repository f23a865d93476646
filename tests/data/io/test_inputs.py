"""What commands take as images: a file, a folder, a pattern, a list; everything else in a folder is passed over."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hiast.data.io.inputs import find_images
from hiast.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images in two folders among files of other kinds."""
    folder = tmp_path / "images"
    (folder / "night").mkdir(parents=True)
    for name in ("0.png", "1.JPG", "night/0.webp", "2.tif"):
        Image.fromarray(np.zeros((4, 5, 3), np.uint8)).save(folder / name)
    (folder / "2.tif").rename(folder / "unnamed")
    (folder / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0" + bytes(600))
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / "._0.png").write_bytes(b"\0\5\x16\7" + bytes(60))
    (folder / "list.txt").write_text("0\n1\n")
    (folder / "drive.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(100))
    (folder / "0.json").write_text("{}")
    return folder


def names(source: Path | str) -> list[str]:
    return [pair.name for pair in find_images(source)]


def test_a_folder_holds_its_images_and_the_rest_is_logged_once(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert names(folder) == ["0", "1", "night/0", "unnamed"]
    (line,) = caplog.messages
    assert "6 files are not images and are passed over" in line
    assert "Thumbs.db" in line


def test_a_single_image_a_pattern_and_a_list(folder: Path) -> None:
    assert names(folder / "1.JPG") == ["1"]
    assert names(f"{folder}/*.png") == ["0"]
    assert names(f"{folder}/**/0.*") == ["0", "night/0"]
    (folder.parent / "some.txt").write_text("images/night/0.webp\n# comment\nimages/0.png\n")
    assert names(folder.parent / "some.txt") == ["0", "night/0"]
    (folder / "lists").mkdir()
    (folder / "lists/some.txt").write_text("../0.png\n../night/0.webp\n")
    assert names(folder / "lists/some.txt") == ["0", "night/0"]
    (folder.parent / "some.txt").write_text("images/9.png\n")
    with pytest.raises(InputError, match=r"some\.txt names 'images/9\.png', which is not a file"):
        find_images(folder.parent / "some.txt")


def test_a_damaged_image_is_listed_to_be_refused(folder: Path) -> None:
    (folder / "3.png").write_bytes(b"")
    assert "3" in names(folder)


def test_images_of_one_stem_keep_their_suffix(folder: Path) -> None:
    Image.fromarray(np.zeros((4, 5, 3), np.uint8)).save(folder / "0.bmp")
    assert names(folder) == ["0.bmp", "0.png", "1", "night/0", "unnamed"]


def test_nothing_there(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither an image, a folder nor a list file"):
        find_images(tmp_path / "none")
    with pytest.raises(InputError, match="no file matches"):
        find_images(f"{folder}/*.heic")
    for name in ("0.png", "1.JPG", "night/0.webp", "unnamed"):
        (folder / name).unlink()
    with pytest.raises(InputError, match=r"holds no images; there are .*Thumbs\.db"):
        find_images(folder)
