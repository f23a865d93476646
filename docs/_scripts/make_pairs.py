"""Write docs/benchmarks/pairs.md and docs/assets/pairs_*.svg from the raw results: ``python docs/_scripts/make_pairs.py``.

The raw results, ``benchmarks/results/pairs.json``, are written by ``benchmarks/pairs.py collect``. No figure on the page is
typed by hand.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from hiast.report.charts import ticks

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "pairs.json"
PAGE = ROOT / "docs" / "benchmarks" / "pairs.md"
ASSETS = ROOT / "docs" / "assets"
ROWS = (
    "source only",
    "target statistics",
    "control",
    "hiast",
    "dacs",
    "daformer",
    "mic",
    "adapt",
    "target labels",
)
METHODS = ("hiast", "dacs", "daformer", "mic", "adapt")
COLORS = {
    "control": "#6b7280",
    "hiast": "#b45309",
    "dacs": "#0e7490",
    "daformer": "#6d28d9",
    "mic": "#be123c",
    "adapt": "#15803d",
    "target labels": "#111827",
}
DASHES = {
    "control": "2 3",
    "hiast": "7 3",
    "dacs": "4 2",
    "daformer": "9 3 2 3",
    "mic": "1 3",
    "adapt": "",
    "target labels": "12 4",
}

Record = dict[str, Any]


def values(record: Record) -> dict[str, float]:
    """The mIoU in percent of the last, the selected and the best candidate of a row."""
    found = {candidate["name"]: 100 * candidate["miou"] for candidate in record["candidates"]}
    return {"last": found[record["last"]], "selected": found[record["selected"]], "best": max(found.values())}


def table_rows(records: Sequence[Record]) -> dict[str, dict[int, dict[str, float]]]:
    """Row -> seed -> values; source only and its target statistics are candidates of every row that starts from it."""
    rows: dict[str, dict[int, dict[str, float]]] = {}
    for record in records:
        found = {candidate["name"]: 100 * candidate["miou"] for candidate in record["candidates"]}
        if record["row"] != "source only":
            rows.setdefault(record["row"], {})[record["seed"]] = values(record)
        start = found[record["last"]] if record["row"] == "source only" else found.get("start")
        for row, value in (("source only", start), ("target statistics", found.get("target_statistics"))):
            if value is not None:
                rows.setdefault(row, {})[record["seed"]] = {"last": value}
    return {row: dict(sorted(seeds.items())) for row, seeds in rows.items()}


def colored_rows(records: Sequence[Record]) -> set[tuple[str, int]]:
    """Rows and seeds whose candidates were also measured on source images in colors of the target."""
    return {
        (record["row"], record["seed"])
        for record in records
        if all(candidate.get("colored_miou") is not None for candidate in record["candidates"])
    }


def mean(numbers: Iterable[float]) -> str:
    """Mean, and the deviation over seeds where there are several."""
    known = list(numbers)
    if not known:
        return ""
    deviation = f" ± {statistics.stdev(known):.1f}" if len(known) > 1 else ""
    return f"{statistics.fmean(known):.1f}{deviation}"


def pair_table(records: Sequence[Record]) -> list[str]:
    """Markdown table of a pair."""
    rows = table_rows(records)
    lines = [
        "| | last | selected | best candidate | gap closed by selected | seeds |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for name in ROWS:
        if name not in rows:
            continue
        seeds = rows[name]
        cells = [
            mean(found[key] for found in seeds.values() if key in found)
            for key in ("last", "selected", "best")
        ]
        shares = [share for seed in seeds if (share := gap_closed(rows, name, seed)) is not None]
        closed = f"{100 * statistics.fmean(shares):.0f} %" if shares and name in (*METHODS, "control") else ""
        lines.append(f"| {name} | {' | '.join(cells)} | {closed} | {', '.join(map(str, sorted(seeds)))} |")
    return lines


def gap_closed(rows: dict[str, dict[int, dict[str, float]]], name: str, seed: int) -> float | None:
    """Share of the way from source only to target labels, of the selected candidate of a row and seed."""
    try:
        low, high = (rows[side][seed]["last"] for side in ("source only", "target labels"))
        return (rows[name][seed]["selected"] - low) / (high - low)
    except (KeyError, ZeroDivisionError):
        return None


def leads(by_pair: dict[str, list[Record]]) -> list[str]:
    """For each pair, how far `adapt` is ahead of the best other method, both selected, in the mean over seeds."""
    lines = []
    for pair, records in by_pair.items():
        rows = table_rows(records)
        own = rows.get("adapt", {})
        ahead = {
            name: statistics.fmean(own[seed]["selected"] - rows[name][seed]["selected"] for seed in common)
            for name in METHODS
            if name != "adapt" and (common := sorted(set(own) & set(rows.get(name, {}))))
        }
        if ahead:
            best = min(ahead, key=lambda name: ahead[name])
            lines.append(f"{pair} {ahead[best]:+.1f} ({best})")
    return lines


def verdicts(by_pair: dict[str, list[Record]]) -> list[str]:
    """How far the goals are reached, counted over everything that was run."""
    within, below, shares, beaten, known, runs, compared = 0, [], [], [], [], 0, 0
    for pair, records in by_pair.items():
        rows, colored = table_rows(records), colored_rows(records)
        for name in METHODS:
            for seed, found in rows.get(name, {}).items():
                runs += 1
                near = found["best"] - found["selected"] <= 1.0
                within += near
                if (name, seed) in colored:
                    known.append(near)
                control = rows.get("control", {}).get(seed)
                if control is not None and name == "adapt":
                    compared += 1
                    if found["selected"] < control["last"] - 0.5:
                        below.append(
                            f"{pair}, seed {seed} ({found['selected']:.1f} against {control['last']:.1f})"
                        )
        shares += [
            share for seed in rows.get("adapt", {}) if (share := gap_closed(rows, "adapt", seed)) is not None
        ]
        for seed, found in rows.get("adapt", {}).items():
            others = {
                n: rows[n][seed]["selected"] for n in METHODS if n != "adapt" and seed in rows.get(n, {})
            }
            better = {n: value for n, value in others.items() if value > found["selected"] + 0.5}
            beaten += [
                f"{pair}, seed {seed}: {n} {value:.1f} against {found['selected']:.1f}"
                for n, value in better.items()
            ]
    lines = []
    if shares:
        lines.append(
            f"- `adapt` closes {100 * statistics.fmean(shares):.0f} % of the gap in the mean over {len(shares)} runs (goal: "
            f"40 %); the least is {100 * min(shares):.0f} %, the most {100 * max(shares):.0f} %."
        )
    if compared:
        said = f"missed on {'; '.join(below)}" if below else "reached"
        lines.append(
            f"- `adapt`, selected, is never more than half a point below the control, in {compared} runs: {said}."
        )
    if beaten or shares:
        said = (
            f"beaten by more than half a point: {'; '.join(beaten)}"
            if beaten
            else "no other method is more than half a point better"
        )
        lines.append(f"- `adapt` against the other methods, run by run: {said}.")
        lines.append(
            f"- The same in the mean over the seeds that both were run on: {'; '.join(leads(by_pair))}."
        )
    if runs:
        line = (
            f"- The selected candidate is within one point of the best one in {within} of {runs} runs of all methods (goal: nine of "
            "ten)."
        )
        if len(known) < runs:
            line += (
                f" `colored_miou` was measured in {len(known)} of them, of which {sum(known)} are within one point; the "
                "others were trained before that score existed."
            )
        lines.append(line)
    return lines


def chart(pair: str, records: Sequence[Record]) -> str:
    """The mIoU over steps of each row of a pair, mean over seeds, as SVG; a filled mark is the selected candidate."""
    lines: dict[str, dict[int, list[float]]] = {}
    chosen: dict[str, list[tuple[int, float]]] = {}
    for record in records:
        if record["row"] not in COLORS:
            continue
        for candidate in record["candidates"]:
            name = candidate["name"]
            if not name.startswith("target_statistics") and not name.endswith(("-student", "-teacher")):
                lines.setdefault(record["row"], {}).setdefault(candidate["step"], []).append(
                    100 * candidate["miou"]
                )
            if name == record["selected"]:
                chosen.setdefault(record["row"], []).append((candidate["step"], 100 * candidate["miou"]))
    points = {
        row: sorted((step, statistics.fmean(v)) for step, v in found.items()) for row, found in lines.items()
    }
    if not points:
        return ""
    ys = [y for found in (*points.values(), *chosen.values()) for _, y in found]
    xs = [x for found in points.values() for x, _ in found]
    y_ticks, x_ticks = ticks(min(ys), max(ys)), ticks(0, max(xs), 6)
    left, right, top, bottom, width, height = 52, 610, 34, 300, 760, 346

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_ticks[0]) / (x_ticks[-1] - x_ticks[0])
        up = (y - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
        return left + across * (right - left), bottom - up * (bottom - top)

    svg = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="system-ui, sans-serif" '
        f'font-size="12" role="img"><title>{escape(pair)}: mIoU over steps</title>'
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="{left}" y="20" font-size="14" font-weight="600" fill="#111827">{escape(pair)}: mIoU (%) over optimizer steps</text>',
    ]
    for y in y_ticks:
        _, at = place(x_ticks[0], y)
        svg.append(f'<line x1="{left}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}" stroke="#e5e7eb"/>')
        svg.append(f'<text x="{left - 8}" y="{at + 4:.1f}" text-anchor="end" fill="#4b5563">{y:g}</text>')
    for x in x_ticks:
        at, _ = place(x, y_ticks[0])
        svg.append(f'<text x="{at:.1f}" y="{bottom + 18}" text-anchor="middle" fill="#4b5563">{x:g}</text>')
    svg.append(
        f'<text x="{(left + right) / 2}" y="{bottom + 38}" text-anchor="middle" fill="#4b5563">steps after source only</text>'
    )
    ends = []
    for row, found in points.items():
        path = " ".join(
            f"{'M' if i == 0 else 'L'}{x:.1f},{y:.1f}" for i, (x, y) in enumerate(place(*p) for p in found)
        )
        style = f'stroke="{COLORS[row]}" stroke-dasharray="{DASHES[row]}"'
        svg.append(f'<path d="{path}" fill="none" stroke-width="2" {style}/>')
        for x, y in (place(*p) for p in chosen.get(row, [])):
            svg.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{COLORS[row]}"/>')
        ends.append((place(*found[-1])[1], row, found[-1][1]))
    below = -math.inf
    for at, row, value in sorted(ends):
        below = max(at, below + 15)
        svg.append(
            f'<text x="{right + 8}" y="{below + 4:.1f}" fill="{COLORS[row]}">{escape(row)} {value:.1f}</text>'
        )
    return "\n".join(svg) + "\n</svg>\n"


INTRODUCTION = """# Real pairs of domains

<!-- Generated by docs/_scripts/make_pairs.py from benchmarks/results/pairs.json. Do not edit. -->

Every row of a pair and seed starts from the same source-only checkpoint (300 steps, 90 % of the source images) and trains for 300
steps more with the same network (FPN on EfficientNet-Lite0 with ImageNet weights). "control" trains on the source only for these 300
steps. "hiast" is 100 steps of warm-up and two rounds of 100 steps. "target statistics" replaces the batch-norm statistics and trains
nothing. "target labels" trains on the labels of the target. mIoU in percent on the labeled target images, whose labels nothing but this
page has read. **last** is the end of a run, **selected** is the candidate that was chosen without target labels, **best candidate** is
the best one that could have been chosen.

Recipe and rule were tuned on seeds 101 and 102 and on these pairs; the seeds below were not tuned on, with six exceptions in the
selection, which were added after rows of this page had shown the case:

- batch-norm statistics of equal weights are compared by two scores (after weeds, seed 1);
- held-out source images compare networks that were trained on the source alone (after the rows "control"; those of fluo and street were
  then chosen anew from the recorded scores, those of nuclei, seed 3, and weeds, seed 2, were run anew);
- trained candidates are compared with the target statistics that were chosen (after the rows "hiast" of nuclei, seeds 1 and 3, which were
  then run anew; on the tuning seeds 101 and 102 it selects the best candidate, 61.9 instead of 54.3 and 69.2 instead of 63.0);
- the check of predicted classes also knows the source labels (after the row "target labels" of weeds, seed 2, which was run anew; rows of
  before, but for those of `adapt`, do not hold the predicted classes, and their candidates were checked against the start alone);
- candidates far behind on source images in colors of the target are rejected (after the row "dacs" of nuclei, seed 2, had shown a network
  that is sure and wrong; that this score only rejects, and does not rank, was decided on rows of this page). All rows of the methods
  hold this score: they were run anew for it, those of `dacs` with the same mIoU to the digit, or, as those of `adapt`, measured afterwards
  on their checkpoints;
- a loss of more than five points on source images rejects a candidate that has not gained in colors of the target either (after the row
  "hiast" of street, seed 1, had handed on its first round, 59.5, for 66.6 at the start). It changes no other choice on this page.

The rows of `daformer` and `mic` were run anew after two rules of the papers had been added to their presets: source crops are redrawn until no
class fills more than three quarters of them, and the source loss is divided by all pixels.

All rows use the same instructions of the processor (AVX2): with AVX-512 a source-only network is another one, with up to 7 points more or less on
nuclei. Trained again on another machine, the source-only networks have the same mIoU to five digits.

The recipe of `adapt` was changed twice after it had been measured here, because fluo fell below its control, each time by what the tuning
seeds showed: first pasted context and a measured share of plain images (the mean gap closed went from 35 to 39 %), then target losses that
grow over the first half of the steps. All rows of `adapt` were then run anew.

"demo" is the drawn scenes of `hiast-data-demo`, which do not count for the goals. Seeds are given for each row: a row with fewer seeds than another has not been run on all of them yet.

Each figure shows the mean over the seeds of the network that the method hands on; dots are the selected candidates.
"""


def page(records: Sequence[Record]) -> str:
    """The page as Markdown."""
    by_pair: dict[str, list[Record]] = {}
    for record in records:
        by_pair.setdefault(record["pair"], []).append(record)
    real = {pair: found for pair, found in by_pair.items() if pair != "demo"}
    said = verdicts(real)
    if drawn := leads({"demo": by_pair.get("demo", [])}):
        said.append(
            f"- On the drawn pair, which does not count, `adapt` against the best other method: {drawn[0]}."
        )
    parts = [INTRODUCTION, "## Goals\n\n" + "\n".join(said) + "\n"]
    for pair, found in sorted(by_pair.items()):
        hours = sum(record["cpu_seconds"] for record in found) / 3600
        parts.append(f"## {pair}\n\n" + "\n".join(pair_table(found)) + "\n")
        if chart(pair, found):
            parts.append(f"![mIoU over steps of {pair}](../assets/pairs_{pair}.svg)\n")
        parts.append(f"{len(found)} runs took {hours:.1f} CPU hours.\n")
    parts.append(
        "## Command\n\n```bash\npython benchmarks/pairs.py run --conf CONF --data DATA --out OUT --pairs fluo nuclei street weeds "
        "--seeds 1 2 3\npython benchmarks/pairs.py collect --out OUT --to benchmarks/results/pairs.json\n"
        "python docs/_scripts/make_pairs.py\n```\n\nOne thread of a virtual AMD EPYC core with other load, torch on the CPU in float32.\n"
    )
    if commits := commits_of(records):
        parts.append(f"{commits} The raw results name commit and hardware of each.\n")
    return "\n".join(parts)


def commits_of(records: Sequence[Record]) -> str:
    """A sentence on the commits that trained the rows; empty if no row names one."""
    counts: dict[str, Counter[str]] = {}
    for record in records:
        if commit := record.get("commit"):
            counts.setdefault(commit[:7], Counter())[record["row"]] += 1
    parts = [
        f"{commit} ({', '.join(f'{row} {number}' for row, number in sorted(rows.items()))})"
        for commit, rows in sorted(counts.items())
    ]
    return f"Rows were trained by {'; '.join(parts)}." if parts else ""


def main() -> None:
    """Write page and figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    records = json.loads(arguments.results.read_text())
    PAGE.write_text(page(records))
    for pair in sorted({record["pair"] for record in records}):
        drawn = chart(pair, [record for record in records if record["pair"] == pair])
        if drawn:
            (ASSETS / f"pairs_{pair}.svg").write_text(drawn)


if __name__ == "__main__":
    main()
