"""hiast-label on folders as people have them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from small_network import CLASSES, batches, fit

from hiast.callbacks.hashing import weights_hash
from hiast.data.geometry import resize_labels
from hiast.models import DeepLabV2
from hiast.pseudo_labels.round_reader import RoundReader
from hiast.run.modules import start_from
from hiast.scenes import draw_scene
from hiast.training import HIASTModule, OnlineModule, SourceOnlyModule

Run = Callable[..., tuple[int, str, str]]
SIZES = [(48, 96), (40, 72), (64, 64)]


class Save(pl.Callback):
    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.save_checkpoint(self.path)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``sized.ckpt``, which labels at 32 x 64, and ``free.ckpt``, which names no size."""
    folder = tmp_path_factory.mktemp("checkpoints")
    for name, size in (("sized", (32, 64)), ("free", None)):
        torch.manual_seed(0)
        network = DeepLabV2(len(CLASSES), pretrained=None, layers=(1, 1, 1, 1), width=8)
        module = SourceOnlyModule(network, CLASSES, max_steps=1, validation_size=size)
        fit(module, batches(1), callbacks=[Save(folder / f"{name}.ckpt")])
    return folder


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Seven images of three sizes in two folders, among files of other kinds."""
    folder = tmp_path / "images"
    for index in range(7):
        write_image(folder / f"{'night' if index % 2 else 'day'}/{index}.png", index)
    (folder / "README.txt").write_text("Photographs of the street.")
    (folder / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0" + bytes(600))
    (folder / "day/._0.png").write_bytes(b"\0\5\x16\7" + bytes(60))
    (folder / "drive.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(100))
    return folder


def write_image(path: Path, index: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), draw_scene(index, SIZES[index % 3])[0])


def words(checkpoints: Path, images: Path, *more: str, name: str = "sized") -> list[str]:
    return [
        f"checkpoint={checkpoints / f'{name}.ckpt'}",
        f"input={images}",
        "output=labels",
        "trainer.accelerator=cpu",
        "policy=argmax",
        *more,
    ]


def names_in(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).with_suffix("").as_posix() for p in folder.rglob("*.png"))


ALL = ["day/0", "day/2", "day/4", "day/6", "night/1", "night/3", "night/5"]


def test_strays_are_passed_over_and_listed_once(
    run: Run, checkpoints: Path, images: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    code, _, err = run("label", *words(checkpoints, images))
    assert code == 0, err
    assert names_in(tmp_path / "labels/labels") == ALL
    (line,) = [message for message in caplog.messages if "passed over" in message]
    assert "4 files are not images" in line and "README.txt" in line
    # Strays come and go: the labels are the same ones.
    (images / "README.txt").unlink()
    (images / "notes.txt").write_text("x")
    assert run("label", *words(checkpoints, images))[0] == 0


def test_an_image_without_a_header_stops_before_the_first_label(
    run: Run, checkpoints: Path, images: Path, tmp_path: Path
) -> None:
    (images / "night/3.png").write_bytes((images / "night/3.png").read_bytes()[:20])
    code, _, err = run("label", *words(checkpoints, images))
    assert code == 2
    last = err.splitlines()[-1]
    assert "1 of 7 images cannot be read" in last and "night/3.png" in last and "unreadable=skip" in last
    assert not (tmp_path / "labels").exists()


def test_a_damaged_image_is_left_out_on_request_and_finished_labels_are_kept(
    run: Run, checkpoints: Path, images: Path, tmp_path: Path
) -> None:
    order = [ALL[place] for place in np.random.default_rng(888).permutation(7)]
    path = images / f"{order[-1]}.png"
    path.write_bytes(path.read_bytes()[:-40])
    code, _, err = run("label", *words(checkpoints, images))
    assert code == 2
    assert path.name in err.splitlines()[-1] and "unreadable=skip" in err.splitlines()[-1]
    journal = (tmp_path / "labels/journal.jsonl").read_text().splitlines()
    finished = [record["name"] for line in journal for record in json.loads(line)["labels"]]
    assert finished == order[: len(finished)] and finished
    before = {name: (tmp_path / f"labels/labels/{name}.png").stat().st_mtime_ns for name in finished}
    code, out, err = run("label", *words(checkpoints, images, "unreadable=skip"))
    assert code == 0, err
    assert "1 image could not be read" in out
    assert names_in(tmp_path / "labels/labels") == sorted(set(ALL) - {order[-1]})
    assert before == {name: (tmp_path / f"labels/labels/{name}.png").stat().st_mtime_ns for name in finished}
    assert list(RoundReader(tmp_path / "labels").manifest["skipped"]) == [order[-1]]


def test_a_labeling_resumes_after_a_file_was_removed(
    run: Run, checkpoints: Path, images: Path, tmp_path: Path
) -> None:
    order = [ALL[place] for place in np.random.default_rng(888).permutation(7)]
    path = images / f"{order[-1]}.png"
    path.write_bytes(path.read_bytes()[:-40])
    assert run("label", *words(checkpoints, images))[0] == 2
    path.unlink()
    (images / f"{order[0]}.png").unlink()  # its label is there already
    code, _, err = run("label", *words(checkpoints, images))
    assert code == 0, err
    assert names_in(tmp_path / "labels/labels") == sorted(set(ALL) - {order[-1]})
    # And a complete labeling stays complete when images go.
    (images / f"{order[1]}.png").unlink()
    assert run("label", *words(checkpoints, images))[0] == 0
    write_image(images / "day/8.png", 8)
    code, _, err = run("label", *words(checkpoints, images))
    assert code == 2 and "differs in names" in err


def test_labels_at_the_size_of_each_image(
    run: Run, checkpoints: Path, images: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert run("label", *words(checkpoints, images))[0] == 0
    plain = RoundReader(tmp_path / "labels")
    code, _, err = run("label", *words(checkpoints, images, "size=image", "output=at_image_size"))
    assert code == 0, err
    reader = RoundReader(tmp_path / "at_image_size")
    for index, name in sorted((int(name[-1]), name) for name in ALL):
        wanted = resize_labels(plain.label(name), *SIZES[index % 3])
        np.testing.assert_array_equal(reader.label(name), wanted)
    assert "64 x 32 pixels; label maps are written at the size of each image" in caplog.text


def test_a_checkpoint_without_a_size(run: Run, checkpoints: Path, images: Path, tmp_path: Path) -> None:
    code, _, err = run("label", *words(checkpoints, images, name="free"))
    assert code == 2 and "add size=[height,width], or size=image" in err
    code, _, err = run("label", *words(checkpoints, images, "size=image", name="free"))
    assert code == 2 and "group_size=1" in err
    code, _, err = run("label", *words(checkpoints, images, "size=image", "group_size=1", name="free"))
    assert code == 0, err
    reader = RoundReader(tmp_path / "labels")
    assert [reader.label(name).shape for name in ALL] == [SIZES[int(name[-1]) % 3] for name in ALL]


def test_a_single_image(run: Run, checkpoints: Path, images: Path, tmp_path: Path) -> None:
    code, _, err = run("label", *words(checkpoints, images / "day/0.png"))
    assert code == 0, err
    assert names_in(tmp_path / "labels/labels") == ["0"]


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        (["unreadable=ignore"], "choose stop or skip"),
        (["size=large"], "size"),
        (["max_pixels=1000"], "more than the limit of 1000"),
        (["output=images/labels"], "lies inside of input"),
    ],
)
def test_wrong_settings(run: Run, checkpoints: Path, images: Path, more: list[str], wanted: str) -> None:
    code, _, err = run("label", *words(checkpoints, images, *more))
    assert code == 2 and wanted in err.splitlines()[-1]


@pytest.mark.parametrize("of_target", [True, False])
def test_images_of_sixteen_bits_are_read_as_the_target_in_training(
    run: Run, checkpoints: Path, tmp_path: Path, of_target: bool
) -> None:
    """Thermal images with the settings of the target, or of the command, like the same images of eight bits."""
    for index in range(3):
        gray = draw_scene(index, SIZES[0])[0].mean(2).round().astype(np.uint8)
        for folder, pixels in (("thermal", gray.astype(np.uint16) + 100), ("plain", gray)):
            (tmp_path / folder).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / folder / f"{index}.png"), pixels)
    more = [] if of_target else ["value_range=[100,355]"]
    if of_target:
        kept = torch.load(checkpoints / "sized.ckpt", weights_only=True)
        kept["hiast"]["config"] = {"data": {"target": {"value_range": [100, 355]}}}
        torch.save(kept, tmp_path / "sized.ckpt")
    place = tmp_path if of_target else checkpoints
    code, _, err = run("label", *words(place, tmp_path / "thermal", *more))
    assert code == 0, err
    thermal = [cv2.imread(str(path), -1) for path in sorted((tmp_path / "labels/labels").rglob("*.png"))]
    assert run("label", *words(checkpoints, tmp_path / "plain", "overwrite=true"))[0] == 0
    plain = [cv2.imread(str(path), -1) for path in sorted((tmp_path / "labels/labels").rglob("*.png"))]
    assert len(thermal) == 3 and all((a == b).all() for a, b in zip(thermal, plain, strict=True))
    code, _, err = run("label", *words(checkpoints, tmp_path / "thermal", "output=unscaled"))
    assert code == 2 and "add value_range=[0,511]" in err.splitlines()[-1] and "dataset file" not in err


@pytest.mark.parametrize(("evaluate", "teacher", "wanted"), [
    ("teacher", "true", "teacher"), ("teacher", "false", "student"), ("student", "true", "student"),
])  # fmt: skip
def test_online_checkpoints_label_with_the_network_that_was_evaluated(
    run: Run, images: Path, tmp_path: Path, evaluate: str, teacher: str, wanted: str
) -> None:
    torch.manual_seed(0)
    network = DeepLabV2(len(CLASSES), pretrained=None, layers=(1, 1, 1, 1), width=8)
    module = OnlineModule(network, CLASSES, max_steps=1, validation_size=(32, 64), evaluate=evaluate)
    for parameter in module.teacher.network.parameters():
        parameter.data.normal_(0, 0.1)
    checkpoint: dict = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, tmp_path / "online.ckpt")
    code, _, err = run("label", *words(tmp_path, images, f"teacher={teacher}", name="online"))
    assert code == 0, err
    networks = {"student": module.network, "teacher": module.teacher.network}
    manifest = json.loads((tmp_path / "labels/manifest.json").read_text("utf-8"))
    assert weights_hash(networks[wanted]) in json.dumps(manifest)


@pytest.mark.parametrize("evaluate", ["teacher", "student"])
@pytest.mark.parametrize("kind", [OnlineModule, SourceOnlyModule, HIASTModule])
def test_the_next_stage_starts_from_the_network_that_was_evaluated(
    tmp_path: Path, evaluate: str, kind: type
) -> None:
    def build() -> DeepLabV2:
        return DeepLabV2(len(CLASSES), pretrained=None, layers=(1, 1, 1, 1), width=8)

    module = OnlineModule(build(), CLASSES, max_steps=1, evaluate=evaluate)
    for parameter in module.teacher.network.parameters():
        parameter.data.normal_(0, 0.1)
    checkpoint: dict = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, tmp_path / "online.ckpt")
    made = kind(build(), CLASSES, max_steps=1)
    start_from(made, tmp_path / "online.ckpt")
    assert weights_hash(made.network) == weights_hash(module.evaluation_network)
