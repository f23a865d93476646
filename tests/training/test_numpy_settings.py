"""Settings that are numbers of numpy: they train as those of Python, and their checkpoints can be loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_network import CLASSES, SaveAtEnd, TinyNetwork, batches, fit, same, state

from hiast.models import DeepLabV2
from hiast.online import BlockMasking, ChannelMixing, QualityWeight
from hiast.pseudo_labels import Constant, InstanceAdaptive, select
from hiast.training import (
    AdaptationModule,
    HIASTModule,
    OnlineModule,
    OptimizerSettings,
    Schedule,
    SourceOnlyModule,
    Views,
    WarmupModule,
    load_module,
)

KINDS: list[Any] = [np.float64, np.float32]


def made(stage: type[AdaptationModule], real: Any, whole: Any) -> AdaptationModule:
    """A module of a stage whose numbers are of the types ``real`` and ``whole``."""
    own: dict[type[AdaptationModule], dict[str, Any]] = {
        SourceOnlyModule: {},
        WarmupModule: {"adversarial_weight": real(0.25), "discriminator_lr": real(0.125)},
        HIASTModule: {"ema_decay": real(0.5)},
        OnlineModule: {
            "ema_decay": real(0.5),
            "target_ramp_steps": whole(1),
            "trust": QualityWeight(real(0.25)),
            "views": Views(
                plain=real(0.5), mixed=[ChannelMixing(real(0.5))], masking=BlockMasking(ratio=real(0.5))
            ),
        },
    }
    torch.manual_seed(0)  # The discriminator starts from random weights.
    return stage(
        TinyNetwork(),
        CLASSES,
        optimizer=OptimizerSettings(
            lr=real(0.125), betas=(real(0.5), real(0.75)), schedule=Schedule(power=real(1))
        ),
        max_steps=whole(2),
        accumulate_grad_batches=whole(1),
        seed=whole(3),
        **own[stage],
    )


@pytest.mark.parametrize("real", KINDS)
@pytest.mark.parametrize("stage", [SourceOnlyModule, WarmupModule, HIASTModule, OnlineModule])
def test_checkpoints_of_modules_with_numbers_of_numpy(
    stage: type[AdaptationModule], real: Any, tmp_path: Path
) -> None:
    module, plain = made(stage, real, np.int64), made(stage, float, int)
    path = tmp_path / "last.ckpt"
    fit(module, batches(2, ignored=0.3), callbacks=[SaveAtEnd(path)])
    fit(plain, batches(2, ignored=0.3))
    again = load_module(path, network=TinyNetwork())
    assert again.arguments() == plain.arguments()
    assert same(state(again), state(plain))


def test_a_network_is_rebuilt_whose_arguments_were_numbers_of_numpy(tmp_path: Path) -> None:
    network = DeepLabV2(num_classes=np.int64(4), layers=(1, 1, 1, 1), width=np.int64(4))  # type: ignore[arg-type]
    module = SourceOnlyModule(network, CLASSES, max_steps=1)
    fit(module, batches(1), callbacks=[SaveAtEnd(tmp_path / "last.ckpt")])
    assert isinstance(load_module(tmp_path / "last.ckpt").network, DeepLabV2)


def test_a_policy_with_numbers_of_numpy_selects_as_one_with_those_of_python() -> None:
    policy = InstanceAdaptive(np.int64(4), alpha=np.float32(0.3), beta=np.float64(0.9))  # type: ignore[arg-type]
    assert json.loads(json.dumps(policy.to_dict())) == policy.to_dict()
    generator = torch.Generator().manual_seed(0)
    groups = [(torch.rand(1, 8, 8, generator=generator), torch.randint(4, (1, 8, 8), generator=generator))]
    plain = InstanceAdaptive(4, alpha=float(np.float32(0.3)))
    for one, other in zip(select(groups, policy), select(groups, plain), strict=True):
        np.testing.assert_array_equal(one.thresholds, other.thresholds)  # type: ignore[arg-type]
    assert Constant(4, np.float32(0.5)).to_dict()["threshold"] == 0.5  # type: ignore[arg-type]
