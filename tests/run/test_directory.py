"""The run directory: which configurations resume a run, the lock, results, and damaged files."""

from __future__ import annotations

import errno
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hiast.errors import InputError
from hiast.run import RunDirectory
from hiast.stage_names import STAGES
from hiast.training import HIASTModule, OnlineModule, SourceOnlyModule, WarmupModule

CONFIG = {
    "data_root": "data",
    "seed": 1,
    "stages": ["source_only", "warmup", "self_training"],
    "loss": {"kld": 0.1},
    "source_only": {"module": {"_target_": "a"}},
    "warmup": {"steps": 3, "module": {"_target_": "b"}},
    "data": {
        "num_workers": 4,
        "cache_folder": "data/cache",
        "source": {"data_root": "data", "weights": [1, 2]},
    },
    "logger": {"loggers": []},
    "trainer": {"precision": "32-true"},
    "self_training": {"module": {"_target_": "c"}, "by_round": {"2": {"steps": 5}}},
}


def leave_behind(path: Path, *stages: str) -> None:
    for stage in stages:
        checkpoint = path / stage / "checkpoints/last.ckpt"
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        checkpoint.touch()


def start(path: Path, config: object) -> None:
    directory = RunDirectory(path)
    try:
        directory.open(yaml.safe_dump(config), 1)
    finally:
        directory.unlock()


def changed(path: tuple[str, ...], value: object) -> dict:
    config = yaml.safe_load(yaml.safe_dump(CONFIG))
    inner = config
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return config


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("data_root",), "elsewhere"),
        (("data", "num_workers"), 0),
        (("data", "cache_folder"), "elsewhere/cache"),
        (("data", "source", "data_root"), "elsewhere"),
        (("logger", "loggers"), [{"_target_": "x"}]),
        (("trainer", "max_time"), "00:01:00:00"),
        (("trainer", "profiler"), "simple"),
        (("trainer", "detect_anomaly"), True),
        (("trainer", "enable_model_summary"), True),
        (("callbacks",), []),
    ],
)
def test_what_changes_no_result_may_change(tmp_path: Path, path: tuple[str, ...], value: object) -> None:
    start(tmp_path, CONFIG)
    leave_behind(tmp_path, "source_only", "warmup", "self_training")
    start(tmp_path, changed(path, value))
    assert yaml.safe_load((tmp_path / "config.yaml").read_text()) == changed(path, value)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("seed",), 2, "seed was 1 and is 2"),
        (("data", "source", "weights"), [1, 3], r"data.source.weights was \[1, 2\] and is \[1, 3\]"),
        (("self_training", "by_round", "2", "steps"), 6, "self_training.by_round.2.steps was 5 and is 6"),
        (("self_training", "rounds"), 3, "self_training.rounds was nothing and is 3"),
        (("callbacks",), [{"_target_": "x"}], "callbacks was nothing and is"),
        (("loss", "kld"), 0.2, "loss.kld was 0.1 and is 0.2"),
        (("trainer", "gradient_clip_val"), 0.5, "trainer.gradient_clip_val was nothing and is 0.5"),
        (
            ("stages",),
            ["warmup", "self_training"],
            r"stages was \['source_only', 'warmup', 'self_training'\]",
        ),
    ],
)
def test_what_changes_results_may_not(
    tmp_path: Path, path: tuple[str, ...], value: object, message: str
) -> None:
    start(tmp_path, CONFIG)
    leave_behind(tmp_path, "source_only", "warmup", "self_training")
    with pytest.raises(InputError, match=message):
        start(tmp_path, changed(path, value))
    start(tmp_path, CONFIG)


@pytest.mark.parametrize(
    ("begun", "path", "value"),
    [
        ((), ("seed",), 2),
        (("source_only",), ("warmup", "steps"), 4),
        (("source_only",), ("stages",), ["source_only", "self_training"]),
        (("source_only", "warmup"), ("loss", "kld"), 0.2),
        (("source_only", "warmup"), ("self_training", "by_round", "2", "steps"), 6),
        (("source_only", "warmup"), ("stages",), ["source_only", "warmup"]),
    ],
)
def test_what_no_stage_has_used_yet_may_change(
    tmp_path: Path, begun: tuple[str, ...], path: tuple[str, ...], value: object
) -> None:
    start(tmp_path, CONFIG)
    leave_behind(tmp_path, *begun)
    start(tmp_path, changed(path, value))
    assert yaml.safe_load((tmp_path / "config.yaml").read_text()) == changed(path, value)


@pytest.mark.parametrize(
    ("begun", "path", "value"),
    [
        (("source_only",), ("seed",), 2),
        (("source_only", "warmup"), ("warmup", "steps"), 4),
        (("source_only", "warmup"), ("stages",), ["source_only", "self_training"]),
    ],
)
def test_what_a_stage_has_used_may_not_change(
    tmp_path: Path, begun: tuple[str, ...], path: tuple[str, ...], value: object
) -> None:
    start(tmp_path, CONFIG)
    leave_behind(tmp_path, *begun)
    with pytest.raises(InputError, match="another configuration"):
        start(tmp_path, changed(path, value))


def test_a_run_without_warmup_resumes(tmp_path: Path) -> None:
    config = changed(("warmup", "module"), {"steps": 4})
    start(tmp_path, config)
    leave_behind(tmp_path, "source_only", "self_training")
    start(tmp_path, config)
    with pytest.raises(InputError, match="stages was"):
        start(tmp_path, CONFIG)


def test_every_start_is_recorded(tmp_path: Path) -> None:
    for _ in range(2):
        start(tmp_path, CONFIG)
    starts = json.loads((tmp_path / "environment.json").read_text())["starts"]
    assert [start["seed"] for start in starts] == [1, 1]
    assert {"command", "git", "packages", "python", "time", "torch_threads", "cpu_instructions"} <= starts[
        1
    ].keys()


def test_a_lock_of_a_file_system_without_locks_names_its_process(tmp_path: Path, monkeypatch) -> None:
    """Such a lock is the file itself, which stays after a crash on another machine."""

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr("fcntl.flock", no_locks)
    (tmp_path / ".lock").write_text("12345\notherhost\n")
    with pytest.raises(
        InputError, match=r"It is process 12345 on otherhost, says .*\.lock: if that has ended"
    ):
        RunDirectory(tmp_path).lock()
    (tmp_path / ".lock").unlink()
    RunDirectory(tmp_path).lock()


def test_a_refused_lock_is_refused_again(tmp_path: Path) -> None:
    owner, other = RunDirectory(tmp_path), RunDirectory(tmp_path)
    owner.lock()
    owner.lock()
    for _ in range(2):
        with pytest.raises(InputError, match="Another process is working in"):
            other.lock()
    other.unlock()
    with pytest.raises(InputError, match="Another process is working in"):
        other.lock()
    owner.unlock()
    other.lock()
    other.unlock()


ORPHAN = """
import os, signal, sys, time
from hiast.run import RunDirectory
from hiast.stage_names import STAGES
from hiast.training import HIASTModule, OnlineModule, SourceOnlyModule, WarmupModule
RunDirectory(sys.argv[1]).lock()
if os.fork() == 0:
    time.sleep(30)
    os._exit(0)
print("locked", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_that_outlives_a_killed_process_does_not_keep_the_lock(tmp_path: Path) -> None:
    # A session of its own, so that the child can be ended with its group.
    process = subprocess.Popen(
        [sys.executable, "-c", ORPHAN, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout.readline() == "locked\n"
    assert process.wait() == -signal.SIGKILL
    try:
        directory = RunDirectory(tmp_path)
        directory.lock()
        directory.unlock()
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.stdout.close()


def test_nothing_needs_unix(tmp_path: Path) -> None:
    """On Windows there are no fcntl and no resource; filelock does without, a run and its checks have to as well."""
    code = (
        "import sys, torch, pytorch_lightning; sys.modules |= {'fcntl': None, 'resource': None}; import hiast.locks, "
        "hiast.run.pipeline, hiast.run.doctor, hiast.pseudo_labels.round_writer, hiast.inspection.forecast"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_half_files_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    (tmp_path / "warmup").mkdir()
    (tmp_path / "warmup/.last.ckpt.ab.part").write_bytes(b"half")
    (tmp_path / "warmup/last.ckpt").write_bytes(b"whole")
    directory = RunDirectory(tmp_path)
    directory.lock()
    directory.unlock()
    assert sorted(path.name for path in (tmp_path / "warmup").iterdir()) == ["last.ckpt"]


def test_results_hold_no_nan(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    result = {
        "means": {"mIoU": math.nan, "Straße": 0.5},
        "signals": {"labels/overlap": math.inf},
        "list": [1, (-math.inf, "NaN")],
    }
    assert directory.read_result("warmup", 1) is None
    directory.write_result("warmup", 1, result)
    text = (tmp_path / "warmup/result_1.json").read_text("utf-8")
    assert json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON")) == {
        "means": {"mIoU": None, "Straße": 0.5},
        "signals": {"labels/overlap": None},
        "list": [1, [None, "NaN"]],
    }
    assert directory.read_result("warmup", 1) == json.loads(text)


DAMAGES = [b"", b"{", b"[1]", b"\xff\xfe\x00", b"null"]


@pytest.mark.parametrize("content", DAMAGES)
def test_a_damaged_result_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "warmup").mkdir()
    (tmp_path / "warmup/result_1.json").write_bytes(content)
    with pytest.raises(InputError, match=r"warmup/result_1\.json is damaged: restore it, or delete it"):
        RunDirectory(tmp_path).read_result("warmup", 1)


@pytest.mark.parametrize("name", ["config.yaml", "environment.json"])
@pytest.mark.parametrize("content", [*DAMAGES, b"a: [1\nb: }", b"\ta: 1", b"seed: 1"])
def test_damaged_records_of_a_run_are_named(tmp_path: Path, name: str, content: bytes) -> None:
    start(tmp_path, CONFIG)
    leave_behind(tmp_path, "source_only")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"{name} is damaged: restore it"):
        start(tmp_path, CONFIG)
    assert (tmp_path / name).read_bytes() == content


def test_stages_are_named_once() -> None:
    assert tuple(kind.stage for kind in (SourceOnlyModule, WarmupModule, HIASTModule, OnlineModule)) == STAGES


def test_a_folder_of_data_is_no_run_directory(tmp_path: Path) -> None:
    (tmp_path / "data/images").mkdir(parents=True)
    part = tmp_path / "data/images/.1.png.part"
    part.write_bytes(b"x")
    (tmp_path / "data/images/0.JPG").write_bytes(b"x")
    with pytest.raises(InputError, match=r"holds files of something else, such as .*0\.JPG"):
        RunDirectory(tmp_path / "data").lock()
    assert part.exists() and not (tmp_path / "data/.lock").exists()


@pytest.mark.parametrize(
    "name", ["slurm-1.out", "data_check/contact_sheet.png", "logs/a.txt", "cache/raw/0.png"]
)
def test_what_may_lie_in_a_new_run_directory(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
    (tmp_path / name).write_bytes(b"x")
    start(tmp_path, CONFIG)


def test_pictures_of_a_run_are_its_own(tmp_path: Path) -> None:
    start(tmp_path, CONFIG)
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/a.png").write_bytes(b"x")
    (tmp_path / "config.yaml").unlink()
    start(tmp_path, CONFIG)
