"""Run lengths of COCO and of Label Studio: against plain loops, and against the tools' own libraries."""

from __future__ import annotations

from itertools import groupby

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from hiast.errors import InputError
from hiast.formats import brush, rle

# A busy machine may take long over one example.
UNHURRIED = settings(deadline=None)
MASKS = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=14))


def counted(mask: np.ndarray) -> list[int]:
    """Run lengths by a loop over the pixels."""
    counts, value = [0], False
    for column in range(mask.shape[1]):
        for row in range(mask.shape[0]):
            if mask[row, column] != value:
                counts.append(0)
                value = not value
            counts[-1] += 1
    return counts


def drawn(counts: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    flat = np.zeros(size[0] * size[1], np.bool_)
    flat[rle.pixels(counts, size, "test")] = True
    return flat.reshape(size[1], size[0]).T


@UNHURRIED
@given(MASKS)
def test_run_lengths_are_those_of_a_loop(mask: np.ndarray):
    counts = rle.encode(mask)
    assert counts.tolist() == counted(mask)
    np.testing.assert_array_equal(drawn(counts, mask.shape), mask)
    assert rle.from_text(rle.to_text(counts), "test").tolist() == counts.tolist()


@UNHURRIED
@given(MASKS, st.integers(0, 3), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))
def test_a_part_of_a_picture_gives_the_run_lengths_of_the_whole(mask, top, bottom, left, right):
    whole = np.pad(mask, ((top, bottom), (left, right)))
    assert rle.encode(mask, whole.shape, top, left).tolist() == counted(whole)


@UNHURRIED
@given(MASKS)
def test_run_lengths_are_those_of_pycocotools(mask: np.ndarray):
    tool = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
    theirs = tool.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert rle.to_text(rle.encode(mask)) == theirs["counts"].decode()
    np.testing.assert_array_equal(drawn(rle.from_text(theirs["counts"].decode(), "test"), mask.shape), mask)
    ours = {"size": list(mask.shape), "counts": rle.to_text(rle.encode(mask)).encode()}
    np.testing.assert_array_equal(tool.decode(ours), mask)


@UNHURRIED
@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=20))
def test_long_run_lengths_survive_as_text(counts: list[int]):
    assert rle.from_text(rle.to_text(np.array(counts)), "test").tolist() == counts


@pytest.mark.parametrize("text", ["é", "P", "0P", "~~", "oooooooooooooooooooo1"])
def test_damaged_text_is_refused_by_name(text: str):
    with pytest.raises(InputError, match=r"^some\.json"):
        rle.from_text(text, "some.json")


@pytest.mark.parametrize("counts", [[3], [5], [6, -2], []])
def test_run_lengths_of_another_size_are_refused_by_name(counts: list[int]):
    with pytest.raises(InputError, match=r"^some\.json"):
        rle.pixels(np.array(counts, np.int64), (2, 2), "some.json")


@UNHURRIED
@given(MASKS)
def test_strokes_come_back(mask: np.ndarray):
    np.testing.assert_array_equal(brush.decode(brush.encode(mask), mask.shape, "test"), mask)


def test_strokes_of_known_bits():
    # 8 values (two pixels of four channels) of 8 bits, widths 3, 4, 8, 16; then four times 0, four times 255.
    bits = f"{8:032b}" + "00111" + "0010" + "0011" + "0111" + "1111"
    bits += "1" + "00" + "011" + "00000000" + "1" + "00" + "011" + "11111111"
    bits += "0" * (8 - len(bits) % 8)
    expected = [int(bits[place : place + 8], 2) for place in range(0, len(bits), 8)]
    assert brush.encode(np.array([[False, True]])).tolist() == expected


def test_strokes_longer_than_a_record():
    mask = np.zeros((300, 300), np.bool_)
    mask[7:250] = True
    np.testing.assert_array_equal(brush.decode(brush.encode(mask), mask.shape, "test"), mask)


def test_strokes_of_single_values_are_read():
    """The tool itself also writes values one after another, and partly transparent ones."""
    bits = f"{12:032b}" + "00111" + "0010" + "0011" + "0111" + "1111"
    bits += (
        "0"
        + "10"
        + f"{11:08b}"
        + "".join(f"{value:08b}" for value in [1, 2, 3, 0, 9, 9, 9, 77, 0, 0, 0, 255])
    )
    bits += "0" * (-len(bits) % 8)
    packed = np.array([int(bits[place : place + 8], 2) for place in range(0, len(bits), 8)], np.uint8)
    assert brush.decode(packed, (1, 3), "test").tolist() == [[False, True, True]]


@UNHURRIED
@given(MASKS)
def test_strokes_are_those_of_the_tool(mask: np.ndarray):
    tool = label_studio_brush()
    assert brush.encode(mask).tolist() == tool.mask2rle(mask.astype(np.uint8) * 255)
    theirs = tool.decode_rle(brush.encode(mask).tolist()).reshape(*mask.shape, 4)
    np.testing.assert_array_equal(theirs, np.repeat(mask[..., None], 4, axis=2) * 255)


def label_studio_brush():
    try:
        from label_studio_sdk.converter import brush as tool
    except ImportError:
        reason = "neither label-studio-sdk nor label-studio-converter is installed"
        tool = pytest.importorskip("label_studio_converter.brush", reason=reason)
    return tool


@pytest.mark.parametrize("damage", ["cut", "size", "overlong", "nothing"])
def test_damaged_strokes_are_refused_by_name(damage: str):
    mask = np.eye(9, dtype=np.bool_)
    packed = brush.encode(mask)
    size = (9, 9)
    if damage == "cut":
        packed = packed[: packed.size // 2]
    elif damage == "size":
        size = (9, 8)
    elif damage == "overlong":
        packed = packed.copy()
        packed[7:12] = 255
    else:
        packed = packed[:0]
    with pytest.raises(InputError, match=r"^task 7"):
        brush.decode(packed, size, "task 7")


def test_the_loop_of_this_test_counts_right():
    mask = np.array([[True, False], [True, True]])
    assert counted(mask) == [0, 2, 1, 1]
    assert [len(list(run)) for _, run in groupby(mask.T.ravel())] == [2, 1, 1]


def test_a_number_of_too_many_bits_is_damage() -> None:
    with pytest.raises(InputError, match=r"file: .*damaged"):
        rle.as_lengths([1, 1 << 70], "file")
    with pytest.raises(InputError, match=r"file: .*damaged"):
        rle.from_text("oooooooooooo_" * 8, "file")
    with pytest.raises(InputError, match=r"do not fit the size 4 x 4"):
        rle.pixels(np.array([2**62, 2**62, 2**62, 2**62 + 16]), (4, 4), "file")
