"""Feature distances against loops over positions, with gradients and without any position."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from hiast.errors import InputError
from hiast.online import FrozenEncoder, ProjectedFeatureDistance, ThingFeatureDistance
from hiast.online.feature_distance import class_positions, deepest


def naive_positions(labels, things, stride, share):
    batch, height, width = labels.shape
    found = torch.zeros(batch, height // stride, width // stride, dtype=torch.bool)
    for b in range(batch):
        for row in range(height // stride):
            for column in range(width // stride):
                cell = labels[b, row * stride : (row + 1) * stride, column * stride : (column + 1) * stride]
                counts = {k: int((cell == k).sum()) for k in things}
                found[b, row, column] = any(n >= share * stride**2 for n in counts.values())
    return found


def blocky(seed):
    generator = torch.Generator().manual_seed(seed)
    cells = torch.randint(0, 5, (2, 4, 6), generator=generator)
    labels = cells.repeat_interleave(4, 1).repeat_interleave(4, 2)
    noise = torch.rand(labels.shape, generator=generator)
    labels[noise < 0.2] = 255
    return labels.to(torch.uint8)


@pytest.mark.parametrize("share", [0.6, 0.75, 1.0])
def test_positions_are_those_that_one_thing_fills(share):
    labels = blocky(0)
    labels[0, :4, :4] = 1
    labels[0, 0, :4] = 255  # exactly three quarters
    labels[1, 8:12, :4] = 3
    wanted = naive_positions(labels, (1, 3), 4, share)
    assert wanted.any()
    assert not wanted.all()
    assert torch.equal(class_positions(labels, (1, 3), 4, 6, share), wanted)


def test_two_things_that_share_a_cell_do_not_fill_it():
    labels = torch.tensor([[[1, 1], [3, 3]]], dtype=torch.uint8)
    assert not class_positions(labels, (1, 3), 1, 1).any()


def test_a_grid_that_does_not_divide_the_image():
    labels = torch.full((1, 10, 7), 2, dtype=torch.uint8)
    assert class_positions(labels, (2,), 3, 2).all()
    assert not class_positions(labels, (1,), 3, 2).any()


@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_thing_distance_is_the_mean_of_norms(kind):
    labels = blocky(1)
    student, reference = torch.randn(2, 2, 5, 4, 6, generator=torch.Generator().manual_seed(2)).to(kind)
    found = ThingFeatureDistance((1, 3), 0.6)(student, reference, labels)
    positions = naive_positions(labels, (1, 3), 4, 0.6)
    norms = [
        math.sqrt(sum(float(student[b, c, i, j] - reference[b, c, i, j].to(kind)) ** 2 for c in range(5)))
        for b, i, j in positions.nonzero().tolist()
    ]
    tolerance = 1e-12 if kind == torch.float64 else 1e-5 if kind == torch.float32 else 1e-2
    assert float(found) == pytest.approx(math.fsum(norms) / len(norms), rel=tolerance)
    assert found.dtype == (torch.float64 if kind == torch.float64 else torch.float32)


def test_thing_distance_has_right_gradients_for_the_student_alone():
    labels = blocky(1)
    student = torch.randn(2, 3, 4, 6, dtype=torch.float64, requires_grad=True)
    reference = torch.randn(2, 3, 4, 6, dtype=torch.float64, requires_grad=True)
    distance = ThingFeatureDistance((0, 4), 0.6)
    assert torch.autograd.gradcheck(lambda x: distance(x, reference, labels), (student,))
    distance(student, reference, labels).backward()
    assert reference.grad is None
    outside = ~naive_positions(labels, (0, 4), 4, 0.6)
    assert (student.grad.abs().sum(1)[outside] == 0).all()


def test_no_position_is_0_with_a_zero_gradient_even_if_features_are_not_finite():
    labels = torch.full((1, 8, 8), 255, dtype=torch.uint8)
    loss = ThingFeatureDistance((1,))(torch.full((1, 3, 2, 2), torch.nan), torch.zeros(1, 3, 2, 2), labels)
    assert float(loss) == 0
    finite = torch.randn(1, 3, 2, 2, requires_grad=True)
    ThingFeatureDistance((1,))(finite, torch.zeros(1, 3, 2, 2), labels).backward()
    assert (finite.grad == 0).all()
    none = ThingFeatureDistance(())(finite, torch.zeros(1, 3, 2, 2), labels)
    assert float(none.detach()) == 0


def test_equal_features_have_a_zero_gradient():
    student = torch.randn(1, 3, 2, 2, requires_grad=True)
    labels = torch.ones(1, 8, 8, dtype=torch.uint8)
    loss = ThingFeatureDistance((1,))(student, student.detach().clone(), labels)
    loss.backward()
    assert float(loss.detach()) == 0
    assert (student.grad == 0).all()


def naive_projected(head, features, reference):
    """By matrix products at each position; grids of equal size."""
    one, two = head.expand, head.project
    total, count = 0.0, 0
    for b in range(len(features)):
        for i in range(features.shape[2]):
            for j in range(features.shape[3]):
                hidden = one.weight[:, :, 0, 0] @ features[b, :, i, j] + one.bias
                hidden = (hidden - hidden.mean()) / (hidden.var(correction=0) + head.norm.eps).sqrt()
                hidden = hidden * head.norm.weight + head.norm.bias
                hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
                p, r = two.weight[:, :, 0, 0] @ hidden + two.bias, reference[b, :, i, j]
                d = (p - r).abs()
                near = torch.where(d < 1, 0.5 * d**2, d - 0.5).mean()
                cosine = (p @ r) / (p.norm() * r.norm())
                total += float(head.smooth_l1 * near + head.cosine * (1 - cosine))
                count += 1
    return total / count


def test_projected_distance_equals_loops():
    torch.manual_seed(0)
    head = ProjectedFeatureDistance(3, 5, smooth_l1=0.3, cosine=0.6)
    nn.init.normal_(head.norm.weight)
    assert head.expand.out_channels == 12
    features, reference = torch.randn(2, 3, 2, 3), torch.randn(2, 5, 2, 3)
    with torch.no_grad():
        wanted = naive_projected(head, features, reference)
    assert float(head(features, reference).detach()) == pytest.approx(wanted, rel=1e-5)


def test_projected_distance_fits_grids_of_any_size_and_trains_the_head():
    torch.manual_seed(0)
    head = ProjectedFeatureDistance(3, 5)
    features = torch.randn(2, 3, 4, 4, requires_grad=True)
    reference = torch.randn(2, 5, 7, 7, requires_grad=True)
    before = head(features, reference)
    before.backward()
    assert reference.grad is None
    assert features.grad.abs().sum() > 0
    assert all(parameter.grad is not None for parameter in head.parameters())
    optimizer = torch.optim.Adam(head.parameters(), 0.01)
    for _ in range(30):
        optimizer.zero_grad()
        loss = head(features.detach(), reference)
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.8 * float(before.detach())


def test_projected_distance_of_zero_features_is_finite():
    head = ProjectedFeatureDistance(3, 5)
    features = torch.zeros(1, 3, 2, 2, requires_grad=True)
    loss = head(features, torch.zeros(1, 5, 2, 2))
    loss.backward()
    assert loss.isfinite()
    assert features.grad.isfinite().all()


def test_a_frozen_encoder_is_a_copy_that_never_changes():
    encoder = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), nn.Dropout(0.5))
    frozen = FrozenEncoder(encoder)
    frozen.train()
    assert not any(module.training for module in frozen.modules())
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    assert all(parameter.requires_grad for parameter in encoder.parameters())
    images = torch.randn(2, 3, 9, 9)
    before = frozen(images)
    assert not before.requires_grad
    with torch.no_grad():
        encoder[0].weight.zero_()
    encoder.train()(images)
    assert torch.equal(frozen(images), before)


def test_the_deepest_of_several_maps():
    maps = [torch.zeros(1), torch.ones(1)]
    assert deepest(maps) is maps[1]
    assert deepest(maps[0]) is maps[0]


def test_what_does_not_fit_is_refused():
    labels = torch.zeros(1, 8, 8, dtype=torch.uint8)
    with pytest.raises(InputError, match="share"):
        ThingFeatureDistance((1,), share=0.5)
    with pytest.raises(InputError, match="things"):
        ThingFeatureDistance((255,))
    with pytest.raises(InputError, match="projected"):
        ThingFeatureDistance((1,))(torch.zeros(1, 3, 2, 2), torch.zeros(1, 4, 2, 2), labels)
    with pytest.raises(InputError, match="channels"):
        ProjectedFeatureDistance(0, 4)
    with pytest.raises(InputError, match="from 3 to 4"):
        ProjectedFeatureDistance(3, 4)(torch.zeros(1, 3, 2, 2), torch.zeros(1, 5, 2, 2))
