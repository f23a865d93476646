"""Online self-training against the loss written out by hand, its teacher, and its checkpoints."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from functools import partial
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from small_network import CLASSES, SIZE, TinyNetwork, bare_trainer, batches, fit, same, settings, state
from torch.nn import functional as F
from torch.utils._pytree import tree_map_only
from without_float64 import RefuseFloat64

from hiast import online
from hiast.classes import LabelSpace
from hiast.errors import InputError
from hiast.models import HRDA, DAFormer, SmpNetwork
from hiast.training import OnlineModule, Views
from hiast.training.features import FeatureDistance
from hiast.training.ingredients import from_plain, to_plain
from hiast.training.online_losses import soft_weights
from hiast.training.views import StepKey
from hiast.upsampling import precision

JITTER = online.ColorJitter(probability=1.0)
ALL_VIEWS = Views(
    style=online.ColorTransfer(probability=0.5),
    source=(JITTER,),
    mixed=(JITTER, online.GaussianBlur(probability=0.5)),
    masked=(JITTER,),
    masking=online.BlockMasking(0.5, 8),
)


def module_of(steps: int = 3, **more) -> OnlineModule:
    return OnlineModule(TinyNetwork(), CLASSES, optimizer=settings(), max_steps=steps, **more)


def placed(count: int, **more) -> list:
    """Batches whose target crops know their place in images of twice their size."""
    items = batches(count, **more)
    for item in items:
        size = len(item["target"]["name"])
        item["target"]["window"] = torch.tensor([[0.0, 0.0, SIZE, SIZE]] * size)
        item["target"]["image_size"] = torch.tensor([[2.0 * SIZE, 2.0 * SIZE]] * size)
        item["target"]["flipped"] = torch.zeros(size, dtype=torch.bool)
        del item["target"]["label"]
    return items


def losses_of(module: OnlineModule, batch: dict) -> dict[str, torch.Tensor]:
    """The losses of one batch in training mode, outside of a trainer."""
    module._trainer = bare_trainer()
    module.trainer.strategy.connect(module)
    module.train()
    return module.losses(batch)


def by_hand(module: OnlineModule, batch: dict, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Source cross-entropy + quality weight * cross-entropy of mixed images, with ClassMix by loops."""
    network, teacher = copy.deepcopy(module.network), copy.deepcopy(module.teacher.network)
    source, target = batch["source"], batch["target"]
    probabilities = teacher(module.normalize(target["image"])).softmax(1)
    confidence, prediction = probabilities.max(1)
    quality = float((confidence >= 0.968).float().mean()) if weight is None else float(weight)
    key = StepKey(module.seed, 1, 0, 0)
    mixed = module.mixing(
        online.Labeled(source["image"], source["label"]),
        online.Labeled(target["image"], prediction.to(torch.uint8)),
        key.generator("mixing"),
    )
    images = torch.where(mixed.pasted.unsqueeze(1), source["image"], target["image"])
    labels = torch.where(mixed.pasted, source["label"], prediction.to(torch.uint8)).long()
    weights = torch.where(mixed.pasted, 1.0, quality)
    logits = network(torch.cat((module.normalize(source["image"]), module.normalize(images))))
    size = len(source["label"])
    source_loss = F.cross_entropy(logits[:size], source["label"].long(), ignore_index=255)
    values = F.cross_entropy(logits[size:], labels, ignore_index=255, reduction="none")
    return source_loss + (values * weights).sum() / labels.numel()


def test_the_loss_is_that_of_dacs():
    batch = placed(1)[0]
    module = module_of(trust=online.QualityWeight(0.3))
    module.trust.threshold = 0.968
    terms = losses_of(module, batch)
    torch.testing.assert_close(terms["total"], by_hand(module_of(), batch))


@pytest.mark.parametrize("normalization", ["labeled", "all"])
def test_the_source_loss_is_a_mean_over_labeled_or_all_pixels(normalization):
    batch = placed(1)[0]
    label = batch["source"]["label"]
    label[:, : SIZE // 2] = 255
    term = losses_of(module_of(source_normalization=normalization), batch)["source_cross_entropy"]
    known = (label != 255).sum()
    mean = losses_of(module_of(), batch)["source_cross_entropy"]
    torch.testing.assert_close(term * (known if normalization == "labeled" else label.numel()), mean * known)
    assert known < label.numel()


def test_every_part_can_be_on_at_once_and_all_weights_get_gradients():
    batch = placed(1, size=3)[0]
    module = module_of(
        views=ALL_VIEWS,
        labels="soft",
        teacher_mirror=True,
        teacher_bn="batch",
        trust=online.PixelConfidence(0.0),
        margins=online.Margins(top=4),
        feature_distance={"things": ["car", "person"]},
        class_floor=0.5,
        calibration=online.ClassCalibration(4),
        target_ramp_steps=0,
    )
    module.set_source_pixels(torch.tensor([100.0, 50.0, 10.0, 0.0]))
    terms = losses_of(module, batch)
    terms["total"].backward()
    assert {"source_cross_entropy", "mixed", "masked", "feature_distance", "class_floor"} <= terms.keys()
    assert all(torch.isfinite(value) for value in terms.values())
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.network.parameters())
    assert all(p.grad is None for p in module.teacher.parameters())
    assert all(p.grad is None for p in module.feature_distance.reference.parameters())


def test_hard_classes_of_other_target_images_are_pasted_before_source_classes():
    batch, given = placed(1, size=3)[0], []

    def mixing(donor, onto, generator, classes=None):
        given.append(onto)
        return online.NoMixing()(donor, onto, generator)

    labels = torch.randint(4, (3, SIZE, SIZE), generator=torch.Generator().manual_seed(3)).byte()
    labels[labels == 3] = 255

    def trust(confidence, _, valid=None):
        return SimpleNamespace(labels=labels, weights=torch.ones(labels.shape))

    module = module_of(hard_classes=partial(online.HPLA, hardest=1), mixing=mixing, trust=trust)
    taught = module._taught(batch["target"])
    pseudo, confidence = taught.labeled, taught.confidence
    losses_of(module, batch)
    means = torch.stack([confidence[labels == k].double().mean() for k in range(4)])
    torch.testing.assert_close(module.hard_classes.running.mean, means, equal_nan=True)
    hardest = int(means.nan_to_num(1.0).argmin())
    changed = given[0].labels != pseudo.labels
    assert changed.any() and (given[0].labels[changed] == hardest).all()
    # What was pasted comes with the pixels of its image.
    for image, label, donor_label in zip(given[0].images, given[0].labels, changed, strict=True):
        donors = [
            i
            for i, own in enumerate(batch["target"]["image"])
            if torch.equal(own[:, donor_label], image[:, donor_label])
        ]
        assert donors and all((pseudo.labels[i][donor_label] == label[donor_label]).all() for i in donors)
    assert module.arguments()["hard_classes"]["hardest"] == 1


def test_soft_labels_of_pixels_from_another_target_image_are_those_of_that_image():
    batch = placed(1, size=3)[0]
    options = {"trust": online.PixelConfidence(0.0), "mixing": online.NoMixing(), "labels": "soft"}
    module = module_of(hard_classes=online.HPLA(4, hardest=1), **options)
    seen: list[torch.Tensor] = []
    target_loss = module._target_loss

    def watched(logits, upsampling, mixed, probabilities, moved=None):
        seen.append(moved)
        return target_loss(logits, upsampling, mixed, probabilities, moved)

    module._target_loss = watched  # type: ignore[method-assign]
    losses_of(module, batch)
    assert seen[0].any()
    mixed = torch.zeros_like(seen[0])
    hard, soft = soft_weights(
        torch.zeros_like(mixed, dtype=torch.uint8), torch.ones(mixed.shape), mixed | seen[0]
    )
    assert torch.equal(hard.bool(), seen[0]) and torch.equal(soft.bool(), ~seen[0])


def test_soft_labels_equal_hard_ones_of_a_sure_teacher():
    batch = placed(1)[0]
    hard, soft = module_of(), module_of(labels="soft")
    for module in (hard, soft):
        with torch.no_grad():
            module.teacher.network.head.weight.mul_(1e4)
    torch.testing.assert_close(
        losses_of(hard, batch)["total"], losses_of(soft, batch)["total"], rtol=1e-3, atol=1e-3
    )


def test_masked_images_move_no_running_statistics():
    def moved(**more) -> dict[str, torch.Tensor]:
        module = module_of(**more)
        losses_of(module, batch)
        return {k: v for k, v in state(module.network).items() if "running" in k}

    batch = placed(1)[0]
    masked = moved(views=Views(masking=online.BlockMasking(0.7, 8)))
    assert same(masked, moved())
    before = state(module_of().network)
    assert not torch.equal(masked["encoder.1.running_mean"], before["encoder.1.running_mean"])


def test_margins_give_no_pseudo_labels():
    batch = placed(1)[0]
    whole = losses_of(module_of(trust=online.PixelConfidence(0.0)), batch)["trusted"]
    half = online.Margins(top=0.25, unit="share")  # Of images twice as high: the upper half of these crops.
    assert float(whole) == 1.0
    cut = losses_of(module_of(trust=online.PixelConfidence(0.0), margins=half), batch)["trusted"]
    assert float(cut) == 0.5


def test_the_target_losses_ramp_up():
    batch = placed(1)[0]
    terms = losses_of(module_of(target_ramp_steps=10, trust=online.PixelConfidence(0.0)), batch)
    assert torch.equal(terms["total"], terms["source_cross_entropy"])
    assert terms["mixed"] > 0


def test_the_ramp_of_the_target_losses_can_follow_the_length_of_the_stage(monkeypatch):
    module, found = module_of(4, target_ramp_steps=None, trust=online.PixelConfidence(0.0)), []
    losses = module.losses

    def recorded(batch):
        terms = losses(batch)
        found.append((terms["total"] - terms["source_cross_entropy"]) / terms["mixed"])
        return terms

    monkeypatch.setattr(module, "losses", recorded)
    fit(module, placed(4))
    # Half of 4 steps.
    torch.testing.assert_close(torch.stack(found), torch.tensor([0.0, 0.5, 1.0, 1.0]), atol=1e-4, rtol=0)


def test_the_teacher_is_a_copy_after_the_first_step_and_averages_later():
    module = module_of(3, ema_decay=0.9)
    recorder = fit(module, placed(3))
    students, teachers = recorder.students, recorder.teachers
    weight = "head.weight"
    torch.testing.assert_close(teachers[0][weight], students[0][weight])
    wanted = (students[0][weight] + students[1][weight]) / 2
    torch.testing.assert_close(teachers[1][weight], wanted)
    torch.testing.assert_close(teachers[2][weight], wanted * 2 / 3 + students[2][weight] / 3)


def test_the_evaluated_network_can_be_the_teacher():
    assert module_of().evaluation_network is not module_of().teacher.network
    module = module_of(evaluate="teacher")
    assert module.evaluation_network is module.teacher.network


def test_every_draw_is_a_function_of_the_position():
    def trained(**more) -> dict[str, torch.Tensor]:
        module = module_of(2, views=ALL_VIEWS, **more)
        fit(module, placed(2))
        return state(module.network)

    assert same(trained(), trained())
    assert not same(trained(), trained(seed=1))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"labels": "fuzzy"}, "labels is 'fuzzy'; choose hard or soft"),
        ({"ema_decay": 1.5}, "between 0 and 1"),
        ({"masking_weight": -1}, "masking_weight is -1"),
        ({"mixing": online.HardClassPaste()}, "set hard_classes to hiast.online.HPLA instead"),
        ({"feature_distance": {"things": ["unicorn"]}}, "none of unicorn is a class"),
    ],
)
def test_settings_out_of_range(settings, words):
    with pytest.raises(InputError, match=words):
        module_of(**settings)


INGREDIENTS = [
    online.ClassMix("batch", False),
    online.HardClassPaste(),
    online.HPLA(4, hardest=2, momentum=0.5),
    online.NoMixing(),
    online.QualityWeight(0.5, "image"),
    online.PixelConfidence(0.3, soft=True),
    online.InstanceAdaptive(4),
    online.ClassBalanced(4),
    online.ClassCalibration(4, rate=0.1),
    online.Margins(1, 2, 3, 4),
    online.BlockMasking(0.2, 5),
    [online.Gamma(probability=0.5), online.Grayscale(), online.ChannelMixing(), JITTER],
    online.HistogramMatching(probability=0.4),
    online.AmplitudeMixing(beta=0.02),
    online.OneStyle(styles=(online.ColorTransfer(), online.HistogramMatching())),
    None,
]


@pytest.mark.parametrize("value", INGREDIENTS, ids=lambda value: type(value).__name__)
def test_ingredients_survive_as_plain_values(value):
    import json

    plain = to_plain(value)
    again = from_plain(json.loads(json.dumps(plain)))
    assert type(again) is (tuple if isinstance(value, list) else type(value))
    assert to_plain(again) == plain


def test_a_checkpoint_names_no_other_classes():
    with pytest.raises(InputError, match="ingredient 'generator_at'"):
        from_plain({"ingredient": "generator_at"})
    assert from_plain({"ingredient": None, "class": "mine.Own"}) is None
    assert from_plain([{"ingredient": None, "class": "mine.Own"}, 3, None]) == (3, None)


def test_a_checkpoint_gives_the_module_back(tmp_path):
    module = module_of(
        2,
        views=ALL_VIEWS,
        trust=online.InstanceAdaptive(4),
        class_floor=0.1,
        calibration=online.ClassCalibration(4),
    )
    trainer = bare_trainer()
    from small_network import Batches
    from torch.utils.data import DataLoader

    trainer.fit(module, DataLoader(Batches(placed(2)), batch_size=None))
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    again = OnlineModule.load_from_checkpoint(tmp_path / "last.ckpt", network=TinyNetwork())
    assert same(state(again), state(module))
    assert again.arguments() == module.arguments()


class OwnTrust(torch.nn.Module):
    """A trust with a state, of a class that no checkpoint can name."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, confidence, prediction, valid=None):
        self.seen += 1
        return online.QualityWeight()(confidence, prediction, valid)


class OwnStep(online.ColorStep):
    draws = 0

    def change(self, images, numbers):
        return 1 - images


def test_a_network_that_was_trained_with_ingredients_of_ones_own_can_be_loaded(tmp_path):
    module = module_of(2, trust=OwnTrust(), views=Views(mixed=(OwnStep(), JITTER)))
    fit(module, placed(2))
    assert module.trust.seen == 2
    checkpoint = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, tmp_path / "last.ckpt")
    again = OnlineModule.load_from_checkpoint(tmp_path / "last.ckpt", network=TinyNetwork())
    assert same(state(again.network), state(module.network))
    assert isinstance(again.trust, online.QualityWeight) and again.views.mixed == (JITTER,)


def test_a_step_that_is_discarded_moves_no_thresholds_and_weights():
    """As when its loss is not finite."""
    module = module_of(
        2,
        trust=online.InstanceAdaptive(4),
        calibration=online.ClassCalibration(4),
        hard_classes=online.HPLA(4, 2),
    )
    module.set_source_pixels(torch.tensor([5.0, 3.0, 2.0, 1.0]))
    before = state(module)
    batch = placed(1)[0]
    module._trainer = bare_trainer()
    module.finite.reset(interval=1)
    module.on_train_batch_start(batch, 0)
    losses_of(module, batch)
    moved = {key for key, value in state(module).items() if not torch.equal(value, before[key])}
    assert {"trust.thresholds", "calibration.weights"} <= moved
    assert module.discard_unfinished_step()
    for key, value in state(module).items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0, equal_nan=True)


def test_the_class_floor_looks_at_target_pixels_alone():
    """Source pixels that are pasted do not satisfy it."""
    module = module_of(class_floor=1.0, mixing=online.ClassMix())
    module.set_source_pixels(torch.tensor([1.0, 1.0, 1.0, 1.0]))
    logits = torch.full((1, 4, 2, 2), -9.0)
    logits[0, 0] = 9.0
    logits[0, :, 0] = torch.tensor([-9.0, 9.0, 9.0, 9.0])[:, None]  # The row of the source.
    pasted = torch.zeros(1, 2, 2, dtype=torch.bool)
    pasted[0, 0] = True
    network = module.network
    assert network.padded_size(2, 2) == (2, 2)
    assert float(module._floor(logits, pasted)) == pytest.approx(3 * 0.5 / 4, abs=1e-4)
    assert float(module._floor(logits, ~pasted)) == pytest.approx(0.5 / 4, abs=1e-4)
    assert float(module._floor(logits, torch.ones_like(pasted))) == 0


def test_a_dynamic_teacher_waits_until_the_student_has_become_denser():
    def after_six_steps(**more) -> OnlineModule:
        module = module_of(steps=6, **more)
        fit(module, placed(6))
        return module

    always = after_six_steps()
    # It lets go beyond 3 batches at the latest, so that it follows within six steps whatever the density says.
    waiting = after_six_steps(dynamic_teacher={"first": 3, "every": 1, "most": 3})
    never = after_six_steps(dynamic_teacher={"first": 9})
    start = state(module_of().teacher.network)
    assert same(state(never.teacher.network), start)
    assert not same(state(waiting.teacher.network), start)
    assert not same(state(waiting.teacher.network), state(always.teacher.network))


def test_a_dynamic_teacher_resumes_with_the_batches_that_it_compares_with():
    options = {"first": 3, "every": 2, "most": 8}
    module = module_of(dynamic_teacher=options)
    for batch in placed(2):
        losses_of(module, batch)
    checkpoint: dict = {}
    module.on_save_checkpoint(checkpoint)
    again = module_of(dynamic_teacher=options)
    again.on_load_checkpoint(checkpoint)
    kept, wanted = again.dynamic_teacher.state_dict(), module.dynamic_teacher.state_dict()
    assert kept["number"] == wanted["number"] == 2 and kept["scores"] == wanted["scores"]
    assert all(torch.equal(a, b) for a, b in zip(kept["images"], wanted["images"], strict=True))
    assert module.arguments()["dynamic_teacher"] == options


def test_several_processes_begin_the_comparison_of_the_dynamic_teacher_anew(monkeypatch: pytest.MonkeyPatch):
    # A checkpoint holds the batches of rank zero alone.
    module = module_of(dynamic_teacher={"first": 9})
    losses_of(module, placed(1)[0])
    checkpoint: dict = {}
    module.on_save_checkpoint(checkpoint)
    monkeypatch.setattr("hiast.training.online.process_count", lambda: 2)
    module.on_load_checkpoint(checkpoint)
    assert module.dynamic_teacher.state_dict() == {
        "number": 1,
        "scores": [],
        "images": [],
        "ask_at": 9,
    }


def test_the_dynamic_teacher_scores_in_the_precision_of_training_wherever_it_is_asked(
    monkeypatch: pytest.MonkeyPatch,
):
    module, found = module_of(dynamic_teacher={"first": 1, "every": 1}), []
    coarse = module.network.coarse

    def watched(images: torch.Tensor) -> torch.Tensor:
        found.append(torch.is_autocast_enabled("cpu"))
        return coarse(images)

    monkeypatch.setattr(module.network, "coarse", watched)
    module._trainer = pl.Trainer(precision="bf16-mixed", accelerator="cpu", logger=False, barebones=True)
    module._density(placed(1)[0]["target"]["image"], 0)
    assert found == [True]


@pytest.mark.parametrize("size", [(64, 96), (100, 70)])
@pytest.mark.parametrize("architecture", ["DAFormer", "FPN"])
def test_feature_distance_is_0_at_the_start_whatever_the_size(architecture: str, size: tuple[int, int]):
    torch.manual_seed(0)
    network = (
        DAFormer("mit_b0", None, 4, channels=8)
        if architecture == "DAFormer"
        else SmpNetwork("FPN", "resnet18", None, 4)
    )
    module = OnlineModule(
        network, CLASSES, optimizer=settings(), max_steps=3, feature_distance={"things": ["car", "person"]}
    )
    batch = placed(1)[0]
    for side in ("source", "target"):
        batch[side]["image"] = F.interpolate(batch[side]["image"].float(), size).byte()
    batch["source"]["label"] = torch.full((len(batch["source"]["image"]), *size), 2, dtype=torch.uint8)
    network.encoder.eval().train = lambda mode=True: network.encoder  # type: ignore[method-assign]
    seen = []
    distance = module.feature_distance.forward
    module.feature_distance.forward = lambda *given: (seen.append(given), distance(*given))[1]  # type: ignore[method-assign]
    assert losses_of(module, batch)["feature_distance"] == 0
    features, images, labels = seen[0]
    assert labels.shape[-2:] == images.shape[-2:] == tuple(side + -side % 32 for side in size)
    assert (labels[..., size[0] :, :] == 255).all() and (labels[..., : size[0], : size[1]] == 2).all()
    assert features.shape[2] * 32 == images.shape[2]


@pytest.mark.parametrize("joint", [True, False])
def test_feature_distance_of_a_network_with_two_scales_looks_at_the_whole_image(joint: bool):
    torch.manual_seed(0)
    network = HRDA(encoder="mit_b0", weights=None, num_classes=4, channels=8, detail=[32, 32], dropout=0.0)
    options = {"things": ["car", "person"]}
    module = OnlineModule(
        network, CLASSES, optimizer=settings(), max_steps=3, joint_batch=joint, feature_distance=options
    )
    batch = placed(1)[0]
    images = {
        side: F.interpolate(batch[side]["image"].float(), (128, 128)).byte() for side in ("source", "target")
    }
    for side in ("source", "target"):
        batch[side]["image"] = images[side]
    batch["source"]["label"] = torch.full((len(images["source"]), 128, 128), 2, dtype=torch.uint8)
    # Student and reference are equal yet; only the drop path of training would keep them apart.
    encoder = network.backbone.eval()
    encoder.train = lambda mode=True: encoder  # type: ignore[method-assign]
    terms = losses_of(module, batch)
    assert network.training and terms["feature_distance"] == 0


def test_feature_distance_of_a_vision_transformer_whose_encoder_gives_tokens_too():
    torch.manual_seed(0)
    options = {"dynamic_img_size": True, "img_size": 64}
    network = SmpNetwork("DPT", "tu-vit_tiny_patch16_224.augreg_in21k", None, 4, **options)
    distance = {"things": ["car", "person"], "share": 0.6}
    module = OnlineModule(network, CLASSES, optimizer=settings(), max_steps=3, feature_distance=distance)
    batch = placed(1)[0]
    for side in ("source", "target"):
        batch[side]["image"] = F.interpolate(batch[side]["image"].float(), (64, 64)).byte()
    batch["source"]["label"] = torch.full((len(batch["source"]["image"]), 64, 64), 2, dtype=torch.uint8)
    with torch.no_grad():
        next(module.network.encoder_parameters()).add_(0.1)
    assert losses_of(module, batch)["feature_distance"] > 0


def test_settings_of_the_dynamic_teacher_are_checked():
    with pytest.raises(InputError, match="dynamic teacher"):
        module_of(dynamic_teacher={"first": 0})


def test_feature_distance_of_classes_that_are_no_street_scene() -> None:
    field = LabelSpace(("soil", "crop", "weed"), ((0, 0, 0), (0, 255, 0), (255, 0, 0)))
    street = LabelSpace(("road", "car"), ((128, 64, 128), (0, 0, 142)))
    assert FeatureDistance(TinyNetwork(), field).distance.things == (0, 1, 2)
    assert FeatureDistance(TinyNetwork(), street).distance.things == (1,)
    with pytest.raises(InputError, match="none of car is a class; name some of soil, crop, weed"):
        FeatureDistance(TinyNetwork(), field, things=["car"])


def test_a_step_needs_no_float64_where_the_device_has_none(monkeypatch):
    monkeypatch.setattr(precision, "WITHOUT_FLOAT64", {"meta"})
    monkeypatch.setattr(
        torch, "autocast", lambda *_, **__: nullcontext()
    )  # The meta device knows no autocast.
    module = module_of(
        views=ALL_VIEWS,
        hard_classes=online.HPLA(len(CLASSES)),
        labels="soft",
        teacher_mirror=True,
        trust=online.InstanceAdaptive(len(CLASSES)),
        class_floor=0.5,
        calibration=online.ClassCalibration(len(CLASSES)),
    ).to("meta")
    with RefuseFloat64():
        losses_of(module, tree_map_only(torch.Tensor, lambda value: value.to("meta"), placed(1, size=3)[0]))[
            "total"
        ].backward()
