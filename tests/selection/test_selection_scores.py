from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from selection_reference import density, infomax, mean_entropy, mean_probabilities, softmax
from without_float64 import RefuseFloat64

from hiast.selection.samples import pixel_positions
from hiast.selection.scores import TargetScores, soft_neighborhood_density
from hiast.upsampling import precision

SIZES = ((6, 7), (6, 7), (4, 9), (5, 5))


def images(classes: int, sharpness: float = 2.0) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [softmax(rng.normal(size=(classes, *size)) * sharpness) for size in SIZES]


def scored(maps: list[np.ndarray], **options: int) -> TargetScores:
    scores = TargetScores(len(maps[0]), **options)
    for index, image in enumerate(maps):
        scores.update(torch.from_numpy(image)[None], [index])
    return scores


@pytest.mark.parametrize("classes", [2, 3, 19])
@pytest.mark.parametrize("sharpness", [0.1, 2.0, 50.0])
def test_equals_loops_over_pixels(classes: int, sharpness: float) -> None:
    maps = images(classes, sharpness)
    found = scored(maps, seed=5, pixels=12).compute()
    assert found.entropy == pytest.approx(mean_entropy(maps), abs=1e-6)
    assert found.infomax == pytest.approx(infomax(maps), abs=1e-6)
    np.testing.assert_allclose(found.mean_probabilities, mean_probabilities(maps), atol=1e-6)
    labels = np.concatenate([image.argmax(0).ravel() for image in maps])
    assert found.pixels.tolist() == np.bincount(labels, minlength=classes).tolist()
    np.testing.assert_allclose(found.predicted, np.bincount(labels, minlength=classes) / len(labels))
    densities = []
    for index, image in enumerate(maps):
        flat = image.reshape(classes, -1)
        densities.append(density(flat[:, pixel_positions(flat.shape[1], 12, 5, index)].T))
    assert found.snd == pytest.approx(np.mean(densities), abs=1e-4)
    assert found.images == 4


def test_batches_and_single_images_give_the_same() -> None:
    maps = [image for image in images(5) if image.shape[1:] == (6, 7)]
    stacked = torch.from_numpy(np.stack(maps))
    whole = TargetScores(5, pixels=10)
    whole.update(stacked, [0, 1])
    single = scored(maps, pixels=10)
    backwards = TargetScores(5, pixels=10)
    for index in (1, 0):
        backwards.update(stacked[index : index + 1], [index])
    a, *others = (scores.compute() for scores in (whole, single, backwards))
    for b in others:
        assert a.pixels.tolist() == b.pixels.tolist()
        for name in ("entropy", "infomax", "snd"):
            assert getattr(a, name) == pytest.approx(getattr(b, name), abs=1e-7)
        np.testing.assert_allclose(a.mean_probabilities, b.mean_probabilities, atol=1e-7)


def test_the_same_input_gives_the_same_bits_and_the_seed_decides_the_pixels() -> None:
    maps = images(4)
    a, b = (scored(maps, seed=1, pixels=10).compute() for _ in range(2))
    assert (a.entropy, a.infomax, a.snd) == (b.entropy, b.infomax, b.snd)
    other = scored(maps, seed=2, pixels=10).compute()
    assert other.entropy == a.entropy
    assert other.snd != a.snd


@pytest.mark.parametrize("certain", [True, False])
def test_a_constant_prediction_fools_density_and_not_infomax(certain: bool) -> None:
    constant = torch.zeros(1, 3, 20, 20)
    constant[:, 1] = 1
    if not certain:
        constant = torch.tensor([0.2, 0.5, 0.3]).view(1, 3, 1, 1).expand(1, 3, 20, 20)
    scores = TargetScores(3)
    scores.update(constant, [0])
    found = scores.compute()
    assert found.infomax == pytest.approx(0, abs=1e-6)
    assert found.snd == pytest.approx(math.log(99), abs=1e-4)
    assert found.predicted.tolist() == [0, 1, 0]
    assert (found.entropy == 0) is certain


def test_uniform_probabilities_are_as_uncertain_as_can_be() -> None:
    scores = TargetScores(2)
    scores.update(torch.full((1, 2, 3, 3), 0.5), [7])
    found = scores.compute()
    assert found.entropy == pytest.approx(1)
    assert found.infomax == pytest.approx(0, abs=1e-6)


def test_a_single_pixel_has_no_neighbor() -> None:
    scores = TargetScores(2)
    scores.update(torch.tensor([0.25, 0.75]).view(1, 2, 1, 1), [0])
    assert scores.compute().snd == 0


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_nothing_is_known_of_no_image() -> None:
    found = TargetScores(3).compute()
    assert math.isnan(found.entropy)
    assert math.isnan(found.infomax)
    assert math.isnan(found.snd)
    assert np.isnan(found.predicted).all()
    assert found.images == 0


def test_probabilities_that_are_not_finite_are_seen() -> None:
    broken = torch.full((1, 2, 4, 4), 0.5)
    broken[0, 0, 0, 0] = torch.nan
    scores = TargetScores(2)
    scores.update(broken, [0])
    found = scores.compute()
    assert math.isnan(found.entropy)
    assert math.isnan(found.infomax)


def test_half_precision_is_counted_in_single() -> None:
    maps = torch.from_numpy(np.stack(images(3)[:2])).bfloat16()
    scores, single = TargetScores(3), TargetScores(3)
    scores.update(maps, [0, 1])
    single.update(maps.float(), [0, 1])
    assert scores.compute().entropy == single.compute().entropy


@pytest.mark.parametrize("shape", [(1, 3, 4, 4), (2, 2, 4, 4), (2, 4, 4)])
def test_shapes_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="probabilities"):
        TargetScores(2).update(torch.rand(shape), [0])


def test_one_class_is_refused() -> None:
    with pytest.raises(ValueError, match="2 classes"):
        TargetScores(1)


def test_density_is_low_where_every_vector_has_one_neighbor() -> None:
    pairs = torch.eye(6).repeat_interleave(2, 0)
    assert soft_neighborhood_density(pairs).item() == pytest.approx(0, abs=1e-5)
    assert soft_neighborhood_density(pairs).item() == pytest.approx(density(pairs.numpy()), abs=1e-5)


def test_processes_add_up() -> None:
    """What torchmetrics does over processes: states are summed."""
    maps = images(4)
    parts = [TargetScores(4, pixels=9) for _ in range(2)]
    for index, image in enumerate(maps):
        parts[index % 2].update(torch.from_numpy(image)[None], [index])
    joined = TargetScores(4, pixels=9)
    joined.update(torch.from_numpy(maps[0])[None], [0])
    for name in joined._defaults:
        assert joined._reductions[name] is not None
        setattr(joined, name, sum(getattr(part, name) for part in parts))
    whole = scored(maps, pixels=9).compute()
    found = joined.compute()
    assert found.pixels.tolist() == whole.pixels.tolist()
    assert found.snd == pytest.approx(whole.snd, abs=1e-12)
    assert found.infomax == pytest.approx(whole.infomax, abs=1e-12)


def test_the_scores_need_no_float64_where_the_device_has_none(monkeypatch):
    monkeypatch.setattr(precision, "WITHOUT_FLOAT64", {"meta"})
    scores = TargetScores(3).to("meta")
    with RefuseFloat64():
        scores.update(torch.empty(2, 3, 8, 8, device="meta"), [0, 1])
        scores.reset()
        scores.update(torch.empty(2, 3, 8, 8, device="meta"), [0, 1])
