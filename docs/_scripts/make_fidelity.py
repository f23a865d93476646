"""Write docs/explanation/fidelity.md: ``python docs/_scripts/make_fidelity.py [FILE]``.

Every difference in it is measured here, by running the library on the inputs of tests/golden and comparing with the
published results stored beside them. A difference beyond its limit, or the name of a test that does not exist, stops
the script. About a minute on one core.
"""

from __future__ import annotations

import ast
import datetime
import json
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning
import torch
from numpy.typing import NDArray
from torch import Tensor

from hiast.data.augmentation.copy_paste import HardClassAugmentation, hard_class_paste
from hiast.files import write_atomically
from hiast.models import DeepLabV2, Discriminator, Teacher, load_published_weights
from hiast.objectives import (
    HIASTLoss,
    adversarial_loss,
    discriminator_input,
    normalized_entropy,
    source_cross_entropy,
)
from hiast.pseudo_labels import Argmax, ClassBalanced, Constant, InstanceAdaptive, RoundStatistics, select
from hiast.training import OptimizerSettings, Schedule
from hiast.training.optim import set_lrs

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"
TEXTS = Path(__file__).with_name("fidelity_rules.json")


@dataclass(frozen=True)
class Difference:
    """A measured difference; ``limit`` is what the project promises."""

    what: str
    value: float
    limit: float
    unit: str = ""
    note: str = ""

    def __str__(self) -> str:
        if self.value > self.limit:
            raise SystemExit(f"{self.what}: the difference {self.value:g} is beyond {self.limit:g}.")
        shown = "0" if self.value == 0 else f"{self.value:.1e}" if self.value < 1 else f"{self.value:g}"
        return f"{self.what} {shown}{self.unit}{self.note}"


def load(name: str) -> dict[str, NDArray[Any]]:
    """All arrays of a golden file."""
    with np.load(GOLDEN / name) as arrays:
        return dict(arrays)


def relative(found: Tensor | NDArray[Any], wanted: NDArray[Any]) -> float:
    """Largest absolute difference over the largest absolute value of ``wanted``."""
    return float(np.abs(np.asarray(found) - wanted).max() / np.abs(wanted).max())


# -- pseudo-labels ----------------------------------------------------------------------------------------------

POLICIES: dict[str, Callable[[int, dict[str, Any]], Any]] = {
    "IAS": lambda classes, p: InstanceAdaptive(classes, p["alpha"], p["beta"], p["gamma"]),
    "CBST": lambda classes, p: ClassBalanced(classes, p["p"], p["interval"]),
    "CT": lambda classes, p: Constant(classes, p["threshold"]),
    "NT": lambda classes, _: Argmax(classes),
}


@dataclass
class Selected:
    """What one golden selection gave, ours against theirs."""

    arrays: dict[str, NDArray[Any]]
    labels: NDArray[np.uint8]
    thresholds: list[Any]
    statistics: RoundStatistics


def run_selection(arrays: dict[str, NDArray[Any]], parameters: dict[str, Any]) -> Selected:
    """Select with the policy and groups of a golden file."""
    classes = len(arrays["class_pixels"])
    size = parameters["batch_size"]
    confidence, prediction = (torch.from_numpy(arrays[key]) for key in ("confidence", "prediction"))
    groups = list(zip(confidence.split(size), prediction.split(size), strict=True))
    statistics = RoundStatistics(classes, parameters["mean_gamma"])
    labels, thresholds = [], []
    for (group, _), found in zip(
        groups, select(groups, POLICIES[parameters["policy"]](classes, parameters)), strict=True
    ):
        statistics.update(group, found.labels)
        labels.append(found.labels.numpy())
        thresholds.append(found.thresholds)
    return Selected(arrays, np.concatenate(labels), thresholds, statistics)


def selections(policy: str) -> list[Selected]:
    """All golden selections of one policy."""
    found = []
    for path in sorted(GOLDEN.glob("select_*.npz")):
        arrays = load(path.name)
        parameters = json.loads(str(arrays["parameters_json"]))
        if parameters["policy"] == policy:
            found.append(run_selection(arrays, parameters))
    return found


def image_pixels_differ(one: Selected) -> int:
    """Entries of "pixels of a class in an image" that differ."""
    published = json.loads(str(one.arrays["image_pixels_json"]))
    wanted = np.zeros_like(np.asarray(one.statistics.image_pixels))
    names = [str(name) for name in one.arrays["image_names"]]
    for class_index, entries in published.items():
        for name, pixels in entries:
            wanted[names.index(str(name)), int(class_index)] = pixels
    return int((wanted != one.statistics.image_pixels).sum())


def exact_policy(policy: str) -> list[Difference]:
    """Labels, counts, thresholds and means of a policy whose labels are equal."""
    found = selections(policy)
    thresholds = [
        float(np.abs(np.array(one.thresholds) - one.arrays["thresholds_per_group"]).max())
        for one in found
        if "thresholds_per_group" in one.arrays
    ]
    return [
        Difference("labels", sum((o.labels != o.arrays["pseudo_labels"]).sum() for o in found), 0, " pixels"),
        Difference("pixels per image", sum(image_pixels_differ(o) for o in found), 0),
        *([Difference("thresholds", max(thresholds), 1e-7)] if thresholds else []),
        Difference(
            "class means",
            max(
                float(
                    np.abs(
                        np.nan_to_num(o.statistics.class_mean_confidence) - o.arrays["class_mean_confidence"]
                    ).max()
                )
                for o in found
            ),
            1e-6,
        ),
    ]


def class_balanced() -> list[Difference]:
    """The published threshold is rounded to float16, so pixels that near to it may differ."""
    found = selections("CBST")
    gap = [float(np.abs(np.array(o.thresholds) - o.arrays["thresholds_per_group"]).max()) for o in found]
    far = 0
    for one in found:
        limit = one.arrays["thresholds_per_group"][0][one.arrays["prediction"]]
        clear = np.abs(one.arrays["confidence"] - limit) > 5e-4
        far += int((one.labels != one.arrays["pseudo_labels"])[clear].sum())
    return [
        Difference(
            "labels", sum((o.labels != o.arrays["pseudo_labels"]).sum() for o in found), np.inf, " pixels"
        ),
        Difference("labels further than 5e-4 from the threshold", far, 0, " pixels"),
        Difference("thresholds", max(gap), 5e-4),
    ]


# -- losses -----------------------------------------------------------------------------------------------------


def loss_term(term: str, key: str, region: str = "ignored") -> list[Difference]:
    """One term of the self-training loss over all golden inputs, value and gradient."""
    values, gradients, empty = [0.0], [0.0], 0
    for path in sorted(GOLDEN.glob("loss_*.npz")):
        arrays = load(path.name)
        logits = torch.from_numpy(arrays["logits"]).requires_grad_()
        labels, teacher = (torch.from_numpy(arrays[k]) for k in ("pseudo_labels", "teacher_probabilities"))
        value = HIASTLoss(region=region)(logits, labels, teacher)[term]
        (gradient,) = torch.autograd.grad(value, logits)
        if np.isnan(arrays[key]):
            empty += 1
            if not (torch.isfinite(value) and torch.isfinite(gradient).all()):
                raise SystemExit(f"{path.name}: {term} is not finite.")
            continue
        values.append(abs(value.item() - float(arrays[key])) / abs(float(arrays[key])))
        gradients.append(relative(gradient, arrays[f"grad_{key}"]))
    note = f"; in {empty} input{'s' * (empty > 1)} NaN is published, ours is finite" if empty else ""
    return [
        Difference("value", max(values), 1e-5),
        Difference("gradient", max(gradients), 1e-5, note=note),
    ]


def discriminator_by_recipe(seed: int) -> Discriminator:
    """The discriminator with the weights that tests/golden/README.md describes."""
    made = Discriminator(19)
    state = made.state_dict()
    for index, (name, shape) in enumerate(json.loads((GOLDEN / "discriminator_keys.json").read_text())):
        values = np.random.default_rng([seed, index]).standard_normal(shape)
        values *= np.sqrt(2 / np.prod(shape[1:])) if len(shape) == 4 else 0.1
        state[name].copy_(torch.from_numpy(values.astype(np.float32)))
    return made


def warmups() -> Iterator[dict[str, float]]:
    """Relative differences of every warm-up variant."""
    for maps in ("softmax", "entropy"):
        for kind in ("mse", "bce"):
            arrays = load(f"warmup_{maps}_{kind}.npz")
            judge = discriminator_by_recipe(int(arrays["weight_seed"]))
            source, target = (torch.from_numpy(arrays[f"{d}_logits"]) for d in ("source", "target"))
            target.requires_grad_()
            of_source, of_target = (judge(discriminator_input(z, maps)) for z in (source, target))
            adversarial = adversarial_loss(of_target, 0, kind)
            (gradient,) = torch.autograd.grad(adversarial, target, retain_graph=True)
            discriminator = (adversarial_loss(of_source, 0, kind) + adversarial_loss(of_target, 1, kind)) / 2
            values = {
                "adversarial": adversarial,
                "discriminator": discriminator,
                "target_entropy": normalized_entropy(target),
                "source_cross_entropy": source_cross_entropy(
                    source, torch.from_numpy(arrays["source_labels"])
                ),
            }
            yield {
                **{k: abs(v.item() - float(arrays[k])) / abs(float(arrays[k])) for k, v in values.items()},
                "gradient": relative(gradient, arrays["grad_target_adversarial"]),
                "outputs": max(
                    relative(of_source.detach(), arrays["discriminator_source_output"]),
                    relative(of_target.detach(), arrays["discriminator_target_output"]),
                ),
            }


# -- network, pasting, optimization -----------------------------------------------------------------------------


def deeplab() -> list[Difference]:
    """The full network with drawn weights, loaded through the reader of published checkpoints."""
    sys.path.insert(0, str(ROOT / "tests" / "models"))
    from published_weights import published_weights

    arrays = load("deeplab_v2.npz")
    model = DeepLabV2().eval()
    state = published_weights(GOLDEN / "official_checkpoint_keys.json", int(arrays["weight_seed"]))
    report = load_published_weights(model, state)
    coarse, full = [], []
    with torch.inference_mode():
        for size in ("65x97", "64x128"):
            image = torch.from_numpy(arrays[f"image_{size}"])
            coarse.append(relative(model.coarse(image), arrays[f"coarse_logits_{size}"]))
            full.append(relative(model(image), arrays[f"logits_{size}"]))
    return [
        Difference("keys missing", len(report.missing), 0),
        Difference("coarse logits", max(coarse), 1e-4),
        Difference("logits", max(full), 1e-4),
    ]


def pasting() -> tuple[list[Difference], list[Difference]]:
    """Hard classes with their donors, and the pasted images."""
    chances, donors, classes, pixels = [], 0, 0, 0
    for path in sorted(GOLDEN.glob("copy_paste_*.npz")):
        arrays = load(path.name)
        names = [f"im_{index:02d}" for index in range(len(arrays["labels"]))]
        counts = np.stack([np.bincount(one[one != 255], minlength=19) for one in arrays["labels"]])
        hard = HardClassAugmentation(count=int(arrays["selected_num_classes"])).hard_classes(
            arrays["class_values"], counts.astype(np.int64), names
        )
        classes += int(tuple(arrays["hard_classes"]) != hard.hard_classes)
        published = arrays["class_probs"][arrays["hard_classes"]]
        chances.append(relative(hard.probabilities[arrays["hard_classes"]], published / published.sum()))
        listed = json.loads(str(arrays["samples_with_class_json"]))
        for k in hard.hard_classes:
            donors += len({f"im_{donor:02d}.png" for donor in hard.donors(k)} ^ set(listed[str(k)]))
        for index, (image, labels) in enumerate(zip(arrays["images"], arrays["labels"], strict=True)):
            donor = int(str(arrays["drawn_file"][index])[3:5])
            result = hard_class_paste(
                image, labels, arrays["images"][donor], arrays["labels"][donor], arrays["hard_classes"]
            )
            for ours, key in zip(result, ("out_images", "out_labels", "out_masks"), strict=True):
                pixels += int((ours != arrays[key][index]).sum())
    draws = [
        Difference("lists of hard classes", classes, 0),
        Difference("probabilities", max(chances), 1e-12),
        Difference("donors", donors, 0),
    ]
    return draws, [Difference("images, labels and masks", pixels, 0, " values")]


def cosine(steps: int = 8000, rate: float = 3e-6) -> list[Difference]:
    """Every learning rate of a round, for backbone and head, against torch's own scheduler."""
    network = DeepLabV2(2, layers=(1, 1, 1, 1), width=1)
    ours = OptimizerSettings(lr=rate).build(network)
    theirs = torch.optim.Adam(
        [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": r} for r in (rate, 10 * rate)]
    )
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(theirs, steps, eta_min=0.001 * rate)
    largest = 0.0
    for step in range(steps + 1):
        set_lrs(ours, Schedule(), step, steps)
        for a, b in zip(ours.param_groups, theirs.param_groups, strict=True):
            largest = max(largest, abs(a["lr"] - b["lr"]) / b["lr"])
        theirs.step()
        scheduler.step()
    return [Difference(f"rate at each of {steps + 1:,} steps", largest, 1e-6)]


def moving_average(updates: int = 100) -> list[Difference]:
    """The teacher after many updates against float64 arithmetic."""
    torch.manual_seed(0)
    student = torch.nn.Linear(50, 20)
    teacher = Teacher(student, 0.999)
    average = student.weight.detach().double()
    for _ in range(updates):
        with torch.no_grad():
            student.weight.add_(torch.randn_like(student.weight))
        teacher.update(student)
        average = 0.999 * average + 0.001 * student.weight.detach().double()
    found = dict(teacher.network.named_parameters())["weight"].detach().double()
    return [Difference(f"weights after {updates} updates", relative(found, average.numpy()), 1e-6)]


def measure() -> dict[str, list[Difference]]:
    """All measured differences, by the key of their rule."""
    warmup: dict[str, float] = {}
    for variant in warmups():
        warmup = {key: max(value, warmup.get(key, 0.0)) for key, value in variant.items()}
    draws, pasted = pasting()
    return {
        "instance_adaptive": exact_policy("IAS"),
        "constant": exact_policy("CT"),
        "argmax": exact_policy("NT"),
        "class_balanced": class_balanced(),
        "cross_entropy": loss_term("cross_entropy", "cross_entropy"),
        "kld_confident": loss_term("kld_confident", "kld_confident"),
        "entropy_ignored": loss_term("entropy_ignored", "entropy_ignored"),
        **{
            f"consistency_{region}": loss_term("consistency", f"consistency_{region}", region)
            for region in ("ignored", "confident", "all")
        },
        "total": loss_term("total", "total"),
        "source_cross_entropy": [Difference("value", warmup["source_cross_entropy"], 1e-5)],
        "adversarial": [
            Difference("value", warmup["adversarial"], 1e-5),
            Difference("gradient", warmup["gradient"], 1e-5),
        ],
        "discriminator": [
            Difference("loss", warmup["discriminator"], 1e-5),
            Difference("outputs", warmup["outputs"], 1e-5),
        ],
        "target_entropy": [Difference("value", warmup["target_entropy"], 1e-5)],
        "deeplab": deeplab(),
        "hard_classes": draws,
        "pasting": pasted,
        "cosine": cosine(),
        "teacher": moving_average(),
    }


# -- the page ---------------------------------------------------------------------------------------------------


def existing_tests() -> set[str]:
    """``folder/test_file.py::test_name`` of every test function."""
    found = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                found.add(f"{path.relative_to(ROOT / 'tests').as_posix()}::{node.name}")
    return found


def proofs(names: list[str], known: set[str]) -> str:
    """Test ids for a cell of a table.

    Raises:
        SystemExit: The test does not exist.
    """
    for name in names:
        if name not in known:
            raise SystemExit(f"The test {name} does not exist.")
    return "<br>".join(f"`{name}`" for name in names)


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def page() -> str:
    """The whole document."""
    texts = json.loads(TEXTS.read_text())
    known = existing_tests()
    differences = measure()
    missing = differences.keys() ^ {row["key"] for row in texts["measured"]}
    if missing:
        raise SystemExit(f"{TEXTS.name} and the measurements differ in {', '.join(sorted(missing))}.")
    measured = [
        [
            row["rule"],
            row["published"],
            row["ours"],
            proofs(row["tests"], known),
            "; ".join(str(difference) for difference in differences[row["key"]]),
        ]
        for row in texts["measured"]
    ]
    reasoned, defects = (
        [[row["rule"], row["published"], row["ours"], proofs(row["tests"], known)] for row in texts[part]]
        for part in ("reasoned", "defects")
    )
    deviations = [
        [row["rule"], row["published"], row["ours"], row["option"], proofs(row["tests"], known)]
        for row in texts["deviations"]
    ]
    made = (
        f"Measured on {datetime.date.today().isoformat()} by `python docs/_scripts/make_fidelity.py` on "
        f"{processor()}, one thread, Python {platform.python_version()}, torch {torch.__version__}, "
        f"NumPy {np.__version__}, "
        f"Lightning {pytorch_lightning.__version__}."
    )
    columns = ["rule", "published", "ours", "proven by"]
    return "\n".join(
        [
            "# Fidelity to the published method\n",
            "What the published implementation computes, what this library computes, and how it is proven. Tests are "
            "named below `tests/`.\n",
            made + "\n",
            "## Equal to the published numbers\n",
            f"{len(list(GOLDEN.glob('*.npz')))} files in `tests/golden` hold inputs and the results of the published "
            "implementation in float32. The last column is the largest difference over all of them: of labels and "
            "counts in pixels, of thresholds, means absolute, of losses, gradients, logits and rates relative to the "
            "largest value. The rates and the teacher, which have no golden file, are compared with torch's "
            "`CosineAnnealingLR` and with float64 arithmetic.\n",
            table([*columns, "largest difference"], measured),
            "## Equal to the rule, by tests alone\n",
            table(columns, reasoned),
            "## Deviations, and the option that gives the published behavior\n",
            table(["rule", "published", "ours by default", "option", "proven by"], deviations),
            "## Published defects that cannot happen here\n",
            table(["defect", "published", "ours", "proven by"], defects),
        ]
    )


def processor() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    named = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), None)
    return named or platform.processor() or platform.machine()


def main() -> None:
    """Write the page."""
    torch.set_num_threads(1)
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "explanation" / "fidelity.md"
    write_atomically(target, page().encode())
    print(f"Wrote {target}.")


if __name__ == "__main__":
    main()
