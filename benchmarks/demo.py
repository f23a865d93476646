"""Measures the demo over seeds: each stage, and the same network trained on target labels for as many steps.

    python benchmarks/demo.py --seeds 11 12 13 --out outputs/measure_demo [key=value ...]

Scenes, order and augmentation all follow the seed. Rerun the command to resume.
Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

TITLE = "mIoU-19"


def main() -> None:
    """Run, then print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    parser.add_argument("--out", type=Path, default=Path("outputs/measure_demo"))
    parser.add_argument("overrides", nargs="*", help="passed to hiast-train")
    arguments = parser.parse_args()
    rows = [measure(seed, arguments.out, arguments.overrides) for seed in arguments.seeds]
    print(table(rows))


def measure(seed: int, out: Path, overrides: list[str]) -> dict[str, Any]:
    """Scores of one seed: stage -> mIoU, with ``oracle`` and ``seconds``."""
    data = out / f"data_{seed}"
    call("hiast-data-demo", f"data_root={data}", f"seed={seed}")
    began = time.monotonic()
    adapted = train(out / f"adapted_{seed}", data, seed, overrides)
    seconds = time.monotonic() - began
    steps = sum(result["steps"] for result in adapted)
    labeled = ["dataset@data.source=cityscapes", "stages=[source_only]", f"source_only.max_steps={steps}"]
    oracle = train(out / f"oracle_{seed}", data, seed, [*overrides, *labeled])
    row = {
        f"{r['stage']} {r['round']}".replace(" 1", "", r["stage"] != "self_training"): r["means"][TITLE]
        for r in adapted
    }
    return {"seed": seed, **row, "oracle": oracle[-1]["means"][TITLE], "steps": steps, "seconds": seconds}


def train(run: Path, data: Path, seed: int, overrides: list[str]) -> list[dict[str, Any]]:
    """Results of one run, in order."""
    words = ("+scenario=demo", f"data_root={data}", f"run={run}", f"seed={seed}", "pictures=0")
    call("hiast-train", *words, *overrides)
    order = ("source_only", "warmup", "self_training")
    return [
        json.loads(path.read_text())
        for stage in order
        for path in sorted((run / stage).glob("result_*.json"))
    ]


def call(command: str, *words: str) -> None:
    """Run a command of this environment; its table goes to standard error."""
    subprocess.run([str(Path(sys.executable).parent / command), *words], check=True, stdout=sys.stderr)


def table(rows: list[dict[str, Any]]) -> str:
    """Scores in percent, and the share of the gap between source_only and oracle that the last round closes."""
    stages = [key for key in rows[0] if key not in ("seed", "oracle", "steps", "seconds")]
    lines = [
        "| seed | " + " | ".join(stages) + " | target labels | gap closed | minutes |",
        "|---:" * (len(stages) + 4) + "|",
    ]
    for row in rows:
        closed = (row[stages[-1]] - row["source_only"]) / (row["oracle"] - row["source_only"])
        scores = " | ".join(f"{100 * row[key]:.1f}" for key in [*stages, "oracle"])
        lines.append(f"| {row['seed']} | {scores} | {100 * closed:.0f} % | {row['seconds'] / 60:.1f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
