"""Which images a run is trained and measured on, so that a start with other ones is noticed."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from hiast.files import write_json
from hiast.report.files import FORMAT, IMAGES, read_record

log = logging.getLogger(__name__)


def record_images(folder: Path, listed: Mapping[str, Sequence[str]], *, begun: bool) -> None:
    """Keep in ``images.json`` how many images there are and a hash of their names; warn if a run goes on with others.

    Args:
        folder: The run directory.
        listed: Role of the images, such as "target train" -> their names, in order.
        begun: Whether something has been trained, by an earlier start.
    """
    known = (read_record(folder / IMAGES) or {}).get("images", {}) if begun else {}
    now = {
        role: {
            "count": len(names),
            "names": hashlib.sha256("\n".join(names).encode("utf-8", "surrogateescape")).hexdigest(),
        }
        for role, names in listed.items()
    }
    for role, entry in now.items():
        before = known.get(role, entry)
        if before != entry:
            log.warning(
                "The images of %s are no longer those that the run began with (%d then, %d now): bring them back, or "
                "start another run for results of one set of images.",
                role,
                before["count"],
                entry["count"],
            )
    write_json(folder / IMAGES, {"format": FORMAT, "images": now | known})  # What the run began with stays.
