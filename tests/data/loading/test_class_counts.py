"""Counts of class pixels that cannot be kept, or were damaged."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from hiast.data import GTA5DataModule
from hiast.data.loading.class_counts import count_class_pixels


def test_a_folder_that_cannot_be_written_is_named_with_its_key(
    drawn_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As on read-only media; a file in the place of the folder does the same for a superuser."""
    (tmp_path / "file").touch()
    dataset = GTA5DataModule(drawn_data).train_dataset()
    with caplog.at_level(logging.WARNING):
        counts = count_class_pixels(dataset, tmp_path / "file/statistics")
    np.testing.assert_array_equal(counts, count_class_pixels(dataset))
    (message,) = [each for each in caplog.messages if "key statistics" in each]
    assert str(tmp_path / "file/statistics") in message


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"something else"])
def test_a_damaged_file_is_counted_again(
    drawn_data: Path, tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = GTA5DataModule(drawn_data).train_dataset()
    counts = count_class_pixels(dataset, tmp_path)
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(content)
    np.testing.assert_array_equal(count_class_pixels(dataset, tmp_path), counts)
    assert any("damaged" in message for message in caplog.messages)
    caplog.clear()
    np.testing.assert_array_equal(count_class_pixels(dataset, tmp_path), counts)
    assert caplog.messages == []
