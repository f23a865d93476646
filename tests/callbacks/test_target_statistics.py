"""Batch-norm statistics of target images: what they are, when they are estimated, and that nothing else moves them."""

from __future__ import annotations

import copy
import itertools

import cv2
import pytest
import torch
from small import SIZE, Data, Images, module_of
from tiny import Recorder, bare_trainer

from hiast import HIASTModule
from hiast.callbacks import TargetStatistics, ValidationSchedule
from hiast.errors import InputError
from hiast.models import reestimate_bn_stats
from hiast.training import SourceOnlyModule, WarmupModule

STAGES = (SourceOnlyModule, WarmupModule, HIASTModule)


def expected(module):
    """Running statistics of a copy of the module's network, estimated image by image as written in the docstring."""
    network, images = copy.deepcopy(module.network), Images()
    resized = [
        torch.from_numpy(
            cv2.resize(images.read_image(i), SIZE[::-1], interpolation=cv2.INTER_LINEAR)
        ).permute(2, 0, 1)
        for i in range(len(images))
    ]
    reestimate_bn_stats(network, [module.prepare(torch.stack(resized[i : i + 4])) for i in (0, 4)])
    return running(network)


def running(network):
    return {key: value.clone() for key, value in network.state_dict().items() if "running" in key}


def fit(module, schedule):
    """Running statistics behind each step."""
    recorder = Recorder()
    bare_trainer(callbacks=[TargetStatistics(schedule), recorder]).fit(module, datamodule=Data())
    return [{key: value for key, value in state.items() if "running" in key} for state in recorder.students]


def equal(one, other):
    return all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("freeze_bn", ["affine", "full"])
@pytest.mark.parametrize("stage", STAGES)
def test_the_end_of_a_stage_has_the_targets_statistics(stage, freeze_bn):
    module = module_of(stage, bn_statistics="target", freeze_bn=freeze_bn)
    before = running(module.network)
    seen = fit(module, ValidationSchedule(100))
    assert all(equal(step, before) for step in seen[:3])
    assert not equal(seen[3], before)
    assert equal(running(module.network), seen[3])
    assert equal(running(module.network), expected(module))
    assert module.network.training


@pytest.mark.parametrize("stage", STAGES)
def test_published_statistics_move_and_are_not_estimated(stage):
    module = module_of(stage)
    seen = fit(module, ValidationSchedule(100))
    assert not any(equal(a, b) for a, b in itertools.pairwise(seen))
    assert not equal(running(module.network), expected(module))


def test_they_are_estimated_before_a_validation(monkeypatch):
    module = module_of(HIASTModule, bn_statistics="target")
    monkeypatch.setattr(ValidationSchedule, "follows", lambda *_: module.batches_done == 2)
    seen = fit(module, ValidationSchedule(2))
    assert equal(seen[1], seen[2])
    assert not equal(seen[0], seen[1])
    assert not equal(seen[2], seen[3])


def test_many_images_are_thinned_out_evenly(monkeypatch):
    from hiast.callbacks import bn_statistics as statistics

    read = []
    monkeypatch.setattr(statistics, "MOST_IMAGES", 3)
    original = Images.read_image
    monkeypatch.setattr(
        Images, "read_image", lambda self, index: (read.append(index), original(self, index))[1]
    )
    module = module_of(HIASTModule, bn_statistics="target")
    statistics.estimate_on(module.network, module, Images())
    assert read == [0, 3, 6]


def test_unknown_statistics():
    with pytest.raises(InputError, match="bn_statistics is 'both': choose running or target"):
        module_of(WarmupModule, bn_statistics="both")
