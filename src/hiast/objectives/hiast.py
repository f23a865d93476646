"""The loss of self-training: four terms from one log-softmax."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from hiast.errors import InputError, check_not_negative
from hiast.objectives.consistency import DENOMINATORS, Denominator, consistency
from hiast.objectives.cross_entropy import check_labels, cross_entropy
from hiast.objectives.fused.backend import Backend
from hiast.objectives.fused.self_training import TermSettings, self_training_terms
from hiast.objectives.regions import REGIONS, Region, at_least_float32
from hiast.objectives.regularizers import entropy_ignored, kld_confident
from hiast.upsampling import Upsampling

PUBLISHED_CLASSES = 19
"""Number of classes that the published weights were chosen for."""


class HIASTLoss(nn.Module):
    """Cross-entropy + kld * kld_confident + entropy * entropy_ignored + consistency * consistency.

    The formulas stand at the functions of the same names; weights as published (0.1, 1, 0.5 for 19 classes).
    A term of weight 0 is reported but has no gradient.

    ``class_normalized``: the published terms are divided by the number of classes C (kld_confident
    twice), so that beside cross-entropy the same weights act 19/C (19/C squared) times as strongly for
    another C. With this option 19 takes the place of C in these divisors: kld_confident is multiplied by
    (C/19)^2, entropy_ignored and consistency by C/19. Each product of a pixel and a class then pulls as
    hard as in the published setting, whatever C is. With 19 classes nothing changes.

    Args:
        kld: Weight of ``kld_confident``.
        entropy: Weight of ``entropy_ignored``.
        consistency: Weight of ``consistency``; 0 needs no teacher.
        region: Pixels of the consistency term: ``"ignored"``, ``"confident"`` or ``"all"``.
        denominator: What consistency is divided by: ``"nonzero"`` products (published) or ``"all"``.
        class_normalized: Make the weights mean the same for every number of classes.

    Raises:
        InputError: A negative or infinite weight, an unknown region or denominator.
    """

    def __init__(
        self,
        kld: float = 0.1,
        entropy: float = 1.0,
        consistency: float = 0.5,
        region: Region = "ignored",
        denominator: Denominator = "nonzero",
        class_normalized: bool = False,
    ) -> None:
        super().__init__()
        check_not_negative("loss", kld=kld, entropy=entropy, consistency=consistency)
        if region not in REGIONS:
            raise InputError(f"The loss's region is {region!r}; choose one of {', '.join(REGIONS)}.")
        if denominator not in DENOMINATORS:
            raise InputError(
                f"The loss's denominator is {denominator!r}; choose one of {', '.join(DENOMINATORS)}."
            )
        self.kld = float(kld)
        self.entropy = float(entropy)
        self.consistency = float(consistency)
        self.region: Region = region
        self.denominator: Denominator = denominator
        self.class_normalized = bool(class_normalized)

    def forward(
        self, logits: Tensor, pseudo_labels: Tensor, teacher_probabilities: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The terms, unweighted, and their weighted sum; scalars in float32 (float64 for float64 logits).

        Args:
            logits: The student's, float [B,C,H,W] of any precision.
            pseudo_labels: uint8 [B,H,W], classes below C or 255 = ignored.
            teacher_probabilities: Float [B,C,H,W], taken as constants; may be None when consistency weighs 0,
                and the term is then reported as 0.

        Returns:
            ``cross_entropy``, ``kld_confident``, ``entropy_ignored``, ``consistency`` and ``total``. A term
            whose region is empty is 0 and has a zero gradient.

        Raises:
            InputError: Shapes that do not fit, no teacher although consistency has a weight, or, on the CPU
                only, labels that are neither 255 nor below C (on a GPU CUDA's own assertion stops the
                process).
        """
        check_labels(pseudo_labels, logits)
        if teacher_probabilities is None and self.consistency:
            raise InputError("Consistency has a weight but there are no teacher probabilities; set it to 0.")
        log_p = torch.log_softmax(at_least_float32(logits), dim=1)
        divisor = PUBLISHED_CLASSES if self.class_normalized else logits.shape[1]

        def agreement(log_probabilities: Tensor) -> Tensor:
            if teacher_probabilities is None:
                return log_probabilities.new_zeros(())
            value = consistency(
                log_probabilities, teacher_probabilities, pseudo_labels, self.region, self.denominator
            )
            return value * (logits.shape[1] / divisor)

        kld = _term(self.kld, log_p, lambda values: kld_confident(values, pseudo_labels, divisor))
        entropy = _term(self.entropy, log_p, lambda values: entropy_ignored(values, pseudo_labels, divisor))
        agree = _term(self.consistency, log_p, agreement)
        supervised = cross_entropy(log_p, pseudo_labels)
        return {
            "cross_entropy": supervised,
            "kld_confident": kld,
            "entropy_ignored": entropy,
            "consistency": agree,
            "total": supervised + self.kld * kld + self.entropy * entropy + self.consistency * agree,
        }

    def from_coarse(
        self,
        logits: Tensor,
        pseudo_labels: Tensor,
        teacher_logits: Tensor | None,
        upsampling: Upsampling,
        backend: Backend = "auto",
    ) -> dict[str, Tensor]:
        """The same terms from logits before their upsampling: many times faster, in a fraction of the memory.

        ``forward`` of the upsampled logits and of the softmax of the teacher's gives the same values and gradient,
        to rounding. No tensor [B,C,H,W] is made; the gradient is computed together with the value.

        Args:
            logits: The student's, float [B,C,h,w] of any precision and memory format.
            pseudo_labels: uint8 [B,H,W], classes below C or 255 = ignored.
            teacher_logits: Float [B,C,h,w], taken as constants; may be None when consistency weighs 0, and the
                term is then reported as 0.
            upsampling: From [h,w] to [H,W], of student and teacher; ``SegmentationNetwork.upsampling`` gives it.
            backend: ``"auto"``, ``"eager"`` or ``"triton"``, see
                ``hiast.objectives.fused.backend.choose_backend``.

        Returns:
            What ``forward`` returns, but only ``total`` has a gradient.

        Raises:
            InputError: Shapes that do not fit, no teacher although consistency has a weight, a backend that cannot
                be used, or, on the CPU only, labels that are neither 255 nor below C.
        """
        if teacher_logits is None and self.consistency:
            raise InputError("Consistency has a weight but there are no teacher logits; set it to 0.")
        settings = TermSettings(
            self.kld,
            self.entropy,
            self.consistency,
            self.region,
            self.denominator,
            PUBLISHED_CLASSES if self.class_normalized else logits.shape[1],
        )
        terms: dict[str, Tensor] = self_training_terms(
            logits, pseudo_labels, teacher_logits, upsampling, settings, backend
        )
        return terms

    def to_dict(self) -> dict[str, Any]:
        """Constructor arguments as plain values."""
        return {
            "kld": self.kld,
            "entropy": self.entropy,
            "consistency": self.consistency,
            "region": self.region,
            "denominator": self.denominator,
            "class_normalized": self.class_normalized,
        }


def _term(weight: float, log_probabilities: Tensor, compute: Callable[[Tensor], Tensor]) -> Tensor:
    # A term that only gets reported must not keep full-size tensors for the backward pass.
    return compute(log_probabilities if weight else log_probabilities.detach())
