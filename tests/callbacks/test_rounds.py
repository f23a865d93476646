"""The callback of a round: who labels, when, and what the teacher is afterwards."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest
import torch
from pytorch_lightning.utilities.exceptions import SIGTERMException
from small_network import CLASSES, bare_trainer
from target_images import SIZE, Data, Images, module_of

from hiast import HIASTModule
from hiast.callbacks import GracefulShutdown, LabelRound, LabelSettings, ValidationSchedule
from hiast.callbacks.hashing import weights_hash
from hiast.callbacks.rounds import predictor
from hiast.evaluation.signals import overlap
from hiast.models import DeepLabV2
from hiast.pseudo_labels import Argmax, Constant
from hiast.pseudo_labels.round_reader import RoundReader
from hiast.training import SourceOnlyModule


def label(module, directory, policy=Argmax, number=1, stop=None):
    settings = LabelSettings(policy=policy, size=SIZE)
    callback = LabelRound(directory, settings, round_number=number, seed=5, labeled_with="a test", stop=stop)
    trainer = bare_trainer(callbacks=[callback])
    trainer.datamodule = Data()
    callback.on_fit_start(trainer, module)
    return callback


def two_networks(**settings):
    """A module whose teacher is another network than its student."""
    module = module_of(HIASTModule, **settings)
    module.teacher.reset(module_of(HIASTModule, seed=2).network)
    return module


def test_the_teacher_labels_and_then_copies_the_student(tmp_path):
    module = two_networks()
    wanted = [module.teacher.network(prepared(module, index)).argmax(1)[0].numpy() for index in range(7)]
    by_student = [module.network.eval()(prepared(module, index)).argmax(1)[0].numpy() for index in range(7)]
    teacher = weights_hash(module.teacher.network)
    label(module, tmp_path / "1")
    reader = RoundReader(tmp_path / "1")
    found = [reader.label(name) for name in Images.names]
    agreed = np.mean([np.mean(a == b) for a, b in zip(found, wanted, strict=True)])
    assert agreed > 0.99  # groups of two may round another way than single images
    assert np.mean([np.mean(a == b) for a, b in zip(found, by_student, strict=True)]) < 0.9
    assert reader.manifest["identity"]["weights"] == teacher
    assert reader.manifest["identity"]["labeled_with"] == "a test"
    assert weights_hash(module.teacher.network) == weights_hash(module.network)


def prepared(module, index):
    from hiast.data.geometry import resize_image

    image = torch.from_numpy(resize_image(Images().read_image(index), *SIZE)).permute(2, 0, 1)
    return module.normalize(image[None])


def test_a_complete_round_is_left_alone(tmp_path, monkeypatch):
    label(two_networks(), tmp_path / "1")
    before = {path: path.read_bytes() for path in (tmp_path / "1").rglob("*") if path.is_file()}
    monkeypatch.setattr(Images, "read_image", None)
    label(two_networks(), tmp_path / "1")
    assert {path: path.read_bytes() for path in (tmp_path / "1").rglob("*") if path.is_file()} == before


def test_a_resumed_round_keeps_its_teacher(tmp_path):
    module = two_networks()
    module.on_load_checkpoint({"hiast": {"batches_done": 1}})
    teacher = weights_hash(module.teacher.network)
    label(module, tmp_path / "1")
    assert weights_hash(module.teacher.network) == teacher
    assert not (tmp_path / "1").exists()


def test_statistics_of_the_target_belong_to_the_network_that_labels(tmp_path):
    from hiast.callbacks.bn_statistics import estimate_on

    module, plain = two_networks(bn_statistics="target"), two_networks()
    before = weights_hash(module.teacher.network)
    label(module, tmp_path / "target")
    for network in (plain.teacher.network, plain.network):
        estimate_on(network, plain, Images())
    label(plain, tmp_path / "plain")
    made, wanted = RoundReader(tmp_path / "target"), RoundReader(tmp_path / "plain")
    assert all(np.array_equal(made.label(name), wanted.label(name)) for name in Images.names)
    # The estimates' last bits differ between machines; a round must resume all the same.
    identity = made.manifest["identity"]
    assert (identity["weights"], identity["bn_statistics"]) == (before, "target")
    # In training the teacher has the student's weights, and with them its statistics.
    assert weights_hash(module.teacher.network) == weights_hash(plain.network)


def test_coverage(tmp_path):
    callback = label(two_networks(), tmp_path / "1", policy=lambda num_classes: Constant(num_classes, 0.9))
    reader = RoundReader(tmp_path / "1")
    kept = np.mean([np.mean(reader.label(name) != 255) for name in Images.names])
    assert 0 < kept < 1
    assert callback.signals() == {"labels/coverage": pytest.approx(kept)}


def test_overlap_with_the_round_before(tmp_path, monkeypatch):
    label(two_networks(), tmp_path / "1")
    callback = label(module_of(HIASTModule), tmp_path / "2", number=2)
    one, two = RoundReader(tmp_path / "1"), RoundReader(tmp_path / "2")
    shares = [overlap(two.label(name), one.label(name)) for name in Images.names]
    assert 0 < np.mean(shares) < 1
    # Every process asks for the signals, so that none may decode the labels again.
    monkeypatch.setattr(RoundReader, "label", lambda *_: pytest.fail("a label was decoded"))
    assert callback.signals() == {"labels/coverage": 1.0, "labels/overlap": pytest.approx(np.mean(shares))}


def test_a_stopped_round_ends_between_two_groups_and_resumes(tmp_path):
    stop = GracefulShutdown(ValidationSchedule(1))
    label(two_networks(), tmp_path / "whole")
    stop.asked = True
    with pytest.raises(SIGTERMException):
        label(two_networks(), tmp_path / "1", stop=stop)
    assert not (tmp_path / "1" / "manifest.json").exists()
    label(two_networks(), tmp_path / "1")
    manifests = [json.loads((tmp_path / name / "manifest.json").read_text()) for name in ("whole", "1")]
    assert manifests[0] == manifests[1]


def test_other_stages_have_no_rounds(tmp_path):
    with pytest.raises(TypeError, match="SourceOnlyModule"):
        label(module_of(SourceOnlyModule), tmp_path)


def test_labels_of_half_precision_interpolate_logits_in_float32() -> None:
    torch.manual_seed(0)
    network = DeepLabV2(len(CLASSES), None, layers=[1, 1, 1, 1], width=4)
    module = HIASTModule(network, CLASSES).eval()
    images = torch.randint(256, (2, 3, 40, 56), dtype=torch.uint8)
    half = partial(torch.autocast, "cpu", torch.bfloat16)
    confidence, labels = predictor(module, network, half)(images)
    with torch.inference_mode(), half():
        coarse = network.coarse(module.normalize(images))
    assert coarse.dtype == torch.bfloat16
    wanted = network.upsampling(40, 56)(coarse.float()).softmax(1).max(1)
    assert torch.equal(labels.long(), wanted.indices)
    torch.testing.assert_close(confidence, wanted.values)
