"""Mixed images against loops over pixels, and the law of the draws."""

from __future__ import annotations

import math
from itertools import combinations, product

import pytest
import torch

from hiast.errors import InputError
from hiast.online import ClassMix, HardClassPaste, Labeled, NoMixing, generator_at
from hiast.online.mixing import classes_present, draw_half


def drawn(seed, classes=5, batch=3, kind=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes + 1, (batch, 6, 8), generator=generator).to(torch.uint8)
    labels[labels == classes] = 255
    images = torch.randint(0, 256, (batch, 3, 6, 8), generator=generator).to(kind)
    return Labeled(images, labels, torch.rand(batch, 6, 8, generator=generator))


def assert_pasted_by_mask(mixed, donor, onto):
    for b in range(len(mixed.labels)):
        for row in range(mixed.labels.shape[1]):
            for column in range(mixed.labels.shape[2]):
                of = donor if mixed.pasted[b, row, column] else onto
                assert torch.equal(mixed.images[b, :, row, column], of.images[b, :, row, column])
                assert mixed.labels[b, row, column] == of.labels[b, row, column]
                weight = 1.0 if of.weights is None else of.weights[b, row, column]
                assert mixed.weights[b, row, column] == weight


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("classes_of", ["image", "batch"])
@pytest.mark.parametrize("ignored_counts", [True, False])
def test_classmix_pastes_whole_classes_half_of_them_rounded_up(kind, classes_of, ignored_counts):
    for seed in range(6):
        donor, onto = (
            drawn(seed, batch=2, kind=kind)._replace(weights=None),
            drawn(seed + 100, batch=2, kind=kind),
        )
        donor.labels[1][donor.labels[1] < 3] = 3  # images of different classes
        before = [part.clone() for part in (*donor[:2], *onto)]
        mixed = ClassMix(classes_of, ignored_counts)(donor, onto, generator_at(seed))
        assert all(torch.equal(a, b) for a, b in zip(before, (*donor[:2], *onto), strict=True))
        assert_pasted_by_mask(mixed, donor, onto)
        assert mixed.images.dtype == kind
        assert mixed.weights.dtype == torch.float32
        whole_batch = set(donor.labels.flatten().tolist())
        for labels, mask in zip(donor.labels, mixed.pasted, strict=True):
            present = set(labels.flatten().tolist())
            pasted = set(labels[mask].tolist())
            assert not pasted & set(labels[~mask].tolist()), "a class is pasted as a whole or not at all"
            assert ignored_counts or 255 not in pasted
            countable = {k for k in present if ignored_counts or k != 255}
            if classes_of == "image":
                assert len(pasted) == math.ceil(len(countable) / 2)
            else:
                wanted = math.ceil(len({k for k in whole_batch if ignored_counts or k != 255}) / 2)
                assert len(pasted) <= wanted


@pytest.mark.parametrize("ignored_counts", [True, False])
@pytest.mark.parametrize("context", [1, 2, 20])
def test_context_is_pasted_with_its_own_labels(context, ignored_counts):
    generator = torch.Generator().manual_seed(context)
    for seed in range(4):
        donor, onto = drawn(seed, batch=2), drawn(seed + 100, batch=2)
        blocks = torch.randint(0, 6, (2, 3, 4), generator=generator).to(torch.uint8)
        blocks[blocks == 5] = 255
        donor = donor._replace(labels=blocks.repeat_interleave(2, 1).repeat_interleave(2, 2))
        bare = ClassMix("image", ignored_counts)(donor, onto, generator_at(seed)).pasted
        mixed = ClassMix("image", ignored_counts, context)(donor, onto, generator_at(seed))
        assert_pasted_by_mask(mixed, donor, onto)
        for b, row, column in product(range(2), range(6), range(8)):
            square = bare[
                b, max(0, row - context) : row + context + 1, max(0, column - context) : column + context + 1
            ]
            allowed = ignored_counts or donor.labels[b, row, column] != 255
            assert mixed.pasted[b, row, column] == (bool(square.any()) and bool(allowed))


def test_a_negative_context_is_refused():
    with pytest.raises(InputError, match="context is -1; give a number of pixels"):
        ClassMix(context=-1)


def test_half_is_drawn_uniformly_and_without_replacement():
    present = torch.zeros(1, 256, dtype=torch.bool)
    present[0, [3, 7, 9, 200, 255]] = True
    rows = draw_half(present.expand(6000, -1), generator_at(5))
    assert (rows.sum(1) == 3).all()
    assert not (rows & ~present).any()
    found = {}
    for row in rows:
        key = tuple(row.nonzero().flatten().tolist())
        found[key] = found.get(key, 0) + 1
    assert set(found) == set(combinations([3, 7, 9, 200, 255], 3))
    # 10 triples, 600 expected each, standard deviation 23.
    assert all(abs(times - 600) < 110 for times in found.values())


@pytest.mark.parametrize(("count", "half"), [(0, 0), (1, 1), (2, 1), (3, 2), (4, 2), (256, 128)])
def test_half_is_rounded_up(count, half):
    present = torch.arange(256).unsqueeze(0) < count
    assert int(draw_half(present, generator_at(1)).sum()) == half


def test_the_batchs_classes_are_drawn_anew_for_each_image():
    labels = torch.arange(8, dtype=torch.uint8).view(1, 1, 8).repeat(16, 1, 1)
    donor = Labeled(torch.ones(16, 3, 1, 8), labels)
    onto = Labeled(torch.zeros(16, 3, 1, 8), torch.full_like(labels, 9))
    mixed = ClassMix("batch")(donor, onto, generator_at(0))
    assert (mixed.pasted.sum((1, 2)) == 4).all()
    assert len({tuple(mask.flatten().tolist()) for mask in mixed.pasted}) > 8


def test_the_batchs_classes_include_those_that_an_image_lacks():
    labels = torch.stack([torch.zeros(4, 4, dtype=torch.uint8), torch.ones(4, 4, dtype=torch.uint8)])
    donor, onto = Labeled(torch.ones(2, 3, 4, 4), labels), Labeled(torch.zeros(2, 3, 4, 4), labels)
    counts = [
        ClassMix("batch")(donor, onto, generator_at(n)).pasted.flatten(1).any(1).sum() for n in range(40)
    ]
    assert {int(count) for count in counts} == {0, 1, 2}
    of_image = ClassMix("image")(donor, onto, generator_at(0))
    assert of_image.pasted.all(), "half of one class, rounded up, is that class"


def test_only_the_classes_that_may_be_pasted_are_drawn():
    donor, onto = drawn(3), drawn(4)
    allowed = torch.tensor([False, True, False, False, True])
    mixed = ClassMix(ignored_counts=False)(donor, onto, generator_at(0), allowed)
    assert set(donor.labels[mixed.pasted].tolist()) <= {1, 4}
    assert mixed.pasted.flatten(1).any(1).all()


def test_hard_classes_are_all_pasted_with_the_donors_weights():
    donor, onto = drawn(3), drawn(4)
    hard = torch.tensor([False, True, False, False, True])
    mixed = HardClassPaste()(donor, onto, generator_at(0), hard)
    assert torch.equal(mixed.pasted, (donor.labels == 1) | (donor.labels == 4))
    assert_pasted_by_mask(mixed, donor, onto)
    none = HardClassPaste()(donor, onto, generator_at(0), torch.zeros(5, dtype=torch.bool))
    assert torch.equal(none.images, onto.images)
    assert not none.pasted.any()


def test_hard_class_paste_equals_that_of_the_rounds():
    from hiast.data.augmentation.copy_paste import hard_class_paste

    donor, onto = drawn(8, batch=1, kind=torch.uint8), drawn(9, batch=1, kind=torch.uint8)
    mixed = HardClassPaste()(donor, onto, generator_at(0), torch.tensor([True, False, False, True, False]))
    arrays = [a[0].permute(1, 2, 0).numpy() if a.ndim == 4 else a[0].numpy() for a in (*onto[:2], *donor[:2])]
    image, labels, _ = hard_class_paste(*arrays, (0, 3))
    assert (mixed.images[0].permute(1, 2, 0).numpy() == image).all()
    assert (mixed.labels[0].numpy() == labels).all()


def test_mixing_continues_from_what_is_mixed():
    source, donors, target = drawn(1), drawn(2), drawn(3)
    once = HardClassPaste()(donors, target, generator_at(0), torch.tensor([True, False]))
    twice = ClassMix()(source, once.labeled, generator_at(0, 1))
    assert_pasted_by_mask(twice, source, once.labeled)


def test_no_mixing_gives_back_what_it_got():
    onto = drawn(1)._replace(weights=None)
    mixed = NoMixing()(drawn(2), onto, generator_at(0))
    assert torch.equal(mixed.images, onto.images)
    assert torch.equal(mixed.labels, onto.labels)
    assert (mixed.weights == 1).all()
    assert not mixed.pasted.any()


def test_a_generator_decides_the_draw():
    donor, onto = drawn(1), drawn(2)
    first, again, other = (ClassMix()(donor, onto, generator_at(0, step)).pasted for step in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_donor_without_labels_pastes_nothing_unless_they_count():
    donor, onto = drawn(1), drawn(2)
    donor.labels.fill_(255)
    assert not ClassMix(ignored_counts=False)(donor, onto, generator_at(0)).pasted.any()
    mixed = ClassMix(ignored_counts=True)(donor, onto, generator_at(0))
    assert mixed.pasted.all()
    assert (mixed.labels == 255).all()


def test_classes_present_of_an_empty_batch_and_of_every_label():
    assert classes_present(torch.zeros(0, 2, 2, dtype=torch.uint8)).shape == (0, 256)
    every = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
    assert classes_present(every).all()


def test_what_does_not_fit_is_refused():
    donor, onto = drawn(1), drawn(2)
    with pytest.raises(InputError, match="classes_of"):
        ClassMix("both")
    with pytest.raises(InputError, match="hard classes"):
        HardClassPaste()(donor, onto, generator_at(0))
    with pytest.raises(InputError, match="bool"):
        HardClassPaste()(donor, onto, generator_at(0), torch.tensor([1, 4]))
    with pytest.raises(InputError, match="one shape and type"):
        ClassMix()(donor, onto._replace(images=onto.images.half()), generator_at(0))
    with pytest.raises(InputError, match="labels"):
        ClassMix()(donor._replace(labels=donor.labels[:, 1:]), onto, generator_at(0))
    with pytest.raises(InputError, match="labels"):
        ClassMix()(donor, onto._replace(labels=onto.labels.long()), generator_at(0))
    with pytest.raises(InputError, match="weights"):
        ClassMix()(donor, onto._replace(weights=torch.ones(3, 6, 7)), generator_at(0))
