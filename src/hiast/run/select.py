"""Selection at the end of a round and of a run: which candidate is used."""

from __future__ import annotations

import logging
from pathlib import Path

from hiast.callbacks.checkpoint import link_or_copy
from hiast.run.results import candidate_name
from hiast.run.stages import Stage
from hiast.selection import CandidateRecords, choose, raised, return_to, write_choice

log = logging.getLogger(__name__)


def better_start(folder: Path, stage: Stage, number: int) -> Path | None:
    """An earlier candidate that the next round or stage should start from; None: the end of this round is the best one.

    Args:
        folder: Run directory.
        stage: Stage of the round that has just ended.
        number: Its number, from 1.
    """
    back = return_to(CandidateRecords(folder).read(), candidate_name(stage, number))
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
    candidates = CandidateRecords(folder).read()
    if not candidates:
        return
    choice = choose(candidates)
    write_choice(folder, choice, raised(candidates))
    link_or_copy(folder / choice.selected.checkpoint, folder / "selected.ckpt")
    log.info("selected.ckpt is %s. %s", choice.selected.name, choice.reason)
