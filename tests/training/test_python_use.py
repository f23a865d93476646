"""Modules in a trainer of one's own: what they count, when they end, and what they refuse in one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import GradientAccumulationScheduler
from small_network import CLASSES, Batches, SaveAtEnd, TinyNetwork, bare_trainer, batches, fit, settings
from torch import nn
from torch.utils.data import DataLoader

from hiast.data import (
    AdaptationDataModule,
    CityscapesDataModule,
    GTA5DataModule,
    RandomSizedCrop,
    WeakAugmentation,
)
from hiast.errors import InputError
from hiast.scenes import write_cityscapes, write_gta5
from hiast.training import AdaptationModule, HIASTModule, SourceOnlyModule


def source_only(max_steps: int, **more: object) -> SourceOnlyModule:
    return SourceOnlyModule(TinyNetwork(), CLASSES, optimizer=settings(), max_steps=max_steps, **more)  # type: ignore[arg-type]


class Counter(pl.Callback):
    def __init__(self) -> None:
        self.done: list[int] = []
        self.training: list[bool] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.done.append(pl_module.batches_done)
        self.training.append(pl_module.network.training)


def test_steps_go_on_over_the_epochs_of_a_loader() -> None:
    module, counter = source_only(8), Counter()
    recorder = fit(module, batches(4), max_epochs=5, callbacks=[counter])
    assert counter.done == [1, 2, 3, 4, 5, 6, 7, 8]
    rates = [rate[0][0] for rate in recorder.rates]
    assert rates == sorted(rates, reverse=True) and len(set(rates)) == 8


def test_training_ends_when_all_steps_are_done() -> None:
    module, counter = source_only(3), Counter()
    fit(module, batches(6), callbacks=[counter])
    assert counter.done == [1, 2, 3]


def test_a_second_fit_of_one_trainer_counts_anew() -> None:
    trainer, counter = bare_trainer(max_epochs=-1, max_steps=4), Counter()
    loader = DataLoader(Batches(batches(2)), batch_size=None)
    trainer.fit(source_only(2), loader)
    trainer.callbacks.append(counter)  # type: ignore[attr-defined]
    trainer.should_stop = False
    trainer.fit(source_only(2), loader)
    assert counter.done == [1, 2]


def test_a_finished_module_is_not_fitted_again(tmp_path: Path) -> None:
    fit(source_only(2), batches(2), callbacks=[SaveAtEnd(tmp_path / "a.ckpt")])
    loaded = SourceOnlyModule.load_from_checkpoint(tmp_path / "a.ckpt", network=TinyNetwork())
    with pytest.raises(
        InputError, match=r"all 2 steps of this module are done.*SourceOnlyModule\(module.network"
    ):
        fit(loaded, batches(2))
    counter = Counter()
    further = SourceOnlyModule(loaded.network, CLASSES, optimizer=settings(), max_steps=2)
    recorder = fit(further, batches(2), callbacks=[counter])
    assert counter.done == [1, 2] and counter.training == [True, True]
    assert recorder.rates[0][0][0] == 1e-3


@pytest.mark.parametrize(("asked", "own", "fits"), [(1, 2, True), (2, 2, True), (2, 1, False), (3, 2, False)])
def test_the_trainer_accumulates_as_the_module_counts(asked: int, own: int, fits: bool) -> None:
    module = source_only(2, accumulate_grad_batches=own)
    if fits:
        fit(module, batches(2 * own), accumulate_grad_batches=asked)
        assert module.steps_done == 2
        return
    with pytest.raises(InputError, match=f"the trainer accumulates {asked} batches and the module {own}"):
        fit(module, batches(4), accumulate_grad_batches=asked)


def test_a_callback_that_accumulates_otherwise_is_refused() -> None:
    scheduler = GradientAccumulationScheduler({0: 1, 1: 2})
    with pytest.raises(InputError, match="the trainer accumulates 2 batches and the module 1"):
        fit(source_only(8), batches(4), max_epochs=2, callbacks=[scheduler])
    module = source_only(8)
    fit(module, batches(4), max_epochs=2, callbacks=[GradientAccumulationScheduler({0: 1})])
    assert module.steps_done == 8


def test_batches_without_what_a_stage_reads() -> None:
    with pytest.raises(InputError, match="batches need the parts source, and this one has no source"):
        fit(source_only(2), [{"image": batches(1)[0]["source"]["image"]}])
    lacking = batches(1)[0]
    del lacking["target"]["strong"]
    module = HIASTModule(TinyNetwork(), CLASSES, optimizer=settings(), max_steps=1)
    with pytest.raises(InputError, match="target images need pseudo-labels: use with_plan"):
        fit(module, [lacking])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> AdaptationDataModule:
    root = tmp_path_factory.mktemp("data")
    write_gta5(root, 2, (64, 128))
    write_cityscapes(root, 2, 1, (64, 128))
    weak = WeakAugmentation(RandomSizedCrop(32, 64, 32, 64))
    return AdaptationDataModule(
        GTA5DataModule(root),
        CityscapesDataModule(root),
        source_augmentation=weak,
        target_augmentation=weak,
        num_workers=0,
    )


def street_module(data: AdaptationDataModule, max_steps: int) -> AdaptationModule:
    classes = data.source.classes
    return SourceOnlyModule(TinyNetwork(len(classes)), classes, optimizer=settings(), max_steps=max_steps)


def test_a_checkpoint_goes_on_with_data_that_start_where_it_ended(
    data: AdaptationDataModule, tmp_path: Path
) -> None:
    stopped = bare_trainer(max_steps=2, max_epochs=-1)
    stopped.fit(street_module(data, 4), data.with_plan(["source"], batch_size=1, steps=4))
    stopped.save_checkpoint(tmp_path / "a.ckpt")
    with pytest.raises(
        InputError, match=r"done 2 batches and the data start at step 0: use with_plan\(..., start_s"
    ):
        bare_trainer().fit(
            street_module(data, 4),
            data.with_plan(["source"], batch_size=1, steps=4),
            ckpt_path=tmp_path / "a.ckpt",
            weights_only=True,
        )
    counter, whole = Counter(), street_module(data, 4)
    resumed = street_module(data, 4)
    bare_trainer(callbacks=[counter]).fit(
        resumed,
        data.with_plan(["source"], batch_size=1, steps=4, start_step=2),
        ckpt_path=tmp_path / "a.ckpt",
        weights_only=True,
    )
    assert counter.done == [3, 4]
    bare_trainer().fit(whole, data.with_plan(["source"], batch_size=1, steps=4))
    for one, other in zip(whole.network.parameters(), resumed.network.parameters(), strict=True):
        assert one.equal(other)


@pytest.mark.parametrize("named", [True, False])
def test_a_trainer_predicts_what_the_module_does(named: bool) -> None:
    module = source_only(2).train()
    images = torch.randint(0, 256, (5, 3, 12, 16), dtype=torch.uint8)
    samples = [{"image": image} if named else image for image in images]
    found = bare_trainer().predict(module, DataLoader(samples, batch_size=2))  # type: ignore[arg-type]
    assert found is not None and [len(batch["labels"]) for batch in found] == [2, 2, 1]
    for name in ("labels", "confidence"):
        together = torch.cat([batch[name] for batch in found])  # type: ignore[call-overload]
        alone = np.stack([getattr(prediction, name) for prediction in module.predict(images)])
        assert together.numpy().dtype == alone.dtype
        np.testing.assert_allclose(together, alone, atol=1e-6)


def test_a_second_epoch_would_repeat_a_plan(data: AdaptationDataModule) -> None:
    with pytest.raises(InputError, match=r"data end after 2 batches.*with_plan\(..., steps=4\)"):
        bare_trainer(max_epochs=2).fit(
            street_module(data, 4), data.with_plan(["source"], batch_size=1, steps=2)
        )
    counter = Counter()
    bare_trainer(max_epochs=3, callbacks=[counter]).fit(
        street_module(data, 2), data.with_plan(["source"], batch_size=1, steps=2)
    )
    assert counter.done == [1, 2]


@pytest.mark.parametrize(("precision", "name"), [("bf16-true", "bfloat16"), ("64-true", "float64")])
def test_weights_that_are_not_float32_are_refused_at_once(precision: str, name: str) -> None:
    with pytest.raises(InputError, match=f"the weights are {name}.*use precision=bf16-mixed"):
        fit(source_only(2), batches(2), precision=precision)


class Weighted(SourceOnlyModule):
    def __init__(self, network, classes, *, weight: float = 1.0, **settings) -> None:
        super().__init__(network, classes, **settings)
        self.weight = weight
        self.save_hyperparameters(ignore=["network"])

    def arguments(self):
        return super().arguments() | {"weight": self.weight}


def test_hyperparameters_leave_checkpoints_that_can_be_loaded(tmp_path: Path) -> None:
    module = Weighted(TinyNetwork(), CLASSES, weight=3.0, optimizer=settings(), max_steps=2)
    fit(module, batches(2), callbacks=[SaveAtEnd(tmp_path / "a.ckpt")])
    again = Weighted.load_from_checkpoint(tmp_path / "a.ckpt", network=TinyNetwork())
    assert again.weight == 3.0 and again.optimizer == settings()


class PlainNetwork(nn.Module):
    num_classes, mean, std = len(CLASSES), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)


def test_a_network_of_another_base_is_refused_at_once() -> None:
    with pytest.raises(InputError, match=r"is a PlainNetwork: let it be a subclass of hiast\.models\.Segm"):
        SourceOnlyModule(PlainNetwork(), CLASSES)  # type: ignore[arg-type]


def test_a_loss_of_another_base_is_refused_at_once() -> None:
    with pytest.raises(
        InputError, match=r"is a Linear: let it be a subclass of hiast\.objectives\.HIASTLoss"
    ):
        HIASTModule(TinyNetwork(), CLASSES, loss=nn.Linear(1, 1))  # type: ignore[arg-type]


def test_a_fit_goes_on_from_checkpoints_of_its_own_stage_only(tmp_path: Path) -> None:
    hiast = HIASTModule(TinyNetwork(), CLASSES, optimizer=settings(), max_steps=2)
    fit(hiast, batches(1), callbacks=[SaveAtEnd(tmp_path / "a.ckpt")])
    loader = DataLoader(Batches(batches(2)), batch_size=None)
    with pytest.raises(
        InputError, match=r"checkpoint is of stage self_training.*go on from one of stage source_only"
    ):
        bare_trainer().fit(source_only(2), loader, ckpt_path=tmp_path / "a.ckpt", weights_only=True)
    foreign = {"state_dict": {}, "epoch": 0, "global_step": 0, "pytorch-lightning_version": pl.__version__}
    torch.save(foreign, tmp_path / "b.ckpt")
    with pytest.raises(InputError, match="was not written by a module of this library"):
        bare_trainer().fit(source_only(2), loader, ckpt_path=tmp_path / "b.ckpt", weights_only=True)


def test_a_trainer_refuses_images_of_another_type() -> None:
    images = torch.rand(2, 3, 12, 16)
    with pytest.raises(InputError, match=r"Batches to predict hold 'image' of torch.float32"):
        bare_trainer().predict(source_only(2), DataLoader(images, batch_size=2))  # type: ignore[arg-type]
