"""The prepared cache: windows equal those of decoded files, and nothing stale or damaged is ever given out."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import pytest
import tifffile
import torch
from written_rounds import write_round

from hiast.classes import CITYSCAPES_19
from hiast.data.augmentation.copy_paste import HardClassAugmentation
from hiast.data.augmentation.strong import StrongAugmentation
from hiast.data.augmentation.weak import RandomSizedCrop, WeakAugmentation
from hiast.data.datasets import cityscapes, gta5
from hiast.data.io import cache
from hiast.data.io.cache import CachedReader, cached_path, prepare, prepare_image
from hiast.data.io.cached_image import JPEG_TILES, ZSTD_TILES, Tiles, open_image
from hiast.data.io.images import ImageReader, read_image
from hiast.data.loading.pseudo_labeled import PseudoLabeledDataset
from hiast.data.loading.segmentation import SegmentationDataset
from hiast.data.sample import Draw
from hiast.errors import InputError
from hiast.scenes import write_cityscapes, write_gta5

SMALL_TILES = Tiles("zstd", 1, 16, 48)
WAYS = [None, ZSTD_TILES, SMALL_TILES]


@pytest.fixture
def listing(tmp_path: Path, drawn_data: Path):
    """Two Cityscapes scenes that may be changed, an hour old."""
    listing = cityscapes.list_cityscapes(drawn_data, "train")
    pairs = []
    for pair in listing.pairs[:2]:
        copy = tmp_path / "data" / pair.image.relative_to(drawn_data)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(pair.image.read_bytes())
        pairs.append(type(pair)(pair.name, copy, pair.label))
    return type(listing)("small", tuple(pairs), listing.ids, listing.classes, listing.decode)


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch):
    """As if all files had been written long ago."""
    monkeypatch.setattr(cache, "_is_settled", lambda stamp: True)


def make(listing, tmp_path: Path, tiles: Tiles | None = None) -> CachedReader:
    return make_in(tmp_path / "data", tmp_path / "cache", listing, tiles)


def make_in(root: Path, directory: Path, listing, tiles: Tiles | None) -> CachedReader:
    list(prepare(listing, root, directory, tiles=tiles, threads=2))
    return CachedReader(listing, root, directory)


def read(reader: CachedReader, pair, window=None) -> np.ndarray:
    with reader.open(pair) as image:
        return np.array(image.read(window))


def rewrite(path: Path, pixels: np.ndarray) -> None:
    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())


@pytest.mark.parametrize("tiles", WAYS)
def test_images_and_windows_equal_the_decoded_files(listing, tmp_path: Path, tiles: Tiles | None):
    reader = make(listing, tmp_path, tiles)
    rng = np.random.default_rng(0)
    for pair in listing.pairs:
        image = read_image(pair.image)
        assert reader.image_size(pair) == image.shape[:2]
        np.testing.assert_array_equal(read(reader, pair), image)
        for _ in range(30):
            window = RandomSizedCrop(4, 8, 1, 96).draw(rng, *image.shape[:2])
            part = read(reader, pair, window)
            assert part.dtype == np.uint8
            np.testing.assert_array_equal(part, window.of(image))


def jpeg_losses(root: Path, count: int, size: tuple[int, int]) -> dict[str, tuple[int, float]]:
    """Dataset -> largest and mean difference of a value that JPEG tiles make on drawn scenes."""
    write_cityscapes(root, count, 1, size)
    write_gta5(root, count, size)
    losses = {}
    for listing in (
        cityscapes.list_cityscapes(root, "train", labeled=False),
        gta5.list_gta5(root, labeled=False),
    ):
        reader = make_in(root, root / "cache", listing, JPEG_TILES)
        off = [np.abs(read(reader, pair).astype(int) - read_image(pair.image)) for pair in listing.pairs]
        losses[listing.name] = int(np.max(off)), float(np.mean(off))
    return losses


def test_jpeg_tiles_lose_what_the_documentation_says(tmp_path: Path):
    for largest, mean in jpeg_losses(tmp_path, 2, (512, 1024)).values():
        assert 3 <= largest <= 12
        assert mean < 1.3


def test_jpeg_tiles_are_small_and_near(listing, tmp_path: Path):
    reader = make(listing, tmp_path, JPEG_TILES)
    pair = listing.pairs[0]
    image = read_image(pair.image)
    difference = read(reader, pair).astype(int) - image
    assert np.abs(difference).mean() < 1.5
    assert abs(difference.mean()) < 0.2
    target = cached_path(tmp_path / "cache", tmp_path / "data", pair.image)
    assert target.stat().st_size < image.nbytes * 0.7


def test_raw_takes_three_bytes_per_pixel_and_a_page(listing, tmp_path: Path):
    make(listing, tmp_path)
    image = listing.pairs[0].image
    target = cached_path(tmp_path / "cache", tmp_path / "data", image)
    assert target.stat().st_size <= read_image(image).nbytes + 4096


def test_labels_come_from_their_files(listing, tmp_path: Path):
    dataset = SegmentationDataset(listing, CITYSCAPES_19, reader=make(listing, tmp_path))
    plain = SegmentationDataset(listing, CITYSCAPES_19)
    np.testing.assert_array_equal(dataset.read_label(1), plain.read_label(1))
    assert torch.equal(dataset[0]["image"], plain[0]["image"])


@pytest.mark.usefixtures("settled")
def test_current_images_are_skipped_and_interrupted_work_resumes(listing, tmp_path: Path):
    root, directory = tmp_path / "data", tmp_path / "cache"
    assert next(prepare(listing, root, directory, threads=1))
    assert not prepare_image(listing.pairs[0].image, cached_path(directory, root, listing.pairs[0].image))
    list(prepare(listing, root, directory))
    assert list(prepare(listing, root, directory)) == [False, False]
    assert list(prepare(listing, root, directory, tiles=ZSTD_TILES)) == [True, True]
    assert not list(directory.rglob("*.part"))


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("keep_times", [False, True])
def test_changed_content_is_refused_until_it_is_prepared_again(listing, tmp_path: Path, keep_times: bool):
    reader = make(listing, tmp_path)
    pair = listing.pairs[0]
    before = pair.image.stat()
    content = bytearray(pair.image.read_bytes())
    changed = cv2.imdecode(np.frombuffer(bytes(content), np.uint8), cv2.IMREAD_COLOR)
    changed[0, 0] ^= 1
    time.sleep(0.05)  # More than the granularity of a file's times.
    rewrite(pair.image, changed)
    if keep_times:
        os.utime(pair.image, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(InputError, match="has changed"):
        read(reader, pair)
    with pytest.raises(InputError, match="has changed"):
        reader.image_size(pair)
    again = make(listing, tmp_path)
    np.testing.assert_array_equal(read(again, pair), changed[..., ::-1])
    np.testing.assert_array_equal(read(reader, pair), changed[..., ::-1])


def test_a_write_too_quick_for_the_clock_is_seen(listing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    frozen = [1, time.time_ns(), 0]
    monkeypatch.setattr(cache, "_stamp", lambda image: frozen)
    reader = make(listing, tmp_path)
    pair = listing.pairs[0]
    read(reader, pair)
    rewrite(pair.image, np.zeros((96, 192, 3), np.uint8))
    with pytest.raises(InputError, match="has changed"):
        read(reader, pair)


@pytest.mark.usefixtures("settled")
def test_a_touched_or_copied_file_of_the_same_content_is_hashed_once(
    listing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    reader = make(listing, tmp_path)
    pair = listing.pairs[0]
    hashed = []
    digest = cache._digest
    monkeypatch.setattr(cache, "_digest", lambda image: hashed.append(image) or digest(image))
    read(reader, pair)
    assert not hashed
    pair.image.touch()
    for _ in range(3):
        np.testing.assert_array_equal(read(reader, pair), read_image(pair.image))
    assert hashed == [pair.image]


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("tiles", WAYS)
def test_a_touched_file_of_the_same_content_is_not_decoded_again(
    listing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiles: Tiles | None
):
    reader = make(listing, tmp_path, tiles)
    pair = listing.pairs[0]
    wanted = np.array(read(reader, pair))
    pair.image.touch()
    monkeypatch.setattr(ImageReader, "read", lambda *a: pytest.fail("decoded again"))
    make(listing, tmp_path, tiles)
    monkeypatch.setattr(cache, "_digest", lambda image: pytest.fail("hashed again"))
    again = make(listing, tmp_path, tiles)
    np.testing.assert_array_equal(read(again, pair), wanted)


@pytest.mark.usefixtures("settled")
def test_data_and_cache_can_move(listing, tmp_path: Path):
    make(listing, tmp_path)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in ("data", "cache"):
        (tmp_path / name).rename(moved / name)
    pairs = tuple(
        type(pair)(pair.name, moved / pair.image.relative_to(tmp_path), pair.label) for pair in listing.pairs
    )
    there = type(listing)("small", pairs, listing.ids, listing.classes, listing.decode)
    reader = CachedReader(there, moved / "data", moved / "cache")
    np.testing.assert_array_equal(read(reader, pairs[1]), read_image(pairs[1].image))


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("tiles", [None, SMALL_TILES])
def test_a_cache_moved_to_a_far_longer_path_is_kept(listing, tmp_path: Path, tiles: Tiles | None):
    make(listing, tmp_path, tiles)
    moved = tmp_path / "/".join(["far" * 60] * 4)
    moved.mkdir(parents=True)
    for name in ("data", "cache"):
        (tmp_path / name).rename(moved / name)
    pairs = tuple(replace(pair, image=moved / pair.image.relative_to(tmp_path)) for pair in listing.pairs)
    for pair in pairs:
        pair.image.touch()
    there = replace(listing, pairs=pairs)
    assert not any(prepare(there, moved / "data", moved / "cache", tiles=tiles))
    reader = CachedReader(there, moved / "data", moved / "cache")
    np.testing.assert_array_equal(read(reader, pairs[1]), read_image(pairs[1].image))


def test_an_image_that_is_missing_in_the_cache_stops_at_once(listing, tmp_path: Path):
    reader = make(listing, tmp_path)
    first, second = (cached_path(tmp_path / "cache", tmp_path / "data", pair.image) for pair in listing.pairs)
    first.unlink()
    with pytest.raises(InputError, match=str(listing.pairs[0].image)):
        CachedReader(listing, tmp_path / "data", tmp_path / "cache")
    with pytest.raises(InputError, match="hiast-data-prepare"):
        read(reader, listing.pairs[0])
    assert second.is_file()


def test_an_image_that_is_gone_is_refused(listing, tmp_path: Path):
    reader = make(listing, tmp_path)
    listing.pairs[0].image.unlink()
    with pytest.raises(InputError, match="put it back"):
        read(reader, listing.pairs[0])


def test_an_error_while_a_cached_image_is_open_stays_what_it_is(listing, tmp_path: Path):
    reader = make(listing, tmp_path)
    with pytest.raises(FileNotFoundError, match="elsewhere"), reader.open(listing.pairs[0]):
        (tmp_path / "elsewhere").read_bytes()


@pytest.mark.parametrize("tiles", [None, SMALL_TILES])
@pytest.mark.parametrize("length", [0, 10, 20, 100, 5000, -1])
def test_a_cut_file_is_refused_and_made_anew(listing, tmp_path: Path, length: int, tiles: Tiles | None):
    reader = make(listing, tmp_path, tiles)
    pair = listing.pairs[0]
    target = cached_path(tmp_path / "cache", tmp_path / "data", pair.image)
    target.write_bytes(target.read_bytes()[:length])
    with pytest.raises(InputError, match="damaged"):
        read(reader, pair)
    make(listing, tmp_path, tiles)
    np.testing.assert_array_equal(read(reader, pair), read_image(pair.image))


@pytest.mark.parametrize("tiles", [ZSTD_TILES, JPEG_TILES])
def test_any_bit_turned_in_a_cached_file_changes_no_pixel(listing, tmp_path: Path, tiles: Tiles):
    reader = make(listing, tmp_path, tiles)
    pair = listing.pairs[0]
    wanted = read(reader, pair)
    target = cached_path(tmp_path / "cache", tmp_path / "data", pair.image)
    content = target.read_bytes()
    with open_image(target) as image:
        pixels = image.page.dataoffsets[0]
    places = [*range(0, pixels, 3), *np.random.default_rng(0).integers(pixels, len(content), 100).tolist()]
    refused = 0
    for place in places:
        target.write_bytes(content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :])
        try:
            changed = read(reader, pair)
        except InputError:
            refused += 1
        else:
            assert place < pixels, "a changed tile was read"
            np.testing.assert_array_equal(changed, wanted)
    assert refused >= 100


def test_any_viewer_opens_the_cache(listing, tmp_path: Path):
    make(listing, tmp_path, ZSTD_TILES)
    pair = listing.pairs[0]
    target = cached_path(tmp_path / "cache", tmp_path / "data", pair.image)
    np.testing.assert_array_equal(tifffile.imread(target), read_image(pair.image))
    np.testing.assert_array_equal(read_image(target), read_image(pair.image))


@pytest.mark.usefixtures("settled")
def test_other_bands_or_another_range_are_another_cache(listing, tmp_path: Path):
    make(listing, tmp_path)
    dark = replace(listing, images=ImageReader(value_range=(0, 100)))
    reader = CachedReader(dark, tmp_path / "data", tmp_path / "cache")
    with pytest.raises(
        InputError, match="with other bands or another value_range: run hiast-data-prepare again"
    ):
        read(reader, dark.pairs[0])
    reader = make(dark, tmp_path)
    np.testing.assert_array_equal(read(reader, dark.pairs[0]), dark.images.read(dark.pairs[0].image))
    assert list(prepare(dark, tmp_path / "data", tmp_path / "cache")) == [False, False]


def test_a_cache_that_cannot_be_written_names_the_key(listing, tmp_path: Path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(InputError, match=r"set data\.cache_folder"):
        make(listing, tmp_path)


@pytest.mark.parametrize("tiles", WAYS)
def test_pseudo_labeled_samples_are_the_same_with_the_cache(listing, tmp_path: Path, tiles: Tiles | None):
    names = [pair.name for pair in listing.pairs]
    label = cv2.resize(np.arange(18, dtype=np.uint8).reshape(3, 6), (96, 48), interpolation=cv2.INTER_NEAREST)
    labels = {name: np.roll(label, 40 * index, 1) for index, name in enumerate(names)}
    write_round(tmp_path / "1", labels, np.linspace(0.3, 0.9, 19))
    cached, plain = (
        PseudoLabeledDataset(
            SegmentationDataset(listing, CITYSCAPES_19, reader=reader),
            tmp_path / "1",
            weak=WeakAugmentation(RandomSizedCrop(32, 64, 20, 96)),
            strong=StrongAugmentation(),
            hard_class_augmentation=HardClassAugmentation(),
        )
        for reader in (make(listing, tmp_path, tiles), None)
    )
    for position in range(12):
        one, two = cached[Draw(position % 2, position)], plain[Draw(position % 2, position)]
        for key in ("image", "strong", "label"):
            assert torch.equal(one[key], two[key])


if __name__ == "__main__":  # The losses in docs/benchmarks/loading.md.
    with TemporaryDirectory() as folder:
        for name, (largest, mean) in jpeg_losses(Path(folder), 16, (512, 1024)).items():
            sys.stdout.write(f"{name}: by up to {largest} of 255, by {mean:.2f} in the mean\n")
