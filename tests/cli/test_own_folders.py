"""Where a scenario on own data looks for files, and where it puts what it derives from them."""

from __future__ import annotations

from pathlib import Path

import pytest
from own_data import SCENARIO, SOURCE, TARGET, WORDS, write_conf, write_data

from hiast.cli import build_folders
from hiast.cli.build import build_classes, build_domains
from hiast.cli.build_folders import derived_folder
from hiast.cli.config import compose
from hiast.data.loading.segmentation import SegmentationDataset
from hiast.errors import InputError


def domains(*words: str):
    config = compose("train", [*WORDS, *words])
    return build_domains(config, build_classes(config))


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("place", [".", "conf/dataset", "data", "data/source", "absolute"])
def test_a_list_file_is_found_where_people_put_it(tmp_path: Path, place: str) -> None:
    write_data(tmp_path / "data")
    folder = tmp_path / ("elsewhere" if place == "absolute" else place)
    folder.mkdir(parents=True, exist_ok=True)
    named = str(folder / "some.txt") if place == "absolute" else "some.txt"
    write_conf(tmp_path, source=f"{SOURCE}train_list: {named}\n")
    (folder / "some.txt").write_text("\ufeff0\r\n2.png\n# a comment\n", encoding="utf-8")
    source, _ = domains()
    assert source.train_dataset().names == ("0", "2")


def test_a_list_file_that_is_nowhere_is_named_with_all_places(tmp_path: Path) -> None:
    write_data(tmp_path / "data")
    write_conf(tmp_path, source=f"{SOURCE}train_list: none.txt\n")
    with pytest.raises(InputError, match=r"none\.txt.*looked for in \., data/source, conf/dataset, data"):
        domains()[0].train_dataset()


VIDEO = "_target_: hiast.data.VideoDataModule\ndata_root: ${data_root}/clips\nname: clips\nvideos: '*.mp4'\n"


@pytest.mark.parametrize(
    ("writable", "words", "extra", "frames"),
    [
        (True, [], "", "data/clips/frames"),
        (False, [], "", "outputs/own/cache/clips/frames"),
        (True, ["data.cache_folder=kept"], "", "kept/clips/frames"),
        (False, ["data.cache_folder=kept"], "", "kept/clips/frames"),
        (False, [], "frames: here\n", "here"),
        (False, [], "cache_folder: there\n", "there/frames"),
    ],
)  # fmt: skip
def test_frames_of_videos_on_read_only_media(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writable: bool, words: list[str], extra: str, frames: str
) -> None:
    write_conf(tmp_path, target=VIDEO + extra)
    monkeypatch.setattr(build_folders, "is_writable", lambda folder: writable)
    assert domains(*words)[1].frames == Path(frames)


def test_the_cache_of_prepared_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_conf(tmp_path)
    for words, writable, expected in (
        ([], True, "data/cache"), ([], False, "outputs/own/cache"), (["data.cache_folder=x"], False, "x"),
    ):  # fmt: skip
        monkeypatch.setattr(build_folders, "is_writable", lambda folder, writable=writable: writable)
        assert derived_folder(compose("train", [*WORDS, *words]), Path("data")) == Path(expected)


@pytest.mark.parametrize(
    ("writable", "words", "extra", "folder"),
    [
        (True, [], "", "data/cache/class_pixels"),
        (False, [], "", "outputs/own/cache/class_pixels"),
        (True, ["data.cache_folder=kept"], "", "kept/class_pixels"),
        (True, [], "statistics: here\n", "here"),
    ],
)
def test_counts_of_rare_class_sampling_are_kept_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writable: bool, words: list[str], extra: str, folder: str
) -> None:
    write_data(tmp_path / "data")
    write_conf(tmp_path, source=SOURCE + extra)
    monkeypatch.setattr(build_folders, "is_writable", lambda folder: writable)
    sampled = ("data.rare_class_sampling={temperature: 1.0, min_pixels: 1}", *words)
    domains(*sampled)[0].train_order()
    (kept,) = tmp_path.rglob("class_pixels-*.npy")
    assert kept.parent == tmp_path / folder
    written = kept.stat().st_mtime_ns
    monkeypatch.setattr(SegmentationDataset, "read_label", lambda *_: pytest.fail("counted again"))
    domains(*sampled)[0].train_order()
    assert kept.stat().st_mtime_ns == written


def test_counts_of_data_outside_of_data_root_lie_with_the_data(tmp_path: Path) -> None:
    write_data(tmp_path / "store")
    write_conf(tmp_path, source=SOURCE.replace("${data_root}", str(tmp_path / "store")))
    (source, _) = domains("data.rare_class_sampling={temperature: 1.0, min_pixels: 1}")
    source.train_order()
    assert len(list((tmp_path / "store/source/cache/class_pixels").iterdir())) == 1
    assert not (tmp_path / "data").exists()


def test_without_rare_class_sampling_nothing_is_kept(tmp_path: Path) -> None:
    write_data(tmp_path / "data")
    write_conf(tmp_path)
    source, _ = domains()
    source.train_order()
    assert source.statistics is None


def test_a_place_that_cannot_be_written_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write_conf(tmp_path)
    monkeypatch.setattr(build_folders, "is_writable", lambda folder: False)
    config = compose("train", WORDS)
    with caplog.at_level("INFO"):
        for _ in range(3):
            derived_folder(config, tmp_path / "read-only")
    assert caplog.text.count("(data.cache_folder)") == 1


def test_a_folder_that_does_not_exist_is_writable_if_it_can_be_made(tmp_path: Path) -> None:
    assert build_folders.is_writable(tmp_path / "a/b") and build_folders.is_writable(Path("c"))


def test_datasets_with_their_own_folders_need_no_data_root(tmp_path: Path, run) -> None:
    write_data(tmp_path / "store")
    sides = [text.replace("${data_root}", str(tmp_path / "store")) for text in (SOURCE, TARGET)]
    write_conf(tmp_path, *sides)
    code, out, _ = run("data_check", *WORDS)
    assert (code, "Ready for training." in out) == (0, True)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (("target/images", "target/pictures"), "data/target holds the folders pictures, val. Set data_root, or change"),
        (("target", "Target"), "the images of own_target train belong there; set data_root"),
    ],
)  # fmt: skip
def test_a_missing_folder_of_own_data_is_named_with_what_is_there(
    tmp_path: Path, change: tuple[str, str], wanted: str
) -> None:
    write_data(tmp_path / "data")
    write_conf(tmp_path)
    (tmp_path / "data" / change[0]).rename(tmp_path / "data" / change[1])
    with pytest.raises(InputError) as caught:
        domains()[1].train_dataset(labeled=False)
    assert wanted in str(caught.value)
    assert "demo" not in str(caught.value)


def test_one_class_is_refused_with_the_way_out(tmp_path: Path, run) -> None:
    write_data(tmp_path / "data")
    write_conf(tmp_path, scenario=SCENARIO.replace("[road, building, sky]", "[crack]"))
    code, _, output = run("data_check", *WORDS)
    assert code == 2 and "[background, crack]" in output


def test_broken_links_are_named(tmp_path: Path, run) -> None:
    write_data(tmp_path / "data")
    write_conf(tmp_path)
    image = tmp_path / "data/target/images/0.png"
    image.unlink()
    image.symlink_to("/nowhere/0.png")
    code, out, _ = run("data_check", *WORDS)
    assert code == 1 and "it is a link to /nowhere/0.png, which is missing" in out
