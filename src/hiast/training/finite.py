"""Detection of losses that are NaN or infinite, without a wait for the device at every step."""

from __future__ import annotations

from collections.abc import Mapping

import pytorch_lightning as pl
import torch
from torch import Tensor

from hiast.errors import RunError


class NonFiniteLossError(RunError):
    """A loss became NaN or infinite; the message names the step and the term, and says what to try."""


class FiniteCheck:
    """Remembers on the device the first batch whose terms were not finite.

    Attributes:
        interval: Batches between two looks at the flag. 1 looks at each batch before it reaches the weights.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self, interval: int = 1) -> None:
        """Forget everything, and look every ``interval`` batches from now on."""
        self.interval = max(1, interval)
        self._names: tuple[str, ...] = ()
        self._first: Tensor | None = None
        self._values: Tensor | None = None
        self._since = 0

    def update(self, terms: Mapping[str, Tensor], step: int) -> None:
        """Take note of the scalar terms of a batch; nothing is read from the device."""
        values = torch.stack([term.detach().float() for term in terms.values()])
        bad = ~torch.isfinite(values).all()
        if self._first is None or self._values is None:
            self._first = torch.full((), -1, device=values.device)
            self._values = torch.zeros_like(values)
        new = bad & (self._first < 0)
        self._first = torch.where(new, step, self._first)
        self._values = torch.where(new, values, self._values)
        self._names = tuple(terms)
        self._since += 1

    def due(self) -> bool:
        """Whether ``interval`` batches have passed since the last look."""
        return self._since >= self.interval

    def raise_if_bad(self, trainer: pl.Trainer, stage: str, round_number: int, step: int) -> None:
        """Look at the flag, in all processes together.

        Raises:
            NonFiniteLossError: A term was not finite, here or in another process.
        """
        self._since = 0
        first = -1 if self._first is None else int(self._first)
        bad = first >= 0
        if trainer.world_size > 1:
            bad = trainer.strategy.reduce_boolean_decision(bad, all=False)
        if not bad:
            return
        shown, step = (self._shown(), first) if first >= 0 else ("see another process", step)
        raise NonFiniteLossError(
            f"The loss is not finite in stage {stage}, round {round_number}, step {step}: {shown}. {self._advice(step)}"
        )

    def _shown(self) -> str:
        assert self._values is not None
        pairs = zip(self._names, self._values.tolist(), strict=True)
        return ", ".join(f"{name}={value:g}" for name, value in pairs)

    def _advice(self, step: int) -> str:
        try_this = "try a smaller learning rate or trainer.precision=32-true in a new run"
        if not step:
            return f"It is the first step: {try_this}, and look at the images."
        # With a longer interval nothing is saved now: the weights may have taken in what is not finite.
        kept = (
            "is kept in last.ckpt"
            if self.interval == 1
            else "is in last.ckpt, if this stage has saved it yet"
        )
        return (
            f"A state before this step {kept}: {try_this} that starts with init_from=last.ckpt, and look at the "
            "images."
        )
