"""Label maps as PNG files."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from hiast.pseudo_labels.label_maps import decode_label, encode_label


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (6, 8), (300, 1), (768, 1536)])
@pytest.mark.parametrize("kind", ["noise", "blocks", "ignored"])
def test_every_reader_sees_the_same_map(size, kind):
    rng = np.random.default_rng(0)
    label = rng.integers(0, 256, size, np.uint8)
    if kind == "blocks":
        label = cv2.resize(rng.integers(0, 19, (4, 6), np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST)
    elif kind == "ignored":
        label[:] = 255
    content = encode_label(label)
    np.testing.assert_array_equal(decode_label(content, size), label)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(content))), label)
    np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED), label)


def test_filtered_rows_are_read():
    """As OpenCV before 4.11 writes them."""
    label = np.random.default_rng(0).integers(0, 19, (20, 30), np.uint8)
    options = [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_SUB]
    content = cv2.imencode(".png", label, options)[1].tobytes()
    np.testing.assert_array_equal(decode_label(content, (20, 30)), label)


def content_of(picture: np.ndarray, suffix: str = ".png") -> bytes:
    return cv2.imencode(suffix, picture)[1].tobytes()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x89PNG\r\n\x1a\n",
        b"no picture",
        content_of(np.zeros((6, 8), np.uint8))[:-20],
        content_of(np.zeros((6, 9), np.uint8)),
        content_of(np.zeros((6, 8, 3), np.uint8)),
        content_of(np.zeros((6, 8), np.uint16)),
        content_of(np.zeros((6, 8), np.uint8), ".jpg"),
    ],
)
def test_other_files_are_refused(content):
    with pytest.raises(ValueError, match=r"PNG|kind|few"):
        decode_label(content, (6, 8))
