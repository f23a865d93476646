"""Labels however they are stored: the ids come back as written, and what cannot hold ids says what to do."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from hiast.data.datasets.idd_labels import IDDLabels
from hiast.data.io.label_colors import UNKNOWN_COLOR, ColorIds
from hiast.data.io.label_groups import AnnotationLabels, JoinedLabels, Mask, match_items
from hiast.data.io.labels import (
    Threshold,
    describe_decode,
    label_size,
    read_first_channel,
    read_ids,
    read_one_hot,
)
from hiast.errors import InputError
from hiast.formats.names import voc_colors

IDS = np.random.default_rng(0).integers(0, 6, (13, 21)).astype(np.uint8)
PALETTE = np.random.default_rng(1).integers(0, 256, (256, 3), dtype=np.uint8)
ONE_HOT = np.eye(6, dtype=np.uint8)[IDS]


def pillow(**options: object) -> Callable[[Path, np.ndarray], None]:
    return lambda path, ids: Image.fromarray(ids).save(path, **options)


def palette(path: Path, ids: np.ndarray, **options: object) -> None:
    image = Image.fromarray(ids)
    image.putpalette(PALETTE.tobytes())
    image.save(path, **options)


WRITE: dict[str, Callable[[Path, np.ndarray], object]] = {
    "a.png": pillow(),
    "palette.png": palette,
    "transparent.png": lambda path, ids: palette(path, ids, transparency=0),
    "gray_alpha.png": lambda path, ids: Image.merge(
        "LA", (Image.fromarray(ids), Image.fromarray(np.where(ids == 3, 0, 255).astype(np.uint8)))
    ).save(path),
    "rgb.png": lambda path, ids: Image.fromarray(np.dstack([ids] * 3)).save(path),
    "rgba.png": lambda path, ids: Image.fromarray(np.dstack([ids, ids, ids, ids * 0 + 255])).save(path),
    "sixteen.png": lambda path, ids: cv2.imwrite(str(path), ids.astype(np.uint16)),
    "sixteen_rgb.png": lambda path, ids: cv2.imwrite(str(path), np.dstack([ids] * 3).astype(np.uint16)),
    "a.tif": pillow(),
    "lzw.tif": pillow(compression="tiff_lzw"),
    "palette.tif": palette,
    "tiles.tif": lambda path, ids: tifffile.imwrite(path, ids, tile=(16, 16), compression="zlib"),
    "sixteen.tif": lambda path, ids: tifffile.imwrite(path, ids.astype(np.uint16)),
    "signed.tif": lambda path, ids: tifffile.imwrite(path, ids.astype(np.int32)),
    "one_hot.tif": lambda path, ids: tifffile.imwrite(
        path, np.moveaxis(ONE_HOT, 2, 0), planarconfig="separate"
    ),
    "a.bmp": pillow(),
    "palette.bmp": palette,
    "a.gif": pillow(),
    "palette.gif": lambda path, ids: palette(path, ids, optimize=False),
    "a.pgm": pillow(),
    "a.npy": lambda path, ids: np.save(path, ids),
    "long.npy": lambda path, ids: np.save(path, ids.astype(np.int64)),
    "float.npy": lambda path, ids: np.save(path, ids.astype(np.float32)),
    "fortran.npy": lambda path, ids: np.save(path, np.asfortranarray(ids)),
    "channel.npy": lambda path, ids: np.save(path, ids[None]),
    "one_hot_first.npy": lambda path, ids: np.save(path, np.moveaxis(ONE_HOT, 2, 0).astype(np.float32)),
    "one_hot_last.npy": lambda path, ids: np.save(path, ONE_HOT.astype(bool)),
    "a.npz": lambda path, ids: np.savez(path, ids),
    "packed.npz": lambda path, ids: np.savez_compressed(path, mask=ids),
}


@pytest.mark.parametrize("name", list(WRITE))
def test_ids_come_back_as_written(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    WRITE[name](path, IDS)
    ids = read_ids(path)
    assert ids.dtype in (np.uint8, np.uint16)
    np.testing.assert_array_equal(ids, IDS)
    assert label_size(path) == IDS.shape
    with pytest.raises(InputError, match="limit of 272"):
        read_ids(path, 13 * 21 - 1)


@pytest.mark.parametrize("name", list(WRITE))
def test_a_cut_label_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    WRITE[name](path, IDS)
    data = path.read_bytes()
    for length in {0, 1, 9, len(data) // 2, len(data) - (30 if name.endswith(("gif", "npz")) else 4)}:
        path.write_bytes(data[:length])
        try:
            ids = read_ids(path)
        except InputError as error:
            assert name in str(error)
        else:  # A TIFF may end in a directory whose last bytes do not matter, a PNG in a checksum of nothing.
            assert name.endswith(("tif", "png")) and length == len(data) - 4
            np.testing.assert_array_equal(ids, IDS)


@pytest.mark.parametrize("bit", range(8))
def test_a_flipped_bit_of_a_packed_array_is_refused(tmp_path: Path, bit: int) -> None:
    np.savez_compressed(tmp_path / "a.npz", IDS)
    data = bytearray((tmp_path / "a.npz").read_bytes())
    data[len(data) // 2] ^= 1 << bit
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(InputError, match=r"a\.npz cannot be read as a numpy array"):
        read_ids(tmp_path / "a.npz")


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "float16", "float32", "float64"])
def test_minus_one_in_arrays_of_any_type(tmp_path: Path, dtype: str) -> None:
    np.save(tmp_path / "a.npy", np.array([[-1, 0], [1, 100]], dtype))
    np.testing.assert_array_equal(read_ids(tmp_path / "a.npy"), [[65535, 0], [1, 100]])


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_what_floats_hold_instead_of_ids_is_said(tmp_path: Path, dtype: str) -> None:
    for value, said in (
        (np.nan, "holds NaN where"),
        (np.inf, "holds the value inf"),
        (0.5, "holds fractions"),
    ):
        array = np.array([[value, 0], [1, 5]], dtype)
        np.save(tmp_path / "a.npy", array)
        tifffile.imwrite(tmp_path / "a.tif", array)
        for name in ("a.npy", "a.tif"):
            with pytest.raises(InputError, match=f"{name} {said}"):
                read_ids(tmp_path / name)


def test_minus_one_and_sixteen_bits(tmp_path: Path) -> None:
    ids = np.array([[-1, 0], [300, 65535]])
    np.save(tmp_path / "a.npy", ids)
    tifffile.imwrite(tmp_path / "a.tif", np.array([[-1, 0], [300, 5]], np.int16))
    np.testing.assert_array_equal(read_ids(tmp_path / "a.npy"), [[65535, 0], [300, 65535]])
    np.testing.assert_array_equal(read_ids(tmp_path / "a.tif"), [[65535, 0], [300, 5]])
    for value in (-2, 70000):
        np.save(tmp_path / "a.npy", np.full((2, 2), value))
        with pytest.raises(InputError, match=f"holds the value {value}; ids are whole numbers from -1"):
            read_ids(tmp_path / "a.npy")


@pytest.mark.parametrize("suffix", ["png", "bmp", "gif", "tif"])
def test_indices_of_a_colored_palette_whose_used_colors_are_gray(tmp_path: Path, suffix: str) -> None:
    ids = np.zeros((4, 6), np.uint8)
    ids[1:, 2:] = 7  # (128, 128, 128) in the palette of Pascal VOC
    image = Image.fromarray(ids)
    image.putpalette(np.array(voc_colors(), np.uint8).tobytes())
    image.save(tmp_path / f"a.{suffix}", **({"optimize": False} if suffix == "gif" else {}))
    np.testing.assert_array_equal(read_ids(tmp_path / f"a.{suffix}"), ids)


def test_readers_are_described_alike_in_every_process() -> None:
    readers = [lambda: read_ids, lambda: Threshold(3), lambda: ColorIds({(1, 2, 3): 4}), IDDLabels]
    said = [describe_decode(make()) for make in readers]
    assert said == [describe_decode(make()) for make in readers]
    assert len(set(said)) == 4 and not any(" at 0x" in text for text in said)


PNM = {
    "P5 of 5 bits": (b"P5\n4 1\n18\n\x00\x01\x05\x12", [0, 1, 5, 18]),
    "P2 of 5 bits": (b"P2\n4 1\n18\n0 1 5 18\n", [0, 1, 5, 18]),
    "P6 of 5 bits": (b"P6\n2 1\n18\n\x01\x01\x01\x12\x12\x12", [1, 18]),
    "P5 with larger values than noted": (b"P5\n4 1\n18\n\x00\x01\x05\xff", [0, 1, 5, 255]),
    "P5 of 10 bits": (b"P5\n4 1\n1000\n" + np.array([0, 1, 500, 1000], ">u2").tobytes(), [0, 1, 500, 1000]),
    "P2 of 10 bits": (b"P2\n4 1\n1000\n0 1 500 1000\n", [0, 1, 500, 1000]),
    "P5 of 16 bits": (
        b"P5\n4 1\n65535\n" + np.array([0, 1, 500, 65535], ">u2").tobytes(),
        [0, 1, 500, 65535],
    ),
    "P2 of 16 bits": (b"P2\n4 1\n65535\n0 1 500 65535\n", [0, 1, 500, 65535]),
}


@pytest.mark.parametrize("kind", PNM)
def test_ids_of_pnm_files_are_as_stored(tmp_path: Path, kind: str) -> None:
    data, ids = PNM[kind]
    (tmp_path / "a.pnm").write_bytes(data)
    assert read_ids(tmp_path / "a.pnm").tolist() == [ids]


def test_pixels_of_no_channel_are_255(tmp_path: Path) -> None:
    hot = np.zeros((4, 3, 5), np.float32)
    hot[2, 1, :4] = 1
    np.save(tmp_path / "a.npy", hot)
    np.testing.assert_array_equal(read_ids(tmp_path / "a.npy"), [[255] * 5, [2] * 4 + [255], [255] * 5])


@pytest.mark.parametrize("channels", [3, 4])
def test_one_hot_of_three_and_four_classes(tmp_path: Path, channels: int) -> None:
    ids = IDS % channels
    hot = np.eye(channels, dtype=np.uint8)[ids]
    for array in (hot, np.moveaxis(hot, 2, 0)):
        np.save(tmp_path / "a.npy", array)
        np.testing.assert_array_equal(read_ids(tmp_path / "a.npy"), ids)
        assert label_size(tmp_path / "a.npy") == ids.shape
    if channels == 3:
        Image.fromarray(hot * np.uint8(255)).save(tmp_path / "a.png")
        np.testing.assert_array_equal(read_one_hot(tmp_path / "a.png"), ids)
        with pytest.raises(InputError, match="holds colors"):
            read_ids(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((4, 5), 0.5), "holds fractions.*threshold"),
        (np.zeros((4, 5), complex), r"is an array complex128 \[4, 5\]"),
        (np.zeros(5), r"is an array float64 \[5\]"),
        (np.zeros((2, 2, 2, 2)), "save a label map"),
        (np.zeros((0, 5)), "save a label map"),
        (np.ones((6, 4, 5)), "is not one-hot"),
        (np.array([[{}]]), "is an array object"),
    ],
)
def test_arrays_that_are_not_labels(tmp_path: Path, array: np.ndarray, message: str) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(InputError, match=message):
        read_ids(tmp_path / "a.npy")


def test_an_archive_of_several_arrays_names_them(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", image=IDS, label=IDS)
    with pytest.raises(InputError, match=r"has to hold one array and holds image, label"):
        read_ids(tmp_path / "a.npz")


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "JPEG2000"])
def test_lossy_formats_hold_no_ids(tmp_path: Path, kind: str) -> None:
    Image.fromarray(IDS).convert("RGB").save(tmp_path / "a", kind)
    for read in (read_ids, read_first_channel, ColorIds({}), label_size):
        with pytest.raises(InputError, match=r"compression changes label ids.*threshold: 128"):
            read(tmp_path / "a")


MASK = cv2.circle(np.zeros((40, 60), np.uint8), (30, 20), 12, 255, -1)


@pytest.mark.parametrize("value", [128, 0.5])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_threshold_divides_soft_masks(tmp_path: Path, kind: str, mode: str, value: float) -> None:
    Image.fromarray(MASK).convert(mode).save(tmp_path / "a", kind)
    ids = Threshold(value)(tmp_path / "a")
    assert set(np.unique(ids)) == {0, 1}
    assert (ids != (MASK > 0)).mean() < 0.01
    assert Threshold(value).size(tmp_path / "a") == MASK.shape


def test_a_threshold_of_other_types(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), MASK.astype(np.uint16) * 257)
    np.save(tmp_path / "a.npy", MASK / 255)
    np.save(tmp_path / "b.npy", MASK > 0)
    for name in ("a.png", "a.npy", "b.npy"):
        np.testing.assert_array_equal(Threshold(0.5)(tmp_path / name), MASK > 0)
    Image.fromarray(MASK // 255).save(tmp_path / "b.png")
    np.testing.assert_array_equal(Threshold(1)(tmp_path / "b.png"), MASK > 0)
    for value in (0, -1, True, "x"):
        with pytest.raises(InputError, match="threshold is"):
            Threshold(value)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp", "a.gif", "a16.png"])
def test_colors_of_any_lossless_format(tmp_path: Path, name: str) -> None:
    table = {tuple(map(int, PALETTE[i])): i for i in range(6)}
    if name == "a16.png":
        cv2.imwrite(str(tmp_path / name), PALETTE[IDS][..., ::-1].astype(np.uint16) * 257)
    else:
        Image.fromarray(PALETTE[IDS]).save(tmp_path / name)
    np.testing.assert_array_equal(ColorIds(table)(tmp_path / name), IDS)
    table.popitem()
    np.testing.assert_array_equal(
        ColorIds(table)(tmp_path / name), np.where(IDS == 5, UNKNOWN_COLOR, IDS.astype(int))
    )


def test_masks_of_one_image_are_joined(tmp_path: Path) -> None:
    first, second = np.zeros((4, 5), np.uint8), np.zeros((4, 5), np.uint8)
    first[:2, :3], second[1:, 2:] = 7, 9
    paths = [tmp_path / "a_1.png", tmp_path / "a_2.png"]
    for path, mask in zip(paths, (first, second), strict=True):
        Image.fromarray(mask).save(path)
    wanted = np.where(second, second, first)
    joined = JoinedLabels(read_ids, {paths[0]: tuple(map(Mask, paths))})
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(joined))(paths[0]), wanted)
    assert label_size(paths[0], decode=joined) == (4, 5)
    classes = JoinedLabels(read_ids, {paths[0]: (Mask(paths[0], 3), Mask(paths[1], 4))}, background=255)
    np.testing.assert_array_equal(classes(paths[0]), np.where(second, 4, np.where(first, 3, 255)))
    Image.fromarray(first[:2]).save(paths[1])
    with pytest.raises(InputError, match=r"a_2\.png has 5 x 2 pixels and .*a_1\.png 5 x 4"):
        joined(paths[0])


class Annotations:
    classes = ("a", "b")

    def __init__(self, *names: str) -> None:
        self.names = names

    def items(self) -> tuple[str, ...]:
        return self.names

    def read(self, name: str, size: tuple[int, int] | None = None) -> np.ndarray:
        assert size is not None
        return np.full(size, self.names.index(name), np.uint8)

    def image(self, name: str) -> Path | None:
        return None


def test_annotations_are_found_by_name_or_by_base_name(tmp_path: Path) -> None:
    images = {"x/1": tmp_path / "x/1.png", "y/2": tmp_path / "y/2.png"}
    for path in images.values():
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(IDS).save(path)
    whole = match_items(Annotations("y/2", "x/1"), images, "set")
    assert whole == {images["x/1"]: "x/1", images["y/2"]: "y/2"}
    assert match_items(Annotations("2", "9"), images, "set") == {images["y/2"]: "2"}
    labels = AnnotationLabels(Annotations("y/2", "x/1"), whole)
    assert (labels(images["x/1"]) == 1).all()
    assert label_size(images["x/1"], decode=labels) == IDS.shape
    with pytest.raises(InputError, match=r"none of its 2 images is named.*'x/1' and '7'"):
        match_items(Annotations("7"), images, "set")
