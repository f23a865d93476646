"""The commands of docs/reference/reference_runs.md compose and build, with the published crops, margins and steps."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig

from hiast.cli import build
from hiast.cli.build_stages import build_stages
from hiast.cli.config import choices, compose, plain
from hiast.data import AdaptationDataModule, JoinedDataModule
from hiast.data.augmentation.weak import FixedScaleCrop, RandomSizedCrop
from hiast.online import Margins

PAGE = (Path(__file__).parents[1] / "docs/reference/reference_runs.md").read_text(encoding="utf-8")
SOURCES = {"gta5": (720, 1280), "synthia": (760, 1280), "cityscapes": (512, 1024)}
TARGETS = ("acdc", "dark_zurich", "idd", "mapillary", "bdd100k")
PAIRS = [f"{source}_{target}" for source in SOURCES for target in TARGETS]


def commands() -> list[str]:
    """The training commands of the page, without comments and with their continued lines joined."""
    text = PAGE.replace("\\\n", " ")
    return [line for block in re.findall(r"```bash\n(.*?)```", text, re.S) for line in block.splitlines()]


TRAINING = [line for line in commands() if line.startswith("hiast-train")]


def scenario(*words: str) -> DictConfig:
    return compose("train", words)


def data_of(config: DictConfig) -> AdaptationDataModule:
    return build.build_datamodule(config, build.build_classes(config))


@pytest.mark.parametrize("command", TRAINING)
def test_every_command_builds(command: str) -> None:
    words = shlex.split(command.replace("+scenario=S ", "+scenario=cityscapes_acdc "))[1:]
    method = next((word.removeprefix("method=") for word in words if word.startswith("method=")), "hiast")
    if method not in choices("method"):
        pytest.skip(f"there is no method={method}")
    config = scenario(*words)
    plain(config)
    data_of(config)
    stages = {stage.name: stage for stage in build_stages(config)}
    assert list(stages) == list(config.stages)
    if "online" in stages:
        (only,) = stages["online"].rounds
        assert only.max_steps == (24000 if "online.max_steps" not in command and "gta5" in command else 40000)
        assert only.batch_size == (8 if method == "vfm_uda" else 2)


def test_the_page_names_every_scenario_and_method() -> None:
    assert len(TRAINING) > 12
    for word in (*SOURCES, *TARGETS, "synthetic"):
        assert f"`{word}`" in PAGE
    for method in ("hiast", "daformer", "mic", "vfm_uda", "adapt"):
        assert f"method={method} " in PAGE.replace("\n", " \n")


@pytest.mark.parametrize("name", PAIRS)
def test_pairs_have_the_published_crops_and_steps(name: str) -> None:
    source, target = name.split("_", 1)
    config = scenario(f"+scenario={name}")
    half, full = data_of(config), data_of(scenario(f"+scenario={name}", "crop=full"))
    height, width = SOURCES[source]
    assert half.augmentation["source"].crop == FixedScaleCrop(512, 512, height, width)
    assert full.augmentation["source"].crop == FixedScaleCrop(1024, 1024, 2 * height, 2 * width)
    crops = [module.augmentation["target"].crop for module in (half, full)]
    if target in ("acdc", "dark_zurich"):
        assert crops == [FixedScaleCrop(512, 512, 540, 960), FixedScaleCrop(1024, 1024, 1080, 1920)]
    assert share_shown(crops[0]) == share_shown(crops[1])
    assert (config.online.max_steps, config.online.batch_size) == (40000, 2)
    assert config.online.module.margins is None, "none are published for these targets"
    means = ["mIoU-16", "mIoU-13"] if source == "synthia" else ["mIoU-19"]
    assert list(half.classes.reported) == means
    lacking = {half.classes.names[index] for index in set(range(19)) - half.source_classes}
    assert lacking == ({"terrain", "truck", "train"} if source == "synthia" else set())


def share_shown(crop: Any) -> tuple[float, float]:
    """What decides how much of an image a square crop shows, whatever its size in pixels."""
    assert crop.height == crop.width
    if isinstance(crop, RandomSizedCrop):
        return crop.min_height, crop.max_height
    return crop.resized_height / crop.height, crop.resized_width / crop.width


@pytest.mark.parametrize("name", ["gta5_cityscapes", "synthia_cityscapes", "synthetic_cityscapes"])
def test_margins_are_those_of_daformer_where_cityscapes_is_the_target(name: str) -> None:
    config = scenario(f"+scenario={name}", "method=daformer")
    margins = build.instantiate(config.online.module.margins)
    assert margins == Margins(top=30, bottom=240)
    top, bottom, *_ = margins.pixels(1024, 2048)
    assert (top / 2, bottom / 2) == (15, 120), "rows of DAFormer's images of half size"


def test_three_sources_are_joined() -> None:
    config = scenario("+scenario=synthetic_cityscapes")
    source = data_of(config).source
    assert isinstance(source, JoinedDataModule)
    assert (config.online.max_steps, config.online.batch_size) == (40000, 2)
    assert [module.title for module in source.modules] == ["GTA5", "SYNTHIA", "UrbanSyn"]


def test_full_crops_are_the_scenarios_own_where_it_names_none() -> None:
    plain_crop, full = (
        data_of(scenario("+scenario=cityscapes_robotcar", *words)).augmentation["source"].crop
        for words in ((), ("crop=full",))
    )
    assert plain_crop == full
