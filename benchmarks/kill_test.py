#!/usr/bin/env python3
"""Run the demo once without interruption, then many times with SIGKILL at random moments, and compare all files.

    benchmarks/kill_test.py                     the demo with fewer steps and scenes, at least 50 kills
    benchmarks/kill_test.py --small --kills 5   a tiny network and few steps, for a quick look

Every attempt is a new process, forked from one that has everything imported, so that an attempt costs no
start-up. Nothing else is shared with it but a few bytes of memory, in which it says what it is doing. A run is killed
and continued until it ends; then its weights, optimizer states, labels, manifests, metrics and results are compared,
bit by bit, with those of the reference run. Ends with 1 if anything differs, with 2 if a phase was never hit.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

PHASES = ("starting", "labeling", "training", "validating", "saving", "finishing")
SMALL = (
    "backbone=deeplab_v2_resnet101", "+backbone.layers=[1,1,1,1]", "+backbone.width=8", "backbone.pretrained=null",
    "source_only.max_steps=4", "source_only.batch_size=2", "warmup.max_steps=4", "warmup.batch_size=1",
    "self_training.max_steps=4", "self_training.batch_size=2", "self_training.rounds=2",
    "pseudo_label.policy.beta=0.1",  # the thresholds of an untrained network have to move fast to keep anything
    "trainer=cpu", "data.num_workers=0", "checkpoint_every_n_steps=1", "validation.every_n_steps=2",
    "log_every_n_steps=1", "pictures=1",
    "validation.size=[64,128]", "data.source_crop.height=64", "data.source_crop.width=128",
    "data.target_crop.height=64", "data.target_crop.width=128",
)  # fmt: skip
DEMO = (
    "source_only.max_steps=60", "warmup.max_steps=20", "self_training.max_steps=20", "checkpoint_every_n_steps=5",
    "validation.every_n_steps=20",
)  # fmt: skip

_phase = mmap.mmap(-1, 16)


def say_phase(name: str) -> None:
    """Tell the parent what this process is doing."""
    _phase[:16] = name.ljust(16).encode()


def phase() -> str:
    """What the child was doing last."""
    return _phase[:16].decode().strip()


def tracked(function: Callable[..., Any], name: str, back: bool = False) -> Callable[..., Any]:
    """``function``, saying its phase when it is entered; with ``back``, the one before when it is left."""

    def call(*args: Any, **kwargs: Any) -> Any:
        before = phase()
        say_phase(name)
        result = function(*args, **kwargs)
        if back:
            say_phase(before)
        return result

    return call


def track_phases() -> None:
    """Have this process say what it is doing; nothing else about it changes."""
    from hiast.callbacks import AtomicCheckpointIO, rounds
    from hiast.run import Pipeline
    from hiast.training import AdaptationModule

    rounds.generate_round = tracked(rounds.generate_round, "labeling")
    for kind, method, name in (
        (Pipeline, "_fit", "starting"),
        (Pipeline, "_finish", "finishing"),
        (AdaptationModule, "on_train_batch_start", "training"),
        (AdaptationModule, "validation_step", "validating"),
    ):
        setattr(kind, method, tracked(getattr(kind, method), name))
    AtomicCheckpointIO.save_checkpoint = tracked(AtomicCheckpointIO.save_checkpoint, "saving", back=True)  # type: ignore[method-assign]


def train(overrides: Sequence[str]) -> int:
    """Run hiast-train with ``run=run``; returns its exit code."""
    from hiast.cli.command import run_command
    from hiast.cli.train import USAGE, train

    scenario = [] if any(word.startswith("+scenario=") for word in overrides) else ["+scenario=demo"]
    return run_command(train, "train", USAGE, [*scenario, "run=run", *overrides])


def start(
    folder: Path,
    overrides: Sequence[str],
    prepare: Callable[[], None] = track_phases,
    log: str = "log.txt",
    command: Callable[[Sequence[str]], int] = train,
) -> int:
    """Fork a process that runs a command in ``folder`` and writes to ``log``; returns its id."""
    folder.mkdir(parents=True, exist_ok=True)
    say_phase("starting")
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    code = 99
    try:
        os.chdir(folder)
        sys.stdout = sys.stderr = Path(log).open("a", buffering=1)  # noqa: SIM115
        os.dup2(sys.stderr.fileno(), 1)
        os.dup2(sys.stderr.fileno(), 2)
        prepare()
        code = command(overrides)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001 - nothing may fall through into the parent's program
        traceback.print_exc()
        code = 1
    finally:
        sys.stderr.flush()
        os._exit(code)


def wait(child: int) -> int:
    """Exit code of a child, negative for the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_when(child: int, due: Callable[[], bool]) -> int | None:
    """Exit code of a child that ended before ``due`` said so; None: it was killed then."""
    while not due():
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    code = wait(child)
    return None if code == -signal.SIGKILL else code


def moment(rng: random.Random, longest: float) -> Callable[[], bool]:
    """When to kill: by the clock alone or, as often, soon after a phase was entered, so that short ones are met."""
    if rng.random() < 0.5:
        end = time.monotonic() + rng.uniform(0.0, longest)
        return lambda: time.monotonic() > end
    # At once as often as later: some phases last for milliseconds.
    wanted, after, entered = rng.choice(PHASES), rng.choice((0.0, rng.uniform(0.0, 0.1))), [0.0]

    def due() -> bool:
        if phase() == wanted and not entered[0]:
            entered[0] = time.monotonic()
        return bool(entered[0]) and time.monotonic() - entered[0] >= after

    return due


def kill_test(
    folder: Path, overrides: Sequence[str], moment: Callable[[], Callable[[], bool]], left: int
) -> list[str]:
    """Kill and continue a run until it ends, at most ``left`` times; returns the phases in which it was killed."""
    killed: list[str] = []
    while True:
        child = start(folder, overrides)
        code = wait(child) if len(killed) >= left else kill_when(child, moment())
        if code is None:
            killed.append(phase())
            continue
        if code != 0:
            raise SystemExit(
                f"The run in {folder} ended with {code}:\n{(folder / 'log.txt').read_text()[-3000:]}"
            )
        return killed


def differences(one: Path, other: Path) -> list[str]:
    """What differs between two run directories: missing files, or content that is not the same to the bit."""
    names = {path.relative_to(root) for root in (one, other) for path in root.rglob("*") if path.is_file()}
    found = []
    # These say when and how fast the run was, and the report shows it.
    of_the_clock = {"environment.json", "needs.json", "times.json", "report.html", ".lock"}
    for name in sorted(names - {Path(name) for name in of_the_clock}):
        if not ((one / name).is_file() and (other / name).is_file()):
            found.append(f"{name} is in one only")
        elif name.suffix == ".ckpt":
            found += [f"{name}: {key}" for key in unequal(_load(one / name), _load(other / name))]
        elif name.name.startswith("result_"):
            found += [f"{name}: {key}" for key in unequal(_result(one / name), _result(other / name))]
        elif (one / name).read_bytes() != (other / name).read_bytes():
            found.append(str(name))
    return found


def unequal(one: Any, other: Any, key: str = "") -> list[str]:
    """Places at which two nested values differ, tensors compared by type, shape and bits."""
    import torch

    if type(one) is not type(other):
        return [key]
    if isinstance(one, torch.Tensor):
        same = one.dtype == other.dtype and one.shape == other.shape
        return [] if same and one.numpy().tobytes() == other.numpy().tobytes() else [key]
    if isinstance(one, dict):
        if list(one) != list(other):
            return [key]
        return [place for k in one for place in unequal(one[k], other[k], f"{key}.{k}")]
    if isinstance(one, list | tuple):
        if len(one) != len(other):
            return [key]
        pairs = enumerate(zip(one, other, strict=True))
        return [place for i, (a, b) in pairs for place in unequal(a, b, f"{key}.{i}")]
    return [] if one == other or (one != one and other != other) else [key]


def _load(path: Path) -> Any:
    import torch

    return torch.load(path, map_location="cpu", weights_only=True)


def _result(path: Path) -> Any:
    return {key: value for key, value in json.loads(path.read_text()).items() if key != "seconds"}


def preload() -> None:
    """Import once what every attempt needs, and start no thread."""
    import albumentations  # noqa: F401
    import timm  # noqa: F401
    import torch
    import torch._dynamo

    import hiast.cli.build_stages
    import hiast.cli.changed_settings
    import hiast.cli.forecast
    import hiast.cli.train
    import hiast.evaluation.tables
    import hiast.report.page
    import hiast.run.callbacks  # noqa: F401

    torch.set_num_threads(1)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=50, help="at least this many")
    parser.add_argument("--seed", type=int, default=0, help="of the moments; printed")
    parser.add_argument("--small", action="store_true", help="tiny network, images and numbers of steps")
    parser.add_argument(
        "--workers", type=int, default=0, help="loader workers, which outlive a kill by some seconds"
    )
    parser.add_argument("--per-run", type=int, default=20, help="kills of one run at most")
    parser.add_argument("--folder", type=Path, default=Path("outputs/kill_test"), help="emptied before")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    preload()
    _draw(folder / "data", arguments.small)
    size = SMALL if arguments.small else DEMO
    overrides = [
        *(word for word in size if "num_workers" not in word),
        f"data.num_workers={arguments.workers}",
    ]
    overrides.append(f"data_root={folder / 'data'}")
    began = time.monotonic()
    if code := wait(start(folder / "reference", overrides)):
        raise SystemExit(f"The reference run ended with {code}: see {folder / 'reference/log.txt'}.")
    whole = time.monotonic() - began
    print(f"Reference run: {whole:.1f} s. Kills: seed {arguments.seed}.", flush=True)
    rng = random.Random(arguments.seed)
    phases: list[str] = []
    runs, wrong = 0, []
    while len(phases) < arguments.kills or (set(PHASES) - set(phases) and len(phases) < 3 * arguments.kills):
        place = folder / f"killed_{runs}"
        killed = kill_test(
            place,
            overrides,
            lambda: moment(rng, whole / (2 if arguments.small else 4)),
            left=arguments.per_run,
        )
        found = differences(folder / "reference" / "run", place / "run")
        print(f"Run {runs}: {len(killed)} kills ({', '.join(killed)}); {len(found)} differences.", flush=True)
        wrong += found
        phases += killed
        runs += 1
    _summary(phases, runs, wrong, time.monotonic() - began)
    raise SystemExit(1 if wrong else 2 if set(PHASES) - set(phases) else 0)


def _summary(phases: list[str], runs: int, wrong: list[str], seconds: float) -> None:
    print("\n| killed while | times |\n|---|---:|")
    for name in PHASES:
        print(f"| {name} | {Counter(phases)[name]} |")
    print(f"| all | {len(phases)} |")
    print(f"\n{runs} runs, {len(phases)} kills, {len(wrong)} differences, {seconds:.0f} s.")
    for difference in wrong[:20]:
        print(f"  {difference}")


def _draw(root: Path, small: bool) -> None:
    from hiast.scenes import write_cityscapes, write_gta5

    size = (64, 128) if small else (128, 256)
    write_gta5(root, 6 if small else 60, size)
    write_cityscapes(root, 5 if small else 30, 2 if small else 10, size)


if __name__ == "__main__":
    main()
