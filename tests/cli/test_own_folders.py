"""Where a scenario on own data looks for files, and where it puts what it derives from them."""

from __future__ import annotations

from pathlib import Path

import pytest
from own_data import SCENARIO, SOURCE, TARGET, WORDS, write_conf, write_data

from hiast.cli import build_folders
from hiast.cli.build import build_classes, build_domains
from hiast.cli.build_folders import derived_folder
from hiast.cli.config import compose
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
    code, _, said = run("data_check", *WORDS)
    assert code == 2 and "[background, crack]" in said


def test_broken_links_are_named(tmp_path: Path, run) -> None:
    write_data(tmp_path / "data")
    write_conf(tmp_path)
    image = tmp_path / "data/target/images/0.png"
    image.unlink()
    image.symlink_to("/nowhere/0.png")
    code, out, _ = run("data_check", *WORDS)
    assert code == 1 and "it is a link to /nowhere/0.png, which is missing" in out
