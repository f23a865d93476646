"""What is written of a prediction: labels, overlay, confidence, polygons; and the class shares of all files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hiast.classes import LabelSpace
from hiast.errors import InputError
from hiast.evaluation.inference import Prediction
from hiast.evaluation.masks import mask_path
from hiast.files import write_atomically
from hiast.formats.regions import outer_first, outline, regions
from hiast.prediction.ids import id_lookup

Kind = Literal["labels", "overlay", "confidence", "polygons", "csv"]
Pixels = NDArray[np.uint8]

KINDS: tuple[Kind, ...] = get_args(Kind)
_QUALITY = 92


def check_kinds(kinds: Collection[str]) -> tuple[Kind, ...]:
    """The outputs asked for.

    Raises:
        InputError: One does not exist, or there is none.
    """
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown or not kinds or isinstance(kinds, str):
        raise InputError(f"save is {kinds}: give a list of some of [{', '.join(KINDS)}].")
    return tuple(kind for kind in KINDS if kind in kinds)


def overlay(image: Pixels, labels: Pixels, classes: LabelSpace, opacity: float) -> Pixels:
    """The image uint8 [H, W, 3] under the colors of its labels uint8 [H, W]; ``opacity`` 0 shows the image alone."""
    blended: Pixels = cv2.addWeighted(image, 1 - opacity, classes.colorize(labels), opacity, 0)
    return blended


@dataclass(frozen=True)
class Writer:
    """Writes the outputs of single images, each file whole.

    Args:
        folder: Output folder; each kind has a folder in it.
        kinds: What is written.
        classes: Names and colors.
        ids: Id of each class in label files.
        opacity: Opacity of the colors in overlays, 0..1.
    """

    folder: Path
    kinds: tuple[Kind, ...]
    classes: LabelSpace
    ids: tuple[int, ...]
    opacity: float = 0.5

    def paths(self, name: str) -> dict[Kind, Path]:
        """Files of an image."""
        suffixes: Mapping[Kind, str] = {
            "labels": ".png",
            "overlay": ".jpg",
            "confidence": ".png",
            "polygons": ".json",
        }
        places = {kind: mask_path(self.folder / kind, name) for kind in self.kinds if kind in suffixes}
        return {
            kind: path.with_name(path.name.removesuffix(".png") + suffixes[kind])
            for kind, path in places.items()
        }

    def write(self, name: str, image: Pixels, prediction: Prediction) -> None:
        """Write all files of an image."""
        for kind, path in self.paths(name).items():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, self.content(kind, image, prediction))

    def content(self, kind: Kind, image: Pixels, prediction: Prediction) -> bytes:
        """Content of a file."""
        if kind == "labels":
            return label_png(prediction.labels, self.ids, self.classes)
        if kind == "confidence":
            return _encode(".png", np.rint(prediction.confidence * 255).astype(np.uint8))
        if kind == "overlay":
            picture = overlay(image, prediction.labels, self.classes, self.opacity)
            return _encode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        return polygon_json(prediction.labels, self.classes)


def label_png(labels: Pixels, ids: tuple[int, ...], classes: LabelSpace) -> bytes:
    """PNG of ids: 8 bits with a palette of the classes' colors, 16 bits where an id does not fit."""
    values = id_lookup(ids)[labels]
    if values.dtype == np.uint16:
        return _encode(".png", values)
    palette = np.zeros((256, 3), np.uint8)
    palette[list(ids)] = classes.colors
    picture = Image.fromarray(values)
    picture.putpalette(palette.tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def polygon_json(labels: Pixels, classes: LabelSpace) -> bytes:
    """Outlines of all regions as polygons of Cityscapes: drawn in their order they give the labels back.

    A polygon runs through the centers of the outermost pixels of a region, has no holes, and is followed by those
    that lie within it.
    """
    names = (*classes.names, *["unlabeled"] * (256 - len(classes)))
    shapes = [
        {"label": names[region.label], "polygon": outline(region).tolist()}
        for region in outer_first(list(regions(labels, ignored=True)))
    ]
    content = {"imgHeight": labels.shape[0], "imgWidth": labels.shape[1], "objects": shapes}
    return json.dumps(content, ensure_ascii=False).encode("utf-8")


def shares_csv(records: Sequence[Mapping[str, Any]], classes: LabelSpace) -> bytes:
    """Table of all files: size, mean confidence, and the share of each class in 0..1."""
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["name", "height", "width", "mean_confidence", *classes.names])
    for record in sorted(records, key=lambda record: str(record["name"])):
        pixels = record["height"] * record["width"]
        shares = [f"{count / pixels:.6f}" for count in record["counts"]]
        table.writerow(
            [record["name"], record["height"], record["width"], f"{record['confidence']:.6f}", *shares]
        )
    return text.getvalue().encode("utf-8")


def _encode(suffix: str, pixels: NDArray[Any], options: Sequence[int] = ()) -> bytes:
    encode: Callable[..., tuple[bool, NDArray[np.uint8]]] = cv2.imencode
    return encode(suffix, pixels, list(options))[1].tobytes()
