"""Settings that do not exist or do not fit are refused by name, with the nearest one, wherever they stand."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf
from own_data import SCENARIO, SOURCE, WORDS, write_conf

from hiast.cli.config import compose
from hiast.errors import InputError

DEMO = "+scenario=demo"


def refusal(*words: str, command: str = "train") -> str:
    with pytest.raises(InputError) as caught:
        compose(command, words)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.mark.parametrize(
    ("word", "key", "meant"),
    [
        ("self_training.stepz=3", "self_training.stepz", "self_training.max_steps"),
        ("+self_training.stepz=3", "self_training.stepz", "self_training.max_steps"),
        ("++epochs=100", "epochs", "source_only.max_steps"),
        ("+batch_size=9", "batch_size", "online.batch_size"),
        ("self_training.lr=1", "self_training.lr", "self_training.module.optimizer.lr"),
        ("ckpt_path=x", "ckpt_path", "init_from"),
        ("trainer.gpus=2", "trainer.gpus", "trainer.devices"),
        ("scenaro=demo", "scenaro", "scenario"),
        ("data.source_crop.heigth=3", "data.source_crop.heigth", "data.source_crop.height"),
        ("pseudo_label.policy.alfa=1", "pseudo_label.policy.alfa", "pseudo_label.policy.alpha"),
        ("+self_training.by_round.2.stesp=5", "self_training.by_round.2.stesp", "by_round.2.max_steps"),
        ("self_training.by_round.3.module.optimiser.lr=1", "by_round.3.module.optimiser", "module.optimizer"),
        ("self_training.module.optimizer.schedule.nmae=x", "schedule.nmae", "schedule.name"),
    ],
)
def test_unknown_keys_are_answered_with_the_nearest(word: str, key: str, meant: str) -> None:
    output = refusal(DEMO, word)
    assert (
        f"{key}: there is no such key; did you mean " in output and meant in output.split("did you mean")[1]
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("self_training.steps", "self_training.max_steps"),
        ("source_only.accumulate", "source_only.accumulate_grad_batches"),
        ("validation.every", "validation.every_n_steps"),
        ("checkpoint_every", "checkpoint_every_n_steps"),
        ("record_every", "log_every_n_steps"),
        ("self_training.module.momentum", "self_training.module.ema_decay"),
        ("self_training.module.statistics", "self_training.module.bn_statistics"),
        ("warmup.module.batch_norm", "warmup.module.freeze_bn"),
        ("warmup.module.discriminator_rate", "warmup.module.discriminator_lr"),
        ("warmup.module.optimiser", "warmup.module.optimizer"),
        ("source_only.module.optimizer.learning_rate", "source_only.module.optimizer.lr"),
        ("source_only.module.optimizer.head_factor", "source_only.module.optimizer.head_lr_mult"),
        ("source_only.module.optimizer.kind", "source_only.module.optimizer.name"),
        ("source_only.module.optimizer.schedule.shape", "source_only.module.optimizer.schedule.name"),
        (
            "source_only.module.optimizer.schedule.floor",
            "source_only.module.optimizer.schedule.min_lr_factor",
        ),
        ("loss.class_normalised", "loss.class_normalized"),
    ],
)
def test_old_names_are_answered_with_the_new(old: str, new: str) -> None:
    assert refusal(DEMO, f"{old}=1") == f"{old}: there is no such key; did you mean {new}?"


@pytest.mark.parametrize(
    ("word", "wanted"),
    [
        ("seed=abc", "seed must be a whole number of at least 0, not 'abc'"),
        ("seed=", "seed must be a whole number"),
        ("seed=20261128190000", "seed must be a whole number from 0 to 4294967295, not 20261128190000"),
        ("+scenario=conf/scenario/own.yaml", "as in --config-dir conf +scenario=own"),
        (
            "source_only.batch_size=3.5",
            "source_only.batch_size must be a whole number of at least 1, not 3.5",
        ),
        ("self_training.by_round.3.max_steps=0", "self_training.by_round.3.max_steps must be a whole number"),
        ("self_training.by_round.3.module.optimizer.lr=x", "module.optimizer.lr must be a number, not 'x'"),
        ("self_training.by_round.2=5", "must be a mapping"),
        ("self_training.by_round.7.max_steps=5", "there is no round 7; self_training.rounds is 3"),
        ("self_training.by_round.first.max_steps=5", "there is no round first"),
        ("self_training.module.ema_decay=abc", "ema_decay must be a number, not 'abc'"),
        ("self_training.module.max_steps=5", "set max_steps of the stage"),
        ("data.source.unreadable=skip", "set data.unreadable"),
        ("stages=warmup", "stages must be a list of some of [source_only, warmup, self_training, online]"),
        ("validation.size=64", "validation.size must be [height, width] or null, not 64"),
        ("data.cache=zip", "data.cache is 'zip': choose raw, zstd, jpeg, auto or null"),
        ("loss.region=edge", "loss.region is 'edge': choose ignored, confident or all"),
        ("loss=iasst", "There is no loss 'iasst': did you mean iast?"),
        ("loss=no_regularisers", "did you mean no_regularizers?"),
        ("data.source._target_=hiast.data.GTA5DataModul", "did you mean hiast.data.GTA5DataModule?"),
        (
            "data.source_crop._target_=hiast.data.transforms.RandomSizedCrop",
            "hiast.data.augmentation.weak.RandomSizedCrop",
        ),
        ("classes.path=hiast.classes.CITYSCAPES", "did you mean hiast.classes.CITYSCAPES_19?"),
        ("logger.loggers=[{_target_: pytorch_lightning.loggers.CSVLogger, dir: x}]", "logger.loggers.0.dir"),
        ("seed=1,2", "add --multirun"),
        ("foo=ü", "quote it"),
        ("data=3", "data must hold num_workers"),
    ],
)
def test_values_that_do_not_fit_are_refused(word: str, wanted: str) -> None:
    assert wanted in refusal(DEMO, word)


def test_an_old_key_of_a_logger_is_refused_with_the_new_one() -> None:
    assert "logger.wandb.KEY" in refusal(DEMO, "logger=wandb", "logger.loggers.0.offline=false")


@pytest.mark.parametrize(
    ("word", "key", "value"),
    [
        ("source_only.max_steps=1e3", "source_only.max_steps", 1000),
        ("data_root=2024", "data_root", "2024"),
        ("run=1e3", "run", "1e3"),
        ("run=null", "run", None),
        ("data.source.size_mismatch=skip", "data.source.size_mismatch", "skip"),
        ("+seed=5", "seed", 5),
        ("+loss=iast", "loss.entropy", 3.0),
        ("self_training.by_round.2.max_steps=2e1", "self_training.by_round.2.max_steps", 20),
        ("self_training.rounds=1", "self_training.rounds", 1),
    ],
)
def test_what_is_clearly_meant_is_taken(word: str, key: str, value: object) -> None:
    found = OmegaConf.select(compose("train", ["scenario=demo", word]), key)
    assert found == value and type(found) is type(value)


def test_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    assert compose("train", [DEMO, "data_root=~/data"]).data_root == "/home/someone/data"
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", lambda number: {}[number])
    assert compose("train", [DEMO, "data_root=~/data"]).data_root == "~/data"


def test_switches_are_written_in_words() -> None:
    assert compose("eval", ["flip=yes"]).flip is True and compose("eval", ["flip=off"]).flip is False


def test_own_keys_that_others_refer_to_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_conf(tmp_path, scenario=SCENARIO + "my_seed: 3\nseed: ${my_seed}\n")
    assert compose("train", WORDS).seed == 3


NEAREST = "there is no such key; did you mean"
FILES = [
    (SOURCE, "labels:", "label:", f"line 5: data.source.label: {NEAREST} data.source.labels?"),
    (
        SOURCE,
        "labels:",
        "label_colours: null\nlabels:",
        f"data.source.label_colours: {NEAREST} data.source.label_colors?",
    ),
    (SOURCE, "{0: road, 1: building, 2: sky}", "[0, 1, 2]", "line 7: data.source.ids must be a mapping"),
    (SOURCE, "{0: road, 1: building, 2: sky}", "{road: 0}", "in which each key is a whole number"),
    (
        SOURCE,
        "FolderDataModule",
        "FolderDataModul",
        "line 1: data.source._target_: there is no hiast.data.FolderDataModul",
    ),
    (SOURCE, "labels:", "\tlabels:", "line 5: a tab"),
    (SCENARIO, "[road, building, sky]", "road building sky", "line 10: classes.names must be a list"),
    (SCENARIO, "[road,", "[null,", "line 10: classes.names must be a list in which each item is text"),
    (
        SCENARIO,
        "only: {max_steps",
        "only: {steps",
        f"line 17: source_only.steps: {NEAREST} source_only.max_steps?",
    ),
    (
        SCENARIO,
        "rounds: 1",
        "rounds: 1, by_round: {2: {max_steps: 1}}",
        "line 19: self_training.by_round.2: there is no",
    ),
]


@pytest.mark.parametrize(("text", "right", "wrong", "wanted"), FILES)
def test_mistakes_in_own_files_are_named_with_their_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, right: str, wrong: str, wanted: str
) -> None:
    monkeypatch.chdir(tmp_path)
    name, file = (
        ("source", "conf/dataset/own_source.yaml")
        if text == SOURCE
        else ("scenario", "conf/scenario/own.yaml")
    )
    write_conf(tmp_path, **{name: text.replace(right, wrong, 1)})
    output = refusal(*WORDS)
    assert output.startswith(f"{file}, line ") and wanted in output


def test_a_missing_part_of_the_defaults_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_conf(tmp_path, scenario=SCENARIO.replace("source: own_source", "source: own_sorce"))
    assert refusal(*WORDS).startswith("There is no dataset 'own_sorce': did you mean own_source?")


@pytest.mark.parametrize("folder", ["My project ü", "a,b [c]", "d=e #1", "%7E'x"])
def test_own_configurations_are_found_wherever_they_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    write_conf(tmp_path / folder)
    assert (
        compose("train", ["seed=5", "--config-dir", str(tmp_path / folder / "conf"), "+scenario=own"]).name
        == "own"
    )
    monkeypatch.chdir(tmp_path / folder)
    assert compose("train", ["--config-dir=conf", "scenario=own"]).name == "own"


def test_own_configurations_come_before_the_shipped_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_conf(tmp_path)
    Path("conf/scenario/own.yaml").rename("conf/scenario/demo.yml")
    Path("conf/train.yaml").write_text("a: 3")
    assert compose("train", ["--config-dir", "conf", DEMO]).name == "own"


def test_a_scenario_without_its_first_line_is_taken_as_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    write_conf(tmp_path, scenario="\ufeff" + SCENARIO.split("\n", 1)[1])
    assert compose("train", WORDS).name == "own"
    assert "'# @package _global_' is missing" in caplog.text


def test_debug_comes_last_wherever_it_stands() -> None:
    config = compose("train", ["debug=fast_dev_run", DEMO, "warmup.max_steps=7"])
    assert (config.source_only.max_steps, config.warmup.max_steps, config.self_training.rounds) == (1, 7, 1)
