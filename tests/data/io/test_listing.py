from __future__ import annotations

import logging
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hiast.classes import CITYSCAPES_19, CITYSCAPES_IDS
from hiast.data.datasets import cityscapes, gta5, robotcar, synthia
from hiast.data.io.labels import read_ids
from hiast.data.io.listing import Listing, Pair
from hiast.data.io.pairing import group_labels, list_files, make_pairs, only_labels
from hiast.data.io.patterns import Pattern, find_files, search_files
from hiast.errors import InputError


def touch(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"")
    return root


def pairs(root: Path, images: str, labels: str) -> dict[str, str]:
    found = find_files(root, images, "images")
    groups, _ = group_labels(found, find_files(root, labels, "labels"), images, labels)
    paths = only_labels(groups, labels)
    return {f.name: p.relative_to(root).as_posix() for f, p in zip(found, paths, strict=True)}


def test_drawn_datasets_are_listed_and_paired(drawn_data: Path) -> None:
    listings = [
        gta5.list_gta5(drawn_data),
        synthia.list_synthia(drawn_data),
        cityscapes.list_cityscapes(drawn_data, "train"),
        cityscapes.list_cityscapes(drawn_data, "val"),
        robotcar.list_robotcar(drawn_data, "val"),
    ]
    assert [len(listing.pairs) for listing in listings] == [8, 8, 6, 4, 3]
    for listing in listings:
        for pair in listing.pairs:
            assert pair.label is not None
            assert pair.label.is_file()
            stem = pair.image.stem.removesuffix("_leftImg8bit")
            assert pair.label.name.startswith(stem)
    assert listings[2].pairs[0].name.count("/") == 1  # CITY/frame


def test_robotcar_train_has_no_labels(drawn_data: Path) -> None:
    assert [pair.label for pair in robotcar.list_robotcar(drawn_data, "train").pairs] == [None] * 4
    with pytest.raises(InputError, match="no labels"):
        robotcar.list_robotcar(drawn_data, "train", labeled=True)


def test_missing_folder_says_which(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"GTA5/images is missing.*data_root"):
        gta5.list_gta5(tmp_path)
    (tmp_path / "GTA5/images").mkdir(parents=True)
    with pytest.raises(InputError, match=r"GTA5/images holds no images"):
        gta5.list_gta5(tmp_path)


def test_image_without_label_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "GTA5/images/00001.png", "GTA5/images/00002.png", "GTA5/labels/00002.png")
    with pytest.raises(InputError, match=r"1 of 2 images have no label, such as .*00001\.png"):
        gta5.list_gta5(tmp_path)
    assert len(gta5.list_gta5(tmp_path, labeled=False).pairs) == 2


def test_cityscapes_uses_train_ids_where_present_and_never_needs_them(
    drawn_data: Path, tmp_path: Path
) -> None:
    shutil.copytree(drawn_data / "cityscapes", tmp_path / "cityscapes")
    before = cityscapes.list_cityscapes(tmp_path, "val")
    labels = [pair.label for pair in before.pairs]
    assert all(label is not None and label.name.endswith("_labelIds.png") for label in labels)
    assert labels[0] is not None
    ids = before.decode(labels[0], 10**6)
    train = np.full(256, 255, np.uint8)
    for raw, index in CITYSCAPES_IDS.items():
        train[raw] = index
    Image.fromarray(train[ids]).save(str(labels[0]).replace("labelIds", "labelTrainIds"))
    labels[0].unlink()
    after = cityscapes.list_cityscapes(tmp_path, "val")
    endings = [pair.label.name.rpartition("_")[2] for pair in after.pairs if pair.label]
    assert endings == ["labelTrainIds.png"] + ["labelIds.png"] * 3
    known = np.isin(ids, list(CITYSCAPES_IDS))
    assert after.pairs[0].label is not None
    np.testing.assert_array_equal(after.decode(after.pairs[0].label, 10**6), np.where(known, ids, 0))


def test_cityscapes_label_missing(drawn_data: Path, tmp_path: Path) -> None:
    shutil.copytree(drawn_data / "cityscapes/leftImg8bit", tmp_path / "cityscapes/leftImg8bit")
    assert len(cityscapes.list_cityscapes(tmp_path, "train", labeled=False).pairs) == 6
    with pytest.raises(InputError, match=r"gtFine/train/.*_gtFine_labelIds\.png is missing"):
        cityscapes.list_cityscapes(tmp_path, "train")


def test_files_of_the_same_base_name_are_paired_by_path(tmp_path: Path) -> None:
    names = ["a/1", "b/1", "b/c/1"]
    touch(tmp_path, *(f"rgb/{n}.jpg" for n in names), *(f"ids/{n}_ids.png" for n in names))
    wanted = {n: f"ids/{n}_ids.png" for n in names}
    assert pairs(tmp_path, "rgb/{name}.jpg", "ids/{name}_ids.png") == wanted
    assert pairs(tmp_path, "rgb/**/*.jpg", "ids/**/*_ids.png") == wanted


def test_wildcards_need_not_agree_where_fields_do(tmp_path: Path) -> None:
    touch(tmp_path, "d1/rgb/7.png", "d1/seg_v2/7_x.png", "d2/rgb/7.png", "d2/seg_v1/7_y.png")
    wanted = {"d1/rgb/7": "d1/seg_v2/7_x.png", "d2/rgb/7": "d2/seg_v1/7_y.png"}
    assert pairs(tmp_path, "{drive}/rgb/{frame}.png", "{drive}/seg_*/{frame}_*.png") == wanted


def test_two_images_for_one_label(tmp_path: Path) -> None:
    touch(tmp_path, "cam/a/1.png", "cam/b/1.png", "cam/b/2.png", "cam/c/2.png", "seg/1.png")
    with pytest.raises(
        InputError, match=r"cam/a/1\.png and .*cam/b/1\.png would share the label .*seg/1\.png.*second field"
    ):
        pairs(tmp_path, "cam/*/{name}.png", "seg/{name}.png")
    # Images without a label may be alike: nothing wrong is learned from them.
    found = find_files(tmp_path, "cam/*/{name}.png", "images")
    assert group_labels(found, [], "cam/*/{name}.png", "seg/{name}.png") == ([()] * 4, [])


def test_patterns_that_do_not_fit(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "b/1.png", "b/1_2.png", "b/1_3.png")
    with pytest.raises(InputError, match="cannot be paired"):
        pairs(tmp_path, "a/*.png", "b/**/*.png")
    with pytest.raises(InputError, match=r"1_2\.png and .*1_3\.png are labels of one image.*join_labels"):
        pairs(tmp_path, "a/{name}.png", "b/{name}_*.png")
    with pytest.raises(InputError, match=r"has to be text: .*several suffixes as"):
        Pattern(["a.png", "b.png"])  # type: ignore[arg-type]
    with pytest.raises(InputError, match="relative"):
        Pattern("../x/*.png")
    with pytest.raises(InputError, match="relative"):
        Pattern("/x/*.png")


def names_of(root: Path, pattern: str) -> list[str]:
    return [file.path.relative_to(root).as_posix() for file in find_files(root, pattern, "images")]


def test_suffixes_count_as_one_in_any_case_and_spelling(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "i/0.jpg",
        "i/1.JPG",
        "i/2.jpeg",
        "i/3.JPEG",
        "i/4.png",
        "i/5.PNG",
        "i/6.tif",
        "i/7.TIFF",
        "i/a.Jpg.png",
    )
    jpegs = ["i/0.jpg", "i/1.JPG", "i/2.jpeg", "i/3.JPEG"]
    assert names_of(tmp_path, "i/{name}.jpg") == names_of(tmp_path, "i/*.JPEG") == jpegs
    assert names_of(tmp_path, "i/{name}.tif") == ["i/6.tif", "i/7.TIFF"]
    assert names_of(tmp_path, "i/{name}.{jpg,png}") == [*jpegs, "i/4.png", "i/5.PNG", "i/a.Jpg.png"]
    assert names_of(tmp_path, "i/*{.tif,.png}") == [
        "i/4.png",
        "i/5.PNG",
        "i/6.tif",
        "i/7.TIFF",
        "i/a.Jpg.png",
    ]
    assert names_of(tmp_path, "i/{name}.{ext}") == sorted(names_of(tmp_path, "i/*"))


def test_a_field_that_occurs_twice_stands_for_the_same_text(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "d/a/images/a.png",
        "d/b/images/b.png",
        "d/b/images/c.png",
        "d/a/masks/a.png",
        "d/b/masks/b.png",
    )
    wanted = {"a/images/a": "d/a/masks/a.png", "b/images/b": "d/b/masks/b.png"}
    assert pairs(tmp_path, "d/{name}/images/{name}.png", "d/{name}/masks/{name}.png") == wanted
    assert Pattern("d/{name}/images/{name}.png").fields == ("name",)


def test_one_of_several_texts(tmp_path: Path) -> None:
    touch(tmp_path, "left/1.png", "right/2.png", "back/3.png", "left_ids/1.png", "right_ids/2.png")
    assert names_of(tmp_path, "{left,right}/{name}.png") == ["left/1.png", "right/2.png"]
    wanted = {"left/1": "left_ids/1.png", "right/2": "right_ids/2.png"}
    assert pairs(tmp_path, "{left,right}/{name}.png", "{left,right}_ids/{name}.png") == wanted


def test_files_beside_the_images_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(
        tmp_path,
        "i/0.png",
        "i/1.bmp",
        "i/Thumbs.db",
        "i/.DS_Store",
        "i/._0.png",
        "i/a.mp4",
        "i/list.txt",
        "l/0.png",
    )
    search = search_files(tmp_path, "i/{name}.png", "images")
    beside = ["._0.png", ".DS_Store", "1.bmp", "Thumbs.db", "a.mp4", "list.txt"]
    assert [path.name for path in search.beside] == sorted(beside)
    caplog.set_level(logging.INFO)
    for _ in range(3):
        files = list_files(tmp_path, "i/{name}.png", "l/{name}.png", "a dataset of its own")
    assert files.beside == search.beside
    assert caplog.text.count("6 other files beside the images are not used") == 1
    listing = replace(make("0"), beside=files.beside)
    assert [path.name for path in listing.unseen] == ["1.bmp"]


def test_a_pattern_of_images_without_suffix_is_completed(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.jpg", "images/b.jpg", "labels/a.png", "labels/b.png")
    with pytest.raises(InputError, match=r"stands for 'a.jpg': write 'images/\{name\}.jpg'"):
        list_files(tmp_path, "images/{name}", "labels/{name}.png", "own")
    # Labels are missing, which the suffix has no part in.
    touch(tmp_path, "other/x.png")
    assert not any(list_files(tmp_path, "images/{name}", "other/{name}.png", "own").labels)


def test_labels_in_the_folder_of_the_images_are_not_beside_them(tmp_path: Path) -> None:
    touch(tmp_path, "i/0.jpg", "i/0.png", "i/1.jpg", "i/1.png", "i/2.webp")
    files = list_files(tmp_path, "i/{name}.jpg", "i/{name}.png", "both")
    assert [path.name for path in files.beside] == ["2.webp"]


def test_a_pattern_that_matches_nothing_says_what_is_there(tmp_path: Path) -> None:
    touch(tmp_path, "i/0.JPG", "i/1.JPG", "i/a.txt")
    with pytest.raises(
        InputError, match=r"There are 3 other files such as 0\.JPG \(2 with \.JPG, 1 with \.txt\)"
    ):
        find_files(tmp_path, "i/{name}.png", "images")
    with pytest.raises(InputError, match=r"which is a folder: write i/\{name\}\.png"):
        find_files(tmp_path, "i", "images")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="The folder is empty"):
        find_files(tmp_path, "empty/*", "images")


def test_loops_of_links_end_and_linked_folders_count(tmp_path: Path) -> None:
    touch(tmp_path, "images/a/1.png", "elsewhere/2.png", "images/.hidden.png", "images/.git/3.png")
    (tmp_path / "images/a/loop").symlink_to(tmp_path / "images")
    (tmp_path / "images/b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "images/self.png").symlink_to(tmp_path / "images/self.png")
    names = [file.name for file in find_files(tmp_path, "images/**/*.png", "images")]
    assert names == ["a/1", "b/2", "self"]


def test_special_characters_in_names_and_patterns(tmp_path: Path) -> None:
    names = ["a b", "Straße 1", "日本", "x[1]", "x+(2)", "a\nb", "dot.ted"]
    touch(tmp_path, *(f"rgb (1)/{n}.png" for n in names), *(f"ids/{n}.png" for n in names))
    assert pairs(tmp_path, "rgb (1)/{name}.png", "ids/{name}.png") == {n: f"ids/{n}.png" for n in names}


def make(*names: str) -> Listing:
    found = tuple(Pair(name, Path(name + ".png"), None) for name in names)
    return Listing("test", found, CITYSCAPES_IDS, CITYSCAPES_19, read_ids)


def test_same_name_twice_and_nothing_at_all() -> None:
    with pytest.raises(InputError, match="same name"):
        make("a", "b", "a")
    with pytest.raises(InputError, match="holds no images"):
        make()


def test_list_file(tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_text("# comment\n\nc.png\na\na\n", encoding="utf-8")
    assert [pair.name for pair in make("a", "b", "c").keep(file).pairs] == ["a", "c"]
    file.write_text("d\n")
    with pytest.raises(InputError, match=r"list\.txt names 'd', which test does not hold"):
        make("a").keep(file)
    file.write_text("\n")
    with pytest.raises(InputError, match="names no image"):
        make("a").keep(file)
    with pytest.raises(InputError, match=r"none\.txt cannot be read"):
        make("a").keep(tmp_path / "none.txt")
    file.write_bytes(b"\xff\xfe\0")
    with pytest.raises(InputError, match=r"list\.txt cannot be read"):
        make("a").keep(file)


def test_list_files_are_found_below_data_root_and_beside_the_yaml(tmp_path: Path) -> None:
    for folder in ("data", "yaml"):
        (tmp_path / folder).mkdir()
    (tmp_path / "yaml/b.txt").write_text("b\n", encoding="utf-8-sig")
    folders = (tmp_path / "data", tmp_path / "yaml")
    assert [pair.name for pair in make("a", "b").keep("b.txt", folders).pairs] == ["b"]
    (tmp_path / "data/b.txt").write_text("a\r\n")
    assert [pair.name for pair in make("a", "b").keep("b.txt", folders).pairs] == ["a"]
    with pytest.raises(InputError, match=re.escape(f"It was looked for in ., {folders[0]}, {folders[1]}")):
        make("a").keep("c.txt", folders)


def test_list_files_may_name_paths(tmp_path: Path) -> None:
    touch(tmp_path, "images/x/a.png", "images/x/b.png")
    found = make_pairs(tmp_path, "images/**/*.png", None, "set")[0]
    listing = replace(make("0"), pairs=found)
    inner = f"../{tmp_path.name}/images/x/a.png"
    for line in ("x/a", "x/a.png", "images/x/a.png", str(tmp_path / "images/x/a.png"), inner):
        (tmp_path / "list.txt").write_text(line)
        assert [pair.name for pair in listing.keep(tmp_path / "list.txt").pairs] == ["x/a"]
    # A folder that was named with "..".
    there = tmp_path / "images/.."
    listing = replace(listing, pairs=make_pairs(there, "images/**/*.png", None, "set")[0])
    (tmp_path / "list.txt").write_text(str(tmp_path / "images/x/a.png"))
    assert [pair.name for pair in listing.keep(tmp_path / "list.txt").pairs] == ["x/a"]


def test_hold_out_divides_and_is_seeded() -> None:
    listing = make(*(f"{i:02}" for i in range(20)))
    train, val = listing.hold_out(0.2, 1, "train"), listing.hold_out(0.2, 1, "val")
    assert len(val.pairs) == 4
    assert sorted([*train.pairs, *val.pairs], key=lambda pair: pair.name) == list(listing.pairs)
    assert listing.hold_out(0.2, 1, "val").pairs == val.pairs
    for name in ("mine", "mine train", "mine val"):
        assert replace(listing, name=name).hold_out(0.2, 1, "val").name == "mine val"
    assert listing.hold_out(0.2, 2, "val").pairs != val.pairs
    for fraction in (0.0, 1.0, 0.99, -1.0):
        with pytest.raises(InputError, match=r"\(\d+ images\) cannot be held out for validation"):
            listing.hold_out(fraction, 1, "val")
