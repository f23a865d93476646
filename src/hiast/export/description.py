"""What an exported file says of itself: classes, colors, normalization, size and outputs, as one JSON text."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from hiast.classes import LabelSpace
from hiast.errors import InputError

KEY = "hiast"
"""Name of the entry in a file's metadata."""

FORMAT = 1
OUTPUTS = ("labels", "confidence", "logits")
"""Outputs of an exported network: uint8 [B, H, W], float32 [B, H, W] in 0..1, float32 [B, C, H, W]."""


@dataclass(frozen=True)
class Description:
    """Metadata of an exported network, whose input "images" is uint8 [B, 3, H, W], RGB.

    Attributes:
        classes: The label space.
        mean: Mean per channel that the graph subtracts, for images in 0..1.
        std: Divisor per channel of the graph, likewise.
        size: (height, width) to which the graph resizes images before the network; None: it does not.
        outputs: Some of ``OUTPUTS``.
        precision: 32 or 16, the bits of the network's numbers.
        fixed: (height, width) of all images where the graph takes no other; None: any size.
        facts: Further plain values: scenario, stage, round.
        image_settings: ``bands`` and ``value_range`` by which images of more bits or bands were read in training; what
            reads files, and not the graph, follows them.
    """

    classes: LabelSpace
    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: tuple[int, int] | None
    outputs: tuple[str, ...]
    precision: int = 32
    fixed: tuple[int, int] | None = None
    facts: dict[str, Any] | None = None
    image_settings: dict[str, Any] | None = None

    def to_json(self) -> str:
        """The text that is stored."""
        content = {field.name: getattr(self, field.name) for field in fields(self)}
        content |= {"format": FORMAT, "classes": self.classes.to_dict()}
        return json.dumps(content, ensure_ascii=False)

    @staticmethod
    def from_json(text: str | None, path: Path | str) -> Description:
        """The description that a file holds.

        Raises:
            InputError: It holds none, or one of another version.
        """
        try:
            content = json.loads(text or "null")
            version = content.pop("format")
            if version != FORMAT:
                raise InputError(f"{path} has export format {version}; this version reads format {FORMAT}.")
            size, fixed = content.pop("size"), content.pop("fixed")
            classes = LabelSpace(**content.pop("classes"))
            others: dict[str, Any] = {key: tuple(content.pop(key)) for key in ("mean", "std", "outputs")}
            return Description(
                classes=classes,
                size=None if size is None else (size[0], size[1]),
                fixed=None if fixed is None else (fixed[0], fixed[1]),
                **others,
                **content,
            )
        except (AttributeError, KeyError, TypeError, IndexError) as error:
            raise InputError(
                f"{path} was not exported by hiast-export: it does not name its classes."
            ) from error


def read_safetensors_description(path: Path) -> dict[str, Any]:
    """The config.json that is stored in the header of a safetensors file.

    Raises:
        InputError: The file is missing, damaged or was not exported by this library.
    """
    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(KEY)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} cannot be read as safetensors: {error}") from error
    if text is None:
        raise InputError(f"{path} was not exported by hiast-export: it does not describe its network.")
    config: dict[str, Any] = json.loads(text)
    return config
