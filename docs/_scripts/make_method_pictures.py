"""Draw the pictures of docs/explanation/method.md from drawn scenes.

Usage: ``python docs/_scripts/make_method_pictures.py [FOLDER]``.

Selection, statistics, hard-class pasting and color augmentation are the library's own. Only the teacher is a stand-in:
it takes the true labels of the scene, spoils some of them, and makes up a confidence (``stand_in_teacher``).
"""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from PIL import Image

from hiast.classes import CITYSCAPES_19, IGNORED
from hiast.data.augmentation.copy_paste import HardClassAugmentation, HardClasses, hard_class_paste
from hiast.data.augmentation.strong import StrongAugmentation
from hiast.files import write_atomically
from hiast.pseudo_labels import ClassBalanced, Constant, InstanceAdaptive, Policy, RoundStatistics, select
from hiast.scenes import CAMERA, draw_scene

SIZE = (256, 512)
IMAGES = 120
GROUP = 2
CLASSES = len(CITYSCAPES_19)
# What the stand-in knows well, what less, and what it takes a class for where it is wrong.
SURENESS = dict(
    zip(
        CITYSCAPES_19.names,
        (5.6, 3.0, 4.2, 1.5, 1.4, 1.8, 2.0, 2.2, 4.0, 1.8, 5.4, 2.8, 1.3, 4.0, 1.4, 1.6, 0.9, 1.0, 1.7),
        strict=True,
    )
)
TAKEN_FOR = {
    "sidewalk": "road", "wall": "building", "fence": "vegetation", "terrain": "vegetation", "rider": "person",
    "truck": "car", "bus": "truck", "train": "bus", "motorcycle": "bicycle", "bicycle": "motorcycle",
    "pole": "building", "traffic light": "traffic sign", "traffic sign": "building", "person": "rider",
}  # fmt: skip
SHOWN = ("road", "building", "car", "person", "traffic sign", "sidewalk", "bus", "rider", "train")
TEXT, FAINT = "#222222", "#8a8a8a"


@dataclass(frozen=True)
class Scene:
    """A drawn scene and what the stand-in teacher says of it."""

    image: NDArray[np.uint8]
    prediction: NDArray[np.uint8]
    confidence: NDArray[np.float32]


def main() -> None:
    """Write all pictures."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "assets" / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    mpl.rcParams.update(
        {"font.family": "DejaVu Sans", "font.size": 10, "text.color": TEXT, "axes.edgecolor": FAINT}
    )
    scenes = [make_scene(index) for index in range(IMAGES)]
    adaptive = run(InstanceAdaptive(CLASSES), scenes)
    policies: dict[str, Policy] = {
        "Constant, threshold 0.9": Constant(CLASSES),
        "ClassBalanced, proportion 0.2": ClassBalanced(CLASSES),
        "InstanceAdaptive 0.5, 0.9, 8": InstanceAdaptive(CLASSES),
    }
    kept = {title: run(policy, scenes)[0] for title, policy in policies.items()}
    save(folder / "thresholds.png", draw_thresholds(adaptive[1]))
    crowded = most_classes(scenes, adaptive[0])
    save(folder / "regions.png", draw_regions(scenes[crowded], adaptive[0][crowded]))
    save(folder / "policies.png", draw_policies(scenes, kept, crowded))
    target, chosen, donor = telling_paste(adaptive[0], adaptive[2])
    save(folder / "hpla.png", draw_paste(scenes, adaptive[0], adaptive[2], (target, chosen, donor)))
    save(folder / "views.png", draw_views(scenes[target]))


def hard_classes_of(statistics: RoundStatistics) -> HardClasses:
    """Hard classes and donors of the round."""
    pixels = statistics.image_pixels
    names = [f"{index:04d}" for index in range(len(pixels))]
    return HardClassAugmentation().hard_classes(statistics.class_mean_confidence, pixels, names)


def most_classes(scenes: list[Scene], labels: list[NDArray[np.uint8]]) -> int:
    """The scene that shows most: many classes of some size, neither all nor few of its pixels kept."""

    def worth(index: int) -> float:
        shares = np.bincount(labels[index].ravel(), minlength=256) / labels[index].size
        classes = np.count_nonzero(shares[:CLASSES] > 0.002)
        return classes - 30 * abs(float(shares[IGNORED]) - 0.3)

    return max(range(len(scenes)), key=worth)


def telling_paste(labels: list[NDArray[np.uint8]], statistics: RoundStatistics) -> tuple[int, int, int]:
    """A plain target image, and of 40 draws (class, donor) the one that shows the most hard classes."""
    hard = hard_classes_of(statistics)
    shares = statistics.image_pixels[:, list(hard.hard_classes)] / labels[0].size
    draws = [drawn for seed in range(40) if (drawn := hard.draw(np.random.default_rng(seed)))]
    chosen, donor = max(draws, key=lambda drawn: np.count_nonzero(shares[drawn[1]] > 0.003))
    covered = statistics.image_pixels.sum(1) / labels[0].size
    target = int(np.argmax(covered - 10 * shares.sum(1)))
    return target, chosen, donor


def make_scene(index: int) -> Scene:
    """Draw scene ``index`` of the camera look and let the stand-in teacher label it."""
    image, labels = draw_scene([21, index], SIZE, CAMERA)
    prediction, confidence = stand_in_teacher(labels, np.random.default_rng([21, index]))
    return Scene(image, prediction, confidence)


def stand_in_teacher(
    labels: NDArray[np.uint8], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Prediction and confidence made up from true labels [H, W].

    The log-odds of being right are the class's sureness plus smooth noise. Where they are low, the class is taken for
    one it resembles; near borders everything is less sure.
    """
    known = _without_void(labels)
    names = np.array(CITYSCAPES_19.names)
    sureness = np.array([SURENESS[name] for name in names], np.float32)[known]
    border = cv2.morphologyEx(known, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    near = np.exp(-cv2.distanceTransform((~border).astype(np.uint8), cv2.DIST_L2, 5) / 3)
    odds = 0.9 * sureness + 1.1 * _noise(rng, 22) + 0.5 * _noise(rng, 5) + 0.7 * rng.standard_normal()
    mistaken = np.arange(CLASSES, dtype=np.uint8)
    for name, other in TAKEN_FOR.items():
        mistaken[CITYSCAPES_19.index(name)] = CITYSCAPES_19.index(other)
    wrong = odds + 0.9 * _noise(rng, 14) < -0.1
    prediction = np.where(wrong, mistaken[known], known).astype(np.uint8)
    confidence = 1 / (1 + np.exp(-(0.35 + np.abs(odds) * (1 - 0.8 * near))))
    return prediction, np.clip(confidence, 1 / CLASSES, 0.9999).astype(np.float32)


def _without_void(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Fill void with the nearest class: a network always names one."""
    void = (labels == IGNORED).astype(np.uint8)
    _, nearest = cv2.distanceTransformWithLabels(void, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    table = np.zeros(int(nearest.max()) + 1, np.uint8)
    table[nearest[void == 0]] = labels[void == 0]
    filled: NDArray[np.uint8] = table[nearest]
    return filled


def _noise(rng: np.random.Generator, sigma: float) -> NDArray[np.float32]:
    field = cv2.GaussianBlur(rng.standard_normal(SIZE).astype(np.float32), (0, 0), sigma)
    return field / field.std()


def run(
    policy: Policy, scenes: list[Scene]
) -> tuple[list[NDArray[np.uint8]], NDArray[np.float64] | None, RoundStatistics]:
    """Pseudo-labels of all scenes, thresholds [groups, C] and statistics, by the library's own rules."""
    groups = [
        (
            torch.from_numpy(np.stack([scene.confidence for scene in scenes[start : start + GROUP]])),
            torch.from_numpy(np.stack([scene.prediction for scene in scenes[start : start + GROUP]])),
        )
        for start in range(0, len(scenes), GROUP)
    ]
    statistics = RoundStatistics(CLASSES)
    labels, thresholds = [], []
    for (confidence, _), selection in zip(groups, select(groups, policy), strict=True):
        statistics.update(confidence, selection.labels)
        labels.extend(selection.labels.numpy())
        if selection.thresholds is not None:
            thresholds.append(selection.thresholds)
    return labels, np.array(thresholds) if thresholds else None, statistics


def draw_thresholds(thresholds: NDArray[np.float64] | None) -> Figure:
    """Thresholds of a few classes over the groups, named at the end of their lines."""
    assert thresholds is not None
    whole = np.vstack([np.full(CLASSES, 0.9), thresholds])
    figure = Figure(figsize=(8.6, 4.3), layout="constrained")
    axes = figure.subplots()
    axes.axhline(0.9, color=FAINT, linewidth=1, linestyle=(0, (4, 3)))
    lines = {name: (whole[:, CITYSCAPES_19.index(name)], _color(name)) for name in SHOWN}
    lines["a constant 0.9"] = (np.full(len(whole), 0.9), np.array([0.5, 0.5, 0.5]))
    places = _spread([float(values[-1]) for values, _ in lines.values()], 0.011)
    end = len(whole) - 1
    for (name, (values, color)), place in zip(lines.items(), places, strict=True):
        if name in SHOWN:
            axes.plot(values, color=color, linewidth=2, solid_capstyle="round")
        axes.annotate(
            name, (end, values[-1]), (1.03 * end, place), color=0.85 * color, va="center", annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": FAINT, "linewidth": 0.6, "shrinkA": 1, "shrinkB": 1},
        )  # fmt: skip
    axes.set(xlabel="group of two images", ylabel="threshold of the class", xlim=(0, end))
    axes.set_title("Thresholds follow each class (InstanceAdaptive)", loc="left", fontsize=12)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e8e8e8")
    axes.set_axisbelow(True)
    return figure


def draw_regions(scene: Scene, labels: NDArray[np.uint8]) -> Figure:
    """Image, prediction, confidence, pseudo-label and the two regions with their losses."""
    figure = Figure(figsize=(8.4, 5.4), layout="constrained")
    grid = figure.subplots(2, 2)
    ignored = labels == IGNORED
    show(grid[0, 0], scene.image, "Target image, no label")
    show(grid[0, 1], CITYSCAPES_19.colorize(scene.prediction), "Most probable class")
    picture = grid[1, 0].imshow(scene.confidence, cmap="viridis", vmin=0.5, vmax=1)
    grid[1, 0].set_title("Confidence of that class", loc="left", fontsize=10)
    grid[1, 0].axis("off")
    figure.colorbar(picture, ax=grid[1, 0], orientation="horizontal", fraction=0.05, pad=0.02, aspect=40)
    share = f"{100 * (1 - ignored.mean()):.0f} %"
    show(grid[1, 1], _hatched(labels), f"Pseudo-label: {share} confident, the rest ignored (striped)")
    figure.legend(
        handles=_legend(scene.prediction), loc="outside lower center", ncols=7, frameon=False, fontsize=8.5
    )
    return figure


def draw_policies(scenes: list[Scene], kept: dict[str, list[NDArray[np.uint8]]], shown: int) -> Figure:
    """One image under three policies, and the share of each class that they keep over all images."""
    figure = Figure(figsize=(10.2, 5.3), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=(1, 1.35))
    pictures = top.subplots(1, len(kept))
    predicted = np.bincount(np.concatenate([scene.prediction.ravel() for scene in scenes]), minlength=CLASSES)
    axes = bottom.subplots()
    for column, (title, labels) in enumerate(kept.items()):
        show(pictures[column], _hatched(labels[shown]), title)
        pixels = np.bincount(np.concatenate([label.ravel() for label in labels]), minlength=256)[:CLASSES]
        shares = pixels / np.maximum(predicted, 1)
        axes.bar(
            np.arange(CLASSES) + 0.28 * (column - 1), 100 * shares, 0.26,
            color=("#b8b8b8", "#6fa8c9", "#d9622b")[column], label=title,
        )  # fmt: skip
    axes.set_xticks(np.arange(CLASSES), CITYSCAPES_19.names, rotation=45, ha="right")
    axes.set(ylabel="pixels kept, % of predicted", xlim=(-0.7, CLASSES - 0.3), ylim=(0, 100))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e8e8e8")
    axes.set_axisbelow(True)
    axes.legend(frameon=False, ncols=3, loc="lower right", bbox_to_anchor=(1, 0.98), fontsize=9)
    return figure


def draw_paste(
    scenes: list[Scene],
    labels: list[NDArray[np.uint8]],
    statistics: RoundStatistics,
    drawn: tuple[int, int, int],
) -> Figure:
    """An image and its pseudo-label, the donor's hard pixels, and the two joined."""
    target, chosen, donor = drawn
    hard = hard_classes_of(statistics)
    image, pasted, mask = hard_class_paste(
        scenes[target].image, labels[target], scenes[donor].image, labels[donor], hard.hard_classes
    )
    copied = mask != IGNORED
    faded = np.where(copied[..., None], scenes[donor].image, 255 - (255 - scenes[donor].image) // 5).astype(
        np.uint8
    )
    figure = Figure(figsize=(10.2, 4.0), layout="constrained")
    grid = figure.subplots(2, 3)
    show(grid[0, 0], scenes[target].image, "Target image")
    show(grid[1, 0], _hatched(labels[target]), "its pseudo-label")
    show(grid[0, 1], faded, f"Donor, drawn for '{CITYSCAPES_19.names[chosen]}': its hard classes")
    show(
        grid[1, 1],
        np.where(copied[..., None], CITYSCAPES_19.colorize(labels[donor]), 255),
        "their pseudo-labels",
    )
    show(grid[0, 2], image, "What the networks see")
    show(grid[1, 2], _hatched(pasted), "and learn from")
    return figure


def draw_views(scene: Scene) -> Figure:
    """The weak view and three strong views of it."""
    figure = Figure(figsize=(10.2, 1.75), layout="constrained")
    strong = StrongAugmentation()
    row = figure.subplots(1, 4)
    show(row[0], scene.image, "Weak view: the teacher sees it")
    for position, seed in enumerate((1, 8, 16), start=1):
        title = "Strong views: the student sees one" if position == 1 else ""
        show(row[position], strong(np.random.default_rng(seed), scene.image), title)
    return figure


def show(axes: Axes, picture: NDArray[np.uint8], title: str) -> None:
    """Show a picture under its title, without axes."""
    axes.imshow(picture)
    axes.set_title(title, loc="left", fontsize=10)
    axes.axis("off")


def _hatched(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Colors of the labels; ignored pixels are striped, so that they look like no class."""
    rows, columns = np.indices(labels.shape)
    stripes = np.where((rows + columns) % 12 < 4, 205, 245).astype(np.uint8)[..., None]
    return np.where((labels == IGNORED)[..., None], stripes, CITYSCAPES_19.colorize(labels))


def _legend(labels: NDArray[np.uint8]) -> list[Patch]:
    present = [int(index) for index in np.unique(labels) if index != IGNORED]
    names = [CITYSCAPES_19.names[index] for index in present]
    return [Patch(color=_color(name), label=name) for name in names]


def _color(name: str) -> NDArray[np.float64]:
    return np.array(CITYSCAPES_19.colors[CITYSCAPES_19.index(name)]) / 255


def _spread(values: list[float], gap: float) -> list[float]:
    """Positions for text next to ``values``, at least ``gap`` apart."""
    places = np.array(values)
    for _ in range(200):
        order = np.argsort(places)
        for low, high in pairwise(order):
            lack = gap - (places[high] - places[low])
            if lack > 1e-9:
                places[low] -= lack / 2
                places[high] += lack / 2
    return [float(place) for place in places]


def save(path: Path, figure: Figure) -> None:
    """Write a figure as PNG, the same bytes on every run."""
    buffer = io.BytesIO()
    figure.savefig(
        buffer, format="png", dpi=100, bbox_inches="tight", pad_inches=0.08, metadata={"Software": None}
    )
    packed = io.BytesIO()
    Image.open(buffer).convert("RGB").save(packed, format="PNG", optimize=True)
    write_atomically(path, packed.getvalue())
    print(f"{path}: {len(packed.getvalue()) / 1024:.0f} KB")


if __name__ == "__main__":
    main()
