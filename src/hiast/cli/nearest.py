"""What a user may have meant by a name that does not exist."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import SequenceMatcher

RENAMED: dict[str, str] = {
    "accumulate": "accumulate_grad_batches",
    "batch_norm": "freeze_bn",
    "checkpoint_every": "checkpoint_every_n_steps",
    "class_normalised": "class_normalized",
    "colours": "colors",
    "discriminator_rate": "discriminator_lr",
    "every": "every_n_steps",
    "floor": "min_lr_factor",
    "head_factor": "head_lr_mult",
    "kind": "name",
    "label_colours": "label_colors",
    "learning_rate": "lr",
    "momentum": "ema_decay",
    "optimiser": "optimizer",
    "record_every": "log_every_n_steps",
    "shape": "name",
    "statistics": "bn_statistics",
    "steps": "max_steps",
}
"""Names of version 0.1 -> names of today."""

MEANT: dict[str, str] = {
    "bs": "batch_size",
    "checkpoint_path": "init_from",
    "ckpt": "init_from",
    "ckpt_path": "init_from",
    "ema": "ema_decay",
    "epochs": "max_steps",
    "gpus": "devices",
    "iterations": "max_steps",
    "iters": "max_steps",
    "max_epochs": "max_steps",
    "num_epochs": "max_steps",
    "num_steps": "max_steps",
    "output_dir": "run",
    "resume": "run",
    "resume_from": "run",
    "root": "data_root",
    "save_dir": "run",
    "val_every": "every_n_steps",
    "workers": "num_workers",
}
"""Names that other programs use -> names of this one."""

MOVED: dict[str, str] = {
    "hiast.data.copy_paste": "hiast.data.augmentation.copy_paste",
    "hiast.data.folder": "hiast.data.datasets.folder",
    "hiast.data.fourier": "hiast.data.augmentation.fourier",
    "hiast.data.scenes": "hiast.scenes",
    "hiast.data.strong": "hiast.data.augmentation.strong",
    "hiast.data.transforms": "hiast.data.augmentation.weak",
    "hiast.training.OptimiserSettings": "hiast.training.OptimizerSettings",
    "no_regularisers": "no_regularizers",
}
"""Places and choices of version 0.1 -> those of today."""


def moved(target: str) -> str | None:
    """Where what was called ``target`` in version 0.1 is today."""
    for old, new in MOVED.items():
        if target == old or target.startswith(f"{old}."):
            return new + target[len(old) :]
    return None


def meant_by(key: str, siblings: Iterable[str], everywhere: Collection[str]) -> list[str]:
    """Known keys that an unknown one may stand for, the likeliest first; at most three.

    Args:
        key: Dotted key that does not exist.
        siblings: Names that exist in its place.
        everywhere: All dotted keys that exist.
    """
    outer, _, name = key.rpartition(".")
    here = {sibling: f"{outer}.{sibling}".strip(".") for sibling in siblings}
    for table in (RENAMED, MEANT):
        new = table.get(name)
        if new in here:
            return [here[new]]
        if new is not None and (found := _ending(new, outer, everywhere)):
            return found
    close = _closest(name, here, 0.75)
    if close:
        return [here[close]]
    found = _ending(name, outer, everywhere)
    if found:
        return found
    old = _closest(name, {word: "" for word in RENAMED if RENAMED[word] in here}, 0.75)
    if old:
        return [here[RENAMED[old]]]
    close = _closest(name, here, 0.6)
    if close or outer:
        return [here[close]] if close else []
    last = {known.rpartition(".")[2]: known for known in everywhere}
    close = _closest(name, last, 0.8)
    return _ending(close, outer, everywhere) if close else []


def closest(word: str, words: Iterable[str]) -> str | None:
    """The word that is most alike, if one is alike enough to be meant."""
    return _closest(word, dict.fromkeys(words, ""), 0.6)


def _ending(name: str, outer: str, everywhere: Collection[str]) -> list[str]:
    """Keys with this last part: those that share most with ``outer``, at most three."""
    found = [known for known in everywhere if known.rpartition(".")[2] == name]
    shared = {known: _shared(known, outer) for known in found}
    most = max(shared.values(), default=0)
    return [known for known in found if shared[known] == most][:3]


def _shared(known: str, outer: str) -> int:
    """How many parts two dotted keys have in common from the left."""
    count = 0
    for one, other in zip(known.split("."), outer.split("."), strict=False):
        if one != other:
            break
        count += 1
    return count


def _closest(word: str, words: dict[str, str], least: float) -> str | None:
    ratios = {known: SequenceMatcher(None, word.lower(), known.lower()).ratio() for known in words}
    best = max(ratios, key=lambda known: ratios[known], default=None)
    return best if best is not None and ratios[best] >= least else None
