"""What a run leaves out is found once, kept in a file, and left out by every later start."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hiast.data import (
    AdaptationDataModule,
    CityscapesDataModule,
    GTA5DataModule,
    JoinedDataModule,
    SYNTHIADataModule,
)
from hiast.data.augmentation.fourier import FourierTowardsSource
from hiast.data.augmentation.weak import RandomSizedCrop, WeakAugmentation
from hiast.data.checks.skip_list import SkipList
from hiast.errors import InputError

WEAK = WeakAugmentation(RandomSizedCrop(32, 64, 40, 90))


def make(root: Path, record: Path | None = None, source=None, domains=("source", "target")):
    module = AdaptationDataModule(
        source or GTA5DataModule(root, unreadable="skip"),
        CityscapesDataModule(root, unreadable="skip"),
        source_augmentation=WEAK,
        target_augmentation=WEAK,
        num_workers=0,
    )
    if record is not None:
        module.use_skip_list(record)
    return module.with_plan(domains, batch_size=2, steps=3)


def names(module: AdaptationDataModule) -> list:
    return [[*batch["name"]] for loader in module.train_dataloader().values() for batch in loader]


@pytest.fixture
def broken(drawn_copy: Path) -> list[Path]:
    """An image of each role, emptied."""
    paths = [
        sorted((drawn_copy / folder).rglob("*.png"))[1]
        for folder in ("GTA5/images", "cityscapes/leftImg8bit/train", "cityscapes/leftImg8bit/val")
    ]
    for path in paths:
        path.write_bytes(b"")
    return paths


def test_the_first_start_decides_for_all(drawn_copy: Path, tmp_path: Path, broken: list[Path]) -> None:
    record = tmp_path / "run/skipped.json"
    first = make(drawn_copy, record)
    first.prepare_data()
    kept = json.loads(record.read_text())
    assert list(kept) == ["source/train", "target/train", "target/val"]
    for entry, path in zip(kept.values(), broken, strict=True):
        ((name, reason),) = entry.items()
        assert name.endswith(path.stem)
        assert reason == f"{path} is empty; fetch it again."
    wanted = names(first)

    whole = sorted((drawn_copy / "GTA5/images").glob("*.png"))[0].read_bytes()
    broken[0].write_bytes(whole)  # repaired meanwhile
    assert names(make(drawn_copy, record)) == wanted
    assert json.loads(record.read_text()) == kept
    assert names(make(drawn_copy)) != wanted


def test_only_what_is_needed_is_looked_for(drawn_copy: Path, tmp_path: Path, broken: list[Path]) -> None:
    record = tmp_path / "skipped.json"
    make(drawn_copy, record, GTA5DataModule(tmp_path), domains=("target",)).prepare_data()
    assert list(json.loads(record.read_text())) == ["target/train", "target/val"]
    make(drawn_copy, record).prepare_data()
    assert set(json.loads(record.read_text())) == {"source/train", "target/train", "target/val"}


def test_source_images_that_a_strong_view_needs_are_looked_for(
    drawn_copy: Path, tmp_path: Path, broken: list[Path]
) -> None:
    record = tmp_path / "skipped.json"
    module = make(drawn_copy, record)
    module.strong = FourierTowardsSource()
    module = module.with_plan(("target",), batch_size=2, steps=3, round=1, round_directory=tmp_path / "round")
    module.prepare_data()
    assert set(json.loads(record.read_text())) == {"source/train", "target/train", "target/val"}


def test_nothing_is_written_where_nothing_is_skipped(drawn_data: Path, tmp_path: Path) -> None:
    module = AdaptationDataModule(
        GTA5DataModule(drawn_data),
        CityscapesDataModule(drawn_data),
        source_augmentation=WEAK,
        target_augmentation=WEAK,
        num_workers=0,
    )
    module.use_skip_list(tmp_path / "skipped.json")
    module = module.with_plan(("source", "target"), 2, 3)
    module.prepare_data()
    assert len(names(module)) == 6
    assert not (tmp_path / "skipped.json").exists()


def test_each_of_several_sources_has_its_own(drawn_copy: Path, tmp_path: Path, broken: list[Path]) -> None:
    options = {"unreadable": "skip"}
    source = JoinedDataModule(
        [GTA5DataModule(drawn_copy, **options), SYNTHIADataModule(drawn_copy, **options)]
    )
    record = tmp_path / "skipped.json"
    make(drawn_copy, record, source).prepare_data()
    kept = json.loads(record.read_text())
    assert [len(kept[key]) for key in ("source/GTA5/train", "source/SYNTHIA/train")] == [1, 0]


@pytest.mark.parametrize("content", ["{", "[]", '{"source/train": ["a"]}'])
def test_a_damaged_list_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "skipped.json").write_text(content)
    with pytest.raises(InputError, match=r"skipped\.json is damaged.*remove it"):
        SkipList(tmp_path / "skipped.json").read("source/train")
