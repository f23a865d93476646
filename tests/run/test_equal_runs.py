"""What must not change a run, and does not: target labels, loader workers, the number of processes that label."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

CHECKPOINTS = ("source_only", "warmup", "self_training")


def weights(run: Path, stage: str) -> dict:
    return torch.load(run / stage / "checkpoints/last.ckpt", weights_only=True)


@pytest.mark.slow
def test_target_labels_are_never_read_in_training(
    launcher, reference_run: Path, small_data: Path, tmp_path: Path, kill_test: ModuleType
) -> None:
    data = shutil.copytree(small_data, tmp_path / "data")
    labels = [path for path in (data / "cityscapes/gtFine/train").rglob("*") if path.is_file()]
    assert labels
    for path in labels:
        path.write_bytes(b"no picture at all")
    assert launcher.train(tmp_path, f"data_root={data}") == [0], (tmp_path / "log_0.txt").read_text()
    same_but_for_path(reference_run, tmp_path / "run", kill_test)


@pytest.mark.slow
def test_loader_workers_change_nothing(
    launcher, reference_run: Path, tmp_path: Path, kill_test: ModuleType
) -> None:
    place = "hiast.run.pipeline:Pipeline"
    faults = [
        {"at": f"{place}._check", "when": "after", "do": ["count_workers", str(tmp_path / "before")]},
        {"at": f"{place}._finish", "do": ["count_workers", str(tmp_path / "after_a_stage")]},
    ]
    assert launcher.train(tmp_path, "data.num_workers=2", faults=faults) == [0]
    assert (tmp_path / "after_a_stage").read_text() == (tmp_path / "before").read_text() == "0"
    same_but_for_path(reference_run, tmp_path / "run", kill_test)


def same_but_for_path(one: Path, other: Path, kill_test: ModuleType) -> None:
    """Equal to the bit but for the configuration, which says where the data lie and who reads them."""
    assert {place.split(":")[0] for place in kill_test.differences(one, other)} <= {
        "config.yaml",
        *(str(path.relative_to(one)) for path in one.rglob("*.ckpt")),
    }
    for path in one.rglob("*.ckpt"):
        contents = [torch.load(run / path.relative_to(one), weights_only=True) for run in (one, other)]
        for content in contents:
            del content["hiast"]["config"]
        assert kill_test.unequal(*contents) == []


@pytest.mark.slow
def test_two_processes_train_and_label_as_one(launcher, reference_run: Path, tmp_path: Path) -> None:
    codes = launcher.train(
        tmp_path, "trainer.devices=2", "warmup.batch_size=2", "stages=[source_only,warmup]", ranks=2
    )
    assert codes == [0, 0], (tmp_path / "log_0.txt").read_text()
    made = tmp_path / "run/warmup/checkpoints/last.ckpt"
    rounds = []
    for ranks in (1, 2):
        folder = tmp_path / str(ranks)
        more = (
            "stages=[self_training]",
            "self_training.rounds=1",
            f"init_from={made}",
            f"trainer.devices={ranks}",
        )
        assert set(launcher.train(folder, *more, ranks=ranks)) == {0}, (folder / "log_0.txt").read_text()
        rounds.append(folder / "run/self_training/rounds/1")
    one, two = ({p.relative_to(r): p.read_bytes() for p in r.rglob("*") if p.is_file()} for r in rounds)
    assert len(one) >= 5 + 3
    assert one == two


@pytest.mark.slow
def test_two_torchrun_nodes_label_as_one(
    launcher, reference_run: Path, small_data: Path, tmp_path: Path
) -> None:
    words = [
        f"checkpoint={reference_run / 'self_training/checkpoints/last.ckpt'}",
        f"input={small_data / 'cityscapes/leftImg8bit/train'}",
        "policy=class_balanced",
        "trainer.accelerator=cpu",
        "group_size=2",
    ]
    port = launcher.port()
    label = [str(Path(sys.executable).parent / "hiast-label"), *words]
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nnodes=2",
        "--nproc-per-node=1",
        "--master-addr=127.0.0.1",
    ]
    nodes = [
        subprocess.Popen(
            [
                *torchrun,
                f"--node-rank={node}",
                f"--master-port={port}",
                *label,
                "output=two",
                "trainer.num_nodes=2",
            ],
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            text=True,
        )
        for node in (0, 1)
    ]
    alone = launcher.command("label", tmp_path, *words, "output=one", faults=(), ranks=1)
    errors = [node.communicate(timeout=300)[1] for node in nodes]
    assert [*alone, *(node.returncode for node in nodes)] == [0, 0, 0], errors
    one, two = (
        {p.relative_to(r): p.read_bytes() for p in r.rglob("*") if p.is_file()}
        for r in (tmp_path / "one", tmp_path / "two")
    )
    assert len(one) >= 5 + 2
    assert one == two


@pytest.mark.slow
def test_sigterm_reaches_both_of_two_processes(launcher, tmp_path: Path) -> None:
    term = {"at": "hiast.training.module:AdaptationModule.on_train_batch_start", "call": 3, "do": "term"}
    more = (
        "stages=[source_only]",
        "trainer.devices=2",
        "checkpoint_every_n_steps=100",
        "validation.every_n_steps=100",
    )
    # Lightning kills the first process if one that it has started ends with an error.
    assert launcher.train(tmp_path, *more, faults=(term,), ranks=2, faulty_rank=1) == [143, 0]
    assert weights(tmp_path / "run", "source_only")["hiast"]["batches_done"] == 3
    assert launcher.train(tmp_path, *more, ranks=2) == [0, 0]


@pytest.mark.slow
def test_candidates_of_two_processes_are_recognized_when_measured_again(launcher, tmp_path: Path) -> None:
    """On CPUs each process has its own batch-norm statistics. One that took a candidate for another would wait."""
    online = (
        "method=dacs",
        "stages=[online]",
        "online.max_steps=3",
        "online.batch_size=2",
        "selection.looks=2",
        "trainer.devices=2",
        "checkpoint_every_n_steps=100",
        "validation.every_n_steps=100",
    )
    kill = {"at": "hiast.training.module:AdaptationModule.on_train_batch_start", "call": 2, "do": "kill"}
    assert launcher.train(tmp_path, *online, faults=[kill], ranks=2, seconds=120)[0] == -9
    again = launcher.train(tmp_path, *online, ranks=2, seconds=120)
    assert again == [0, 0], (tmp_path / "log_1.txt").read_text()
