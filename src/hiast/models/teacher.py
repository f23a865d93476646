"""The teacher: a moving average of the student."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn


class Teacher(nn.Module):
    """Exponential moving average of a student, always in eval mode (Tarvainen and Valpola 2017).

    Args:
        student: Network to copy. Later calls must give one of the same architecture.
        ema_decay: Share of the old average kept by an update, 0..1; 1 never changes.
        average_buffers: Also average floating-point buffers (running statistics of batch normalization) instead of
            copying them.
    """

    def __init__(self, student: nn.Module, ema_decay: float = 0.999, average_buffers: bool = False) -> None:
        super().__init__()
        self.ema_decay = ema_decay
        self.average_buffers = average_buffers
        self.network = copy.deepcopy(student).requires_grad_(False).eval()
        self.training = False
        self._compiled: Callable[[Tensor], Tensor] | None = None

    def forward(self, images: Tensor) -> Tensor:
        """Logits of the averaged network, which stays in eval mode."""
        logits: Tensor = self.network(images)
        return logits

    def coarse(self, images: Tensor) -> Tensor:
        """Logits of the averaged network before their upsampling, see ``SegmentationNetwork.coarse``."""
        logits: Tensor = (self._compiled or self.network.coarse)(images)  # type: ignore[operator]
        return logits

    def compile_coarse(self, mode: str | None) -> None:
        """Compile ``coarse`` in a mode of ``torch.compile``."""
        self._compiled = torch.compile(self.network.coarse, mode=mode)  # type: ignore[arg-type]

    @torch.no_grad()
    def update(self, student: nn.Module) -> None:
        """Average the parameters: ``ema_decay * own + (1 - ema_decay) * student``; copy or average the buffers."""
        own, theirs = _parallel(list(self.network.parameters()), list(student.parameters()))
        self._average(own, theirs)
        if self.average_buffers:
            self._average_buffers(student)
        else:
            self._copy_buffers(student)

    def _average(self, own: list[Tensor], theirs: list[Tensor]) -> None:
        torch._foreach_lerp_(own, theirs, 1.0 - self.ema_decay)

    def _average_buffers(self, student: nn.Module) -> None:
        own, theirs = _parallel(list(self.network.buffers()), list(student.buffers()))
        for dtype, mine, others in _by_dtype(own, theirs):
            if dtype.is_floating_point:
                self._average(mine, others)
            else:
                torch._foreach_copy_(mine, others)

    @torch.no_grad()
    def reset(self, student: nn.Module) -> None:
        """Take over parameters and buffers of ``student`` as they are."""
        own, theirs = _parallel(list(self.network.parameters()), list(student.parameters()))
        torch._foreach_copy_(own, theirs)
        self._copy_buffers(student)

    def train(self, mode: bool = True) -> Teacher:
        """Stay in eval mode whatever ``mode`` says."""
        return super().train(False)

    def _copy_buffers(self, student: nn.Module) -> None:
        own, theirs = _parallel(list(self.network.buffers()), list(student.buffers()))
        for _, mine, others in _by_dtype(own, theirs):
            torch._foreach_copy_(mine, others)


def _by_dtype(
    own: Sequence[Tensor], theirs: Sequence[Tensor]
) -> Iterator[tuple[torch.dtype, list[Tensor], list[Tensor]]]:
    """Parallel lists of tensors of one type, which one call can take; batch normalization also counts in integers."""
    for dtype in dict.fromkeys(tensor.dtype for tensor in own):
        pairs = [(mine, other) for mine, other in zip(own, theirs, strict=True) if mine.dtype == dtype]
        yield dtype, [mine for mine, _ in pairs], [other for _, other in pairs]


def _parallel(own: Sequence[Tensor], theirs: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    if [tensor.shape for tensor in own] != [tensor.shape for tensor in theirs]:
        raise ValueError("Teacher and student are different networks.")
    return list(own), list(theirs)
