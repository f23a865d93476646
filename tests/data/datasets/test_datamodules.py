from __future__ import annotations

import builtins
import io
import pickle
import shutil
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from written_rounds import write_round

from hiast.classes import CITYSCAPES_19, CITYSCAPES_TO_ROBOTCAR, ROBOTCAR_9, SYNTHIA_19
from hiast.data import (
    AdaptationDataModule,
    CityscapesDataModule,
    GTA5DataModule,
    HardClassAugmentation,
    JoinedDataModule,
    RobotCarDataModule,
    SYNTHIADataModule,
)
from hiast.data.augmentation.fourier import FourierTowardsSource, fourier_adapt
from hiast.data.augmentation.strong import SimpleStrong
from hiast.data.augmentation.weak import RandomSizedCrop, WeakAugmentation
from hiast.data.loading.sampler import StreamKey
from hiast.errors import InputError

WEAK = WeakAugmentation(RandomSizedCrop(32, 64, 40, 90))


def make(root: Path, workers: int = 0, **options) -> AdaptationDataModule:
    defaults = {
        "source": GTA5DataModule(root),
        "target": CityscapesDataModule(root),
        "strong": SimpleStrong(),
    }
    options = defaults | options
    return AdaptationDataModule(
        options.pop("source"),
        options.pop("target"),
        source_augmentation=WEAK,
        target_augmentation=WEAK,
        num_workers=workers,
        **options,
    )


def batches(module: AdaptationDataModule, domain: str, **plan) -> list[dict]:
    plan = {"domains": ("source", "target"), "batch_size": 2, "steps": 5} | plan
    module = module.with_plan(**plan)
    return list(module.train_dataloader()[domain])


def same(left: list[dict], right: list[dict]) -> bool:
    return len(left) == len(right) and all(
        a.keys() == b.keys()
        and a["name"] == b["name"]
        and all(torch.equal(a[key], b[key]) for key in a if key != "name")
        for a, b in zip(left, right, strict=True)
    )


def ranked(module: AdaptationDataModule, rank: int, world_size: int) -> AdaptationDataModule:
    module.trainer = SimpleNamespace(global_rank=rank, world_size=world_size)  # type: ignore[assignment]
    return module


def label_round(directory: Path, names: tuple[str, ...]) -> Path:
    rng = np.random.default_rng(0)
    labels = {
        name: cv2.resize(rng.integers(0, 19, (4, 8), dtype=np.uint8), (96, 48), interpolation=0)
        for name in names
    }
    return write_round(directory, labels, rng.uniform(0.3, 0.9, 19))


@pytest.mark.parametrize("kind", [GTA5DataModule, SYNTHIADataModule, CityscapesDataModule])
def test_each_dataset_trains_and_validates_alone(drawn_data: Path, kind: type) -> None:
    options = {"val_fraction": 0.25} if kind is not CityscapesDataModule else {}
    module = kind(drawn_data, augmentation=WEAK, batch_size=2, num_workers=0, **options)
    train = module.train_dataloader()
    assert len(train) == 3
    batch = next(iter(train))
    assert batch["image"].shape == (2, 3, 32, 64)
    assert batch["label"].shape == (2, 32, 64)
    assert batch["image"].dtype == batch["label"].dtype == torch.uint8
    assert not set(module.train_dataset().names) & set(module.val_dataset().names)
    val = list(module.val_dataloader())
    assert [sample["name"][0] for sample in val] == list(module.val_dataset().names)
    assert val[0]["image"].shape == (1, 3, 96, 192)
    assert val[0]["label"].shape == (1, 96, 192)


def test_robotcar_validates_but_has_no_training_labels(drawn_data: Path) -> None:
    module = RobotCarDataModule(drawn_data, num_workers=0)
    assert len(list(module.val_dataloader())) == 3
    with pytest.raises(InputError, match="no labels"):
        module.train_dataloader()


def test_no_validation_split(drawn_data: Path) -> None:
    assert GTA5DataModule(drawn_data).val_dataloader() == []
    with pytest.raises(InputError, match="GTA5 has no validation split: set val_fraction or val_list"):
        GTA5DataModule(drawn_data).val_dataset()


def test_a_datamodule_can_be_printed_with_a_plan_and_without(drawn_data: Path) -> None:
    module = make(drawn_data)
    assert str(module).startswith("AdaptationDataModule(source=") and "plan=None" in str(module)
    assert "steps=5" in str(module.with_plan(("source", "target"), batch_size=2, steps=5))


def test_warmup_batches(drawn_data: Path) -> None:
    module = make(drawn_data)
    source, target = batches(module, "source")[0], batches(module, "target")[0]
    assert set(source) == {"image", "label", "name"}
    assert set(target) == {"image", "name", "window", "image_size", "flipped"}
    for batch in (source, target):
        assert batch["image"].shape == (2, 3, 32, 64)
        assert batch["image"].dtype == torch.uint8
    loaders = module.with_plan(("source", "target"), batch_size=2, steps=5).train_dataloader()
    assert len(loaders["source"]) == len(loaders["target"]) == 5


def test_domains_draw_apart(drawn_data: Path) -> None:
    target = CityscapesDataModule(drawn_data)
    module = make(drawn_data, source=CityscapesDataModule(drawn_data), target=target)
    assert not same(
        [{k: v for k, v in batch.items() if k != "label"} for batch in batches(module, "source")],
        batches(module, "target"),
    )


@pytest.mark.parametrize("domain", ["source", "target"])
def test_batches_depend_on_seed_round_and_position_only(drawn_data: Path, domain: str) -> None:
    wanted = batches(make(drawn_data), domain)
    assert same(batches(make(drawn_data), domain), wanted)
    assert same(batches(make(drawn_data, workers=3), domain), wanted)
    assert same(batches(make(drawn_data), domain, start_step=3), wanted[3:])
    assert not same(batches(make(drawn_data, seed=1), domain), wanted)
    assert not same(batches(make(drawn_data), domain, round=1), wanted)
    ranks = [batches(ranked(make(drawn_data), rank, 2), domain) for rank in range(2)]
    for whole, *parts in zip(wanted, *ranks, strict=True):
        assert torch.equal(torch.cat([part["image"] for part in parts]), whole["image"])
    # An image gets another crop each time it is drawn.
    crops = {
        (name, image.numpy().tobytes())
        for b in wanted
        for name, image in zip(b["name"], b["image"], strict=True)
    }
    assert len(crops) == 10


def test_self_training_batches_and_a_round_that_is_finished_late(drawn_data: Path, tmp_path: Path) -> None:
    module = make(drawn_data, hard_class_augmentation=HardClassAugmentation())
    directory = tmp_path / "rounds/1"
    module = module.with_plan(("target",), batch_size=2, steps=4, round=1, round_directory=directory)
    loader = module.train_dataloader()["target"]
    iterator = iter(loader)  # as Lightning does, before the fit begins
    directory.parent.mkdir()
    label_round(directory, module.labeling_images().names)
    first = next(iterator)
    assert set(first) == {"image", "strong", "label", "name"}
    assert first["strong"].shape == first["image"].shape == (2, 3, 32, 64)
    assert not torch.equal(first["strong"], first["image"])
    assert same([first, *iterator], list(loader))
    workers = make(drawn_data, workers=2, hard_class_augmentation=HardClassAugmentation())
    whole = batches(workers, "target", domains=("target",), steps=4, round=1, round_directory=directory)
    assert same(whole, list(loader))
    module = module.with_plan(
        ("target",), batch_size=2, steps=4, round=1, round_directory=directory, start_step=2
    )
    assert same(list(module.train_dataloader()["target"]), whole[2:])


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("several", [False, True])
def test_the_fourier_view_is_towards_a_source_image_of_the_samples_stream(
    drawn_data: Path, tmp_path: Path, workers: int, several: bool
) -> None:
    source = GTA5DataModule(drawn_data)
    module = make(
        drawn_data,
        workers,
        source=JoinedDataModule([source, SYNTHIADataModule(drawn_data, CITYSCAPES_19)])
        if several
        else source,
        strong=FourierTowardsSource(beta=0.05),
        hard_class_augmentation=HardClassAugmentation(),
        seed=7,
    )
    directory = label_round(tmp_path / "round", module.labeling_images().names)
    found = batches(module, "target", domains=("target",), round=2, round_directory=directory, start_step=2)
    references = module.source.train_dataset()
    drawn = set()
    for position, (strong, weak) in enumerate(
        ((s, w) for batch in found for s, w in zip(batch["strong"], batch["image"], strict=True)), start=4
    ):
        index = int(np.random.default_rng([7, 2, position, 3]).integers(len(references)))
        drawn.add(index)
        wanted = fourier_adapt(weak.permute(1, 2, 0).numpy(), references.read_image(index), 0.05)
        np.testing.assert_array_equal(strong.permute(1, 2, 0).numpy(), wanted)
    assert len(drawn) > 2


def test_images_that_a_strong_view_needs_are_listed_when_a_round_is_trained(
    drawn_data: Path, tmp_path: Path
) -> None:
    empty = GTA5DataModule(tmp_path)
    module = make(drawn_data, source=empty, strong=FourierTowardsSource())
    label_round(tmp_path / "round", module.labeling_images().names)
    assert batches(module, "target", domains=("target",))
    with pytest.raises(InputError, match="GTA5"):
        batches(module, "target", domains=("target",), round=1, round_directory=tmp_path / "round")


def test_target_labels_are_neither_needed_nor_opened(
    drawn_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(drawn_data, tmp_path / "data")
    shutil.rmtree(tmp_path / "data/cityscapes/gtFine/train")
    label_round(tmp_path / "round", make(tmp_path / "data").labeling_images().names)
    opened: list[str] = []
    for module, name in ((io, "open"), (builtins, "open")):
        real = getattr(module, name)
        monkeypatch.setattr(
            module, name, lambda file, *a, real=real, **k: (opened.append(str(file)), real(file, *a, **k))[1]
        )
    for root in (tmp_path / "data", drawn_data):  # without the files, and with them
        module = make(root, hard_class_augmentation=HardClassAugmentation())
        batches(module, "target")
        batches(module, "target", domains=("target",), round=1, round_directory=tmp_path / "round")
    assert any("leftImg8bit/train" in path for path in opened)
    assert not any("gtFine/train" in path for path in opened)


def test_hpla_leaves_classes_alone_that_the_source_lacks(drawn_data: Path, tmp_path: Path) -> None:
    synthia = SYNTHIADataModule(drawn_data)
    module = make(
        drawn_data,
        source=synthia,
        target=CityscapesDataModule(drawn_data, SYNTHIA_19),
        hard_class_augmentation=HardClassAugmentation(),
    )
    lacking = {SYNTHIA_19.index(name) for name in ("terrain", "truck", "train")}
    assert module.source_classes == frozenset(range(19)) - lacking
    label_round(tmp_path / "round", module.labeling_images().names)
    module = module.with_plan(("target",), batch_size=2, steps=1, round=1, round_directory=tmp_path / "round")
    dataset = module.train_dataloader()["target"].dataset
    hard = dataset.hard_classes()  # type: ignore[attr-defined]
    assert len(hard.hard_classes) == 14
    assert not set(hard.hard_classes) & lacking


def test_self_training_needs_no_source_files(drawn_data: Path, tmp_path: Path) -> None:
    module = make(drawn_data, source=GTA5DataModule(tmp_path))
    label_round(tmp_path / "round", module.labeling_images().names)
    assert (
        len(batches(module, "target", domains=("target",), round=1, round_directory=tmp_path / "round")) == 5
    )


@pytest.mark.parametrize("world_size", [1, 3, 8])
def test_validation_images_are_shared_out_once(drawn_data: Path, world_size: int) -> None:
    names = []
    for rank in range(world_size):
        loader = ranked(make(drawn_data), rank, world_size).val_dataloader()
        names += [sample["name"][0] for sample in loader]
    assert sorted(names) == sorted(make(drawn_data).target.val_dataset().names)


def test_plans_that_make_no_sense(drawn_data: Path) -> None:
    module = make(drawn_data)
    with pytest.raises(InputError, match=r"ask with_plan"):
        module.train_dataloader()
    for plan, message in (
        ({"domains": ()}, "Domains are"),
        ({"domains": ("both",)}, "Domains are"),
        ({"steps": 0}, "0 steps"),
        ({"start_step": 6}, "cannot start at step 6"),
    ):
        with pytest.raises(InputError, match=message):
            batches(module, "source", **plan)
    with pytest.raises(InputError, match="batch size of 3 does not divide among 2 devices"):
        batches(ranked(module, 0, 2), "source", batch_size=3)
    with pytest.raises(InputError, match="4 validation images, and the run 5 devices: give at least as many"):
        batches(ranked(module, 0, 5), "source", batch_size=5)
    module.strong = None
    with pytest.raises(InputError, match="strong augmentation"):
        module.with_plan(("target",), 2, 2, 1, "rounds/1")


def test_classes_have_to_agree(drawn_data: Path) -> None:
    with pytest.raises(InputError, match="class_map"):
        make(drawn_data, target=RobotCarDataModule(drawn_data))
    source = CityscapesDataModule(drawn_data, ROBOTCAR_9, CITYSCAPES_TO_ROBOTCAR)
    module = make(drawn_data, source=source, target=RobotCarDataModule(drawn_data))
    labels = torch.cat([batch["label"] for batch in batches(module, "source")])
    assert labels.unique().tolist()[-1] == 255
    assert labels[labels != 255].max() < 9
    assert module.classes is ROBOTCAR_9


def test_several_sources(drawn_data: Path) -> None:
    sources = [GTA5DataModule(drawn_data), SYNTHIADataModule(drawn_data, CITYSCAPES_19)]
    module = make(drawn_data, source=JoinedDataModule(sources, [0, 1]))
    names = {name for batch in batches(module, "source") for name in batch["name"]}
    assert all(name.startswith("SYNTHIA/") for name in names)
    assert module.source_classes == frozenset(range(19))
    joined = JoinedDataModule(sources).train_dataset()
    for index, (dataset, inner) in enumerate([(d, i) for d in joined.datasets for i in range(len(d))]):
        np.testing.assert_array_equal(joined.read_label(index), dataset.read_label(inner))
        np.testing.assert_array_equal(joined.read_image(index), dataset.read_image(inner))


def test_several_sources_that_do_not_fit_are_refused_at_once(tmp_path: Path) -> None:
    sources = [GTA5DataModule(tmp_path), SYNTHIADataModule(tmp_path, CITYSCAPES_19)]
    for weights in ([1], [1, 2, 3], [1, -1], [0, 0]):
        with pytest.raises(InputError, match="2 sources need as many weights"):
            JoinedDataModule(sources, weights)
    with pytest.raises(InputError, match="Two of the joined datasets are called 'GTA5'"):
        JoinedDataModule([*sources, GTA5DataModule(tmp_path / "more")])
    with pytest.raises(InputError, match="have to be of the same classes"):
        JoinedDataModule([*sources, RobotCarDataModule(tmp_path)])


def test_several_sources_resume_anywhere_with_any_number_of_workers(drawn_data: Path) -> None:
    def source() -> JoinedDataModule:
        return JoinedDataModule([GTA5DataModule(drawn_data), SYNTHIADataModule(drawn_data, CITYSCAPES_19)])

    wanted = batches(make(drawn_data, source=source()), "source", steps=8)
    assert same(batches(make(drawn_data, workers=2, source=source()), "source", steps=8), wanted)
    assert same(batches(make(drawn_data, source=source()), "source", steps=8, start_step=5), wanted[5:])
    drawn = [name for batch in wanted for name in batch["name"]]
    # Each dataset has eight images; over eight positions none of them comes twice.
    assert all(len(set(drawn[start : start + 8])) == 8 for start in range(0, len(drawn), 8))


def test_rare_class_sampling_of_the_source(drawn_data: Path, tmp_path: Path) -> None:
    source = GTA5DataModule(drawn_data, rare_class_sampling={"temperature": 0.01}, statistics=tmp_path)
    module = make(drawn_data, source=source)
    wanted = batches(module, "source", steps=40)
    assert same(batches(module, "source", steps=40, start_step=30), wanted[30:])
    order, names = source.train_order(), source.train_dataset().names
    positions = iter(range(80))
    assert [list(batch["name"]) for batch in wanted] == [
        [names[order.index(StreamKey(888, 0, 20), next(positions))] for _ in range(2)] for _ in range(40)
    ]
    assert len(list(tmp_path.iterdir())) == 1


def test_what_counts_as_rare_can_be_set(drawn_data: Path) -> None:
    least = GTA5DataModule(drawn_data, rare_class_sampling={"min_pixels": 1}).train_order()
    usual = GTA5DataModule(drawn_data, rare_class_sampling={}).train_order()
    assert sum(map(len, least.plan.images)) > sum(map(len, usual.plan.images))


def test_loaders_survive_being_sent_to_a_spawned_process(drawn_data: Path) -> None:
    module = make(drawn_data)
    module = module.with_plan(("source", "target"), 2, 3)
    for loader in module.train_dataloader().values():
        assert same(list(pickle.loads(pickle.dumps(loader))), list(loader))


def first_names(loader) -> list[str]:
    return list(next(iter(loader))["name"])


@pytest.mark.slow  # The other process imports torch and Lightning anew.
def test_a_spawned_process_reads_the_same_images(drawn_data: Path) -> None:
    module = make(drawn_data)
    module = module.with_plan(("source",), 2, 3)
    loader = module.train_dataloader()["source"]
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        assert pool.submit(first_names, loader).result() == first_names(loader)


class Recorder(pl.LightningModule):
    """Notes the batches that Lightning hands over."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.seen: list[tuple] = []
        self.validated: list[str] = []

    def training_step(self, batch, index):
        self.seen.append((index, *(batch[domain]["name"] for domain in ("source", "target"))))
        return self.layer(batch["source"]["image"].float().mean()[None]).sum()

    def validation_step(self, batch, index):
        self.validated += batch["name"]

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 1e-3)


class SaveAt(pl.Callback):
    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_batch_end(self, trainer, module, outputs, batch, index) -> None:
        if index == 2:
            trainer.save_checkpoint(self.path)


def fit(recorder: Recorder, module: AdaptationDataModule, *callbacks, resume: Path | None = None) -> Recorder:
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        callbacks=list(callbacks),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(recorder, module, ckpt_path=resume, weights_only=True)
    return recorder


def test_lightning_follows_a_plan_and_resumes_in_the_middle(drawn_data: Path, tmp_path: Path) -> None:
    module = make(drawn_data)
    module = module.with_plan(("source", "target"), batch_size=2, steps=6)
    whole = fit(Recorder(), module, SaveAt(tmp_path / "middle.ckpt"))
    assert len(whole.seen) == 6
    assert whole.validated == list(module.target.val_dataset().names)
    module = module.with_plan(("source", "target"), batch_size=2, steps=6, start_step=3)
    rest = fit(Recorder(), module, resume=tmp_path / "middle.ckpt")
    assert rest.seen == whole.seen[3:]
    assert rest.validated == whole.validated


def test_two_targets_are_one(drawn_data: Path):
    targets = [CityscapesDataModule(drawn_data), GTA5DataModule(drawn_data)]
    module = make(drawn_data, target=JoinedDataModule(targets, num_workers=0))
    names = module.labeling_images().names
    assert {name.split("/")[0] for name in names} == {"Cityscapes train", "GTA5"}
    epoch = len(names) // 2
    drawn = [name for batch in batches(module, "target", steps=epoch) for name in batch["name"]]
    assert len(set(drawn)) == len(drawn), "without weights every image is drawn once in an epoch"
    assert all("label" not in batch for batch in batches(module, "target"))
    only_one = make(drawn_data, target=JoinedDataModule(targets, [1, 0]))
    shown = [name for batch in batches(only_one, "target") for name in batch["name"]]
    assert all(name.startswith("Cityscapes train/") for name in shown)
    # GTA5 has no validation split: the other one is evaluated.
    loader = module.val_dataloader()
    assert len(loader) == len(targets[0].val_dataset()) == len(module.target.val_dataloader())
    assert JoinedDataModule([GTA5DataModule(drawn_data)]).val_dataloader() == []


def test_images_of_joined_data_are_counted_from_the_end_too(drawn_data: Path):
    joined = JoinedDataModule([GTA5DataModule(drawn_data), SYNTHIADataModule(drawn_data)]).train_dataset()
    assert joined[-1]["name"] == joined.names[-1]
    assert joined[-len(joined)]["name"] == joined.names[0]
    np.testing.assert_array_equal(joined.read_image(-1), joined.read_image(len(joined) - 1))
    for index in (len(joined), -len(joined) - 1):
        with pytest.raises(IndexError, match=f"There are {len(joined)} images"):
            joined.read_label(index)


def test_datamodules_can_be_printed(tmp_path: Path):
    gta5, synthia = GTA5DataModule(tmp_path), SYNTHIADataModule(tmp_path)
    assert str(gta5) == f"GTA5DataModule(title=GTA5, data_root={tmp_path})"
    assert str(JoinedDataModule([gta5, synthia])) == f"JoinedDataModule({gta5}, {synthia})"
