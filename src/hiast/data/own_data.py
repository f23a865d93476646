"""Datamodules of own data, from config: folders of images, and videos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hiast.classes import LabelSpace
from hiast.data import folder, video
from hiast.data.datamodule import DatasetDataModule
from hiast.data.listing import Listing, Split
from hiast.errors import InputError


class FolderDataModule(DatasetDataModule):
    """Any dataset from config.

    Args:
        data_root: Folder that the patterns are relative to.
        images: Pattern of the training images, see ``hiast.data.folder.listing``.
        labels: Pattern of their labels; None: they have none.
        names: Class names; None: those of the scenario.
        ids: Raw id -> class name (or None to ignore it); None: id 0 is the first class, and so on.
        label_colours: For labels that hold colours: "red,green,blue" or "#rrggbb" -> class name.
        first_channel: Ids are in the first channel of labels with several channels.
        colours: Class name -> colour, for pictures.
        val_images: Pattern of the validation images; None: see ``val_fraction`` and ``val_list``.
        val_labels: Pattern of their labels.
        name: For messages.
        classes: The scenario's classes; None: the dataset's own.
        class_map: The dataset's class name -> the scenario's, or None to ignore it.
        **options: As ``DatasetDataModule``.

    Raises:
        InputError: Names are missing or do not make sense, or ``val_labels`` is given alone.
    """

    def __init__(
        self,
        data_root: Path | str,
        images: str,
        labels: str | None = None,
        *,
        names: Sequence[str] | None = None,
        ids: Mapping[int, str | None] | None = None,
        label_colours: Mapping[str, str | None] | None = None,
        first_channel: bool = False,
        colours: Mapping[str, str] | None = None,
        val_images: str | None = None,
        val_labels: str | None = None,
        name: str = "folder",
        classes: LabelSpace | None = None,
        class_map: Mapping[str, str | None] | None = None,
        **options: Any,
    ) -> None:
        if val_labels is not None and val_images is None:
            raise InputError(f"{name}: val_labels is given without val_images; give both, or use val_list.")
        own = classes if names is None else folder.label_space(names, colours)
        if own is None:
            raise InputError(f"{name}: give the names of its classes.")
        self.own_classes = own
        self.one_split = val_images is None
        self.patterns: dict[Split, tuple[str, str | None]] = {
            "train": (images, labels),
            "val": (val_images or images, val_labels if val_images else labels),
        }
        self.title = name
        self.ids = None if ids is None else dict(ids)
        self.label_colours = None if label_colours is None else dict(label_colours)
        self.first_channel = first_channel
        super().__init__(data_root, classes, class_map, **options)

    @property
    def own_classes_present(self) -> frozenset[str]:
        """The classes that the id or colour table names."""
        table = self.ids if self.label_colours is None else self.label_colours
        if table is None:
            return frozenset(self.own_classes.names)
        return frozenset(name for name in table.values() if name is not None)

    def listing(self, split: Split, *, labelled: bool) -> Listing:
        """The files of a split."""
        images, labels = self.patterns[split]
        if labelled and labels is None:
            raise InputError(
                f"{self.title}: the {split} images have no labels; give the pattern of the labels."
            )
        return folder.listing(
            self.data_root,
            images,
            labels if labelled else None,
            self.own_classes,
            ids=self.ids,
            label_colours=self.label_colours,
            first_channel=self.first_channel,
            name=f"{self.title} {split}",
        )


class VideoDataModule(DatasetDataModule):
    """Every n-th frame of videos, as an unlabelled target.

    Args:
        data_root: Folder that the pattern is relative to.
        videos: Pattern of the video files: "drives/**/*.mp4".
        classes: The scenario's classes.
        every: Take frames 0, every, 2 * every, ...
        frames: Folder to keep the frames in, as PNG; None: ``frames`` in ``data_root``.
        name: For messages.
        **options: As ``DatasetDataModule``.
    """

    one_split = True

    def __init__(
        self,
        data_root: Path | str,
        videos: str,
        classes: LabelSpace,
        *,
        every: int = 30,
        frames: Path | str | None = None,
        name: str = "video",
        **options: Any,
    ) -> None:
        self.own_classes = classes
        self.videos = videos
        self.every = every
        self.frames = Path(data_root) / "frames" if frames is None else Path(frames)
        self.title = name
        super().__init__(data_root, classes, **options)

    @property
    def has_val(self) -> bool:
        """False: frames have no labels to validate with."""
        return False

    def prepare_data(self) -> None:
        """Extract the frames; Lightning calls this in one process per machine."""
        self.train_dataset(labelled=False)

    def listing(self, split: Split, *, labelled: bool) -> Listing:
        """All frames; those that are missing are extracted first."""
        if labelled:
            raise InputError(f"{self.title}: the frames of videos have no labels; use them as a target.")
        return video.listing(self.data_root, self.videos, self.frames, self.every, self.classes, self.title)
