"""All files are looked at before a run, in seconds."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from hiast.data import FolderDataModule
from hiast.data.checks.headers import check_headers
from hiast.errors import InputError


def write(folder: Path, count: int = 3) -> None:
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
        for index in range(count):
            Image.new("L", (8, 4), index).save(folder / kind / f"{index}.png")


def module(folder: Path, **options: object) -> FolderDataModule:
    return FolderDataModule(
        folder, "images/{name}.png", "labels/{name}.png", names=["a", "b", "c"], **options
    )


def test_whole_files_pass(tmp_path: Path) -> None:
    write(tmp_path)
    check_headers(module(tmp_path).train_dataset())
    check_headers(module(tmp_path).train_dataset(labeled=False))


@pytest.mark.parametrize(("kind", "labeled"), [("images", False), ("images", True), ("labels", True)])
def test_a_file_that_is_not_a_picture_is_named(tmp_path: Path, kind: str, labeled: bool) -> None:
    write(tmp_path, 9)
    dataset = module(tmp_path).train_dataset(labeled=labeled)
    (tmp_path / kind / "5.png").write_text("not a picture")
    with pytest.raises(InputError, match=rf"{kind}/5\.png"):
        check_headers(dataset)


def test_a_label_of_another_size_is_named(tmp_path: Path) -> None:
    write(tmp_path)
    for index in (1, 2):
        Image.new("L", (4, 4)).save(tmp_path / f"labels/{index}.png")
    with pytest.raises(InputError, match=r"labels/1\.png 4 x 4 \(and 1 more pairs\): .*size_mismatch"):
        check_headers(module(tmp_path).train_dataset())
    check_headers(module(tmp_path, size_mismatch="resize").train_dataset())


def test_the_first_images_alone(tmp_path: Path) -> None:
    write(tmp_path)
    assert len(module(tmp_path, max_images=2).train_dataset()) == 2
    assert len(module(tmp_path, max_images=9).train_dataset()) == 3
    with pytest.raises(InputError, match="max_images is 0"):
        module(tmp_path, max_images=0)


def test_ranks_without_images_are_allowed(tmp_path: Path) -> None:
    """Lightning's constructor sets the flag of the class back."""
    write(tmp_path)
    assert module(tmp_path).allow_zero_length_dataloader_with_multiple_devices
