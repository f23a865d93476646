#!/usr/bin/env python3
"""Compare the speed of two commits: ratios of medians of runs that take turns.

    python benchmarks/compare.py BASE [HEAD] [--cases start loss select step demo] [--runs 5] [--bound 1.5]

Both commits are checked out into temporary folders and run with this environment's packages, each case in a process of
its own. What is compared is processor time (user and system), of which other jobs of the machine take little, though
not nothing: they empty the caches. A ratio above 1 means that HEAD is slower. The exit code is 1 if a ratio is above
--bound; times decide about nothing. A case that BASE cannot run is left out.

    start     from hiast-train +scenario=demo to the end of the first optimizer step
    loss      loss of self-training and its gradient from coarse logits, 2 x 19 x 256 x 512
    select    thresholds and pseudo-labels of 16 images of 384 x 768
    step      forward and backward pass of a small DeepLabV2 in self-training, 2 x 128 x 256
    demo      a short demo, all stages (not among the default cases)
    demo_bare the same without measuring candidates, where a commit has any

A line of JSON for each case is appended to --history.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
BEGIN = "import json, sys, time, torch\ntorch.manual_seed(0)\ntorch.set_num_threads(1)\n"
TIMED = """
run()
times = []
for _ in range(5):
    began = time.process_time(); run(); times.append(time.process_time() - began)
print(json.dumps(sorted(times)[2]))
"""
CASES = {
    "loss": BEGIN + """
from hiast.objectives import HIASTLoss
from torch.nn import functional as F
loss = HIASTLoss(kld=0.1, entropy=1.0, consistency=0.5)
size = (256, 512)
student = torch.randn(2, 19, 33, 65).mul(3).requires_grad_()
teacher = torch.randn(2, 19, 33, 65).mul(3)
label = teacher.argmax(1).repeat_interleave(8, 1).repeat_interleave(8, 2)[:, :256, :512].to(torch.uint8)
label[:, ::2] = 255
if hasattr(loss, "from_coarse"):
    from hiast.upsampling import Upsampling
    up = Upsampling.to(size, align_corners=True)
    def total(): return loss.from_coarse(student, label, teacher, up)
else:
    def full(x): return F.interpolate(x, size, mode="bilinear", align_corners=True)
    def total(): return loss(full(student), label, full(teacher).softmax(1))
def run():
    student.grad = None
    total()["total"].backward()
""" + TIMED,
    "select": BEGIN + """
from hiast.pseudo_labels import InstanceAdaptive, select
groups = []
for _ in range(8):
    p = torch.randn(2, 19, 96, 192).mul(3).softmax(1).repeat_interleave(4, 2).repeat_interleave(4, 3).max(1)
    groups.append((p.values, p.indices))
def run():
    for _ in select(groups, InstanceAdaptive(num_classes=19)): pass
""" + TIMED,
    "step": BEGIN + """
from hiast.classes import CITYSCAPES_19
from hiast.models import DeepLabV2
from hiast.training import HIASTModule
network = DeepLabV2(num_classes=19, layers=(1, 1, 1, 1), width=16)
module = HIASTModule(network, CITYSCAPES_19).train()
images = torch.randint(256, (2, 3, 128, 256), dtype=torch.uint8)
label = torch.randint(19, (2, 128, 256)).to(torch.uint8)
label[:, ::2] = 255
def run():
    module.losses({"target": {"image": images, "strong": images, "label": label}})["total"].backward()
    module.zero_grad()
""" + TIMED,
    "start": """
import json, os, sys, time
os.environ["HYDRA_FULL_ERROR"] = "1"
from torch.optim.optimizer import register_optimizer_step_post_hook
def stop(*_):
    sys.__stdout__.write(json.dumps(time.process_time()) + "\\n"); sys.__stdout__.flush(); os._exit(0)
register_optimizer_step_post_hook(stop)
sys.argv = ["hiast-train", "+scenario=demo", "data_root=DATA", "run=RUN"]
from hiast.cli.train import main
main()
""",
}  # fmt: skip
DEMO = {  # The names of settings have changed; the first words that a commit knows count.
    "demo": (
        ("source_only.max_steps=40", "warmup.max_steps=10", "self_training.max_steps=15", "self_training.rounds=2"),
        ("source_only.steps=40", "warmup.steps=10", "self_training.steps=15", "self_training.rounds=2"),
    ),
}  # fmt: skip
DEMO["demo_bare"] = tuple(
    (*words, *(["selection.images=0"] if "max" in words[0] else [])) for words in DEMO["demo"]
)


def checkout(commit: str, folder: Path) -> Path:
    """The files of a commit."""
    folder.mkdir()
    archive = subprocess.run(
        ["git", "-C", str(ROOT), "archive", commit], capture_output=True, check=True
    ).stdout
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive, check=True)
    return folder


def measure(tree: Path, case: str, data: Path) -> float | None:
    """Processor seconds of a case in one tree; None: the tree cannot run it."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        environment = os.environ | {
            "PYTHONPATH": str(tree / "src"),
            "OMP_NUM_THREADS": "1",
            "PYTHONWARNINGS": "ignore",
        }
        if case in DEMO:
            return _demo(DEMO[case], data, place, environment)
        program = CASES[case].replace("DATA", str(data)).replace("RUN", str(place / "run"))
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            env=environment,
            cwd=place,
            check=False,
        )
        if done.returncode:
            sys.stderr.write(f"{tree.name}, {case}: {(done.stderr.strip().splitlines() or ['?'])[-1]}\n")
            return None
        return float(json.loads(done.stdout.strip().splitlines()[-1]))


def _demo(
    forms: tuple[tuple[str, ...], ...], data: Path, place: Path, environment: dict[str, str]
) -> float | None:
    for number, words in enumerate(forms):
        program = "from hiast.cli.train import main; main()"
        line = [
            sys.executable,
            "-c",
            program,
            "+scenario=demo",
            f"data_root={data}",
            f"run={place / str(number)}",
        ]
        before = os.times()
        code = subprocess.run(
            [*line, *words], capture_output=True, env=environment, cwd=place, check=False
        ).returncode
        after = os.times()
        if code == 0:
            return after.children_user + after.children_system - before.children_user - before.children_system
    return None


def compare(trees: dict[str, Path], case: str, runs: int, data: Path) -> dict[str, float] | None:
    """Median of each tree, and their ratio."""
    times: dict[str, list[float]] = {name: [] for name in trees}
    for _ in range(runs):
        for name, tree in trees.items():
            found = measure(tree, case, data)
            if found is None:
                return None
            times[name].append(found)
    base, head = (statistics.median(times[name]) for name in ("base", "head"))
    return {"base_seconds": base, "head_seconds": head, "ratio": head / base}


def main() -> int:
    """Compare, print, and judge by the bound."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("base")
    parser.add_argument("head", nargs="?", default="HEAD")
    parser.add_argument("--cases", nargs="+", choices=(*CASES, *DEMO), default=tuple(CASES))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--bound", type=float, default=1.5)
    parser.add_argument("--history", type=Path)
    options = parser.parse_args()
    slow = []
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        commits = {"base": options.base, "head": options.head}
        trees = {role: checkout(commit, place / role) for role, commit in commits.items()}
        data = place / "data"
        draw = f"from hiast.scenes import *\nwrite_gta5({str(data)!r}, 24, (128, 256))\n"
        draw += f"write_cityscapes({str(data)!r}, 24, 8, (128, 256))"
        subprocess.run(
            [sys.executable, "-c", draw],
            env=os.environ | {"PYTHONPATH": str(trees["head"] / "src")},
            check=True,
        )
        print("| case | base, s | head, s | head / base |\n|---|---:|---:|---:|")
        for case in options.cases:
            found = compare(trees, case, options.runs, data)
            if found is None:
                print(f"| {case} | - | - | left out |", flush=True)
                continue
            print(
                f"| {case} | {found['base_seconds']:.3f} | {found['head_seconds']:.3f} | {found['ratio']:.2f} |",
                flush=True,
            )
            slow += [case] if found["ratio"] > options.bound else []
            if options.history is not None:
                _record(options, case, found)
    about = f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    print(f"\n{about}; {options.runs} runs that took turns.")
    if slow:
        print(f"Slower than {options.bound} times {options.base}: {', '.join(slow)}.")
    return 1 if slow else 0


def _record(options: argparse.Namespace, case: str, found: dict[str, float]) -> None:
    hashes = {
        role: subprocess.run(
            ["git", "-C", str(ROOT), "rev-parse", "--short", commit],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for role, commit in (("base", options.base), ("head", options.head))
    }
    about = {
        "date": time.strftime("%Y-%m-%d"),
        "case": case,
        "runs": options.runs,
        "load": round(os.getloadavg()[0], 1),
    }
    options.history.parent.mkdir(parents=True, exist_ok=True)
    with options.history.open("a") as file:
        file.write(json.dumps(about | hashes | {key: round(value, 4) for key, value in found.items()}) + "\n")


if __name__ == "__main__":
    sys.exit(main())
