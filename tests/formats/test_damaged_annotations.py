"""Files that are cut off or changed: one sentence that names the file, whatever the damage."""

from __future__ import annotations

import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest

from hiast.errors import InputError
from hiast.formats import (
    open_annotations,
    write_cityscapes,
    write_coco,
    write_cvat,
    write_datumaro,
    write_fiftyone,
    write_label_studio,
    write_panoptic,
)

NAMES = ("rings", "noise", "sub folder/große, Nr. 1")


def _studio(path, items, classes, **options):
    return write_label_studio(path, items, classes, model_version="m", **options)


FORMS = {
    "cvat": (write_cvat, {}),
    "datumaro": (write_datumaro, {}),
    "label_studio": (_studio, {"use": "predictions"}),
    "fiftyone": (write_fiftyone, {}),
    "coco": (write_coco, {}),
    "panoptic": (write_panoptic, {}),
    "cityscapes_polygons": (write_cityscapes, {}),
}
# Files that the readers do not look at.
UNREAD = ("SegmentationObject", "ImageSets", "images", "label_config", "_confidence", "labelIds")


@pytest.mark.parametrize("form", FORMS)
def test_damage_is_said_by_name_or_harmless(form, maps, make_items, classes, tmp_path):
    """Each file in turn is emptied, cut, changed in a byte, replaced or removed: a label map or an InputError."""
    write, options = FORMS[form]
    whole = tmp_path / "whole"
    write(whole, make_items({name: maps[name] for name in NAMES}, confidence=True), classes)
    files = [path.relative_to(whole) for path in sorted(whole.rglob("*")) if path.is_file()]
    refused = set()
    for file in files:
        content = (whole / file).read_bytes()
        middle = len(content) // 2
        damages = {
            "emptied": b"",
            "cut": content[:-9],
            "halved": content[:middle],
            "changed": content[:middle] + bytes([content[middle] ^ 0x55]) + content[middle + 1 :],
            "replaced": b"\xff\xd8\xff\xe0 no such file",
            "removed": None,
        }
        for damage, changed in damages.items():
            copy = Path(shutil.copytree(whole, tmp_path / "damaged"))
            (copy / file).unlink() if changed is None else (copy / file).write_bytes(changed)
            try:
                reader = open_annotations(form, copy, classes.names, **options)
                for name in reader.items():
                    assert reader.read(name).dtype == np.uint8
            except InputError as error:
                assert str(tmp_path / "damaged") in str(error)
                assert "\n" not in str(error)
                refused.add((file, damage))
            shutil.rmtree(copy)
    for file in files:
        if not any(word in file.as_posix() for word in UNREAD):
            for damage in ("emptied", "halved", "replaced"):
                assert (file, damage) in refused, f"{file}, {damage}"


@pytest.mark.parametrize("place", [0.0, 0.3, 0.6, 0.95])
def test_a_damaged_zip_file_is_refused_by_name(place, maps, make_items, classes, tmp_path):
    write_cvat(tmp_path / "a.zip", make_items(maps), classes)
    content = (tmp_path / "a.zip").read_bytes()
    start = int(place * len(content))
    changed = (
        content[:start] + bytes(byte ^ 0xFF for byte in content[start : start + 400]) + content[start + 400 :]
    )
    for damage in (content[: len(content) // 2], changed, b""):
        (tmp_path / "a.zip").write_bytes(damage)
        with pytest.raises(InputError, match=r"a\.zip"):
            reader = open_annotations("cvat", tmp_path / "a.zip", classes.names)
            for name in reader.items():
                reader.read(name)


def chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")


def test_a_picture_with_an_index_beyond_its_palette(tmp_path):
    size = (4).to_bytes(4, "big") + (1).to_bytes(4, "big")
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size + bytes([8, 3, 0, 0, 0]))
    content += chunk(b"PLTE", bytes([0, 0, 0, 128, 0, 0, 0, 128, 0]))
    content += chunk(b"IDAT", zlib.compress(bytes([0, 0, 1, 2, 9]))) + chunk(b"IEND", b"")
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks/x.png").write_bytes(content)
    (tmp_path / "dataset_meta.json").write_text('{"labels": ["background", "a", "b"]}')
    with pytest.raises(InputError, match=r"x\.png"):
        open_annotations("datumaro", tmp_path, ["a", "b"]).read("x")


def test_json_with_a_byte_order_mark_is_read(maps, make_items, classes, tmp_path):
    write_coco(tmp_path / "out", make_items({"noise": maps["noise"]}), classes)
    file = tmp_path / "out/annotations/instances_default.json"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    np.testing.assert_array_equal(open_annotations("coco", file, classes.names).read("noise"), maps["noise"])
    file.write_bytes('{"a": "Straße"}'.encode("latin-1"))
    with pytest.raises(InputError, match="not text in UTF-8"):
        open_annotations("coco", file, classes.names)


def test_unknown_names_of_images_are_refused(maps, make_items, classes, tmp_path):
    for form, (write, options) in FORMS.items():
        write(tmp_path / form, make_items({"noise": maps["noise"]}), classes)
        with pytest.raises(InputError, match="nobody"):
            open_annotations(form, tmp_path / form, classes.names, **options).read("nobody")
