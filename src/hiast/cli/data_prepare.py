"""``hiast-data-prepare``: unpack downloads, and write the cache that makes reading fast."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hiast.cli.command import run_command
from hiast.counted import counted
from hiast.errors import InputError

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from hiast.data import DatasetDataModule
    from hiast.data.io.cache import Cache
    from hiast.data.loading.segmentation import SegmentationDataset

USAGE = """
hiast-data-prepare +scenario=NAME [key=value ...]

Decode the training images of both sides once. hiast-train +scenario=NAME data.cache=raw then reads the crops it needs
without decoding whole files. What is up to date is left alone; an interrupted call is resumed.

  data_root=DIR                 where the datasets lie (default: data)
  data.cache=zstd               raw (default): fastest, 3 bytes per pixel; zstd: about 40 % of that, nothing lost
                                either; jpeg: about 16 %, values differ a little
  data.cache_folder=DIR         where the cache goes (default: DATA_ROOT/cache)
  unpack=true archives=DIR      first unpack the downloaded zip archives of GTA5, Cityscapes, ACDC and Dark
                                Zurich; with data.cache=null
                                nothing else is done
  threads=8                     images at a time (default: as many as there are processors)
"""


def main() -> None:
    """Entry point."""
    sys.exit(run_command(prepare_data, "data_prepare", USAGE))


def prepare_data(config: DictConfig) -> None:
    """Unpack if asked for, then write what is missing in the cache, if there is to be one."""
    from rich.console import Console

    from hiast.cli.build import build_cache, build_classes, build_domains, single_datasets
    from hiast.cli.config import plain

    classes = build_classes(config)
    plain(config)
    cache = build_cache(config)
    if cache is None and not config.unpack:
        raise InputError(
            "data.cache is null, so there is nothing to prepare: choose raw, zstd or jpeg, or say unpack=true."
        )
    source, target = build_domains(config, classes, cached=False)
    if config.unpack:
        _unpack(config, [*single_datasets(source), *single_datasets(target)])
    console = Console(soft_wrap=True)
    if cache is None:
        console.print(f"The archives are unpacked in {config.data_root}.")
        return
    datasets = [module.train_dataset() for module in single_datasets(source)]
    if config.selection.source_fraction:
        # Another method may train on the source images that this one holds out.
        datasets += [module.val_dataset() for module in single_datasets(source) if module.has_val]
    target.prepare_data()  # Frames of videos are images only once they are extracted.
    datasets += [module.train_dataset(labeled=False) for module in single_datasets(target)]
    _check_room(datasets, cache, config.data.cache)
    written = _write(datasets, cache, config)
    total = sum(map(len, datasets))
    console.print(
        f"{counted(total, 'image')} in {cache.directory}: {written} written, {total - written} up to date."
    )
    console.print(f"Train with data.cache={config.data.cache}.")


def _write(datasets: list[SegmentationDataset], cache: Cache, config: DictConfig) -> int:
    from hiast.data.io.cache import FORMATS, prepare
    from hiast.progress import track

    written = 0
    for dataset in datasets:
        images = prepare(
            dataset.listing,
            cache.root,
            cache.directory,
            tiles=FORMATS[config.data.cache],
            threads=config.threads,
            max_pixels=dataset.max_pixels,
        )
        written += sum(track(images, len(dataset), dataset.listing.name))
    return written


def _check_room(datasets: list[SegmentationDataset], cache: Cache, name: str) -> None:
    """Refuse to begin where the disk is too small, judging by the sizes of some images.

    Raises:
        InputError: Says how much is needed and how much is free.
    """
    from hiast.data.io.cache import SHARES, cached_path
    from hiast.data.io.images import image_size
    from hiast.inspection.disk import find_disk
    from hiast.inspection.estimate import readable

    needed = 0.0
    for dataset in datasets:
        missing = [
            pair
            for pair in dataset.listing.pairs
            if not cached_path(cache.directory, cache.root, pair.image).exists()
        ]
        some = missing[:: max(1, len(missing) // 50)]
        sizes = (image_size(pair.image, dataset.max_pixels) for pair in some)
        pixels = sum(height * width for height, width in sizes)
        needed += 3 * SHARES[name] * pixels * len(missing) / max(1, len(some))
    free = find_disk(cache.directory).free
    if needed > free:
        raise InputError(
            f"{cache.directory} needs about {readable(needed)} more and has {readable(free)} free: choose another "
            "data.cache_folder, or data.cache=zstd or jpeg."
        )


def _unpack(config: DictConfig, modules: list[DatasetDataModule]) -> None:
    from hiast.data.io.archives import find_archives, list_members, missing_bytes, unpack
    from hiast.inspection.disk import find_disk
    from hiast.inspection.estimate import readable
    from hiast.progress import track

    root = Path(config.data_root)
    known = {module.archives: None for module in modules if module.archives is not None}
    if not known:
        raise InputError("None of the scenario's datasets is downloaded as archives: say unpack=false.")
    for archives in known:
        members = list_members(archives, find_archives(archives, Path(config.archives)), root)
        needed, free = missing_bytes(members), find_disk(root).free
        if needed > free:
            raise InputError(
                f"{root} needs {readable(needed)} to unpack and has {readable(free)} free: make room."
            )
        for _ in track(unpack(members), len(members), f"unpack {archives.folder}", unit="files"):
            pass


if __name__ == "__main__":
    main()
