"""Reported: command lines and YAML files as people write them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from projects import NAMED, SCENARIO, SOURCE, TARGET, Answer, Project

from hiast.cli.build import build_classes, build_domains
from hiast.cli.config import compose, plain
from hiast.errors import InputError
from hiast.run.trainer import check_options

WORDS = ["--config-dir", "my_conf", "+scenario=mine"]


def begun(*words: str) -> Path:
    """Compose the configuration and build what every command builds first; the folder of the source."""
    config = compose("train", [*WORDS, *words])
    source, _ = build_domains(config, build_classes(config))
    check_options(plain(config.trainer))
    assert len(source.train_dataset()) == 3
    return source.data_root.parent


def refusal(*words: str) -> str:
    with pytest.raises(InputError) as caught:
        begun(*words)
    return str(caught.value)


@pytest.mark.parametrize("folder", ["My project ü", "a,b [1]", "x=y#z"])
def test_the_folder_of_configurations_may_be_called_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    inner = tmp_path / folder
    Project(inner)
    monkeypatch.chdir(inner)
    begun()


@pytest.mark.parametrize("name", ["data ü", "it's (1)", "a=b", "d,[1]", "2024", "1e3"])
def test_a_path_is_what_the_shell_hands_over(project: Project, name: str) -> None:
    (project.root / "data").rename(project.root / name)
    assert begun(f"data_root={name}") == Path(name)


def test_the_check_of_the_project(project: Project, checked: Callable[..., Answer]) -> None:
    """The scenario that all tests here begin with is ready for training."""
    assert checked("out=2025").ready
    assert (project.root / "2025/report.html").is_file()


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["run="], "run"),
        (["+epochs=100"], "did you mean"),
        (["+batch_size=9"], "batch_size"),
        (["source_only.batch_size=3.5"], "whole number"),
    ],
)
def test_other_words_are_refused_by_name(project: Project, words: list[str], wanted: str) -> None:
    assert wanted in refusal(*words)


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        (b"\tlabels: x\n", "tab"),
        (NAMED.encode(), "stands in line"),
        (b"x: [road, [y\n", "bracket is not closed"),
        (b"note: road: 1\n", "needs quotes"),
        (b"# stra\xdfe\n", "not UTF-8"),
        (b"x: %a\n", "needs quotes"),
        (b"x: @a\n", "needs quotes"),
    ],
)
def test_mistakes_in_yaml_are_named_with_their_line(project: Project, line: bytes, wanted: str) -> None:
    with project.conf("dataset/mine_source").open("ab") as file:
        file.write(line)
    output = refusal()
    assert wanted in output and "mine_source.yaml, line" in output


def test_a_byte_order_mark_and_a_lost_package_line_do_no_harm(project: Project) -> None:
    text = SCENARIO.partition("\n")[2]
    project.conf("scenario/mine").write_bytes(b"\xef\xbb\xbf" + text.encode())
    begun()


@pytest.mark.parametrize(
    ("names", "source_keys", "wanted"),
    [
        ("[ground, off, on, no]", "", None),
        ("[0, 1, 2, 3]", "", None),
        ("[null, wall, air, thing]", "", "names"),
        ("[ground, ground, air, thing]", "", "differ"),
        ("ground wall air", "", "names"),
        ("[crack]", "", "[background, crack]"),
        (None, 'ids: {"0": ground, 01: wall, 2: air, 3: thing}', None),
        (None, "ids: {0: None, 1: wall, 2: air, 3: thing}", "write null"),
        (None, "class_map: [thing]", "class_map"),
        (None, "labels: labels/{name}.png\nlabel: labels/{name}.png", "did you mean data.source.labels"),
        (None, "images: [a, b]", "images"),
        (None, "label_colors:\n  #804080: ground", "#"),
    ],
)
def test_values_in_yaml(project: Project, names: str | None, source_keys: str, wanted: str | None) -> None:
    keys = [line.partition(":")[0] for line in source_keys.splitlines() if line[:1] not in (" ", "#")]
    source = "".join(line for line in SOURCE.splitlines(True) if line.partition(":")[0] not in keys)
    scenario = SCENARIO if names is None else SCENARIO.replace("[ground, wall, air, thing]", names)
    if names is not None:  # ids 0 to 3 are the names in their order
        source, target = (
            "".join(line for line in text.splitlines(True) if not line.startswith(("names", "ids")))
            for text in (SOURCE, TARGET)
        )
        project.write_conf(source, target, scenario)
    else:
        project.write_conf(f"{source}{source_keys}\n", scenario=scenario)
    if wanted is None:
        begun()
    else:
        assert wanted in refusal()


@pytest.mark.parametrize("kind", ["dataset/mine_source", "scenario/mine"])
def test_an_empty_file_is_named(project: Project, kind: str) -> None:
    project.conf(kind).write_text("")
    assert project.conf(kind).name in refusal()


@pytest.mark.parametrize(
    ("word", "wanted"),
    [
        ("+trainer.max_epochs=3", "max_steps"),
        ("+trainer.fast_dev_run=true", "debug=fast_dev_run"),
        ("+trainer.limit_train_batches=1", "debug=limit"),
        ("+trainer.accumulate_grad_batches=2", "source_only.accumulate_grad_batches"),
        ("+trainer.strategy=fsdp", "ddp"),
        ("+trainer.logger=true", "choose logger="),
        ("+trainer.gpus=1", "trainer.devices"),
        ("--resume", "run=DIR"),
        ("--config-name=demo", "+scenario=NAME"),
        ("stages=[warm]", "source_only"),
        ("validation.size=[64]", "[height, width]"),
        ("seed=abc", "seed"),
        ("backbone=resnet50", "deeplab_v2_resnet101"),
    ],
)
def test_words_of_hydra_and_lightning(project: Project, word: str, wanted: str) -> None:
    assert wanted in refusal(word)
