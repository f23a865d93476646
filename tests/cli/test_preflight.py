"""A network that cannot take the batches of a run is refused at its start."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from own_data import SCENARIO, WORDS, write_conf
from torch import nn

from hiast.cli.build import build_classes
from hiast.cli.config import compose
from hiast.cli.preflight import build_checked_network
from hiast.errors import InputError
from hiast.models import SegmentationNetwork
from hiast.models.batch_norm import explain_single_values


class Net(SegmentationNetwork):
    """A network of a user's own.

    Args:
        num_classes: C.
        pooled: Normalize globally pooled features, as DeepLab-v3 does.
        stride: Sizes have to be multiples of it.
        shrink: Answer with smaller logits.
        values: Look at the values of the images.
        own: Explain in its own words what it does not take.
        eval_shrink: ``shrink`` outside training.
    """

    mean = std = (0.5, 0.5, 0.5)

    def __init__(
        self,
        num_classes: int,
        pooled: bool = False,
        stride: int = 1,
        shrink: int = 1,
        values: bool = False,
        own: bool = False,
        eval_shrink: int = 1,
    ) -> None:
        super().__init__()
        self.eval_shrink = eval_shrink
        self.own, pooled = own, pooled or own
        self.num_classes, self.pooled, self.stride, self.shrink, self.values = (
            num_classes,
            pooled,
            stride,
            shrink,
            values,
        )
        self.conv, self.norm = nn.Conv2d(3, num_classes, 1), nn.BatchNorm2d(num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if images.shape[-1] % self.stride:
            raise RuntimeError("Wrong input shape.")
        if self.values and float(images.mean()) > 0:
            return images
        found = self.conv(images)
        with explain_single_values("Net") if self.own else nullcontext():
            found = found + self.norm(found.mean((2, 3), keepdim=True)) if self.pooled else found
        shrink = self.shrink if self.training else self.eval_shrink
        return found[..., ::shrink, ::shrink]


def checked(tmp_path: Path, backbone: str, *words: str) -> SegmentationNetwork:
    line = next(line for line in SCENARIO.splitlines() if line.startswith("backbone:"))
    scenario = SCENARIO.replace(line, f"backbone: {{_target_: test_preflight.Net, {backbone}}}")
    write_conf(tmp_path, scenario=scenario)
    config = compose("train", ["~backbone.pretrained", *WORDS, *words])
    return build_checked_network(config, build_classes(config))


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("backbone", "words", "wanted"),
    [
        (
            "pooled: true",
            ["warmup.batch_size=1"],
            "warmup.batch_size, crops of the source: batch normalization",
        ),
        (
            "pooled: true",
            ["trainer.devices=2"],
            "needs at least 2 images at a time on each device, and gets 1",
        ),
        ("pooled: true", ["self_training.accumulate_grad_batches=2"], "self_training.batch_size"),
        ("stride: 48", [], "crops of the source: the backbone does not take images of 32 x 64 pixels"),
        (
            "stride: 32",
            ["validation.size=[32,48]"],
            "validation.size: the backbone does not take images of 32 x 48",
        ),
        (
            "own: true",
            ["self_training.batch_size=1"],
            "self_training.batch_size, crops of the source: Net shrinks an image to one value per channel",
        ),
        ("shrink: 2", [], "into logits [2, 3, 16, 32]; [2, 3, 32, 64] are needed"),
        # HRDA, for one, computes in another way outside training.
        (
            "eval_shrink: 2",
            ["validation.size=[32,64]"],
            "validation.size: the backbone turns images [1, 3, 32, 64]",
        ),
    ],
)
def test_refused(tmp_path: Path, backbone: str, words: list[str], wanted: str) -> None:
    with pytest.raises(InputError) as caught:
        checked(tmp_path, backbone, *words)
    assert wanted in str(caught.value)
    assert "choose another size" not in str(caught.value) or "does not take images" in wanted


@pytest.mark.parametrize(
    ("backbone", "words"),
    [
        ("pooled: true", []),
        ("pooled: true", ["warmup.batch_size=1", "warmup.module.freeze_bn=full"]),
        ("pooled: true", ["warmup=none", "warmup.batch_size=1"]),
        ("stride: 32", ["validation.size=null", "pseudo_label.size=[32,64]"]),
        ("values: true", []),  # such a network cannot be tried without values
    ],
)
def test_accepted_and_left_as_it_was(tmp_path: Path, backbone: str, words: list[str]) -> None:
    network = checked(tmp_path, backbone, *words)
    assert network.training and network.norm.num_batches_tracked == 0
    assert all(not tensor.is_meta for tensor in network.state_dict().values())


def test_another_number_of_classes_is_refused(tmp_path: Path) -> None:
    write_conf(tmp_path)
    config = compose("train", WORDS)
    config.backbone = {"_target_": "test_preflight.other"}
    with pytest.raises(InputError, match="num_classes is 7, and the scenario has 3 classes"):
        build_checked_network(config, build_classes(config))


def other(num_classes: int) -> Net:
    return Net(num_classes=7)
