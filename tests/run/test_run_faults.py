"""Each fault ends in one clear sentence, or the run continues, and the resumed run ends as if nothing had happened."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

STEP = "hiast.training.module:AdaptationModule.on_train_batch_start"
LABEL = "hiast.pseudo_labels.workers:write_label"
SOURCE = "stages=[source_only]"
CHECKPOINT = "source_only/checkpoints/last.ckpt"


def log(folder: Path, rank: int = 0) -> str:
    return (folder / f"log_{rank}.txt").read_text()


def last_line(folder: Path, rank: int = 0) -> str:
    text = log(folder, rank)
    assert "Traceback" not in text, text
    return text.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def warm(launcher, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was killed when it was about to write its first label."""
    folder = tmp_path_factory.mktemp("warm")
    assert launcher.train(folder, faults=({"at": LABEL, "do": "kill"},)) == [-9]
    return folder


@pytest.fixture
def copied(warm: Path, tmp_path: Path) -> Path:
    """A copy of that run, to be broken."""
    shutil.copytree(warm / "run", tmp_path / "run")
    return tmp_path


def test_disk_full_while_writing_a_checkpoint(
    launcher, reference_run, tmp_path: Path, kill_test: ModuleType
) -> None:
    fault = {"at": STEP, "call": 3, "do": ["small_files", 20_000]}
    assert launcher.train(tmp_path, SOURCE, faults=(fault,)) == [1]
    assert "last.ckpt" in last_line(tmp_path) and "is kept" in last_line(tmp_path)
    assert torch.load(tmp_path / "run" / CHECKPOINT, weights_only=True)["hiast"]["batches_done"] == 2
    assert not list(tmp_path.rglob(".*.part"))
    assert launcher.train(tmp_path, SOURCE) == [0]
    assert kill_test.unequal(state(reference_run), state(tmp_path / "run")) == []


def state(run: Path) -> dict:
    contents = torch.load(run / CHECKPOINT, weights_only=True)
    del contents["hiast"]["config"]
    return contents


@pytest.fixture
def small_disk(copied: Path) -> Iterator[Path]:
    """A file system of three blocks in the place of the first round's labels."""
    place = copied / "run/self_training/rounds/1/labels"
    place.mkdir(parents=True, exist_ok=True)
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12k", "none", place], capture_output=True
    ).returncode:
        pytest.skip("Only root can mount a small file system.")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.slow
def test_disk_full_while_labeling(
    launcher, reference_run: Path, copied: Path, small_disk: Path, kill_test: ModuleType
) -> None:
    assert launcher.train(copied) == [1]
    assert last_line(copied).startswith("No space left on device") and "is kept" in last_line(copied)
    whole = {path: path.read_bytes() for path in small_disk.rglob("*.png")}
    assert whole and not list(small_disk.rglob(".*.part"))
    subprocess.run(["mount", "-o", "remount,size=1m", small_disk], check=True)
    assert launcher.train(copied) == [0]
    assert kill_test.differences(reference_run, copied / "run") == []
    assert all(path.read_bytes() == content for path, content in whole.items())


def test_output_that_cannot_be_written(launcher, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file where the folder should be")
    assert launcher.train(tmp_path, SOURCE) == [2]
    assert last_line(tmp_path).startswith("The run directory run cannot be written: ")


def test_read_only_output(launcher, tmp_path: Path) -> None:
    """Really without the right to write, which root has to give up first."""
    assert launcher.train(tmp_path, SOURCE, faults=({"at": STEP, "do": "kill"},)) == [-9]
    fault = {"at": "hiast.run.directory:RunDirectory.open", "do": "become_nobody"}
    (tmp_path / "run").chmod(0o555)
    (tmp_path / "run/.lock").chmod(0o444)
    codes = launcher.train(tmp_path, SOURCE, faults=(fault,))
    (tmp_path / "run").chmod(0o755)
    assert codes == [2]
    assert last_line(tmp_path) == "The run directory run cannot be written: Permission denied."


def test_label_file_truncated(launcher, copied: Path) -> None:
    label = "run/self_training/rounds/1/labels/aachen/aachen_000000_000019_leftImg8bit.png"
    fault = {"at": "hiast.callbacks.rounds:generate_round", "when": "after", "do": ["truncate", label]}
    assert launcher.train(copied, faults=(fault,)) == [2]
    assert "aachen_000000_000019_leftImg8bit.png is not the file that was written" in last_line(copied)
    # Completed labels are checked before they are used again.
    assert launcher.train(copied) == [2]
    assert "delete its folder to make it again" in last_line(copied)


@pytest.mark.parametrize("workers", [0, 1])
def test_image_deleted_in_mid_run(launcher, small_data: Path, tmp_path: Path, workers: int) -> None:
    data = shutil.copytree(small_data, tmp_path / "data")
    victims = sorted((data / "GTA5/images").glob("*.png"))
    faults = tuple({"at": STEP, "do": ["delete", str(victim)]} for victim in victims)
    more = (f"data_root={data}", f"data.num_workers={workers}", "source_only.max_steps=20")
    codes = launcher.train(tmp_path, SOURCE, *more, faults=faults)
    assert codes == [2]
    assert any(victim.name in last_line(tmp_path) for victim in victims)


def test_loss_that_is_not_finite(
    launcher, reference_run: Path, tmp_path: Path, kill_test: ModuleType
) -> None:
    rare = ("checkpoint_every_n_steps=100", "validation.every_n_steps=100")
    fault = {"at": STEP, "call": 4, "do": "poison"}
    assert launcher.train(tmp_path, SOURCE, *rare, faults=(fault,)) == [1]
    for part in (
        "stage source_only, round 1, step 3",
        "cross_entropy=nan",
        "smaller learning rate",
        "last.ckpt",
    ):
        assert part in last_line(tmp_path)
    saved = torch.load(tmp_path / "run" / CHECKPOINT, weights_only=True)
    assert saved["hiast"]["batches_done"] == 3
    assert all(bool(torch.isfinite(v).all()) for v in saved["state_dict"].values() if v.is_floating_point())
    assert launcher.train(tmp_path, SOURCE, *rare) == [0]
    one, other = state(reference_run)["state_dict"], state(tmp_path / "run")["state_dict"]
    assert kill_test.unequal(one, other) == []


def test_worker_killed(launcher, tmp_path: Path) -> None:
    fault = {"at": STEP, "call": 2, "do": "kill_workers"}
    more = ("data.num_workers=1", "source_only.max_steps=20")
    assert launcher.train(tmp_path, SOURCE, *more, faults=(fault,)) == [1]
    assert last_line(tmp_path).startswith("A loader worker was killed")


@pytest.mark.slow
@pytest.mark.parametrize("dies", [0, 1])
def test_a_rank_that_dies(launcher, tmp_path: Path, dies: int) -> None:
    fault = {"at": STEP, "call": 3, "do": "kill"}
    codes = launcher.train(tmp_path, SOURCE, "trainer.devices=2", faults=(fault,), ranks=2, faulty_rank=dies)
    assert codes[dies] == -9 and codes[1 - dies] == 1
    assert "Another process of this run has ended" in last_line(tmp_path, 1 - dies)


@pytest.mark.slow
def test_a_loss_that_is_not_finite_in_one_of_two_processes(launcher, tmp_path: Path) -> None:
    fault = {"at": STEP, "call": 3, "do": "poison"}
    codes = launcher.train(tmp_path, SOURCE, "trainer.devices=2", faults=(fault,), ranks=2, faulty_rank=1)
    assert codes == [1, 1]
    assert "The loss is not finite" in last_line(tmp_path, 0)


def test_two_processes_in_one_run_directory(launcher, tmp_path: Path) -> None:
    from hiast.run import RunDirectory

    directory = RunDirectory(tmp_path / "run")
    directory.lock()
    assert launcher.train(tmp_path, SOURCE) == [2]
    assert last_line(tmp_path).startswith("Another process is working in run")
    directory.unlock()


def test_clock_going_backwards(launcher, reference_run: Path, tmp_path: Path, kill_test: ModuleType) -> None:
    assert launcher.train(tmp_path, SOURCE, faults=({"at": STEP, "call": 3, "do": "kill"},)) == [-9]
    for path in (tmp_path / "run").rglob("*"):
        os.utime(path, (4e9, 4e9))
    assert launcher.train(tmp_path, SOURCE, faults=({"at": STEP, "do": "clock_back"},)) == [0]
    assert kill_test.unequal(state(reference_run), state(tmp_path / "run")) == []
    assert (
        float((tmp_path / "run/source_only/result_1.json").read_text().split('"seconds": ')[1].split("}")[0])
        >= 0
    )
