"""Which file system a folder is on, how much is free there, and whether that is enough."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hiast.inspection.estimate import Need, Place, readable
from hiast.inspection.findings import Finding


@dataclass(frozen=True)
class Disk:
    """The file system of a folder.

    Attributes:
        folder: It need not exist.
        device: Id of the file system; folders with the same id share free space.
        free: Bytes.
    """

    folder: Path
    device: int
    free: int


def find_disk(folder: Path) -> Disk:
    """The file system that a folder is on or would be made on."""
    existing = folder.absolute()
    while not existing.exists():
        existing = existing.parent
    return Disk(folder, existing.stat().st_dev, shutil.disk_usage(existing).free)


def shortages(needs: Sequence[Need], disks: Mapping[Place, Disk]) -> list[Finding]:
    """A finding for each file system that is too small for all that goes to it.

    Args:
        needs: Estimated disk that the run needs.
        disks: "disk" or "cache" -> where it goes; what goes to no disk is not looked at.
    """
    found = []
    for device in dict.fromkeys(disk.device for disk in disks.values()):
        shared = {place: disk for place, disk in disks.items() if disk.device == device}
        wanted = sum(need.bytes for need in needs if need.place in shared)
        free = min(disk.free for disk in shared.values())
        if wanted > free:
            folders = " and ".join(str(disk.folder) for disk in shared.values())
            text = (
                f"The disk of {folders} has {readable(free)} free, the run needs about {readable(wanted)}: make room "
                "or choose another."
            )
            found.append(Finding("error", next(iter(shared)), text))
    return found
