"""A run that is killed anywhere and continued ends with the same bits as one that nothing disturbed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

CHECKPOINT = "hiast.callbacks.checkpoint"
MODULE = "hiast.training.module:AdaptationModule"
JOURNAL = "hiast.pseudo_labels.journal:Journal"

# In the order in which one run meets them: each kill finds the run where the one before has left it.
KILLS = {
    "before the first step": {"at": f"{MODULE}.on_train_batch_start"},
    "between best.ckpt and last.ckpt": {"at": f"{CHECKPOINT}:link_or_copy"},
    "in the middle of linking a checkpoint": {"at": f"{CHECKPOINT}:os.link", "when": "after"},
    "training": {"at": f"{MODULE}.on_train_batch_start", "call": 2},
    "before a checkpoint": {"at": f"{CHECKPOINT}:AtomicCheckpointIO.save_checkpoint"},
    "in the middle of writing a checkpoint": {"at": f"{CHECKPOINT}:torch.save", "when": "after"},
    "behind a checkpoint": {"at": f"{CHECKPOINT}:AtomicCheckpointIO.save_checkpoint", "when": "after"},
    "validating": {"at": f"{MODULE}.validation_step", "call": 2},
    "between the scores and the checkpoint": {
        "at": "hiast.callbacks.metrics_file:MetricsFile._append", "call": 2, "when": "after",
    },
    "between the last checkpoint and the result": {"at": "hiast.run.pipeline:link_or_copy"},
    "before the result": {"at": "hiast.run.directory:RunDirectory.write_result"},
    "behind the result": {"at": "hiast.run.directory:RunDirectory.write_result", "when": "after"},
    "building the discriminator": {"at": "hiast.training.warmup:Discriminator", "call": 2},  # 1: to try it out
    "training the discriminator": {"at": f"{MODULE}.on_train_batch_start", "call": 3},
    "before the first label": {"at": "hiast.pseudo_labels.workers:write_label"},
    "between a label and its record": {"at": f"{JOURNAL}.append"},
    "labeling": {"at": f"{JOURNAL}.append", "call": 2, "when": "after"},
    "before the manifest": {"at": "hiast.pseudo_labels.round_tables:RoundTables.files"},
    "behind the labels": {"at": "hiast.callbacks.rounds:generate_round", "when": "after"},
    "behind the teacher's new start": {
        "at": "hiast.training.self_training:HIASTModule.begin_round", "call": 2, "when": "after",
    },
    "in self-training": {"at": f"{MODULE}.on_train_batch_start", "call": 3},
    "labeling the next round": {"at": f"{JOURNAL}.append", "call": 2},
    "in the last round": {"at": f"{MODULE}.on_train_batch_start", "call": 4},
}  # fmt: skip


@pytest.mark.slow
def test_killed_at_every_kind_of_moment(
    launcher, reference_run: Path, tmp_path: Path, kill_test: ModuleType
) -> None:
    for name, kill in KILLS.items():
        codes = launcher.train(tmp_path, faults=[{**kill, "do": "kill"}])
        assert codes == [-9], f"{name}: " + (tmp_path / "log_0.txt").read_text()
    assert launcher.train(tmp_path) == [0]
    assert kill_test.differences(reference_run, tmp_path / "run") == []


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path: Path) -> None:
    """The short form of benchmarks/kill_test.py."""
    script = Path(__file__).parents[2] / "benchmarks/kill_test.py"
    command = [
        sys.executable,
        script,
        "--small",
        "--kills",
        "1",
        "--per-run",
        "3",
        "--folder",
        tmp_path / "kill_test",
    ]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    # 2: so few kills need not meet every phase.
    assert ended.returncode in (0, 2), ended.stdout + ended.stderr
    assert " 0 differences" in ended.stdout.splitlines()[-1]


@pytest.mark.slow
def test_stopped_and_resumed(launcher, reference_run: Path, tmp_path: Path, kill_test: ModuleType) -> None:
    moments = (
        {"at": f"{MODULE}.on_train_batch_start", "call": 2},
        {"at": f"{MODULE}.validation_step"},
        {"at": "hiast.run.directory:RunDirectory.write_result"},
        {"at": f"{JOURNAL}.append"},
        {"at": "hiast.training.self_training:HIASTModule.losses", "call": 1},
    )
    for moment in moments:
        # Checkpoints are so rare here that what is kept is what the signal has saved.
        codes = launcher.train(tmp_path, "checkpoint_every_n_steps=100", faults=[{**moment, "do": "term"}])
        log = (tmp_path / "log_0.txt").read_text()
        assert codes == [143], log
        assert log.rstrip().endswith("to resume.") and "Traceback" not in log
    assert launcher.train(tmp_path, "checkpoint_every_n_steps=100") == [0]
    reference = tmp_path / "reference"
    assert launcher.train(reference, "checkpoint_every_n_steps=100") == [0]
    assert kill_test.differences(reference / "run", tmp_path / "run") == []


def test_sigterm_keeps_the_step(launcher, tmp_path: Path) -> None:
    import torch

    term = {"at": f"{MODULE}.on_train_batch_start", "call": 3, "do": "term"}
    assert launcher.train(
        tmp_path, "checkpoint_every_n_steps=100", "validation.every_n_steps=100", faults=[term]
    ) == [143]
    saved = torch.load(tmp_path / "run/source_only/checkpoints/last.ckpt", weights_only=True)
    assert saved["hiast"]["batches_done"] == 3


@pytest.mark.parametrize(("name", "code"), [("TERM", 143), ("INT", 130)])
def test_a_signal_to_the_whole_job_keeps_the_step(launcher, tmp_path: Path, name: str, code: int) -> None:
    """Loader workers are signaled too, and are needed until the step is done."""
    import torch

    stop = {"at": f"{MODULE}.on_train_batch_start", "call": 3, "do": ["signal_job", name]}
    rare = (
        "data.num_workers=2",
        "checkpoint_every_n_steps=100",
        "validation.every_n_steps=100",
        "stages=[source_only]",
    )
    assert launcher.train(tmp_path, *rare, faults=[stop]) == [code]
    log = (tmp_path / "log_0.txt").read_text()
    assert log.count("to resume.") == 1 and "Traceback" not in log, log
    saved = torch.load(tmp_path / "run/source_only/checkpoints/last.ckpt", weights_only=True)
    assert saved["hiast"]["batches_done"] == 3
    assert launcher.train(tmp_path, *rare) == [0]


def test_workers_of_a_killed_run_do_not_keep_it_locked(launcher, tmp_path: Path) -> None:
    """They notice that they are alone after some seconds only."""
    kill = {"at": f"{MODULE}.on_train_batch_start", "call": 2, "do": "kill"}
    more = ("data.num_workers=1", "stages=[source_only]")
    assert launcher.train(tmp_path, *more, faults=[kill]) == [-9]
    assert launcher.train(tmp_path, *more) == [0], (tmp_path / "log_0.txt").read_text()


def test_no_part_files_are_left(launcher, tmp_path: Path) -> None:
    kill = {"at": f"{CHECKPOINT}:torch.save", "when": "after", "do": "kill"}
    stages = "stages=[source_only]"
    assert launcher.train(tmp_path, stages, faults=[kill]) == [-9]
    assert list(tmp_path.rglob(".*.part"))
    assert launcher.train(tmp_path, stages) == [0]
    assert not list(tmp_path.rglob(".*.part"))
