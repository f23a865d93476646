"""Selection at the end of a round and of a run: which candidate is used."""

from __future__ import annotations

import logging
from pathlib import Path

from hiast.callbacks.checkpoint import link_or_copy
from hiast.run.results import candidate_name
from hiast.run.stages import Stage
from hiast.selection import Candidate, CandidateRecords, choose, raised, return_to, write_choice

log = logging.getLogger(__name__)


def better_start(folder: Path, stage: Stage, number: int) -> Path | None:
    """An earlier candidate that the next round or stage should start from; None: the end of this round is the best one.

    Args:
        folder: Run directory.
        stage: Stage of the round that has just ended.
        number: Its number, from 1.
    """
    candidates, latest = _at_hand(folder), candidate_name(stage, number)
    if latest not in [candidate.name for candidate in candidates]:
        return None
    back = return_to(candidates, latest)
    if back is None:
        return None
    name, reason = back.selected.name, back.reason
    log.warning("%s, round %d: training goes on from %s. %s", stage.name, number, name, reason)
    return folder / back.selected.checkpoint


def select(folder: Path) -> None:
    """Select one of the candidates of a run without labels, and keep it as ``selected.ckpt``.

    Args:
        folder: Run directory.
    """
    candidates = _at_hand(folder)
    if not candidates:
        return
    choice = choose(candidates)
    write_choice(folder, choice, raised(candidates))
    link_or_copy(folder / choice.selected.checkpoint, folder / "selected.ckpt")
    log.info("selected.ckpt is %s. %s", choice.selected.name, choice.reason)


def _at_hand(folder: Path) -> list[Candidate]:
    """Candidates of a run whose checkpoints are there; someone may have removed some to save space."""
    candidates = CandidateRecords(folder).read()
    # A look of which no checkpoint was kept has none to miss.
    missing = [one for one in candidates if one.checkpoint and not (folder / one.checkpoint).is_file()]
    if missing:
        log.warning(
            "%s: not there any more, so it cannot be selected.",
            ", ".join(str(folder / one.checkpoint) for one in missing),
        )
    return [one for one in candidates if one not in missing]
