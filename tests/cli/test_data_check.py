"""hiast-data-check from the command line: it says "Ready" of what training takes, and "would fail" of the rest."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from hiast.cli.build import build_classes, build_domains
from hiast.cli.config import compose
from hiast.errors import InputError


def starts(*words: str) -> bool:
    """Whether training gets its datasets, and the first image of each."""
    config = compose("train", words)
    try:
        source, target = build_domains(config, build_classes(config))
        for dataset in (source.train_dataset(), target.train_dataset(labeled=False), target.val_dataset()):
            dataset[0]
        source.train_order()
    except InputError:
        return False
    return True


def test_check_writes_a_report_and_judges(run, drawn_copy: Path) -> None:
    code, output, _ = run("data_check", "+scenario=demo", f"data_root={drawn_copy}")
    report = json.loads(Path("outputs/demo/data_check/report.json").read_text())
    assert code == 0 and "Ready for training" in output and not report["would_fail"]
    assert [part["images"] for part in report["parts"]] == [8, 6, 4]
    assert [part["labeled"] for part in report["parts"]] == [True, False, True]
    assert cv2.imread("outputs/demo/data_check/contact_sheet.png").shape[1] > 1000
    assert {need["place"] for need in report["needs"]} == {"disk", "memory", "device"}

    image = sorted((drawn_copy / "GTA5/images").glob("*.png"))[2]
    image.write_bytes(image.read_bytes()[:400])
    code, output, _ = run("data_check", "+scenario=demo", f"data_root={drawn_copy}", "out=here")
    assert code == 1 and str(image) in output and "Training would fail" in output
    assert str(image) in Path("here/report.html").read_text()
    words = ["+scenario=demo", f"data_root={drawn_copy}", "data.unreadable=skip", "out=here"]
    assert run("data_check", *words)[0] == 0
    code, output, _ = run("data_check", *words, "data.cache=raw")
    assert code == 1 and "not in the cache" in output
    assert run("data_prepare", *words[:3])[0] == 0
    assert run("data_check", *words, "data.cache=raw")[0] == 0


def test_check_reports_a_missing_dataset(run, drawn_copy: Path) -> None:
    (drawn_copy / "GTA5").rename(drawn_copy / "gta")
    code, output, _ = run("data_check", "+scenario=demo", f"data_root={drawn_copy}")
    assert code == 1 and "GTA5/images is missing" in output


def test_a_cache_of_older_images_stops_training(run, drawn_copy: Path) -> None:
    words = ["+scenario=demo", f"data_root={drawn_copy}", "data.cache=raw"]
    assert run("data_prepare", *words)[0] == 0
    first, second = sorted((drawn_copy / "GTA5/images").glob("*.png"))[:2]
    shutil.copy(second, first)
    assert not starts(*words)
    code, output, _ = run("data_check", *words)
    assert (
        code == 1 and "1 image changed or damaged since put into the cache" in output and str(first) in output
    )
    assert run("data_prepare", *words)[0] == 0
    picture = next((drawn_copy / "cache/raw").glob("*/*.tif"))
    picture.write_bytes(picture.read_bytes()[:-1])
    code, output, _ = run("data_check", *words)
    assert code == 1 and f"{picture} of the cache is damaged" in output


def test_copied_images_need_no_new_cache(run, drawn_copy: Path) -> None:
    words = ["+scenario=demo", f"data_root={drawn_copy}", "data.cache=raw"]
    assert run("data_prepare", *words)[0] == 0
    for image in (drawn_copy / "GTA5/images").glob("*.png"):
        image.write_bytes(image.read_bytes())
    assert run("data_check", *words)[0] == 0


def test_images_of_pairs_that_are_left_out_need_no_cache(run, drawn_copy: Path) -> None:
    label = sorted((drawn_copy / "GTA5/labels").glob("*.png"))[0]
    Image.open(label).resize((20, 10), Image.Resampling.NEAREST).save(label)
    words = ["+scenario=demo", f"data_root={drawn_copy}", "+data.source.size_mismatch=skip"]
    assert run("data_prepare", *words)[0] == 0
    assert run("data_check", *words, "data.cache=raw")[0] == 0


@pytest.mark.parametrize("policy", ["data.unreadable=skip", "+data.source.size_mismatch=skip"])
def test_nothing_left_stops_training(run, drawn_copy: Path, policy: str) -> None:
    for label in (drawn_copy / "GTA5/labels").glob("*.png"):
        if "unreadable" in policy:
            label.write_bytes(label.read_bytes()[:200])
        else:
            Image.open(label).resize((20, 10), Image.Resampling.NEAREST).save(label)
    words = ["+scenario=demo", f"data_root={drawn_copy}", policy]
    assert not starts(*words)
    code, output, _ = run("data_check", *words)
    assert code == 1 and "holds no images" in output


def test_damage_that_skipping_does_not_notice_stops_training(run, drawn_copy: Path) -> None:
    label = sorted((drawn_copy / "GTA5/labels").glob("*.png"))[1]
    Image.open(label).convert("RGB").save(label.with_suffix(".jpg"))
    label.with_suffix(".jpg").rename(label)
    words = ["+scenario=demo", f"data_root={drawn_copy}", "data.unreadable=skip"]
    code, output, _ = run("data_check", *words)
    config = compose("train", words)
    kept = build_domains(config, build_classes(config))[0].train_dataset().names
    assert code == (1 if label.stem in kept else 0)
    assert ("not noticed by" in output) == (label.stem in kept)


def test_few_labels_with_classes_are_judged_as_training_judges_them(run, drawn_copy: Path) -> None:
    labels = sorted((drawn_copy / "GTA5/labels").glob("*.png"))
    for index in np.linspace(0, len(labels) - 1, 4).astype(int):
        Image.fromarray(np.zeros((96, 192), np.uint8)).save(labels[index])
    words = ["+scenario=demo", f"data_root={drawn_copy}"]
    assert (run("data_check", *words)[0] == 0) == starts(*words)


def test_a_typo_in_a_policy_is_refused(run, drawn_copy: Path) -> None:
    label = sorted((drawn_copy / "GTA5/labels").glob("*.png"))[0]
    Image.open(label).resize((20, 10), Image.Resampling.NEAREST).save(label)
    code, _, output = run(
        "data_check", "+scenario=demo", f"data_root={drawn_copy}", "+data.source.size_mismatch=rezise"
    )
    assert code == 2 and "size_mismatch is 'rezise'" in output and len(output.splitlines()) == 1


def test_the_limit_of_pixels_is_that_of_training(run, drawn_copy: Path) -> None:
    words = ["+scenario=demo", f"data_root={drawn_copy}", "+data.source.max_pixels=10000"]
    code, output, _ = run("data_check", *words)
    assert code == 1 and "more than the limit of 10000" in output
    code, _, output = run("data_prepare", *words)
    assert code == 2 and "more than the limit of 10000" in output.splitlines()[-1]


def write_joined(weights: str, second: str = "SYNTHIA") -> list[str]:
    """A scenario of two sources in the folder c; returns the words that choose it."""
    one, two = (
        f'{{_target_: hiast.data.{name}DataModule, _partial_: true, data_root: "${{data_root}}"}}'
        for name in ("GTA5", second)
    )
    both = f"_target_: hiast.data.JoinedDataModule\nweights: {weights}\nmodules: [{one}, {two}]\n"
    scenario = "# @package _global_\ndefaults:\n  - demo\n  - override /dataset@data.source: both\n"
    for place, content in {"dataset/both.yaml": both, "scenario/both.yaml": scenario}.items():
        (Path("c") / place).parent.mkdir(parents=True, exist_ok=True)
        (Path("c") / place).write_text(content)
    return ["--config-dir", "c", "+scenario=both"]


@pytest.mark.parametrize(
    ("weights", "second", "wanted"),
    [("[1]", "SYNTHIA", "2 sources need as many weights"), ("null", "GTA5", "called")],
)
def test_sources_that_cannot_be_joined_are_refused(run, drawn_data, weights, second, wanted: str) -> None:
    words = [*write_joined(weights, second), f"data_root={drawn_data}"]
    assert not starts(*words)
    code, _, output = run("data_check", *words)
    assert code == 2 and wanted in output and len(output.splitlines()) == 1


def test_several_sources_and_rare_classes_from_config(run, drawn_data: Path) -> None:
    words = [*write_joined("[3, 1]"), f"data_root={drawn_data}"]
    both = Path("c/dataset/both.yaml")
    both.write_text(both.read_text().replace("}, ", ", rare_class_sampling: {temperature: 0.01}}, "))
    config = compose("train", words)
    source, _ = build_domains(config, build_classes(config))
    assert len(source.train_dataset()) == 16 and source.train_order() is not None
    code, output, _ = run("data_check", *words)
    assert code == 0 and "SYNTHIA: 8 images" in output


def test_names_that_are_not_text_are_reported(run, drawn_copy: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    for kind in ("images", "labels"):
        (drawn_copy / "GTA5" / kind / name).write_bytes(b"no picture")
    code, output, _ = run("data_check", "+scenario=demo", f"data_root={drawn_copy}", "out=here")
    assert code == 1 and r"caf\udce9.png is not an image" in output
    assert r"caf\udce9.png is not an image" in Path("here/report.html").read_text(encoding="utf-8")
    assert name in json.loads(Path("here/report.json").read_text())["findings"][0]["details"][0]


@pytest.mark.parametrize("out", ["file", "file/below"])
def test_a_report_that_cannot_be_written_is_one_sentence(run, drawn_data: Path, out: str) -> None:
    Path("file").write_text("")
    code, _, output = run("data_check", "+scenario=demo", f"data_root={drawn_data}", f"out={out}")
    assert code == 2 and f"out: the folder {out} cannot be made" in output and len(output.splitlines()) == 1


def test_each_dataset_of_a_joined_target_is_checked(run, drawn_data: Path) -> None:
    words = write_joined("null")
    scenario = Path("c/scenario/both.yaml")
    scenario.write_text(scenario.read_text().replace("data.source", "data.target"))
    code, output, _ = run("data_check", *words, f"data_root={drawn_data}")
    assert code == 0, output
    assert "target train: GTA5: 8 images" in output and "target train: SYNTHIA: 8 images" in output


def test_extracting_the_frames_of_videos_is_announced(run, drawn_copy: Path, caplog) -> None:
    size, codec = (64, 32), cv2.VideoWriter_fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(drawn_copy / "drive.mp4"), codec, 10, size)
    for value in range(31):
        writer.write(np.full((32, 64, 3), 8 * value, np.uint8))
    writer.release()
    Path("c/dataset").mkdir(parents=True)
    Path("c/dataset/drive.yaml").write_text(
        '_target_: hiast.data.VideoDataModule\ndata_root: ${data_root}\nvideos: "*.mp4"\n'
    )
    words = ["+scenario=demo", "dataset@data.target=drive", f"data_root={drawn_copy}", "--config-dir", "c"]
    with caplog.at_level("INFO", logger="hiast"):
        code, output, _ = run("data_check", *words)
    assert code == 0 and "target train: video: 2 images" in output, output
    assert "extracting the frames of its videos that are missing" in caplog.text
