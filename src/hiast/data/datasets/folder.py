"""Any dataset from config: where images and labels lie, and what the ids or colors in the labels mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from hiast.classes import LabelSpace
from hiast.data.datasets.annotations import Format, open_format
from hiast.data.datasets.base import DatasetDataModule
from hiast.data.datasets.folder_listing import Unlabeled, list_folder
from hiast.data.datasets.label_tables import LabelCoding
from hiast.data.datasets.label_tables import parse_color as parse_color
from hiast.data.datasets.own_classes import label_space as label_space
from hiast.data.io.images import ImageReader
from hiast.data.io.listing import Listing, Split
from hiast.data.io.patterns import Pattern
from hiast.errors import InputError
from hiast.formats import AnnotationReader


class FolderDataModule(DatasetDataModule):
    """Any dataset from config.

    Images are PNG, JPEG, TIFF, WebP, BMP, GIF, JPEG 2000, PNM, AVIF or HEIC; labels are PNG, TIFF, BMP, GIF, PNM, NPY
    or NPZ.

    Args:
        data_root: Folder that the patterns are relative to.
        images: Pattern of the training images: "images/{name}.{jpg,png}", see ``patterns.Pattern``.
        labels: Pattern of their labels; None: they have none.
        names: Class names; None: those of the scenario.
        ids: Raw id -> class name (or None to ignore it); None: id 0 is the first class, and so on.
        label_colors: For labels that hold colors: "red,green,blue" or "#rrggbb" -> class name.
        first_channel: Ids are in the first channel of labels with several channels.
        one_hot: Labels have one channel per class.
        threshold: For soft or JPEG masks of two classes: value from which on a pixel is of the second class, such as
            128, or a share below 1 such as 0.5.
        id_factor: Ids are stored multiplied by this number, such as 51.
        join_labels: An image has several label files: a mask for each object, or for each class if the pattern of the
            labels has a field ``{class}``.
        format: Annotations of another program in the place of ``labels``: the name of a format of ``hiast.formats``
            such as coco, or a reader, or a function that makes one.
        annotations: File, folder or zip file of the annotations, relative to ``data_root``.
        format_options: Further settings of the format, such as ``ignored``, names in the annotations to ignore.
        unlabeled: "error" or "skip": what to do with images without label where labels are needed.
        bands: The one or three bands to use of images with several, counted from 1.
        value_range: [low, high]: values that become black and white in images of more than 8 bits.
        colors: Class name -> color, for pictures.
        val: "labeled": the images that have a label are for validation, all others for training without labels.
        val_images: Pattern of the validation images; None: see ``val``, ``val_fraction`` and ``val_list``.
        val_labels: Pattern of their labels.
        val_annotations: Annotations of the validation images in the place of ``val_labels``, of the same format.
        name: Name for messages.
        classes: The scenario's classes; None: the dataset's own.
        class_map: The dataset's class name -> the scenario's, or None to ignore it.
        **options: As ``DatasetDataModule``.

    Raises:
        InputError: Names are missing, or settings do not make sense or contradict each other.

    Examples:
        >>> from hiast.scenes import write_gta5
        >>> _ = write_gta5("data", 2, (64, 128))
        >>> data = FolderDataModule(
        ...     "data/GTA5", "images/{name}.png", "labels/{name}.png", names=["road", "sky"], ids={7: "road", 23: "sky"}
        ... )
        >>> sample = data.train_dataset(labeled=True)[0]
        >>> sample["image"].shape, sample["image"].dtype, sample["label"].shape
        (torch.Size([3, 64, 128]), torch.uint8, torch.Size([64, 128]))
    """

    reads_only = True

    def __init__(
        self,
        data_root: Path | str,
        images: str,
        labels: str | None = None,
        *,
        names: Sequence[str] | None = None,
        ids: Mapping[int, str | None] | None = None,
        label_colors: Mapping[str, str | None] | None = None,
        first_channel: bool = False,
        one_hot: bool = False,
        threshold: float | None = None,
        id_factor: int = 1,
        join_labels: bool = False,
        format: Format | None = None,
        annotations: Path | str | None = None,
        format_options: Mapping[str, Any] | None = None,
        unlabeled: Unlabeled = "error",
        bands: Sequence[int] | None = None,
        value_range: Sequence[float] | None = None,
        colors: Mapping[str, str] | None = None,
        val: Literal["labeled"] | None = None,
        val_images: str | None = None,
        val_labels: str | None = None,
        val_annotations: Path | str | None = None,
        name: str = "folder",
        classes: LabelSpace | None = None,
        class_map: Mapping[str, str | None] | None = None,
        **options: Any,
    ) -> None:
        own = classes if names is None else label_space(names, colors)
        if own is None:
            raise InputError(f"{name}: give the names of its classes.")
        self.own_classes = own
        self.title = name
        self.val = val
        self.one_split = val_images is None and val is None
        self.patterns: dict[Split, tuple[str, str | None]] = {
            "train": (images, labels),
            "val": (val_images or images, val_labels if val_images else labels),
        }
        root = Path(data_root).expanduser()
        opened = partial(
            open_format, format, options=format_options, root=root, names=own.names, dataset=name
        )
        of_val_alone = annotations is None and val_annotations is not None
        train = None if of_val_alone else opened(annotations)
        self.annotations: dict[Split, AnnotationReader | None] = {
            "train": train,
            "val": opened(val_annotations) if val_annotations is not None else None if val_images else train,
        }
        self.unlabeled: Unlabeled = unlabeled
        self.join_labels = join_labels
        self.coding = LabelCoding(ids, label_colors, first_channel, one_hot, threshold, id_factor)
        self.reader = ImageReader(bands, value_range)  # type: ignore[arg-type]  # checked and made tuples there
        self._check_settings(val_labels or val_annotations, class_map)
        super().__init__(data_root, classes, class_map, **options)

    @property
    def own_classes_present(self) -> frozenset[str]:
        """The classes that the id or color table names."""
        if self.annotations["train"] is not None:
            return super().own_classes_present
        names = self.coding.table(self.own_classes, self.title).names
        return frozenset(name for name in names.values() if name is not None)

    def listing(self, split: Split, *, labeled: bool) -> Listing:
        """The files of a split."""
        if self.val == "labeled":
            return self._by_label(split, labeled=labeled)
        if not labeled:
            return self._list(split, labeled=False)
        if not self._has_labels(split):
            raise InputError(
                f"{self.title}: {'val_images is' if split == 'val' else 'images are'} given without "
                f"{'val_labels' if split == 'val' else 'labels'}; give both, or remove the images."
            )
        return self._list(split, labeled=True)

    def _list(self, split: Split, *, labeled: bool, unlabeled: Unlabeled | None = None) -> Listing:
        images, labels = self.patterns[split]
        return list_folder(
            self.data_root,
            images,
            labels if labeled else None,
            self.own_classes,
            coding=self.coding,
            reader=self.reader,
            size_mismatch=self.size_mismatch or "error",
            unlabeled=unlabeled or self.unlabeled,
            join_labels=self.join_labels,
            annotations=self.annotations[split] if labeled else None,
            name=f"{self.title} {split}",
        )

    def _by_label(self, split: Split, *, labeled: bool) -> Listing:
        """The images with a label for validation, those without for training."""
        if split == "val":
            return self._list(split, labeled=True, unlabeled="skip")
        if labeled:
            raise InputError(
                f"{self.title}: val is 'labeled', which keeps all labeled images for validation, so that none are left "
                "for training with labels; use it for a target."
            )
        held = {pair.name for pair in self._list("val", labeled=True, unlabeled="skip").pairs}
        every = self._list(split, labeled=False)
        rest = tuple(pair for pair in every.pairs if pair.name not in held)
        if not rest:
            raise InputError(
                f"{self.title}: all of its {len(every.pairs)} images have a label, so that val: labeled leaves none to "
                "train on; use val_list or val_fraction."
            )
        return replace(every, pairs=rest)

    def _divide(self, listing: Listing, split: Split) -> Listing:
        """As the labeled images alone are divided, where only these are for validation: no image is on both sides."""
        if listing.labeled or self.unlabeled == "error" or not self._has_labels(split):
            return super()._divide(listing, split)
        held = {pair.name for pair in super()._divide(self._list(split, labeled=True), "val").pairs}
        pairs = tuple(pair for pair in listing.pairs if (pair.name in held) == (split == "val"))
        return replace(listing, name=f"{self.title} {split}", pairs=pairs)

    def _has_labels(self, split: Split) -> bool:
        return self.patterns[split][1] is not None or self.annotations[split] is not None

    def _check_settings(self, val_labels: object, class_map: object) -> None:
        """Refuse settings that contradict each other."""
        if self.patterns["train"][1] is not None and self.annotations["train"] is not None:
            raise InputError(f"{self.title}: labels and format are given; give one of them.")
        coded = self.coding.given + ["join_labels"] * self.join_labels
        annotated = any(reader is not None for reader in self.annotations.values())
        if coded and annotated and not any(labels for _, labels in self.patterns.values()):
            raise InputError(
                f"{self.title}: {coded[0]} is given together with format, and annotations name their classes "
                f"themselves; remove {' and '.join(coded)}."
            )
        if self.one_split and val_labels is not None:
            raise InputError(
                f"{self.title}: val_labels is given without val_images; give both, or use val_list."
            )
        if self.val not in (None, "labeled"):
            raise InputError(f"{self.title}: val is '{self.val}'; write labeled, or leave it out.")
        if self.val and (
            self.patterns["val"][0] != self.patterns["train"][0] or not self._has_labels("train")
        ):
            raise InputError(
                f"{self.title}: val: labeled needs labels for some of the images, and no val_images."
            )
        if self.unlabeled not in get_args(Unlabeled):
            raise InputError(f"{self.title}: unlabeled is '{self.unlabeled}': choose error or skip.")
        if class_map is not None and not isinstance(class_map, Mapping):
            raise InputError(
                f"{self.title}: class_map is {class_map}; write own class: scenario's class for each."
            )
        for pattern in (*self.patterns["train"], *self.patterns["val"]):
            if pattern is not None:
                Pattern(pattern)
        self.coding.table(self.own_classes, self.title)
