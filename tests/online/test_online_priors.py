"""The class-ratio floor and distribution alignment against their formulas."""

from __future__ import annotations

import pytest
import torch

from hiast.errors import InputError
from hiast.online import DistributionAlignment, class_ratio_floor

PRIOR = torch.tensor([0.6, 0.3, 0.1])


def logits(seed=0, kind=torch.float64):
    return (torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(seed)) * 2).to(kind)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_floor_is_the_sum_of_what_is_lacking(share):
    scores = logits()
    probabilities = scores.softmax(1)
    images = []
    for b in range(2):
        means = [float(probabilities[b, c].mean()) for c in range(3)]
        images.append(sum(max(0.0, share * float(PRIOR[c]) - means[c]) for c in range(3)))
    assert float(class_ratio_floor(scores, PRIOR, share, "image")) == pytest.approx(sum(images) / 2, abs=1e-7)
    means = [float(probabilities[:, c].mean()) for c in range(3)]
    wanted = sum(max(0.0, share * float(PRIOR[c]) - means[c]) for c in range(3))
    assert float(class_ratio_floor(scores, PRIOR, share)) == pytest.approx(wanted, abs=1e-7)


@pytest.mark.parametrize("per", ["batch", "image"])
def test_floor_has_right_gradients_and_lifts_the_class_that_lacks(per):
    scores = logits()
    scores[:, 1] -= 6
    scores.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: class_ratio_floor(x, PRIOR.double(), 0.5, per), (scores,))
    loss = class_ratio_floor(scores, PRIOR, 0.5, per)
    loss.backward()
    assert float(loss.detach()) > 0.1
    assert (scores.grad[:, 1] < 0).all()


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_floor_is_0_with_a_zero_gradient_where_nothing_lacks(kind):
    scores = torch.zeros(1, 3, 4, 4, dtype=kind, requires_grad=True)
    loss = class_ratio_floor(scores, PRIOR, 0.5)
    loss.backward()
    assert float(loss.detach()) == 0
    assert loss.dtype == torch.float32
    assert (scores.grad == 0).all()


def test_alignment_raises_the_classes_below_their_floor_alone():
    align = DistributionAlignment(PRIOR, floor=0.5)
    probabilities = torch.tensor([0.9, 0.05, 0.05]).view(1, 3, 1, 1).expand(2, 3, 2, 2)
    found = align(probabilities)
    # Floors are 0.3, 0.15 and 0.05.
    assert align.factors().tolist() == pytest.approx([1, 3, 1], rel=1e-6)
    wanted = torch.tensor([0.9, 0.15, 0.05])
    torch.testing.assert_close(found[1, :, 0, 1], wanted / wanted.sum())


def test_alignment_to_the_prior_moves_all_classes():
    align = DistributionAlignment(PRIOR * 10, towards="prior")
    probabilities = torch.tensor([0.9, 0.05, 0.05]).view(1, 3, 1, 1)
    torch.testing.assert_close(align(probabilities).flatten(), PRIOR)


def test_the_mean_moves_and_a_state_dict_resumes_exactly():
    batches = [logits(seed).softmax(1).float() for seed in range(4)]
    align, mean = DistributionAlignment(PRIOR, momentum=0.8), None
    for batch in batches:
        now = batch.double().mean((0, 2, 3))
        mean = now if mean is None else 0.8 * mean + 0.2 * now
        found = align(batch)
        torch.testing.assert_close(found.sum(1), torch.ones_like(found[:, 0]))
    torch.testing.assert_close(align.mean, mean)
    first = DistributionAlignment(PRIOR, momentum=0.8)
    first(batches[0])
    first(batches[1])
    second = DistributionAlignment(torch.ones(3), momentum=0.8)
    second.load_state_dict(first.state_dict())
    second(batches[2])
    assert torch.equal(second(batches[3]), found)


def test_factors_are_limited_and_1_at_the_beginning():
    align = DistributionAlignment(PRIOR, limit=4.0)
    assert align.factors().tolist() == [1, 1, 1]
    align(torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1))
    assert align.factors().tolist() == [1, 4, 4]


def test_a_class_that_the_source_lacks_is_not_raised():
    align = DistributionAlignment(torch.tensor([0.7, 0.3, 0.0]))
    align(torch.tensor([0.5, 0.5, 0.0]).view(1, 3, 1, 1))
    assert align.factors().tolist() == [1, 1, 1]
    gone = DistributionAlignment(torch.tensor([1.0, 0.0]), towards="prior")
    assert gone(torch.tensor([0.0, 1.0]).view(1, 2, 1, 1)).isfinite().all()


def test_what_is_out_of_range_is_refused():
    with pytest.raises(InputError, match="share"):
        class_ratio_floor(logits(), PRIOR, 2)
    with pytest.raises(InputError, match="3 classes"):
        class_ratio_floor(logits(), torch.ones(4))
    with pytest.raises(InputError, match="per"):
        class_ratio_floor(logits(), PRIOR, per="pixel")
    for prior in (
        torch.zeros(3),
        torch.tensor([0.5, -0.1]),
        torch.ones(2, 2),
        torch.tensor([torch.nan, 1.0]),
    ):
        with pytest.raises(InputError, match="prior"):
            DistributionAlignment(prior)
    with pytest.raises(InputError, match="limit"):
        DistributionAlignment(PRIOR, limit=0.5)
    with pytest.raises(InputError, match="momentum"):
        DistributionAlignment(PRIOR, momentum=1)
    with pytest.raises(InputError, match="towards"):
        DistributionAlignment(PRIOR, towards="source")
    with pytest.raises(InputError, match="fit"):
        DistributionAlignment(PRIOR)(torch.zeros(1, 4, 2, 2))
