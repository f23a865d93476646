"""Run directories as a run leaves them, written without training, with class names that HTML must escape."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from written_rounds import write_round

from hiast.classes import LabelSpace
from hiast.evaluation.pictures import jpeg, label_png
from hiast.files import write_json
from hiast.pages import data_uri
from hiast.selection import Candidate, CandidateRecords, CandidateScores, choose, write_choice

CLASSES = LabelSpace(
    ("road", '<b>sky</b> & "air"', "car's", "train"),
    ((128, 64, 128), (70, 130, 180), (0, 0, 142), (0, 80, 100)),
)
IOU = {
    "source_only": (0.8, 0.5, 0.3, 0.2),
    "self_training 1": (0.85, 0.6, 0.2, 0.1),
    "self_training 2": (0.9, 0.7, 0.4, 0.0),
}
"""Title of a round -> IoU of each class at its end."""
STEPS = 4


def write_run(folder: Path, *, seed: int = 1, lr: float = 1e-4, shift: float = 0.0, rounds: int = 2) -> Path:
    """A run of source_only and rounds of self-training that has ended.

    Args:
        folder: The run directory.
        seed: Its seed.
        lr: A setting in which runs may differ.
        shift: Added to every IoU.
        rounds: Rounds of self-training that have ended, of 2.
    """
    folder.mkdir(parents=True)
    config = {
        "name": "two_worlds", "seed": seed, "run": str(folder), "stages": ["source_only", "self_training"],
        "source_only": {"max_steps": STEPS, "module": {"_target_": "a", "optimizer": {"lr": lr}}},
        "self_training": {"max_steps": STEPS, "rounds": 2, "module": {"_target_": "b"}},
    }  # fmt: skip
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    start = {
        "time": "2026-01-01T00:00:00+0000", "command": ["hiast-train", "+scenario=<x>"], "seed": seed, "python": "3.12",
        "platform": "Linux", "packages": {"torch": "2.11"}, "git": "abc", "cpu_count": 2, "torch_threads": 1,
        "cpu_instructions": "AVX2", "cuda": None, "devices": [],
    }  # fmt: skip
    write_json(folder / "environment.json", {"starts": [start]})
    write_json(folder / "classes.json", {"format": 1, **CLASSES.to_dict()})
    changed = {"source_only.module.optimizer.lr": [1e-4, lr]} if lr != 1e-4 else {}
    write_json(
        folder / "settings.json",
        {"format": 1, "scenario": "two_worlds", "method": "hiast", "choices": {}, "settings": changed},
    )
    rows = ["stage,round,step,name,value"]
    ended = ["source_only", *(f"self_training {number}" for number in range(1, rounds + 1))]
    for title in ended:
        rows += _write_round(folder, title, shift)
    (folder / "metrics.csv").write_text("\n".join(rows) + "\n")
    _write_candidates(folder, ended, shift)
    fits = [_fit(title) for title in ended]
    write_json(folder / "times.json", {"format": 1, "fits": fits})
    return folder


def _write_round(folder: Path, title: str, shift: float) -> list[str]:
    stage, _, number = title.partition(" ")
    round_number = int(number or 1)
    place = folder / stage
    place.mkdir(exist_ok=True)
    iou = {name: value + shift for name, value in zip(CLASSES.names, IOU[title], strict=True)}
    mean = sum(iou.values()) / len(iou)
    result = {
        "stage": stage, "round": round_number, "steps": STEPS, "means": {"mIoU-4": mean}, "iou": iou, "signals": {},
        "seconds": 60.0,
    }  # fmt: skip
    write_json(place / f"result_{round_number}.json", result)
    picture = np.full((8, 16, 3), 90, np.uint8)
    labels = np.arange(128, dtype=np.uint8).reshape(8, 16) % 4
    image, png = data_uri(jpeg(picture), "jpeg"), data_uri(label_png(labels, CLASSES), "png")
    seen = {"image": image, "label": png, "prediction": png}
    write_json(
        place / f"validation_{round_number}.json",
        {
            "format": 1, "step": STEPS, "images": 2, "pixel_accuracy": 0.75,
            "matrix": [[90, 10, 0, 0], [5, 60, 35, 0], [0, 0, 40, 60], [0, 0, 10, 0]],
            "worst": [{"name": "town/<1>", "wrong": 0.6, **seen}], "best": [{"name": "town/2", "wrong": 0.1, **seen}],
        },
    )  # fmt: skip
    example = {"name": "target/7", "image": image, "before": png, "after": png}
    if stage == "self_training":
        example |= {"label": png, "kept": 0.5}
        maps = {f"{i}": np.where(labels == 3, 255, labels) for i in range(3)}
        maps["0"] = labels if round_number == 1 else maps["0"]
        write_round(
            place / "rounds" / number, maps, np.array([0.9, 0.8, 0.95, 0.7]), order=[2, 0, 1],
            labeled_with="source_only/checkpoints/round_1.ckpt",
        )  # fmt: skip
        hard = {
            "class": CLASSES.names[1], "mean_confidence": 0.8, "probability": 1.0, "images": 3, "draws": 5,
            "most_used": [["target/7", 5]],
        }  # fmt: skip
        write_json(place / f"hard_classes_{number}.json", {"format": 1, "crops": 16, "classes": [hard]})
    write_json(place / f"examples_{round_number}.json", {"format": 1, "examples": [example], "training": []})
    values: dict[int, dict[str, float]] = {
        2: {"total": 1.5, "lr/backbone": 1e-4, "lr/head": 1e-3},
        STEPS: {"total": 1.25, "lr/backbone": 0.0, "val/mIoU-4": mean, "val/entropy": 0.3}
        | {f"val/iou/{name}": value for name, value in iou.items()},
    }
    quoted = '"{}"'.format
    return [
        f"{stage},{round_number},{step},{quoted(name.replace(chr(34), chr(34) * 2))},{value!r}"
        for step, named in values.items()
        for name, value in named.items()
    ]


def _write_candidates(folder: Path, ended: list[str], shift: float) -> None:
    labeled: dict[str, Any] = {}
    for place, title in enumerate(ended):
        name = title.replace(" ", "-")
        scores = CandidateScores(
            entropy=0.3 - 0.05 * place, infomax=0.4, snd=2.5, consistency=0.5 + 0.1 * place,
            ensemble_miou=0.6 + 0.1 * place,
        )  # fmt: skip
        step = STEPS * (place + 1)
        CandidateRecords(folder).record(Candidate(name, f"candidates/{name}.ckpt", step, scores))
        labeled[name] = {"step": step, "miou": sum(IOU[title]) / 4 + shift, "teacher": None}
    candidates = CandidateRecords(folder).read()
    write_choice(folder, choose(candidates))
    write_json(
        folder / "candidates_labeled.json",
        {"format": 1, "mean": "mIoU-4", "images": 2, "of": 2, "candidates": labeled},
    )


def _fit(title: str) -> dict[str, Any]:
    stage, _, number = title.partition(" ")
    return {
        "stage": stage, "round": int(number or 1), "from": 0, "to": STEPS, "seconds": 60.0, "training": 50.0,
        "validation": 5.0, "labeling": 5.0, "images": 16, "devices": 2, "device": "GPU <7>", "memory": 2_000_000_000,
    }  # fmt: skip


def embedded(page: str, attribute: str) -> list[Any]:
    """JSON values of an attribute of a page, unescaped."""
    import html
    import re

    return [json.loads(html.unescape(found)) for found in re.findall(f'{attribute}="([^"]*)"', page)]
