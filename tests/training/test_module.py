"""What the stages share: checkpoints, prediction, validation, losses that are not finite, draws of the network."""

from __future__ import annotations

import copy
import pickle
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from pytorch_lightning.plugins import MixedPrecision
from small_network import (
    CLASSES,
    Batches,
    SaveAtEnd,
    TinyNetwork,
    batches,
    draw,
    fit,
    halves,
    same,
    settings,
    state,
)
from torch import nn
from torch.utils.data import DataLoader

import hiast
from hiast.errors import InputError
from hiast.evaluation import mean_entropy
from hiast.models import DeepLabV2, normalize
from hiast.objectives import HIASTLoss
from hiast.training import (
    AdaptationModule,
    HIASTModule,
    NonFiniteLossError,
    OptimizerSettings,
    Schedule,
    SourceOnlyModule,
    WarmupModule,
    load_module,
)
from hiast.training.finite import FiniteCheck

STAGES = [SourceOnlyModule, WarmupModule, HIASTModule]


def small_deeplab() -> DeepLabV2:
    torch.manual_seed(1)
    return DeepLabV2(len(CLASSES), layers=(1, 1, 1, 1), width=4)


def save(module: AdaptationModule, path: Path, items=None) -> Path:
    trainer_items = batches(1, ignored=0.4) if items is None else items
    fit(module, trainer_items, callbacks=[SaveAtEnd(path)])
    return path


def image(seed: int = 0, height: int = 40, width: int = 56) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


# -- training ---------------------------------------------------------------------------------------------------


def test_source_only_equals_plain_torch():
    items = batches(3, ignored=0.3)
    made = SourceOnlyModule(
        TinyNetwork(), CLASSES, optimizer=settings(schedule=Schedule("constant")), max_steps=3
    )
    fit(made, items)
    plain = TinyNetwork().to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.Adam(
        [{"params": plain.encoder.parameters(), "lr": 1e-3}, {"params": plain.head.parameters(), "lr": 1e-2}],
        weight_decay=5e-4,
    )
    mean, std = (torch.tensor(v).mul(255).view(1, 3, 1, 1) for v in (plain.mean, plain.std))
    for item in items:
        labels = item["source"]["label"].long()
        logits = plain((item["source"]["image"].float() - mean) / std)
        losses = nn.functional.cross_entropy(logits, labels, ignore_index=255, reduction="none")
        optimizer.zero_grad()
        (losses.sum() / (labels != 255).sum()).backward()
        optimizer.step()
    # The fused loss and the fused optimizer round otherwise.
    for key, value in state(plain).items():
        torch.testing.assert_close(state(made.network)[key], value, rtol=1e-5, atol=1e-6, msg=key)


def test_accumulation_equals_one_bigger_batch():
    whole = batches(2, size=4)
    parts = [half for item in whole for half in halves(item)]
    options = {"optimizer": settings(), "max_steps": 2, "freeze_bn": "full"}
    one = fit(SourceOnlyModule(TinyNetwork(), CLASSES, **options), whole)
    two = fit(SourceOnlyModule(TinyNetwork(), CLASSES, accumulate_grad_batches=2, **options), parts)
    assert len(one.gradients) == len(two.gradients) == 2
    for found, wanted in zip(two.gradients, one.gradients, strict=True):
        for a, b in zip(found, wanted, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3 * float(b.abs().max()))


def test_gradient_scaling_changes_no_weight():
    class ScaledFloat32(MixedPrecision):
        def forward_context(self):
            return torch.autocast("cpu", enabled=False)

    items = batches(3)
    plain, scaled = (
        SourceOnlyModule(TinyNetwork(), CLASSES, optimizer=settings(), max_steps=3) for _ in range(2)
    )
    fit(plain, items)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=1)
    fit(scaled, items, plugins=[ScaledFloat32("16-mixed", "cpu", scaler)])
    assert scaler.get_scale() == 32.0
    assert same(state(scaled.network), state(plain.network))


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_loss_that_is_not_finite_stops_before_the_weights_change(stage, precision):
    made = stage(TinyNetwork(), CLASSES, optimizer=settings(), max_steps=3)
    with torch.no_grad():
        made.network.head.bias[0] = float("nan")
    before = state(made)
    with pytest.raises(
        NonFiniteLossError, match=rf"stage {stage.stage}, round 1, step 0.*=nan.*learning rate"
    ):
        fit(made, batches(2, ignored=0.3), precision=precision)
    after = state(made)
    for name, _ in made.named_parameters():
        assert torch.equal(after[name].nan_to_num(), before[name].nan_to_num()), name


def test_the_networks_own_draws_depend_on_seed_stage_round_and_position_only():
    class Noisy(TinyNetwork):
        def __init__(self) -> None:
            super().__init__()
            self.encoder.append(nn.Dropout(0.5))

    def trained(**more) -> dict[str, torch.Tensor]:
        made = SourceOnlyModule(Noisy(), CLASSES, optimizer=settings(), max_steps=2, **more)
        fit(made, batches(2))
        return state(made.network)

    torch.manual_seed(1)
    first = trained()
    torch.manual_seed(2)
    assert same(trained(), first)
    assert not same(trained(seed=1), first)
    assert not same(trained(round_number=2), first)


def test_batch_norm_is_synchronized_where_there_are_several_accelerators():
    def converted(world_size: int, device: str) -> bool:
        made = SourceOnlyModule(TinyNetwork(), CLASSES)
        strategy = SimpleNamespace(root_device=torch.device(device))
        made._trainer = SimpleNamespace(world_size=world_size, strategy=strategy)
        made.setup("fit")
        return any(isinstance(part, nn.SyncBatchNorm) for part in made.network.modules())

    assert converted(2, "cuda")
    assert not converted(1, "cuda")
    assert not converted(2, "cpu")


# -- validation -------------------------------------------------------------------------------------------------


def test_validation_reports_scores_and_the_label_free_entropy():
    made = SourceOnlyModule(small_deeplab(), CLASSES)
    samples = [draw(seed, 1) for seed in (1, 2)]
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False, devices=1
    )
    (logged,) = trainer.validate(made, DataLoader(Batches(samples), batch_size=None), verbose=False)
    hits = np.zeros((len(CLASSES), len(CLASSES)), np.int64)
    entropies = []
    for sample in samples:
        with torch.no_grad():
            probabilities = made.network.eval()(made.normalize(sample["image"])).softmax(1)
        entropies.append(float(mean_entropy(probabilities)))
        for truth, found in zip(sample["label"].flatten(), probabilities.argmax(1).flatten(), strict=True):
            hits[truth, found] += 1
    np.testing.assert_array_equal(made.scores.matrix, hits)
    assert logged["val/entropy"] == pytest.approx(np.mean(entropies), rel=1e-5)
    assert logged["val/mIoU-4"] == pytest.approx(made.scores.means["mIoU-4"])


# -- checkpoints and prediction ---------------------------------------------------------------------------------


def varied(stage: type[AdaptationModule]) -> AdaptationModule:
    """A module none of whose settings is the default."""
    shared = {
        "optimizer": OptimizerSettings(1e-3, 4.0, 1e-3, (0.8, 0.9), "adamw", Schedule("poly", 0.1, 1.1)),
        "max_steps": 1,
        "round_number": 2,
        "validation_size": (24, 48),
        "freeze_bn": "full",
        "bn_statistics": "target",
        "seed": 3,
    }
    own = {
        SourceOnlyModule: {},
        WarmupModule: {
            "discriminator_input": "entropy",
            "discriminator_loss": "bce",
            "adversarial_weight": 0.2,
            "entropy_weight": 0.1,
            "discriminator_lr": 1e-4,
        },
        HIASTModule: {
            "loss": HIASTLoss(0.2, 0.3, 0.4, "all", "all", True),
            "ema_decay": 0.9,
            "source_weight": 0.5,
        },
    }
    return stage(small_deeplab(), CLASSES, **shared, **own[stage])


@pytest.mark.parametrize("stage", STAGES)
def test_a_checkpoint_gives_the_module_back(stage, tmp_path: Path):
    made = varied(stage)
    made.run_config = {"name": "test", "sizes": [1, 2]}
    path = save(made, tmp_path / "last.ckpt")
    for again in (stage.load_from_checkpoint(path), load_module(path)):
        assert type(again) is stage
        assert not again.training
        assert again.arguments() == made.arguments()
        assert again.classes == made.classes
        assert again.run_config == made.run_config
        assert again.batches_done == 1
        assert same(state(again), state(made))
    # Nothing but tensors and plain values, so that loading runs no code.
    torch.load(path, weights_only=True)


def test_every_argument_of_a_stage_is_stored():
    for stage in STAGES:
        made, plain = varied(stage).arguments(), stage(small_deeplab(), CLASSES).arguments()
        unvaried = [
            key for key in made if made[key] == plain[key] and key not in ("accumulate_grad_batches",)
        ]
        assert unvaried == []


def test_prediction_from_array_and_path(tmp_path: Path):
    made = HIASTModule(small_deeplab(), CLASSES, max_steps=1)
    loaded = hiast.HIASTModule.load_from_checkpoint(save(made, tmp_path / "last.ckpt"))
    Image.fromarray(image()).save(tmp_path / "image.png")
    of_array, of_path = loaded.predict(image()), loaded.predict(tmp_path / "image.png")
    assert of_array.labels.shape == of_array.confidence.shape == (40, 56)
    assert of_array.labels.dtype == np.uint8 and of_array.confidence.dtype == np.float32
    np.testing.assert_array_equal(of_array.labels, of_path.labels)
    np.testing.assert_array_equal(of_array.confidence, loaded.predict(str(tmp_path / "image.png")).confidence)
    pixels = torch.from_numpy(image().transpose(2, 0, 1).copy())[None]
    with torch.no_grad():
        wanted = made.network.eval()(made.normalize(pixels)).softmax(1)[0].max(0)
    np.testing.assert_array_equal(of_array.labels, wanted.indices.numpy())
    np.testing.assert_allclose(of_array.confidence, wanted.values.numpy(), rtol=1e-5)


def test_prediction_at_the_validation_size_is_that_of_validation():
    made = SourceOnlyModule(small_deeplab(), CLASSES, validation_size=(24, 48))
    found = made.predict(image())
    pixels = torch.from_numpy(image().transpose(2, 0, 1).copy())[None]
    with torch.no_grad():
        size = {"mode": "bilinear", "align_corners": True}
        resized = nn.functional.interpolate(made.normalize(pixels), (24, 48), **size)
        logits = nn.functional.interpolate(made.network.eval()(resized), (40, 56), **size)
    np.testing.assert_array_equal(found.labels, logits.argmax(1)[0].numpy())


def test_prediction_leaves_the_mode_as_it_was_and_takes_options():
    made = SourceOnlyModule(small_deeplab(), CLASSES).train()
    plain = made.predict(image())
    assert made.training and made.network.training
    mirrored = made.predict(np.ascontiguousarray(image()[:, ::-1]), flip=True)
    both = made.predict(image(), flip=True)
    np.testing.assert_allclose(both.confidence, mirrored.confidence[:, ::-1], rtol=1e-4, atol=1e-6)
    assert not np.array_equal(both.confidence, plain.confidence)


def test_prediction_that_fails_leaves_the_mode_as_it_was(monkeypatch: pytest.MonkeyPatch):
    made = SourceOnlyModule(small_deeplab(), CLASSES).train()
    made.network.backbone.eval()
    modes = [part.training for part in made.modules()]
    monkeypatch.setattr(made, "read_out", lambda *_, **options: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        made.predict(image())
    assert [part.training for part in made.modules()] == modes


def test_another_number_of_classes_is_refused():
    with pytest.raises(InputError, match=r"The network has 9 classes and the scenario 4: .*num_classes=4"):
        SourceOnlyModule(DeepLabV2(9, layers=(1, 1, 1, 1), width=4), CLASSES)


def test_images_are_normalized_without_a_copy_from_the_host(monkeypatch: pytest.MonkeyPatch):
    made = SourceOnlyModule(TinyNetwork(), CLASSES)
    assert not any(key.startswith("normalize") for key in made.state_dict())
    pixels = torch.from_numpy(image()).permute(2, 0, 1)[None]
    wanted = normalize(pixels, made.network.mean, made.network.std)
    monkeypatch.setattr(
        torch, "tensor", lambda *_, **options: pytest.fail("a tensor was made from host values")
    )
    assert torch.equal(made.normalize(pixels), wanted)
    made.read_out(pixels, (40, 56))


def test_the_check_of_the_losses_does_not_wait_for_the_device():
    check = FiniteCheck()
    check.reset(interval=3)
    for step in range(3):
        assert not check.due()
        check.update({"total": torch.zeros((), device="meta")}, step)
    assert check.due()


@pytest.mark.parametrize(
    ("interval", "kept"),
    [(1, "is kept in last.ckpt"), (50, "is in last.ckpt, if this stage has saved it yet")],
)
def test_the_step_that_was_not_finite_is_named(interval: int, kept: str):
    trainer = pl.Trainer(accelerator="cpu", logger=False, barebones=True)
    for bad, words in (
        (0, "step 0: total=nan. It is the first step"),
        (2, f"step 2: total=nan. A state before this step {kept}"),
    ):
        check = FiniteCheck()
        check.reset(interval)
        for step in range(4):
            check.update({"total": torch.tensor(float("nan") if step == bad else 1.0)}, step)
        with pytest.raises(NonFiniteLossError, match=re.escape(words)):
            check.raise_if_bad(trainer, "online", 1, 3)


@pytest.mark.parametrize("wrong", [np.zeros((5, 5, 5), np.uint8), np.zeros(4, np.uint8), np.zeros((0, 4, 3))])
def test_prediction_of_something_else_is_refused(wrong):
    with pytest.raises(InputError):
        SourceOnlyModule(TinyNetwork(), CLASSES).predict(wrong)


def test_a_time_limit_counts_from_each_start(tmp_path: Path):
    path = tmp_path / "last.ckpt"
    module = SourceOnlyModule(TinyNetwork(), CLASSES, max_steps=1)
    fit(module, batches(1, ignored=0.4), callbacks=[SaveAtEnd(path)], max_time="00:01:00:00")
    assert "Timer" not in torch.load(path, weights_only=True)["callbacks"]


def test_a_checkpoint_of_another_stage_is_refused(tmp_path: Path):
    path = save(SourceOnlyModule(small_deeplab(), CLASSES, max_steps=1), tmp_path / "last.ckpt")
    with pytest.raises(InputError, match=r"stage source_only, not of self_training.*load_module"):
        HIASTModule.load_from_checkpoint(path)


def test_a_network_of_ones_own_has_to_be_given(tmp_path: Path):
    made = SourceOnlyModule(TinyNetwork(), CLASSES, max_steps=1)
    path = save(made, tmp_path / "last.ckpt")
    with pytest.raises(InputError, match=r"network=\.\.\."):
        load_module(path)
    again = load_module(path, network=TinyNetwork(seed=9))
    assert same(state(again.network), state(made.network))


def test_a_network_that_does_not_fit_is_refused(tmp_path: Path):
    path = save(SourceOnlyModule(TinyNetwork(), CLASSES, max_steps=1), tmp_path / "last.ckpt")
    with pytest.raises(InputError, match=r"last\.ckpt.*does not fit"):
        load_module(path, network=small_deeplab())


class Harmful:
    def __reduce__(self):
        return (Path.touch, (Path("harm"),))


def garbage(folder: Path, good: Path) -> dict[str, Path]:
    """Files that are no checkpoints, or damaged ones."""
    contents = torch.load(good, weights_only=True)
    files = {
        "empty": b"",
        "text": b"not a checkpoint\n",
        "cut": good.read_bytes()[:2000],
        "pickle": pickle.dumps(Harmful()),
        "noise": np.random.default_rng(0).bytes(5000),
    }
    objects = {
        "list": [1, 2],
        "bare": contents["state_dict"],
        "code": {"hiast": Harmful(), "state_dict": {}},
        "newer": contents | {"hiast": contents["hiast"] | {"format": 99}},
        "incomplete": {"hiast": {"format": 1}, "state_dict": {}},
        "stage": contents | {"hiast": contents["hiast"] | {"stage": "dance"}},
        "arguments": contents | {"hiast": contents["hiast"] | {"arguments": {"speed": 1}}},
        "weightless": contents | {"state_dict": {}},
    }
    paths = {name: folder / f"{name}.ckpt" for name in [*files, *objects, "absent"]}
    for name, content in files.items():
        paths[name].write_bytes(content)
    for name, value in objects.items():
        torch.save(value, paths[name])
    return paths


GARBAGE = ["empty", "text", "cut", "pickle", "noise", "list", "bare", "code", "newer", "incomplete", "stage"]
GARBAGE += ["arguments", "weightless", "absent"]


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("damaged")
    return garbage(
        folder, save(SourceOnlyModule(small_deeplab(), CLASSES, max_steps=1), folder / "good.ckpt")
    )


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_refused_by_name(name, damaged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for load in (load_module, SourceOnlyModule.load_from_checkpoint):
        with pytest.raises(InputError, match=rf"{name}\.ckpt"):
            load(damaged[name])
    assert not Path("harm").exists()


def test_any_noise_is_refused(damaged, tmp_path: Path):
    rng = np.random.default_rng(4)
    good = np.frombuffer((damaged["empty"].parent / "good.ckpt").read_bytes(), np.uint8)
    path = tmp_path / "noise.ckpt"
    for length in (*range(1, 60), 500, 5000):
        path.write_bytes(rng.bytes(length))
        with pytest.raises(InputError):
            load_module(path)
    for end in np.linspace(1, len(good) - 1, 20).astype(int):
        path.write_bytes(good[:end].tobytes())
        with pytest.raises(InputError):
            load_module(path)


def test_modules_can_be_copied():
    made = varied(HIASTModule)
    assert same(state(copy.deepcopy(made)), state(made))
