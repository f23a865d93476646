"""The Triton kernels against the blocks, in Triton's interpreter (argument ``cpu``) or on a GPU (``cuda``); a program
of its own, since Triton reads the environment when a kernel is defined."""

from __future__ import annotations

import os
import sys

os.environ["TRITON_INTERPRET"] = "1" if sys.argv[1] == "cpu" else "0"

import torch

from hiast.objectives import HIASTLoss, coarse_cross_entropy
from hiast.upsampling import Upsampling, View, read_out
from hiast.upsampling.triton_readout import read_out_by_triton

DEVICE = sys.argv[1]
CASES = [
    (2, 19, 2, 3, Upsampling.to((9, 14))),
    (1, 5, 3, 2, Upsampling.to((12, 12), align_corners=False, kept=(11, 10))),
    (1, 40, 2, 2, Upsampling.to((2, 3))),
]
LOSSES = [HIASTLoss(region="confident"), HIASTLoss(region="all", denominator="all"), HIASTLoss(consistency=0)]


def draw(batch: int, classes: int, height: int, width: int, size: tuple[int, int]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(classes)
    student, teacher = (3 * torch.randn(batch, classes, height, width, generator=generator) for _ in "st")
    labels = torch.randint(classes, (batch, *size), generator=generator).to(torch.uint8)
    labels[torch.rand(labels.shape, generator=generator) < 0.4] = 255
    weights = torch.rand(labels.shape, generator=generator)
    student, labels, teacher, weights = (tensor.to(DEVICE) for tensor in (student, labels, teacher, weights))
    return [student.requires_grad_(), labels, teacher, weights]


def close(found: list[torch.Tensor], wanted: list[torch.Tensor]) -> None:
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-6, atol=2e-6 * float(b.abs().max()))


def terms(loss: HIASTLoss, inputs: list[torch.Tensor], up: Upsampling, backend: str) -> list[torch.Tensor]:
    student, labels, teacher, _ = inputs
    found = loss.from_coarse(student, labels, teacher if loss.consistency else None, up, backend)  # type: ignore[arg-type]
    return [*(value.detach() for value in found.values()), *torch.autograd.grad(found["total"], student)]


def weighted(inputs: list[torch.Tensor], up: Upsampling, backend: str) -> list[torch.Tensor]:
    logits, labels, _, weights = inputs
    loss = coarse_cross_entropy(logits, labels, up, weights=weights, normalization="all", backend=backend)  # type: ignore[arg-type]
    return [loss.detach(), *torch.autograd.grad(loss, logits)]


for number, (batch, classes, height, width, up) in enumerate(CASES):
    inputs = draw(batch, classes, height, width, up.size)
    for loss in (HIASTLoss(), LOSSES[number]):
        close(terms(loss, inputs, up, "triton"), terms(loss, inputs, up, "eager"))
    close(weighted(inputs, up, "triton"), weighted(inputs, up, "eager"))
    found_labels, confidence, sums = read_out_by_triton(inputs[0], up)
    plain = read_out([View(inputs[0], up)], entropy=True)
    assert torch.equal(found_labels, plain.labels)
    entropy = sums / (up.size[0] * up.size[1]) / torch.tensor(float(classes), device=DEVICE).log()
    close([confidence, entropy], [plain.confidence, plain.entropy])
with torch.no_grad():
    student, labels, teacher, _ = inputs
    values = [
        HIASTLoss().from_coarse(student, labels, teacher, up, backend)["total"]  # type: ignore[arg-type]
        for backend in ("triton", "eager")
    ]
    close(values[:1], values[1:])
sys.stdout.write("equal\n")
