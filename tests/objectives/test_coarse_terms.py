"""The four terms from coarse logits against the loss of upsampled ones, published values and numeric gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from naive_losses import IGNORED, naive_terms
from test_hiast_loss_golden import EMPTY, INPUTS, TERMS, load
from torch import Tensor

from hiast.errors import InputError
from hiast.objectives import HIASTLoss
from hiast.objectives.fused import block_terms
from hiast.upsampling import Upsampling
from hiast.upsampling import blocks as module

NAMES = ["cross_entropy", "kld_confident", "entropy_ignored", "consistency", "total"]
UP = Upsampling.to((24, 40))


def draw(
    classes: int = 5,
    batch: int = 2,
    coarse: tuple[int, int] = (4, 6),
    size: tuple[int, int] = UP.size,
    ignored: float = 0.4,
    seed: int = 0,
    scale: float = 3.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Float64 coarse logits of student and teacher, and uint8 labels."""
    generator = torch.Generator().manual_seed(seed)
    student, teacher = (
        scale * torch.randn(batch, classes, *coarse, generator=generator, dtype=torch.float64) for _ in "st"
    )
    labels = torch.randint(classes, (batch, *size), generator=generator).to(torch.uint8)
    labels[torch.rand(labels.shape, generator=generator) < ignored] = IGNORED
    return student, labels, teacher


def plainly(
    loss: HIASTLoss, student: Tensor, labels: Tensor, teacher: Tensor | None, upsampling: Upsampling
) -> dict[str, Tensor]:
    probabilities = None if teacher is None else upsampling(teacher).softmax(1)
    return loss(upsampling(student), labels, probabilities)


def agree(found: dict[str, Tensor], wanted: dict[str, Tensor], rtol: float) -> None:
    assert list(found) == NAMES
    for name in NAMES:
        torch.testing.assert_close(found[name], wanted[name].detach(), rtol=rtol, atol=1e-9, msg=name)


def compare(loss: HIASTLoss, inputs: tuple[Tensor, ...], upsampling: Upsampling, rtol: float) -> None:
    """Values and gradient of both ways."""
    student, labels, teacher = inputs
    student = student.detach().clone().requires_grad_()
    found = loss.from_coarse(student, labels, teacher, upsampling)
    wanted = plainly(loss, student, labels, teacher, upsampling)
    agree({name: value.detach() for name, value in found.items()}, wanted, rtol)
    (gradient,) = torch.autograd.grad(found["total"], student)
    (expected,) = torch.autograd.grad(wanted["total"], student)
    largest = float(expected.abs().max())
    torch.testing.assert_close(gradient, expected, rtol=rtol, atol=rtol * largest)


UPSAMPLINGS = [
    UP,
    Upsampling.to((24, 40), align_corners=False),
    Upsampling.to((32, 48), align_corners=True, kept=(29, 41)),
    Upsampling.to((32, 48), align_corners=False, kept=(29, 41)),
    Upsampling.to((4, 6)),
    Upsampling.to((9, 13)),
    Upsampling.to((16, 24)).then((21, 33), align_corners=False),
    Upsampling.to((2, 3)),
]


@pytest.mark.parametrize("upsampling", UPSAMPLINGS)
@pytest.mark.parametrize("elements", [1, 3000, 10**7])
def test_equals_the_loss_of_upsampled_logits(
    monkeypatch: pytest.MonkeyPatch, upsampling: Upsampling, elements: int
) -> None:
    monkeypatch.setattr(module, "CPU_BLOCK", elements)
    inputs = draw(size=upsampling.size)
    compare(HIASTLoss(), inputs, upsampling, 1e-11)
    single = tuple(value if value.dtype == torch.uint8 else value.float() for value in inputs)
    compare(HIASTLoss(), single, upsampling, 2e-6)


@pytest.mark.parametrize("classes", [1, 2, 9, 19, 40, 150, 255])
def test_any_number_of_classes(classes: int) -> None:
    compare(HIASTLoss(), draw(classes), UP, 1e-11)
    student, labels, teacher = draw(classes)
    compare(HIASTLoss(), (student.float(), labels, teacher.float()), UP, 3e-6)


@pytest.mark.parametrize("region", ["ignored", "confident", "all"])
@pytest.mark.parametrize("denominator", ["nonzero", "all"])
@pytest.mark.parametrize("class_normalized", [False, True])
def test_every_option(region: Any, denominator: Any, class_normalized: bool) -> None:
    student, labels, teacher = draw()
    teacher[:, 0] = -3e3  # products that are zero, so that the denominators differ
    loss = HIASTLoss(0.3, 0.7, 0.2, region, denominator, class_normalized)
    compare(loss, (student, labels, teacher), UP, 1e-11)


@pytest.mark.parametrize("weights", [(0, 1, 0.5), (0.1, 0, 0.5), (0.1, 1, 0), (0, 0, 0)])
@pytest.mark.parametrize("with_teacher", [True, False])
def test_a_term_without_weight_is_reported_only(weights: tuple[float, ...], with_teacher: bool) -> None:
    student, labels, teacher = draw()
    if weights[2] and not with_teacher:
        with pytest.raises(InputError, match="teacher"):
            HIASTLoss(*weights).from_coarse(student, labels, None, UP)
        return
    compare(HIASTLoss(*weights), (student, labels, teacher if with_teacher else None), UP, 1e-11)


@pytest.mark.parametrize("ignored", [0.0, 1.0])
@pytest.mark.parametrize("region", ["ignored", "confident", "all"])
def test_empty_regions_are_zero_without_gradient(ignored: float, region: Any) -> None:
    inputs = draw(ignored=ignored)
    compare(HIASTLoss(region=region), inputs, UP, 1e-11)
    student = inputs[0].requires_grad_()
    alone = HIASTLoss(0, 0, 1, region=region)
    terms = alone.from_coarse(student, *inputs[1:], UP)
    if ignored and region == "confident":
        assert terms["total"].item() == 0
        assert not torch.autograd.grad(terms["total"], student)[0].any()


def test_all_ignored_and_no_other_term() -> None:
    student, labels, _ = draw(ignored=1.0)
    total = HIASTLoss(1, 0, 0).from_coarse(student.requires_grad_(), labels, None, UP)["total"]
    total.backward()
    assert total.item() == 0 and student.grad is not None and not student.grad.any()


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (7, 1)])
def test_few_pixels_equal_pixel_loops(size: tuple[int, int]) -> None:
    student, labels, teacher = draw(3, 1, (1, 1), size)
    up = Upsampling.to(size)
    found = HIASTLoss().from_coarse(student, labels, teacher, up)
    wanted = naive_terms(up(student), labels, up(teacher).softmax(1))
    for name, value in wanted.items():
        assert found[name].item() == pytest.approx(value, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("region", ["ignored", "confident", "all"])
def test_equals_published(golden: Path, name: str, region: Any) -> None:
    arrays = load(golden, name)
    logits = torch.from_numpy(arrays["logits"]).requires_grad_()
    labels = torch.from_numpy(arrays["pseudo_labels"])
    teacher = torch.from_numpy(arrays["teacher_probabilities"]).log()
    up = Upsampling.to((logits.shape[-2], logits.shape[-1]))
    found = HIASTLoss(region=region).from_coarse(logits, labels, teacher, up)
    weights = {"cross_entropy": 1.0, "kld_confident": 0.1, "entropy_ignored": 1.0, "consistency": 0.5}
    wanted = np.zeros(logits.shape, np.float32)
    for term, of_region, key in TERMS:
        if term == "total" or (term == "consistency" and of_region != region):
            continue
        if name in EMPTY and key in EMPTY[name]:
            assert found[term].item() == 0
            continue
        assert found[term].item() == pytest.approx(float(arrays[key]), rel=1e-5)
        wanted += weights[term] * arrays[f"grad_{key}"]
    (gradient,) = torch.autograd.grad(found["total"], logits)
    np.testing.assert_allclose(gradient.numpy(), wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("region", ["ignored", "confident", "all"])
@pytest.mark.parametrize("denominator", ["nonzero", "all"])
def test_numeric_gradient(region: Any, denominator: Any) -> None:
    student, labels, teacher = draw(3, 2, (2, 3), (5, 7))
    loss = HIASTLoss(region=region, denominator=denominator)
    up = Upsampling.to((5, 7))
    assert torch.autograd.gradcheck(
        lambda values: loss.from_coarse(values, labels, teacher, up)["total"], (student.requires_grad_(),)
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_loses_only_the_rounding_of_its_input(dtype: torch.dtype) -> None:
    student, labels, teacher = draw(19)
    half, half_teacher = student.to(dtype).requires_grad_(), teacher.to(dtype)
    found = HIASTLoss().from_coarse(half, labels, half_teacher, UP)
    exact = half.detach().double().requires_grad_()
    wanted = HIASTLoss().from_coarse(exact, labels, half_teacher.double(), UP)
    for name in NAMES:
        assert found[name].dtype == torch.float32
        assert found[name].item() == pytest.approx(wanted[name].item(), rel=2e-6)
    (gradient,) = torch.autograd.grad(found["total"] * 65536, half)
    (expected,) = torch.autograd.grad(wanted["total"] * 65536, exact)
    assert gradient.dtype == dtype
    assert float((gradient.double() - expected).norm() / expected.norm()) < torch.finfo(dtype).eps


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("region", ["ignored", "confident", "all"])
def test_logits_of_ten_thousand(dtype: torch.dtype, region: Any) -> None:
    student, labels, teacher = draw(19, scale=1e4)
    student[0, :, 0] = 0  # ties beside extremes
    student, teacher = student.to(dtype).requires_grad_(), teacher.to(dtype)
    loss = HIASTLoss(region=region, denominator="all")
    found = loss.from_coarse(student, labels, teacher, UP)
    wanted = plainly(loss, student.detach().double(), labels, teacher.double(), UP)
    for name in NAMES:
        assert found[name].item() == pytest.approx(wanted[name].item(), rel=1e-4), name
    (gradient,) = torch.autograd.grad(found["total"], student)
    assert torch.isfinite(gradient).all()


def test_not_a_number_is_passed_on() -> None:
    student, labels, teacher = draw()
    student[0, 0, 0, 0] = torch.nan
    assert HIASTLoss().from_coarse(student, labels, teacher, UP)["total"].isnan()


def test_small_gradients_survive_half_precision_by_the_scale_of_the_loss() -> None:
    student, labels, teacher = draw(3, 1, (64, 96), (256, 384))
    half, up = student.half().requires_grad_(), Upsampling.to((256, 384))
    (gradient,) = torch.autograd.grad(
        HIASTLoss().from_coarse(half, labels, teacher.half(), up)["total"] * 65536, half
    )
    exact = half.detach().double().requires_grad_()
    wanted = HIASTLoss().from_coarse(exact, labels, teacher.half().double(), up)["total"] * 65536
    (expected,) = torch.autograd.grad(wanted, exact)
    torch.testing.assert_close(gradient.double(), expected, rtol=2e-3, atol=1e-4)


def test_autocast_and_reduced_products_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    student, labels, teacher = (x if x.dtype == torch.uint8 else x.float() for x in draw(19, coarse=(16, 24)))
    student.requires_grad_()
    place = torch.backends.mkldnn.matmul
    seen: list[tuple[str, bool]] = []

    def look(*arguments: Any) -> Tensor:
        seen.append((place.fp32_precision, torch.is_autocast_enabled("cpu")))
        return terms_of_a_block(*arguments)

    terms_of_a_block = block_terms.block_terms
    monkeypatch.setattr(block_terms, "block_terms", look)
    wanted = HIASTLoss().from_coarse(student, labels, teacher, UP, "eager")["total"]
    (expected,) = torch.autograd.grad(wanted, student)
    before = place.fp32_precision
    place.fp32_precision = "bf16"
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = HIASTLoss().from_coarse(student, labels, teacher, UP, "eager")["total"]
            (gradient,) = torch.autograd.grad(found, student)
    finally:
        place.fp32_precision = before
    assert torch.equal(found, wanted) and torch.equal(gradient, expected)
    # Not every processor rounds products when it may, so the settings themselves are looked at too.
    assert set(seen) == {("ieee", False)}


def test_any_memory_format_no_change_of_the_input_and_the_same_result_twice() -> None:
    student, labels, teacher = draw(19)
    results = []
    for layout in (torch.contiguous_format, torch.channels_last, torch.channels_last):
        values = student.to(memory_format=layout).detach().requires_grad_()
        other = teacher.to(memory_format=layout)
        before = labels.clone()
        total = HIASTLoss().from_coarse(values, labels, other, UP)["total"]
        results.append((total.detach(), *torch.autograd.grad(total, values)))
        assert torch.equal(values, student) and torch.equal(other, teacher) and torch.equal(labels, before)
    for found in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found, results[0], strict=True))


def test_only_the_total_has_a_gradient_and_only_to_the_student() -> None:
    student, labels, teacher = draw()
    teacher.requires_grad_()
    terms = HIASTLoss().from_coarse(student.requires_grad_(), labels, teacher, UP)
    assert [name for name in NAMES if terms[name].requires_grad] == ["total"]
    terms["total"].backward()
    assert teacher.grad is None
    with torch.no_grad():
        assert not HIASTLoss().from_coarse(student, labels, teacher, UP)["total"].requires_grad


def test_what_does_not_fit_is_refused() -> None:
    student, labels, teacher = draw()
    loss = HIASTLoss()
    with pytest.raises(InputError, match="do not fit"):
        loss.from_coarse(student, labels[:, 1:], teacher, UP)
    with pytest.raises(InputError, match="differ in shape"):
        loss.from_coarse(student, labels, teacher[:1], UP)
    with pytest.raises(InputError, match="uint8"):
        loss.from_coarse(student, labels.long(), teacher, UP)
    with pytest.raises(InputError, match="255 classes"):
        loss.from_coarse(student.expand(-1, 5, -1, -1).repeat(1, 52, 1, 1), labels, teacher, UP)
    with pytest.raises(InputError, match="choose one of auto"):
        loss.from_coarse(student, labels, teacher, UP, backend="fast")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="triton cannot be used"):
        loss.from_coarse(student, labels, teacher, UP, backend="triton")
    labels[0, 0, 0] = 5
    with pytest.raises(InputError, match="class 5"):
        loss.from_coarse(student, labels, teacher, UP)
