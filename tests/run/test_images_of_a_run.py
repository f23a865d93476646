"""A run that goes on with other images than it began with says so."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from hiast.run.images import record_images

NAMES = {"source train": ("a", "b"), "target train": ("c", "d")}


def record(folder: Path) -> dict[str, dict[str, object]]:
    return json.loads((folder / "images.json").read_text())["images"]


def test_a_run_that_goes_on_with_other_images_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    record_images(tmp_path, NAMES, begun=False)
    first = record(tmp_path)
    assert {role: entry["count"] for role, entry in first.items()} == {"source train": 2, "target train": 2}
    record_images(tmp_path, NAMES | {"target val": ("e",)}, begun=True)
    assert not caplog.records and record(tmp_path)["target val"]["count"] == 1
    for others, count in ((("c",), 1), (("c", "x"), 2)):
        caplog.clear()
        record_images(tmp_path, NAMES | {"target train": others}, begun=True)
        (said,) = caplog.messages
        assert (
            f"The images of target train are no longer those that the run began with (2 then, {count} now)"
            in said
        )
        assert record(tmp_path)["target train"] == first["target train"]


def test_a_run_in_which_nothing_was_trained_begins_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record_images(tmp_path, NAMES, begun=False)
    record_images(tmp_path, NAMES | {"target train": ("c",)}, begun=False)
    assert not caplog.records and record(tmp_path)["target train"]["count"] == 1


def test_a_run_keeps_the_record(reference_run: Path) -> None:
    assert list(record(reference_run)) == ["source train", "target train", "target val"]
