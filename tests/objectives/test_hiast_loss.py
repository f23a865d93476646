"""The self-training loss against pixel loops, numeric gradients, half precision and the edges of its domain."""

from __future__ import annotations

import copy

import pytest
import torch
from naive_losses import IGNORED, draw, naive_terms
from torch import Tensor

from hiast.errors import InputError
from hiast.objectives import HIASTLoss, consistency, cross_entropy, entropy_ignored, kld_confident

REGIONS = ["ignored", "confident", "all"]
TERMS = ["cross_entropy", "kld_confident", "entropy_ignored", "consistency", "total"]


def floats(terms: dict[str, Tensor]) -> dict[str, float]:
    return {name: term.item() for name, term in terms.items()}


@pytest.mark.parametrize("classes", [1, 2, 5, 19, 32])
@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("denominator", ["nonzero", "all"])
def test_terms_equal_pixel_loops(classes: int, region: str, denominator: str) -> None:
    logits, labels, teacher = draw(classes, classes)
    teacher[:, : classes // 2] = 0  # zero products, so that the two denominators differ
    found = floats(HIASTLoss(0.3, 0.7, 0.2, region, denominator)(logits, labels, teacher))
    wanted = naive_terms(logits, labels, teacher, region, denominator)
    total = (
        wanted["cross_entropy"]
        + 0.3 * wanted["kld_confident"]
        + 0.7 * wanted["entropy_ignored"]
        + 0.2 * wanted["consistency"]
    )
    assert found == pytest.approx(wanted | {"total": total}, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("denominator", ["nonzero", "all"])
@pytest.mark.parametrize("classes", [4, 9, 19])
def test_class_normalized_puts_19_in_place_of_the_classes(classes: int, denominator: str) -> None:
    logits, labels, teacher = draw(3, classes)
    loss = HIASTLoss(denominator=denominator, class_normalized=True)
    wanted = naive_terms(logits, labels, teacher, denominator=denominator, divisor=19)
    found = floats(loss(logits, labels, teacher))
    total = found.pop("total")
    assert found == pytest.approx(wanted, rel=1e-12)
    plain = floats(HIASTLoss(denominator=denominator)(logits, labels, teacher))
    assert (total == pytest.approx(plain["total"], rel=1e-12)) == (classes == 19)


def test_class_normalized_pull_does_not_depend_on_the_number_of_classes() -> None:
    """Classes that nobody predicts change no gradient of the others beside cross-entropy's."""
    logits, labels, teacher = draw(8, 6)
    few = logits.clone().requires_grad_()
    absent = torch.full_like(logits[:, :1], -1e4).expand(-1, 7, -1, -1)
    many = torch.cat([logits, absent], dim=1).requires_grad_()
    loss = HIASTLoss(kld=0.0, class_normalized=True, denominator="all")
    loss(few, labels, teacher)["total"].backward()
    loss(many, labels, torch.cat([teacher, torch.zeros_like(absent)], dim=1))["total"].backward()
    assert few.grad is not None and many.grad is not None
    # Consistency's mean over products still counts the absent classes; 13 / 6 of it is made up by the option.
    torch.testing.assert_close(many.grad[:, :6], few.grad, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("denominator", ["nonzero", "all"])
def test_gradients_in_float64(region: str, denominator: str) -> None:
    logits, labels, teacher = draw(1, 4, (2, 2, 3))
    loss = HIASTLoss(region=region, denominator=denominator)

    def terms(values: Tensor) -> tuple[Tensor, ...]:
        return tuple(loss(values, labels, teacher).values())

    assert len(set(labels.eq(IGNORED).flatten().tolist())) == 2
    assert torch.autograd.gradcheck(terms, (logits.requires_grad_(),))


def test_each_function_has_its_gradient() -> None:
    logits, labels, teacher = draw(2, 3, (1, 2, 3))
    log_p = logits.log_softmax(1).requires_grad_()
    for term in (cross_entropy, kld_confident, entropy_ignored):
        assert torch.autograd.gradcheck(lambda values, term=term: term(values, labels), (log_p,))
    assert torch.autograd.gradcheck(lambda values: consistency(values, teacher, labels), (log_p,))


@pytest.mark.parametrize("ignored", [0.0, 1.0])
@pytest.mark.parametrize("region", REGIONS)
def test_empty_regions_are_zero_without_gradient(ignored: float, region: str) -> None:
    logits, labels, teacher = draw(4, ignored=ignored)
    logits = logits.float().requires_grad_()
    terms = HIASTLoss(region=region)(logits, labels, teacher.float())
    empty = {"cross_entropy", "kld_confident"} if ignored else {"entropy_ignored"}
    if region == ("confident" if ignored else "ignored"):
        empty.add("consistency")
    for name in TERMS:
        (gradient,) = torch.autograd.grad(terms[name], logits, retain_graph=True)
        assert torch.isfinite(terms[name]) and torch.isfinite(gradient).all()
        assert (terms[name].item() == 0) == (name in empty)
        assert bool(gradient.any()) == (name not in empty)


@pytest.mark.parametrize("size", [(1, 1, 1), (3, 1, 2)])
def test_few_pixels(size: tuple[int, int, int]) -> None:
    logits, labels, teacher = draw(5, 3, size)
    found = floats(HIASTLoss()(logits, labels, teacher))
    found.pop("total")
    assert found == pytest.approx(naive_terms(logits, labels, teacher), rel=1e-12, abs=1e-15)


def test_one_class_has_nothing_to_learn() -> None:
    logits, labels, teacher = draw(6, 1)
    logits.requires_grad_()
    total = HIASTLoss()(logits, labels, teacher)["total"]
    total.backward()
    assert total.item() == 0 and logits.grad is not None and not logits.grad.any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_loses_only_the_rounding_of_its_input(dtype: torch.dtype) -> None:
    logits, labels, teacher = draw(7, 19, (2, 16, 16))
    half = logits.to(dtype)
    found = HIASTLoss()(half, labels, teacher.float())
    assert {term.dtype for term in found.values()} == {torch.float32}
    same_input = HIASTLoss()(half.double(), labels, teacher.float().double())
    assert floats(found) == pytest.approx(floats(same_input), rel=1e-5)
    exact = HIASTLoss()(logits, labels, teacher)
    assert floats(found) == pytest.approx(floats(exact), rel=2**-7)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("region", REGIONS)
def test_logits_of_ten_thousand(dtype: torch.dtype, region: str) -> None:
    logits, labels, teacher = draw(9, 19, (2, 8, 8))
    logits = (logits / logits.abs().max() * 1e4).clamp(-1e4, 1e4)
    logits[0, :, 0] = 0  # ties beside extremes
    teacher = (50 * teacher).log().softmax(1)
    teacher[:, 3] = 0
    half = logits.to(dtype).requires_grad_()
    found = HIASTLoss(region=region)(half, labels, teacher.to(dtype))
    exact = HIASTLoss(region=region)(half.detach().double(), labels, teacher.to(dtype).double())
    for name in TERMS:
        (gradient,) = torch.autograd.grad(found[name], half, retain_graph=True)
        assert torch.isfinite(found[name]) and torch.isfinite(gradient).all()
        if name not in ("consistency", "total"):  # counts non-zero products, which depends on the precision
            assert found[name].item() == pytest.approx(exact[name].item(), rel=1e-4)
    everywhere = HIASTLoss(region=region, denominator="all")
    value, wanted = (
        everywhere(values, labels, teacher.to(dtype).to(values.dtype))["consistency"].item()
        for values in (half.detach(), half.detach().double())
    )
    assert value == pytest.approx(wanted, rel=1e-4)


def test_autocast_changes_nothing() -> None:
    logits, labels, teacher = draw(10, 19, (2, 8, 8))
    logits, teacher = logits.float(), teacher.float()
    wanted = HIASTLoss()(logits, labels, teacher)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = HIASTLoss()(logits.requires_grad_(), labels, teacher)
        found["total"].backward()
    assert floats(found) == floats(wanted)
    assert {term.dtype for term in found.values()} == {torch.float32}


def test_a_large_map_is_summed_precisely() -> None:
    logits = torch.tensor([0.0, 2.0, -1.0]).view(1, 3, 1, 1).expand(1, 3, 1024, 1024)
    labels = torch.ones(1, 1024, 1024, dtype=torch.uint8)
    found = HIASTLoss(consistency=0)(logits, labels)
    one = HIASTLoss(consistency=0)(logits[..., :1, :1].double(), labels[:, :1, :1])
    assert floats(found) == pytest.approx(floats(one), rel=1e-6)


def test_a_term_without_weight_is_reported_and_pulls_at_nothing() -> None:
    logits, labels, teacher = draw(11)
    logits.requires_grad_()
    found = HIASTLoss(kld=0, entropy=0, consistency=0)(logits, labels, teacher)
    assert floats(found)["total"] == floats(found)["cross_entropy"]
    for name in ("kld_confident", "entropy_ignored", "consistency"):
        assert not found[name].requires_grad
        assert found[name].item() == pytest.approx(naive_terms(logits, labels, teacher)[name], rel=1e-12)


def test_without_a_teacher() -> None:
    logits, labels, _ = draw(12)
    assert HIASTLoss(consistency=0)(logits, labels, None)["consistency"].item() == 0
    with pytest.raises(InputError, match="teacher"):
        HIASTLoss()(logits, labels, None)


def test_the_teacher_is_a_constant() -> None:
    logits, labels, teacher = draw(13)
    teacher.requires_grad_()
    HIASTLoss()(logits.requires_grad_(), labels, teacher)["total"].backward()
    assert teacher.grad is None


def test_inputs_are_left_as_they_were() -> None:
    logits, labels, teacher = draw(14)
    before = copy.deepcopy((logits, labels, teacher))
    HIASTLoss()(logits.requires_grad_(), labels, teacher)["total"].backward()
    for found, wanted in zip((logits, labels, teacher), before, strict=True):
        assert torch.equal(found, wanted)


def test_channels_last_makes_no_difference() -> None:
    logits, labels, teacher = draw(15, 19, (2, 8, 6))
    found = HIASTLoss()(logits.to(memory_format=torch.channels_last), labels, teacher)
    assert floats(found) == pytest.approx(floats(HIASTLoss()(logits, labels, teacher)), rel=1e-12)


def test_keeps_one_log_softmax_for_the_backward_pass() -> None:
    logits, labels, teacher = draw(16, 19, (1, 64, 64))
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        HIASTLoss()(logits.requires_grad_(), labels, teacher)
    kept.pop(teacher.untyped_storage().data_ptr(), None)
    full_size = logits.untyped_storage().nbytes()
    assert full_size <= sum(kept.values()) < 1.3 * full_size


@pytest.mark.parametrize("value", [5, 254, -1])
def test_labels_outside_the_classes(value: int) -> None:
    logits, labels, teacher = draw(17, 5)
    labels = labels.long()
    labels[1, 2, 3] = value
    with pytest.raises(InputError, match=f"class {value}.*5 classes"):
        HIASTLoss()(logits, labels, teacher)


def test_shapes_that_do_not_fit() -> None:
    logits, labels, teacher = draw(18)
    with pytest.raises(InputError, match=r"\(2, 3, 3\)"):
        HIASTLoss()(logits, labels[..., :3], teacher)
    with pytest.raises(InputError, match="Teacher"):
        HIASTLoss()(logits, labels, teacher[:1])


@pytest.mark.parametrize(
    "arguments",
    [
        {"kld": -0.1},
        {"entropy": float("nan")},
        {"consistency": float("inf")},
        {"region": "both"},
        {"denominator": "some"},
    ],
)
def test_arguments_that_mean_nothing(arguments: dict[str, float | str]) -> None:
    with pytest.raises(InputError, match=next(iter(arguments))):
        HIASTLoss(**arguments)  # type: ignore[arg-type]


def test_to_dict_builds_the_same_loss() -> None:
    arguments = {
        "kld": 0.2,
        "entropy": 3.0,
        "consistency": 0.0,
        "region": "all",
        "denominator": "all",
        "class_normalized": True,
    }
    assert HIASTLoss(**arguments).to_dict() == arguments  # type: ignore[arg-type]
    assert HIASTLoss(**HIASTLoss().to_dict()).to_dict() == HIASTLoss().to_dict()
    assert not list(HIASTLoss().parameters()) and not HIASTLoss().state_dict()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_on_a_gpu_without_waiting_for_it(dtype: torch.dtype) -> None:
    logits, labels, teacher = (tensor.cuda() for tensor in draw(19, 19, (2, 32, 32)))
    half = logits.to(dtype).requires_grad_()
    wanted = floats(HIASTLoss()(half.detach().double(), labels, teacher))
    torch.cuda.set_sync_debug_mode("error")
    try:
        with torch.autocast("cuda", dtype=dtype):
            found = HIASTLoss()(half, labels, teacher.float())
        found["total"].backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert floats(found) == pytest.approx(wanted, rel=1e-5)
    assert half.grad is not None and torch.isfinite(half.grad).all()
