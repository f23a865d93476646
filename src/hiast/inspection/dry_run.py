"""Dry run: build the data as training does before its first batch, and report every error as a finding."""

from __future__ import annotations

from collections.abc import Sequence

from hiast.counted import counted
from hiast.data import DatasetDataModule, JoinedDataModule, SegmentationDataset
from hiast.data.io.cache import Cache
from hiast.data.io.pairing import MissingLabelsError
from hiast.errors import InputError
from hiast.inspection.file_set import Part, Summary
from hiast.inspection.findings import Finding, of_part


def of_start(module: DatasetDataModule, part: Part, summary: Summary) -> list[Finding]:
    """Everything about one part, and what stops a training that starts with it.

    Args:
        module: The part's dataset, with the cache that training reads from.
        part: Files.
        summary: What they add up to.
    """
    try:
        dataset = module.val_dataset() if part.split == "val" else module.train_dataset(part.labeled)
    except MissingLabelsError:  # The scan names each of them.
        return of_part(part, summary, module.unreadable)
    except InputError as error:
        found = of_part(part, summary, module.unreadable)
        said = any(str(error) in finding.details for finding in found)
        return found if said else [*found, Finding("error", part.title, str(error))]
    found = of_part(part, summary, module.unreadable)
    if module.cache is not None and part.split == "train":
        found += _stale(part, summary, dataset, module.cache)
    return found


def of_order(source: DatasetDataModule | JoinedDataModule, earlier: Sequence[Finding]) -> list[Finding]:
    """What stops training when the source's datasets are joined and put into an order.

    Args:
        source: The source, as training reads it.
        earlier: What was found in its files; nothing is joined where these stop training.
    """
    if any(finding.severity == "error" for finding in earlier):
        return []
    try:
        source.train_order()
    except InputError as error:
        return [Finding("error", "source", str(error))]
    return []


def _stale(part: Part, summary: Summary, dataset: SegmentationDataset, cache: Cache) -> list[Finding]:
    """Cached pictures that training refuses: of another content than the image has now, or damaged."""
    digests = {path: digest for digest, paths in summary.digests.items() for path in paths}
    found = []
    for pair in dataset.listing.pairs:
        try:
            current = cache.digest(pair.image) == digests.get(pair.image)
        except InputError as error:
            found.append(str(error))
        else:
            if not current and pair.image in digests:
                found.append(str(pair.image))
    if not found:
        return []
    count = counted(len(found), "image")
    text = f"{count} changed or damaged since put into the cache {cache.directory}: run hiast-data-prepare again."
    return [Finding("error", part.title, text, tuple(found))]
