"""hiast-eval of real checkpoints, and of checkpoints that do not fit."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_network import SaveAtEnd, TinyNetwork, fit

from hiast.callbacks.metrics_file import read_metrics
from hiast.classes import CITYSCAPES_19
from hiast.cli.command import run_command
from hiast.cli.config import compose
from hiast.cli.eval import _OWN, evaluate, split
from hiast.errors import InputError
from hiast.models import DeepLabV2
from hiast.training import SourceOnlyModule, load_module

SMALL = ["+backbone.layers=[1,1,1,1]", "+backbone.width=8"]


def evaluated(words: list[str], scenario: list[str] | None = None) -> dict:
    """The scores that hiast-eval writes."""
    output = Path("scores.json")
    own = [*words, f"output={output}", "trainer.accelerator=cpu", "num_workers=0"]
    assert run_command(partial(evaluate, scenario=scenario or []), "eval", "", own) == 0
    return json.loads(output.read_text())


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("stage", "number"), [("source_only", 1), ("warmup", 1), ("self_training", 2)])
def test_a_stages_last_checkpoint_scores_what_training_reported(
    reference_run: Path, stage: str, number: int
) -> None:
    reported = json.loads((reference_run / stage / f"result_{number}.json").read_text())
    scores = evaluated([f"checkpoint={reference_run / stage / 'checkpoints/last.ckpt'}"])
    assert scores["means"] == reported["means"]
    assert scores["iou"] == reported["iou"]


def test_the_file_holds_all_that_the_table_shows(reference_run: Path, capsys) -> None:
    scores = evaluated([f"checkpoint={reference_run / 'self_training/checkpoints/last.ckpt'}"])
    assert f"{100 * scores['pixel_accuracy']:.2f}" in capsys.readouterr().out
    known = [value for value in scores["iou"].values() if value is not None]
    assert scores["published_means"] == {"mIoU-19": pytest.approx(sum(known) / 19)}


def test_options(reference_run: Path, small_data: Path) -> None:
    checkpoint = f"checkpoint={reference_run / 'self_training/checkpoints/last.ckpt'}"
    plain = evaluated([checkpoint])
    for words in (["flip=true"], ["sizes=[[32,64],[64,128]]"], ["window=[32,64,16]"], ["teacher=true"]):
        assert evaluated([checkpoint, *words])["iou"].keys() == plain["iou"].keys()
        assert evaluated([checkpoint, *words]) != plain, words
    assert evaluated([checkpoint, f"data_root={small_data}"]) == plain


def test_masks(reference_run: Path, small_data: Path) -> None:
    path = reference_run / "self_training/checkpoints/last.ckpt"
    evaluated([f"checkpoint={path}", "masks=masks"])
    images = sorted((small_data / "cityscapes/leftImg8bit/val").rglob("*.png"))
    masks = sorted(Path("masks").rglob("*.png"))
    assert len(images) == len(masks) == 2
    module = load_module(path)
    for image, mask in zip(images, masks, strict=True):
        colors = np.array(module.classes.colors, np.uint8)[module.predict(image).labels]
        assert np.array_equal(np.asarray(Image.open(mask).convert("RGB")), colors)


@pytest.mark.parametrize("prefix", ["", "seg_model.", "module.seg_model."])
def test_published_weights_and_a_scenario(small_data: Path, prefix: str, capsys) -> None:
    torch.manual_seed(0)
    network = DeepLabV2(19, pretrained=None, layers=(1, 1, 1, 1), width=8)
    state = {prefix + key: value for key, value in network.state_dict().items()}
    torch.save({"state_dict": {**state, f"{prefix}representation.weight": torch.zeros(1)}}, "published.pth")
    scenario = ["+scenario=gta5_cityscapes", "validation.size=[64,128]", *SMALL, f"data_root={small_data}"]
    scores = evaluated(
        ["checkpoint=published.pth", f"data_root={small_data}", "trainer.precision=32-true"], scenario
    )
    assert len(scores["iou"]) == 19 and "mIoU-19" in scores["means"]
    assert "representation" in capsys.readouterr().err


def test_the_target_of_a_scenario_stands_in_for_that_of_the_checkpoint(
    reference_run: Path, small_data: Path
) -> None:
    checkpoint = f"checkpoint={reference_run / 'self_training/checkpoints/last.ckpt'}"
    scenario = ["+scenario=gta5_cityscapes", f"data_root={small_data}"]
    precision = "trainer.precision=32-true"
    assert evaluated([checkpoint, precision], scenario) == evaluated([checkpoint])


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["sizes=[64,128]"], "sizes must be a list of [height, width]"),
        (["window=[64,128]"], "window must be [height, width, stride]"),
        (["trainer.precision=half"], "half"),
    ],
)
def test_wrong_options(reference_run: Path, capsys, words: list[str], wanted: str) -> None:
    checkpoint = f"checkpoint={reference_run / 'self_training/checkpoints/last.ckpt'}"
    assert run_command(partial(evaluate, scenario=[]), "eval", "", [checkpoint, *words]) == 2
    errors = capsys.readouterr().err.strip().splitlines()
    assert len(errors) == 1 and wanted in errors[0], errors


def test_a_stranger_cannot_have_files_written(reference_run: Path, capsys) -> None:
    contents = torch.load(reference_run / "self_training/checkpoints/last.ckpt", weights_only=True)
    contents["hiast"]["config"]["data"]["target"] = {
        "_target_": "hiast.data.VideoDataModule", "data_root": ".", "videos": "*.mp4", "frames": "anywhere", "every": 1,
    }  # fmt: skip
    torch.save(contents, "stranger.ckpt")
    words = ["checkpoint=stranger.ckpt", "trainer.accelerator=cpu"]
    assert run_command(partial(evaluate, scenario=[]), "eval", "", words) == 2
    assert "name your scenario" in capsys.readouterr().err
    assert not Path("anywhere").exists()


@pytest.mark.parametrize(
    ("words", "own", "scenario"),
    [
        (["checkpoint=a", "flip=true"], ["checkpoint=a", "flip=true"], []),
        (
            ["checkpoint=a", "--config-dir", "data_root", "+scenario=b", "backbone=c", "trainer.devices=2"],
            ["checkpoint=a", "trainer.devices=2"],
            ["--config-dir", "data_root", "+scenario=b", "backbone=c"],
        ),
    ],
)
def test_words_go_where_they_belong(words: list[str], own: list[str], scenario: list[str]) -> None:
    assert split(words) == (own, scenario)


def test_the_words_of_evaluation_are_those_of_its_configuration() -> None:
    assert set(compose("eval", ["checkpoint=x"])) == _OWN


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("+backbone.width=16",), "holds another network"),
        (("+scenario=cityscapes_robotcar",), "knows the 19 classes"),
    ],
)
def test_a_start_from_a_checkpoint_of_another_kind(
    reference_run: Path, small_data, capsys, words, wanted
) -> None:
    from hiast.cli.train import train

    scenario = [word for word in words if word.startswith("+scenario")] or ["+scenario=gta5_cityscapes"]
    checkpoint = reference_run / "warmup/checkpoints/last.ckpt"
    rest = [word for word in words if word not in scenario]
    network = ["backbone.pretrained=null", "+backbone.layers=[1,1,1,1]", *(rest or ["+backbone.width=8"])]
    more = [
        f"init_from={checkpoint}",
        "stages=[self_training]",
        f"data_root={small_data}",
        "run=run",
        "trainer=cpu",
    ]
    assert run_command(train, "train", "", [*scenario, *network, *more]) == 2
    errors = capsys.readouterr().err.strip().splitlines()
    assert len(errors) == 1 and wanted in errors[0], errors


def test_a_start_needs_no_pretrained_weights(
    reference_run: Path, small_data: Path, launcher, tmp_path: Path
) -> None:
    """They would be replaced; here their file does not even exist."""
    more = (
        "stages=[self_training]",
        f"init_from={reference_run / 'warmup/checkpoints/last.ckpt'}",
        "self_training.rounds=1",
    )
    assert launcher.train(tmp_path, *more, "backbone.pretrained=/nowhere.pth") == [0]


@pytest.mark.slow
@pytest.mark.parametrize("rate", [1e-5, 10.0])  # the second round improves little, or destroys the network
def test_the_best_checkpoint_of_a_stage_is_the_best_of_all_rounds(
    reference_run: Path, launcher, tmp_path: Path, rate: float
) -> None:
    more = (
        "stages=[self_training]",
        f"init_from={reference_run / 'warmup/checkpoints/last.ckpt'}",
        f"self_training.by_round.2.module.optimizer.lr={rate}",
    )
    assert launcher.train(tmp_path, *more) == [0], (tmp_path / "log_0.txt").read_text()
    rows = read_metrics(tmp_path / "run/metrics.csv")
    means = [float(row["value"]) for row in rows if row["name"] == "val/mIoU-19"]
    assert len(means) == 4
    scores = evaluated([f"checkpoint={tmp_path / 'run/self_training/checkpoints/best.ckpt'}"])
    assert scores["means"]["mIoU-19"] == max(means)


def test_online_checkpoints_have_a_teacher_to_evaluate() -> None:
    from hiast.classes import CITYSCAPES_19
    from hiast.cli.eval import _teacher
    from hiast.models import DeepLabV2
    from hiast.training import OnlineModule, SourceOnlyModule

    network = DeepLabV2(19, layers=(1, 1, 1, 1), width=4)
    online = OnlineModule(network, CITYSCAPES_19)
    assert _teacher(online, Path("online.ckpt")) is online.teacher.network
    with pytest.raises(InputError, match="is of stage source_only and has no teacher"):
        _teacher(SourceOnlyModule(network, CITYSCAPES_19), Path("first.ckpt"))


def test_a_network_of_ones_own_is_built_by_the_scenario(small_data: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "conf/backbone").mkdir(parents=True)
    (tmp_path / "conf/backbone/tiny.yaml").write_text("_target_: small_network.TinyNetwork\n")
    module = SourceOnlyModule(TinyNetwork(19), CITYSCAPES_19, validation_size=(64, 128), max_steps=1)
    batch = {"image": torch.zeros(2, 3, 32, 32, dtype=torch.uint8)}
    fit(
        module,
        [{"source": batch | {"label": torch.zeros(2, 32, 32, dtype=torch.uint8)}}],
        callbacks=[SaveAtEnd(tmp_path / "own.ckpt")],
    )
    words = ["checkpoint=own.ckpt", f"data_root={small_data}", "trainer.precision=32-true"]
    scenario = [
        "--config-dir",
        "conf",
        "+scenario=gta5_cityscapes",
        "backbone=tiny",
        f"data_root={small_data}",
    ]
    scores = evaluated(words, [*scenario, "validation.size=[64,128]"])
    assert len(scores["iou"]) == 19
    assert run_command(partial(evaluate, scenario=[]), "eval", "", [*words, "trainer.accelerator=cpu"]) == 2
    assert "add --config-dir, +scenario=NAME and backbone=NAME" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["limit_val_batches=1", "limit_test_batches=1", "fast_dev_run=true"])
def test_a_part_of_the_images_gives_no_score(reference_run: Path, capsys, option: str) -> None:
    words = [f"checkpoint={reference_run / 'self_training/checkpoints/last.ckpt'}", f"+trainer.{option}"]
    assert run_command(partial(evaluate, scenario=[]), "eval", "", words) == 2
    assert "mIoU is of all validation images" in capsys.readouterr().err
