"""FiftyOne's dataset on disk (source: docs.voxel51.com, FiftyOneDataset).

metadata.json                the field, and what the values of its masks mean
samples.json                 an entry per image
fields/FIELD/NAME.png        class index plus 1; 0, which FiftyOne does not draw, for ignored pixels
fields/FIELD_confidence/...  confidence from 0 to 255
data/NAME.jpg                if images are copied or linked
"""

from __future__ import annotations

import base64
import io
import json
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hiast.classes import IGNORED, LabelSpace
from hiast.errors import InputError
from hiast.formats.items import Images, Item, Labels, Size, check_name, checked
from hiast.formats.names import NameTable
from hiast.formats.pictures import Picture, check_size, from_colors, from_values, gray_png, read_png
from hiast.formats.sink import Sink, Spool, json_object, open_sink, place_image
from hiast.formats.source import expect, load_json, objects, stem, take

METADATA, SAMPLES, _DATA, _FIELDS = "metadata.json", "samples.json", "data", "fields"


def write_fiftyone(
    path: Path | str,
    items: Iterable[Item],
    classes: LabelSpace,
    *,
    field: str = "pseudo_labels",
    images: Images = "leave",
    overwrite: bool = False,
) -> int:
    """Write label maps as a dataset of FiftyOne.

    Read it there by ``fiftyone.Dataset.from_dir(path, dataset_type=fiftyone.types.FiftyOneDataset)``. Confidence
    becomes a heatmap with steps of 1/255 in the field ``FIELD_confidence``.

    Args:
        path: Folder.
        items: The labeled images; they are taken one by one.
        classes: Class names.
        field: Name of the field of the samples that holds the labels.
        images: Whether the images are put in; if left, the samples refer to them where they are.
        overwrite: Replace an earlier export.

    Returns:
        Number of items written.

    Raises:
        InputError: An item or the name of the field cannot be written, or there is something at ``path`` already.
        OSError: The export cannot be written.
    """
    if not field.isidentifier() or field.startswith("_"):
        raise InputError(f"The field '{field}' must be a name of letters, digits and underscores.")
    targets = {str(index + 1): name for index, name in enumerate(classes.names)}
    metadata = {
        "media_type": "image",
        "info": {"mask_targets": {field: targets}, "default_mask_targets": targets},
    }
    with (
        open_sink(path, (METADATA, SAMPLES, _DATA, _FIELDS), overwrite=overwrite) as sink,
        Spool(sink) as samples,
    ):
        sink.write(METADATA, json.dumps(metadata, ensure_ascii=False, indent=1).encode("utf-8"))
        for item in checked(items, classes):
            samples.add_json(_sample(sink, item, field, images))
            place_image(sink, f"{_DATA}/{item.file_name}", item, images)
        sink.write(SAMPLES, json_object({}, {"samples": samples}))
        return samples.count


def _sample(sink: Sink, item: Item, field: str, images: Images) -> dict[str, Any]:
    place = str(item.image.absolute()) if images == "leave" else f"{_DATA}/{item.file_name}"
    mask = f"{_FIELDS}/{field}/{item.name}.png"
    # 255 becomes 0 and every other label goes up by one.
    sink.write(mask, gray_png(item.labels + np.uint8(1)))
    sample = {
        "filepath": place,
        "tags": [],
        "name": item.name,
        field: {"_cls": "Segmentation", "mask_path": mask},
    }
    if item.confidence is not None:
        heatmap = f"{_FIELDS}/{field}_confidence/{item.name}.png"
        sink.write(heatmap, gray_png(np.rint(item.confidence * 255).astype(np.uint8)))
        sample[f"{field}_confidence"] = {"_cls": "Heatmap", "map_path": heatmap, "range": [0, 255]}
    return sample


class FiftyOneReader:
    """Reads a dataset that FiftyOne, or ``write_fiftyone``, has written to disk.

    Values without a name that are 0 or 255 are ignored. Samples without a label in the field are left out.

    Args:
        path: Folder with ``metadata.json`` and ``samples.json``.
        classes: Class names in the order of their indices.
        ignored: Further names whose pixels are ignored.
        field: Field with the labels; None: the only one of the kind Segmentation.

    Raises:
        InputError: Something is missing or does not fit; the message names the file.
    """

    def __init__(
        self,
        path: Path | str,
        classes: Sequence[str],
        *,
        ignored: Iterable[str] = (),
        field: str | None = None,
    ) -> None:
        self._table = NameTable.of(classes, ignored)
        self.classes = self._table.classes
        self.root = Path(path)
        self._file = self.root / SAMPLES
        samples = _read_samples(self._file)
        self.field = _only_field(samples, self._file) if field is None else field
        labeled = [sample for sample in samples if sample.get(self.field)]
        if not labeled:
            raise InputError(f"{self._file} holds no label in the field '{self.field}': check its name.")
        paths = [take(sample, "filepath", str, self._file) for sample in labeled]
        self._samples = dict(zip(self._names(labeled, paths), labeled, strict=True))
        if len(self._samples) < len(labeled):
            raise InputError(
                f"{self._file} holds two samples of the same name: give each image its own name."
            )
        self._targets = _targets(self.root / METADATA, self.field)

    def _names(self, samples: list[dict[str, Any]], paths: list[str]) -> list[str]:
        """Names that the samples hold, or else the file names of the images."""
        names = []
        for sample, path in zip(samples, paths, strict=True):
            given = sample.get("name")
            names.append(given if isinstance(given, str) else stem(Path(path).name))
            check_name(names[-1], str(self._file))
        return names

    def items(self) -> tuple[str, ...]:
        """Names of the labeled images, sorted."""
        return tuple(sorted(self._samples))

    def read(self, name: str, size: Size | None = None) -> Labels:
        """Label map uint8 [H, W] of an image: class indices, 255 for ignored.

        Args:
            name: One of ``items()``.
            size: (height, width) of the image, to be compared; None: not compared.

        Raises:
            InputError: The mask is missing, damaged, of another size, or holds what stands for no class.
        """
        if name not in self._samples:
            raise InputError(f"{self._file} holds no label of the image '{name}'.")
        label = take(self._samples[name], self.field, dict, self._file)
        picture, where = self._picture(label)
        if picture.values.ndim == 3:
            colors = self._table.split({_color(key): target for key, target in self._targets.items()})
            labels = from_colors(picture.values, {(0, 0, 0): IGNORED} | colors[0], where, colors[1])
        else:
            numbers = {int(key): target for key, target in self._targets.items() if key.isdigit()}
            indices, unknown = self._table.split(numbers)
            without_name = {value: IGNORED for value in (0, IGNORED) if value not in numbers}
            labels = from_values(picture.values, indices | without_name, where, unknown)
        return check_size(labels, size, where)

    def _picture(self, label: dict[str, Any]) -> tuple[Picture, str]:
        """The mask, which lies in a file or within the entry."""
        if label.get("mask_path"):
            file = self.root / take(label, "mask_path", str, self._file)
            try:
                return read_png(file.read_bytes(), file), str(file)
            except OSError as error:
                raise InputError(
                    f"{file} cannot be read ({error.strerror}); the dataset is not complete."
                ) from error
        binary = take(take(label, "mask", dict, self._file), "$binary", dict, self._file)
        text = take(binary, "base64", str, self._file)
        try:
            values = np.load(io.BytesIO(zlib.decompress(base64.b64decode(text))), allow_pickle=False)
        except (ValueError, OSError, zlib.error, EOFError) as error:
            raise InputError(
                f"{self._file}: a mask cannot be decoded ({error}); the file is damaged."
            ) from error
        if (
            values.ndim not in (2, 3)
            or (values.ndim == 3 and values.shape[2] != 3)
            or values.dtype.kind not in "iub"
        ):
            raise InputError(
                f"{self._file}: a mask is {values.dtype} {list(values.shape)}; whole numbers [H, W] are expected."
            )
        return Picture(values), str(self._file)

    def image(self, name: str) -> Path | None:
        """The image file, if it exists."""
        path = self.root / take(self._samples[name], "filepath", str, self._file)
        return path if path.is_file() else None


def class_names(path: Path) -> tuple[str, ...]:
    """Names of the classes of a dataset in a folder, in the order of their values or colors.

    Raises:
        InputError: A file is missing or damaged, or does not say what its masks mean.
    """
    targets = _targets(path / METADATA, _only_field(_read_samples(path / SAMPLES), path / SAMPLES))
    return tuple(targets[key] for key in sorted(targets, key=lambda key: (len(key), key)))


def _read_samples(file: Path) -> list[dict[str, Any]]:
    content = expect(load_json(file), dict, str(file))
    return objects(take(content, "samples", list, file), f"{file}: 'samples'")


def _only_field(samples: list[dict[str, Any]], file: Path) -> str:
    """The field of the kind Segmentation."""
    fields = sorted(
        {
            key
            for sample in samples
            for key, value in sample.items()
            if isinstance(value, dict) and value.get("_cls") == "Segmentation"
        }
    )
    if not fields:
        raise InputError(f"{file} holds no field of segmentations.")
    if len(fields) > 1:
        raise InputError(
            f"{file} holds several fields of segmentations ({', '.join(fields)}): name one (field)."
        )
    return fields[0]


def _targets(file: Path, field: str) -> dict[str, str]:
    """Value or color of a mask, as text -> name."""
    metadata = expect(load_json(file), dict, str(file))
    for place in (metadata, metadata.get("info") or {}):
        targets = (place.get("mask_targets") or {}).get(field) or place.get("default_mask_targets")
        if targets:
            entries = expect(targets, dict, f"{file}: the mask targets")
            return {key: expect(name, str, f"{file}: a mask target") for key, name in entries.items()}
    raise InputError(
        f"{file} does not tell what the values of '{field}' mean: set mask_targets in FiftyOne and export again."
    )


def _color(key: str) -> tuple[int, int, int]:
    try:
        number = int(key.removeprefix("#"), 16)
    except ValueError as error:
        raise InputError(
            f"The mask target '{key}' is not a color: '#rrggbb' is expected for masks of colors."
        ) from error
    return number >> 16 & 255, number >> 8 & 255, number & 255
