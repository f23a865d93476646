"""Compare methods on pairs of domains: last, selected and best candidate of each, over seeds.

    python benchmarks/pairs.py run --conf DIR --data DIR --out DIR --pairs street weeds --seeds 1 2 3
    python benchmarks/pairs.py run --data data/demo --out DIR --pairs demo --seeds 1 2 3     # after hiast-data-demo
    python benchmarks/pairs.py run ... --jobs 16 --words trainer=auto trainer.precision=32-true  # a GPU
    python benchmarks/pairs.py collect --out DIR --to benchmarks/results/pairs.json
    python docs/_scripts/make_pairs.py

``collect`` adds what is finished to a file of raw results, so that a table can grow over days; ``make_pairs.py`` turns
the file into the page and the figure. Every row of a pair and seed starts from the same source-only checkpoint and
trains for the same number of steps. A row that is finished is not run again. The labels of the target are read by the
final evaluation of candidates alone, and by the row ``target labels``.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, TextIO

STEPS = 300
"""Optimizer steps of the source-only checkpoint, and of each row after it."""

SAME_KERNELS = {
    "OMP_NUM_THREADS": "1",
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
}
"""Instructions of x86 processors with and without AVX-512, so that rows of several machines have the same digits."""

SCORES = ("entropy", "infomax", "consistency", "source_miou", "colored_miou", "ensemble_miou")
"""Label-free scores that are kept beside the mIoU."""
COMMON = ["selection.source_fraction=0.1", "pictures=0", "validation.every_n_steps=100000"]


def rows(pair: str, base: Path) -> dict[str, list[str]]:
    """Words of ``hiast-train`` for each row; all start from the checkpoint ``base``."""
    online = ["stages=[online]", f"online.max_steps={STEPS}"]
    lr = "online.module.optimizer.lr=3e-4"
    start = f"init_from={base}"
    more = ["stages=[source_only]", f"source_only.max_steps={STEPS}", start]
    rounds = [
        "stages=[warmup,self_training]", "warmup.max_steps=100", "self_training.rounds=2",
        "self_training.max_steps=100",
        "self_training.module.optimizer.lr=1e-4", "self_training.by_round=null", "warmup.module.optimizer.lr=1e-4",
        "self_training.module.ema_decay=0.99",
    ]  # fmt: skip
    # The drawn scenes of hiast-data-demo need no configuration of their own.
    demo = ["+scenario=demo", "dataset@data.source=cityscapes"]
    labeled = demo if pair == "demo" else [f"+scenario={pair}_oracle"]
    return {
        "control": [f"+scenario={pair}", *more],
        "hiast": [f"+scenario={pair}", *rounds, start],
        "dacs": [f"+scenario={pair}", "method=dacs", *online, lr, start],
        "daformer": [
            f"+scenario={pair}",
            "method=daformer",
            *online,
            lr,
            "online.module.ema_decay=0.99",
            start,
        ],
        "mic": [f"+scenario={pair}", "method=mic", *online, lr, "online.module.ema_decay=0.99", start],
        "adapt": [f"+scenario={pair}", "method=adapt", *online, lr, start],
        "target labels": [*labeled, *more],
    }


def train(words: Sequence[str], run: Path, arguments: argparse.Namespace, seed: int) -> None:
    """Run or continue ``hiast-train``, then evaluate its candidates, in processes of their own."""
    if (run / "candidates_miou.json").is_file():
        return
    folder = [] if arguments.conf is None else ["--config-dir", str(arguments.conf)]
    command = [
        sys.executable, "-c", "from hiast.cli.train import main; main()", *folder,
        f"data_root={arguments.data}", f"run={run}", f"seed={seed}", *COMMON, *words, *arguments.words,
    ]  # fmt: skip
    run.parent.mkdir(parents=True, exist_ok=True)
    with run.with_suffix(".log").open("a") as log:
        if not (run / "done").is_file():
            seconds = waited_for(command, log)
            (run / "done").write_text(str(seconds))
        waited_for([sys.executable, __file__, "evaluate", str(run)], log)


def waited_for(command: list[str], log: TextIO) -> float:
    """Run a command with one thread and ``SAME_KERNELS``; its seconds of processor time, children included."""
    log.write(" ".join(command) + "\n")
    log.flush()
    process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | SAME_KERNELS)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(
            f"A command failed with exit code {process.returncode}, see {log.name}: {' '.join(command)}"
        )
    return usage.ru_utime + usage.ru_stime


def evaluated(run: Path) -> dict[str, Any]:
    """The mIoU of every candidate of a run on the labeled target images, of the last one and of the selected one."""
    file = run / "candidates_miou.json"
    if file.is_file():
        return json.loads(file.read_text())
    records = json.loads((run / "candidates.json").read_text())["candidates"]
    scores = {record["name"]: miou(run / record["checkpoint"]) for record in records if record["checkpoint"]}
    selected = json.loads((run / "selected.json").read_text())["selected"]["name"]
    # The network that a method does not hand on, student or teacher, is a candidate too, but not the end of the run.
    ends = [name for name in scores if not name.endswith(("-student", "-teacher"))]
    last = [name for name in ends if not name.startswith(("target_statistics", "start"))][-1]
    found = {"candidates": scores, "selected": selected, "last": last}
    file.write_text(json.dumps(found, indent=2))
    return found


def miou(checkpoint: Path) -> dict[str, Any]:
    """Mean and class IoU of a checkpoint on the labeled target images of its scenario."""
    import torch

    from hiast.cli.build import build_target
    from hiast.training import load_module

    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    module = load_module(checkpoint).to(device)
    target = build_target(module.run_config, module.classes, None, 0, trusted=True)
    with torch.inference_mode():
        for batch in target.val_dataloader():
            module.validation_step(module.transfer_batch_to_device(batch, device, 0), 0)
    scores = module.metrics.compute()
    return {"mIoU": next(iter(scores.means.values())), "iou": list(scores.iou.values())}


def run(arguments: argparse.Namespace) -> None:
    """Train and evaluate all rows of all pairs and seeds, ``--jobs`` of them at a time."""
    places = [(pair, seed) for seed in arguments.seeds for pair in arguments.pairs]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        bases = {pool.submit(train_base, arguments, *place): place for place in places}
        others = []
        for done in as_completed(bases):
            pair, seed = bases[done]
            for name, words in rows(pair, done.result() / "source_only/checkpoints/last.ckpt").items():
                if not arguments.rows or name in arguments.rows:
                    others.append(pool.submit(train_row, arguments, pair, seed, name, words))
        for row in as_completed(others):
            sys.stdout.write(row.result())
            sys.stdout.flush()


def train_base(arguments: argparse.Namespace, pair: str, seed: int) -> Path:
    """The run of the source-only checkpoint that all rows of a pair and seed start from."""
    base: Path = arguments.out.resolve() / pair / str(seed) / "source_only"
    words = [f"+scenario={pair}", "stages=[source_only]", f"source_only.max_steps={STEPS}"]
    train(words, base, arguments, seed)
    return base


def train_row(arguments: argparse.Namespace, pair: str, seed: int, name: str, words: Sequence[str]) -> str:
    """Train and evaluate a row; its summary in a line."""
    folder = arguments.out.resolve() / pair / str(seed) / name.replace(" ", "_")
    train(words, folder, arguments, seed)
    return f"{pair} {seed} {name}: {summary(folder)}\n"


def summary(run: Path) -> str:
    """Last, selected and best candidate of a run in percent."""
    found = evaluated(run)
    scores = {name: 100 * values["mIoU"] for name, values in found["candidates"].items()}
    best = max(scores, key=lambda name: scores[name])
    return (
        f"last {scores[found['last']]:.1f}, selected {scores[found['selected']]:.1f} ({found['selected']}), "
        f"best {scores[best]:.1f} ({best})"
    )


def collect(arguments: argparse.Namespace) -> None:
    """Add everything that is finished to the file of raw results."""
    known = json.loads(arguments.to.read_text()) if arguments.to.is_file() else []
    found = {(record["pair"], record["seed"], record["row"]): record for record in known}
    for file in sorted(arguments.out.glob("*/*/*/candidates_miou.json")):
        pair, seed, row = file.parts[-4:-1]
        record = {"pair": pair, "seed": int(seed), "row": row.replace("_", " "), **_record(file.parent)}
        found[record["pair"], record["seed"], record["row"]] = record
    check_starts(list(found.values()))
    lines = [json.dumps(found[key], separators=(",", ":")) for key in sorted(found)]
    arguments.to.parent.mkdir(parents=True, exist_ok=True)
    arguments.to.write_text("[\n" + ",\n".join(lines) + "\n]\n")
    sys.stdout.write(f"{arguments.to}: {len(lines)} rows\n")


def check_starts(records: Sequence[dict[str, Any]]) -> None:
    """Stop where rows of a pair and seed did not start from the same network, seen by its mIoU."""
    first: dict[tuple[str, int], dict[str, float]] = {}
    for record in records:
        starts = first.setdefault((record["pair"], record["seed"]), {})
        name = "source_only" if record["row"] == "source only" else "start"
        for candidate in record["candidates"]:
            if candidate["name"] == name:
                starts[record["row"]] = candidate["miou"]
    for (pair, seed), starts in first.items():
        if len(set(starts.values())) > 1:
            raise SystemExit(f"The rows of {pair}, seed {seed}, start from different networks: {starts}.")


def _record(run: Path) -> dict[str, Any]:
    """Steps, scores and mIoU of all candidates of a run, the last and the selected one, and what the run ran on.

    The selection is made anew from the recorded scores, so that all rows of a table follow the same rule.
    """
    from hiast.selection import CandidateRecords, choose

    measured = evaluated(run)
    candidates = []
    for record in json.loads((run / "candidates.json").read_text())["candidates"]:
        if record["name"] in measured["candidates"]:
            scores = {name: record["scores"].get(name) for name in SCORES}
            truth = measured["candidates"][record["name"]]
            candidates.append(
                {
                    "name": record["name"],
                    "step": record["step"],
                    "miou": round(truth["mIoU"], 5),
                    "iou": [None if math.isnan(value) else round(value, 4) for value in truth["iou"]],
                    **{name: value if value is None else round(value, 4) for name, value in scores.items()},
                }
            )
    seconds = float((run / "done").read_text())
    start = json.loads((run / "environment.json").read_text())["starts"][-1]
    return {
        "selected": choose(CandidateRecords(run).read()).selected.name,
        "last": measured["last"],
        "cpu_seconds": round(seconds),
        "commit": start.get("git"),
        "hardware": start.get("hardware"),
        "candidates": candidates,
    }


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    runner = commands.add_parser("run")
    runner.add_argument(
        "--conf", type=Path, help="folder with scenario/PAIR.yaml and scenario/PAIR_oracle.yaml"
    )
    runner.add_argument("--data", type=Path, required=True)
    runner.add_argument("--out", type=Path, required=True)
    runner.add_argument("--pairs", nargs="+", required=True)
    runner.add_argument("--seeds", nargs="+", type=int, required=True)
    runner.add_argument("--rows", nargs="*", default=[])
    runner.add_argument("--jobs", type=int, default=1, help="rows that are trained at the same time")
    runner.add_argument("--words", nargs="*", default=[], help="more words of hiast-train, for every row")
    runner.set_defaults(job=run)
    evaluator = commands.add_parser("evaluate", help="measure the candidates of a finished run; used by run")
    evaluator.add_argument("run", type=Path)
    evaluator.set_defaults(job=lambda arguments: evaluated(arguments.run))
    collector = commands.add_parser("collect")
    collector.add_argument("--out", type=Path, required=True)
    collector.add_argument("--to", type=Path, required=True)
    collector.set_defaults(job=collect)
    arguments = parser.parse_args()
    arguments.job(arguments)


if __name__ == "__main__":
    main()
