from __future__ import annotations

import logging
import pickle
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from hiast.classes import (
    CITYSCAPES_19,
    CITYSCAPES_IDS,
    CITYSCAPES_TO_ROBOTCAR,
    ROBOTCAR_9,
    ROBOTCAR_IDS,
    SYNTHIA_IDS,
    LabelSpace,
)
from hiast.data import GTA5DataModule
from hiast.data.augmentation.weak import RandomSizedCrop, WeakAugmentation
from hiast.data.datasets import cityscapes, gta5, robotcar, synthia
from hiast.data.geometry import Window
from hiast.data.io.cache import CachedReader, cached_path, prepare
from hiast.data.io.cached_image import ZSTD_TILES
from hiast.data.io.images import ImageReader
from hiast.data.io.label_colors import ColorIds
from hiast.data.io.labels import read_first_channel
from hiast.data.io.listing import Listing
from hiast.data.loading.augmented import AugmentedDataset
from hiast.data.loading.class_counts import count_class_pixels
from hiast.data.loading.segmentation import SegmentationDataset, to_planes
from hiast.data.sample import Draw
from hiast.errors import InputError


def naive_classes(raw: np.ndarray, ids: Mapping[int, int]) -> np.ndarray:
    return np.array([[ids.get(value, 255) for value in row] for row in raw.tolist()], np.uint8)


def raw_ids(path: Path) -> np.ndarray:
    """Ids as another library reads them; of a 16-bit RGB file Pillow keeps the upper byte only."""
    pixels = np.asarray(Image.open(path))
    return pixels if pixels.ndim == 2 else pixels[..., 0]


@pytest.mark.parametrize(
    ("listing", "ids"),
    [
        (lambda root: gta5.list_gta5(root), CITYSCAPES_IDS),
        (lambda root: cityscapes.list_cityscapes(root, "train"), CITYSCAPES_IDS),
        (lambda root: robotcar.list_robotcar(root, "val"), ROBOTCAR_IDS),
    ],
)
def test_reads_what_pillow_reads(drawn_data: Path, listing, ids: Mapping[int, int]) -> None:
    dataset = SegmentationDataset(listing(drawn_data))
    for index, pair in enumerate(dataset.listing.pairs):
        image = np.asarray(Image.open(pair.image).convert("RGB"))
        np.testing.assert_array_equal(dataset.read_image(index), image)
        assert pair.label is not None
        np.testing.assert_array_equal(dataset.read_label(index), naive_classes(raw_ids(pair.label), ids))
        assert dataset.image_size(index) == image.shape[:2]
        window = Window(3, 5, 20, 31)
        np.testing.assert_array_equal(dataset.read_image_window(index, window), image[3:23, 5:36])
        sample = dataset[index]
        np.testing.assert_array_equal(sample["image"].numpy(), image.transpose(2, 0, 1))
        np.testing.assert_array_equal(sample["label"].numpy(), dataset.read_label(index))
        assert sample["name"] == pair.name == dataset.names[index]


def test_synthia_ids_are_the_first_of_sixteen_bit_channels(tmp_path: Path) -> None:
    import cv2

    root = tmp_path / "SYNTHIA_RAND_CITYSCAPES/RAND_CITYSCAPES"
    (root / "RGB").mkdir(parents=True)
    (root / "GT/LABELS").mkdir(parents=True)
    raw = np.random.default_rng(0).integers(0, 24, (12, 16)).astype(np.uint16)
    instance = np.random.default_rng(1).integers(0, 60000, (12, 16)).astype(np.uint16)
    Image.fromarray(np.zeros((12, 16, 3), np.uint8)).save(root / "RGB/0000000.png")
    cv2.imwrite(str(root / "GT/LABELS/0000000.png"), np.dstack([np.zeros_like(raw), instance, raw]))
    dataset = SegmentationDataset(synthia.list_synthia(tmp_path))
    np.testing.assert_array_equal(dataset.read_label(0), naive_classes(raw, SYNTHIA_IDS))
    absent = {dataset.classes.index(name) for name in ("terrain", "truck", "train")}
    assert dataset.classes_present == frozenset(range(19)) - absent


def test_class_map_merges_and_drops(drawn_data: Path) -> None:
    own = SegmentationDataset(cityscapes.list_cityscapes(drawn_data, "val"))
    mapped = SegmentationDataset(own.listing, ROBOTCAR_9, CITYSCAPES_TO_ROBOTCAR)
    table = {0: 8, 1: 7, 2: 6, 6: 5, 7: 4, 10: 0, 11: 1, 12: 1, 13: 3, 14: 3, 15: 3, 17: 2, 18: 2}
    for index in range(len(own)):
        np.testing.assert_array_equal(mapped.read_label(index), naive_classes(own.read_label(index), table))
    assert mapped.classes_present == frozenset(range(9))
    with pytest.raises(InputError, match=r"Cityscapes val: Class 'road'.*class_map"):
        SegmentationDataset(own.listing, LabelSpace(("a", "b"), ((0, 0, 0), (1, 1, 1))))


def tiny(root: Path, count: int = 4, labels: tuple[int, int] = (12, 16)) -> Listing:
    (root / "GTA5/images").mkdir(parents=True)
    (root / "GTA5/labels").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(count):
        Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).save(root / f"GTA5/images/{i}.png")
        ids = rng.choice([7, 8, 33, 0], labels).astype(np.uint8)
        Image.fromarray(ids).save(root / f"GTA5/labels/{i}.png")
    return gta5.list_gta5(root)


def test_sizes_of_a_pair_differ(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    listing = tiny(tmp_path)
    odd = np.random.default_rng(1).choice([7, 33], (6, 8)).astype(np.uint8)
    Image.fromarray(odd).save(tmp_path / "GTA5/labels/2.png")
    with caplog.at_level(logging.WARNING):
        dataset = SegmentationDataset(listing)  # as GTA5 says: resized
        label = dataset.read_label(2)
        dataset.read_label(2)
    np.testing.assert_array_equal(label, naive_classes(odd, CITYSCAPES_IDS).repeat(2, 0).repeat(2, 1))
    assert len(caplog.records) == 1
    assert "2.png has 16 x 12 pixels and" in caplog.text
    with pytest.raises(InputError, match=r"images/2\.png has 16 x 12 pixels and .*labels/2\.png 8 x 6"):
        SegmentationDataset(listing, size_mismatch="error").read_label(2)
    skipping = SegmentationDataset(listing, size_mismatch="skip")
    assert skipping.names == ("0", "1", "3")
    assert list(skipping.skipped) == ["2"]


@pytest.mark.parametrize("kind", ["images", "labels"])
def test_unreadable_files_stop_or_are_skipped_for_the_whole_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    listing = tiny(tmp_path)
    path = tmp_path / f"GTA5/{kind}/1.png"
    path.write_bytes(path.read_bytes()[:-20])
    stopping = SegmentationDataset(listing)
    assert len(stopping) == 4
    with pytest.raises(InputError, match=rf"{kind}/1\.png is damaged or cut off"):
        stopping[1]
    with caplog.at_level(logging.WARNING):
        skipping = SegmentationDataset(listing, unreadable="skip")
    assert skipping.names == ("0", "2", "3")
    assert str(path) in skipping.skipped["1"]
    assert "1 of 4 images skipped" in caplog.text
    for index, name in enumerate(skipping.names):
        np.testing.assert_array_equal(skipping.read_image(index), stopping.read_image(int(name)))
    for i in range(4):
        (tmp_path / f"GTA5/{kind}/{i}.png").write_bytes(b"")
    with pytest.raises(InputError, match="holds no images"):
        SegmentationDataset(listing, unreadable="skip")


def test_labels_are_checked_as_they_are_read(tmp_path: Path) -> None:
    listing = tiny(tmp_path)
    pixels = np.full((12, 16, 3), (7, 8, 9), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "GTA5/labels/1.png", format="JPEG")
    Image.fromarray(pixels).save(tmp_path / "GTA5/labels/2.png")
    dataset = SegmentationDataset(listing, unreadable="skip")
    assert dataset.names == ("0", "3")
    assert "is a JPEG" in dataset.skipped["1"]
    assert "holds colors" in dataset.skipped["2"]


def test_a_recorded_list_stands_for_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listing = tiny(tmp_path)
    (tmp_path / "GTA5/images/2.png").write_bytes(b"")
    found = SegmentationDataset(listing, unreadable="skip").skipped
    monkeypatch.setattr(ImageReader, "check", lambda *a: pytest.fail("checked again"))
    again = SegmentationDataset(listing, unreadable="skip", skipped={**found, "gone": "no longer there"})
    assert again.names == ("0", "1", "3")
    assert again.skipped == found


def test_a_long_check_says_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("hiast.data.checks.screening._SECONDS", 0)
    with caplog.at_level(logging.INFO):
        SegmentationDataset(tiny(tmp_path), unreadable="skip")
    assert "Checked 2 of 4 pairs of GTA5" in caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unreadable": "skp"}, "unreadable is 'skp': choose stop or skip"),
        ({"size_mismatch": "drop"}, "size_mismatch is 'drop': choose error, resize or skip"),
    ],
)
def test_unknown_choices(drawn_data: Path, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        SegmentationDataset(gta5.list_gta5(drawn_data), **options)
    with pytest.raises(InputError, match=message):
        GTA5DataModule(drawn_data, **options)


def test_labels_of_void_alone_do_not_speak_against_the_table(tmp_path: Path) -> None:
    listing = tiny(tmp_path, count=12)
    for i in range(12):
        ids = np.full((12, 16), 7 if i == 5 else 0, np.uint8)
        Image.fromarray(ids).save(tmp_path / f"GTA5/labels/{i}.png")
    SegmentationDataset(listing).check_ids()
    (tmp_path / "GTA5/labels/5.png").write_bytes((tmp_path / "GTA5/labels/4.png").read_bytes())
    with pytest.raises(InputError, match=r"labels of GTA5 hold the ids 0, none of which"):
        SegmentationDataset(listing).check_ids()


def test_color_table_that_does_not_fit(tmp_path: Path) -> None:
    listing = tiny(tmp_path)
    for path in (tmp_path / "GTA5/labels").iterdir():
        Image.fromarray(np.full((12, 16, 3), (7, 8, 9), np.uint8)).save(path)
    table = replace(listing, ids={0: 0}, decode=ColorIds({(1, 2, 3): 0, (0, 0, 0): 1}))
    with pytest.raises(InputError, match=r"hold the colors 7,8,9, none of which .* color table \(1,2,3\)"):
        SegmentationDataset(table).check_ids()


def test_larger_pictures_than_asked_for_are_refused(tmp_path: Path) -> None:
    dataset = SegmentationDataset(tiny(tmp_path), max_pixels=12 * 16 - 1)
    for read in (dataset.read_image, dataset.read_label, dataset.image_size):
        with pytest.raises(InputError, match="more than the limit of 191; remove it or raise max_pixels"):
            read(0)
    with pytest.raises(InputError, match="holds no images"):
        SegmentationDataset(dataset.listing, unreadable="skip", max_pixels=12 * 16 - 1)
    module = GTA5DataModule(tmp_path, max_pixels=12 * 16 - 1)
    with pytest.raises(InputError, match="raise max_pixels"):
        module.train_dataset()


def test_id_table_that_does_not_fit(tmp_path: Path) -> None:
    listing = tiny(tmp_path)
    SegmentationDataset(listing).check_ids()
    wrong = SegmentationDataset(replace(listing, ids={100: 0, 101: 1}))
    with pytest.raises(InputError, match=r"hold the ids 0, 7, 8, 33, none of which.*\(100, 101\)"):
        wrong.check_ids()


def test_without_labels(tmp_path: Path) -> None:
    tiny(tmp_path)
    dataset = SegmentationDataset(gta5.list_gta5(tmp_path, labeled=False))
    assert not dataset.labeled
    assert set(dataset[0]) == {"image", "name"}
    with pytest.raises(InputError, match=r"images/0\.png has no label"):
        dataset.read_label(0)


def full(value: int) -> np.ndarray:
    return np.full((4, 6, 3), value, np.uint8)


def test_another_reader_can_stand_in_for_the_files(tmp_path: Path) -> None:
    class Cache:
        def image_size(self, pair):
            return (4, 6)

        @contextmanager
        def open(self, pair):
            yield SimpleNamespace(
                size=(4, 6), read=lambda window=None: (window or Window(0, 0, 4, 6)).of(full(int(pair.name)))
            )

        def label(self, pair):
            return np.full((4, 6), 7, np.uint8)

    dataset = SegmentationDataset(tiny(tmp_path), reader=Cache())
    assert dataset.read_image(3).mean() == 3
    assert dataset.read_image_window(3, Window(0, 0, 2, 3)).shape == (2, 3, 3)
    assert (dataset.read_label(0) == 0).all()


def test_travels_to_another_process(drawn_data: Path) -> None:
    for listing in (cityscapes.list_cityscapes(drawn_data, "val"), synthia.list_synthia(drawn_data)):
        dataset = SegmentationDataset(listing)
        copy = pickle.loads(pickle.dumps(dataset))
        np.testing.assert_array_equal(copy.read_label(1), dataset.read_label(1))


def test_class_pixels_are_counted_and_kept(tmp_path: Path) -> None:
    dataset = SegmentationDataset(tiny(tmp_path))
    counts = count_class_pixels(dataset, tmp_path / "cache")
    for index in range(len(dataset)):
        for c in range(len(CITYSCAPES_19)):
            assert counts[index, c] == (dataset.read_label(index) == c).sum()
    (kept,) = (tmp_path / "cache").iterdir()
    np.save(kept, counts + 1)
    np.testing.assert_array_equal(count_class_pixels(dataset, tmp_path / "cache"), counts + 1)
    Image.fromarray(np.full((12, 16), 7, np.uint8)).save(tmp_path / "GTA5/labels/0.png")
    assert count_class_pixels(dataset, tmp_path / "cache")[0, 0] == 12 * 16


def test_class_pixels_are_counted_anew_when_labels_are_decoded_otherwise(tmp_path: Path) -> None:
    listing = tiny(tmp_path)
    for path in (tmp_path / "GTA5/labels").iterdir():
        Image.fromarray(np.full((12, 16, 3), (7, 8, 0), np.uint8)).save(path)
    colors = [ColorIds({(7, 8, 0): 7}), ColorIds({(7, 8, 0): 8}), read_first_channel, read_green]
    for decode, held in zip(colors, (0, 1, 0, 1), strict=True):
        counts = count_class_pixels(SegmentationDataset(replace(listing, decode=decode)), tmp_path / "cache")
        assert counts[:, held].tolist() == [12 * 16] * 4
    assert len(list((tmp_path / "cache").iterdir())) == 4
    Image.fromarray(np.full((6, 8, 3), 7, np.uint8)).save(tmp_path / "GTA5/labels/0.png")
    resized = SegmentationDataset(replace(listing, decode=read_first_channel))
    count_class_pixels(resized, tmp_path / "cache")
    with pytest.raises(InputError, match="replace one, or set size_mismatch"):
        count_class_pixels(SegmentationDataset(resized.listing, size_mismatch="error"), tmp_path / "cache")


def read_green(path: Path, max_pixels: int) -> np.ndarray:
    return np.asarray(Image.open(path))[..., 1]


class Opens:
    """Counts how often files are opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        real = Path.open

        def counting(path: Path, *args: object, **options: object) -> object:
            self.names.append("/".join(path.parts[-2:]))
            return real(path, *args, **options)

        monkeypatch.setattr(Path, "open", counting)


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("labeled", [False, True])
def test_an_image_is_opened_once_per_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cached: bool, labeled: bool
) -> None:
    listing = tiny(tmp_path)
    dataset = SegmentationDataset(listing)
    if cached:
        list(prepare(listing, tmp_path, tmp_path / "cache", tiles=ZSTD_TILES, threads=1))
        monkeypatch.setattr("hiast.data.io.cache._is_settled", lambda stamp: True)
        list(prepare(listing, tmp_path, tmp_path / "cache", tiles=ZSTD_TILES, threads=1))
        dataset.reader = CachedReader(listing, tmp_path, tmp_path / "cache")
    augmented = AugmentedDataset(
        dataset, WeakAugmentation(RandomSizedCrop(4, 8, 4, 12)), labeled=labeled, seed=0
    )
    opens = Opens(monkeypatch)
    for index in range(4):
        augmented[Draw(index, index)]
    image = cached_path(tmp_path / "cache", tmp_path, listing.pairs[2].image)
    wanted = "/".join(image.parts[-2:]) if cached else "images/2.png"
    assert opens.names.count(wanted) == 1
    assert cached == ("images/2.png" not in opens.names)
    opens.names.clear()
    dataset[2]
    assert opens.names.count(wanted) == 1


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 6, 3), np.float32),
        np.zeros((4, 6, 1), np.uint8),
        np.zeros((4, 6), np.uint8),
        np.zeros((4, 6, 4), np.uint8),
    ],
)
def test_only_images_become_planes(image: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"uint8 \[H, W, 3\] is needed"):
        to_planes(image)
