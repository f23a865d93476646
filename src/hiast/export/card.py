"""The model card of a shared network: a README.md that says what it knows, how it was made, and who may use it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

DEMO_DOMAINS = {"source": "drawn scenes of a game", "target": "drawn scenes of a hazy camera"}
"""What the demo trains on: drawn scenes in the layouts of GTA5 and Cityscapes."""
DATA_LICENSES: Mapping[str, str] = {
    **dict.fromkeys(DEMO_DOMAINS.values(), "made by hiast-data-demo, free of terms of others."),
    "GTA5": "GTA5 (Playing for Data): images of a commercial game, for research and education only.",
    "SYNTHIA": "SYNTHIA: CC BY-NC-SA 3.0, non-commercial.",
    "Cityscapes": "Cityscapes: own terms, non-commercial research and teaching only.",
    "RobotCar": "Oxford RobotCar: CC BY-NC-SA 4.0, non-commercial.",
}
"""Terms of the datasets that this library knows, as their owners state them; to be checked before use."""

_METHODS: Mapping[str, str] = {
    "source_only": "supervised training on the source images alone",
    "warmup": "supervised training on the source, then warm-up on both domains",
    "self_training": "HIAST: hard-aware instance adaptive self-training (Zhu et al.) from pseudo-labels of the target",
    "online": "online self-training with an EMA teacher (DACS, DAFormer and MIC)",
}


def card_text(config: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """Text of the model card.

    Args:
        config: Contents of config.json.
        facts: ``scenario``, ``stage``, ``round``, ``source``, ``target``, ``metrics``, ``license``, ``data_licenses``,
            ``repo_id``; each may be missing.
    """
    names = list(config["label2id"])
    parts = [
        f"---\n{yaml.safe_dump(_metadata(facts), sort_keys=False, allow_unicode=True)}---\n",
        f"# Semantic segmentation: {facts.get('scenario') or f'{len(names)} classes'}\n",
        _made(config, facts),
        "## Classes\n\n" + _classes(config),
        "## Figures\n\n" + _figures(facts),
        "## How to use\n\n" + _usage(str(facts.get("repo_id") or "FOLDER-OR-REPOSITORY")),
        "## Data and licenses\n\n" + _licenses(facts),
    ]
    return "\n".join(parts)


def _metadata(facts: Mapping[str, Any]) -> dict[str, Any]:
    data: dict[str, Any] = {}
    if facts.get("license"):
        data["license"] = facts["license"]
    data |= {
        "library_name": "hiast",
        "pipeline_tag": "image-segmentation",
        "tags": ["hiast", "semantic-segmentation", "domain-adaptation", "pytorch"],
        "metrics": ["mean_iou"],
    }
    if facts.get("metrics"):
        results = [
            {"type": "mean_iou", "name": name, "value": float(value)}
            for name, value in facts["metrics"].items()
        ]
        target = str(facts.get("target") or "target")
        data["model-index"] = [
            {
                "name": str(facts.get("scenario") or "hiast"),
                "results": [
                    {
                        "task": {"type": "image-segmentation"},
                        "dataset": {"name": target, "type": target.lower()},
                        "metrics": results,
                    }
                ],
            }
        ]
    return data


def _made(config: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    recipe = config["network_recipe"]
    network = ", ".join(str(recipe[key]) for key in ("network", "architecture", "encoder") if recipe.get(key))
    size = config["inference_size"]
    seen = "at their own size" if size is None else f"resized to {size[0]} x {size[1]} (height x width)"
    lines = [f"- Network: {network}; images are seen {seen}."]
    if facts.get("source") or facts.get("target"):
        lines.append(
            f"- Adapted from {facts.get('source', 'a source')} to {facts.get('target', 'a target')}."
        )
    if facts.get("stage"):
        method = _METHODS.get(facts["stage"], str(facts["stage"]))
        lines.append(f"- Method: {method}; stage {facts['stage']}, round {facts.get('round', 1)}.")
    lines.append("- Made with hiast.")
    return "\n".join(lines) + "\n"


def _classes(config: Mapping[str, Any]) -> str:
    rows = ["| id | class | color |", "|---:|---|---|"]
    for (name, index), color in zip(config["label2id"].items(), config["colors"], strict=True):
        shown = name.replace("|", "\\|")
        rows.append(f"| {index} | {shown} | {color[0]}, {color[1]}, {color[2]} |")
    return "\n".join(rows) + "\n"


def _figures(facts: Mapping[str, Any]) -> str:
    metrics = facts.get("metrics")
    if not metrics:
        return "No figures were recorded.\n"
    where = f"labeled images of {facts['target']}" if facts.get("target") else "labeled images of the target"
    rows = [f"On {where}, in percent:\n", "| mean | value |", "|---|---:|"]
    return (
        "\n".join([*rows, *(f"| {name} | {100 * float(value):.2f} |" for name, value in metrics.items())])
        + "\n"
    )


def _usage(name: str) -> str:
    return (
        "```python\nfrom hiast import load_model\n\n"
        f'model = load_model("{name}")\n'
        'prediction = model.predict("street.jpg")    # labels uint8 [H, W], confidence float32 [H, W]\n```\n'
    )


def _licenses(facts: Mapping[str, Any]) -> str:
    given = dict(facts.get("data_licenses") or {})
    lines = []
    for side in ("source", "target"):
        name = facts.get(side)
        if name is not None:
            known = given.get(name) or DATA_LICENSES.get(name)
            lines.append(f"- {side}: {known or f'{name}: the license of these images is not recorded here.'}")
    lines.append("- The terms of the data, and of the pretrained encoder, may limit the use of the weights.")
    return "\n".join(lines) + "\n"
