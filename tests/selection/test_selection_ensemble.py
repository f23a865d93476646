from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from selection_reference import miou, softmax

from hiast.errors import InputError
from hiast.selection.ensemble import PredictionStore, compare, ensemble_agreement, quantize

CLASSES = 4


def maps(seed: int, size: tuple[int, int] = (8, 12)) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(softmax(rng.normal(size=(CLASSES, *size)) * 2)).float()


def filled(folder: Path, candidates: dict[str, int], images: int = 3, shrink: int = 1) -> PredictionStore:
    store = PredictionStore(folder, CLASSES, shrink)
    for name, seed in candidates.items():
        store.begin(name, f"weights {seed}")
        for index in range(images):
            store.write(name, index * 5, maps(100 * seed + index))
    return store


@pytest.mark.parametrize("names", [{"a": 1}, {"a": 1, "b": 2}, {"a": 1, "b": 2, "c": 3}])
def test_equals_a_plain_average(tmp_path: Path, names: dict[str, int]) -> None:
    store = filled(tmp_path, names)
    stacked = {
        name: np.stack([np.round(maps(100 * seed + i).numpy() * 255) for i in range(3)])
        for name, seed in names.items()
    }
    ensemble = sum(stacked.values()).argmax(1)
    found = ensemble_agreement(store, list(names))
    assert list(found) == list(names)
    for name in names:
        own = stacked[name].argmax(1)
        assert found[name].agreement == (own == ensemble).mean()
        assert found[name].miou == pytest.approx(miou(own, ensemble, CLASSES))


def test_rounding_to_bytes_hardly_changes_the_scores(tmp_path: Path) -> None:
    names = {"a": 1, "b": 2, "c": 3}
    store = filled(tmp_path, names)
    exact = {name: np.stack([maps(100 * seed + i).numpy() for i in range(3)]) for name, seed in names.items()}
    ensemble = sum(exact.values()).argmax(1)
    for name, scores in ensemble_agreement(store, list(names)).items():
        assert scores.agreement == pytest.approx((exact[name].argmax(1) == ensemble).mean(), abs=0.02)


def test_equal_candidates_agree_fully(tmp_path: Path) -> None:
    store = PredictionStore(tmp_path, CLASSES, 1)
    for name in "abc":
        store.begin(name, "w")
        store.write(name, 0, maps(1))
    assert [(s.agreement, s.miou) for s in ensemble_agreement(store, "abc").values()] == [(1.0, 1.0)] * 3


def test_order_makes_no_difference(tmp_path: Path) -> None:
    store = filled(tmp_path, {"a": 1, "b": 2, "c": 3})
    one, other = ensemble_agreement(store, ["a", "b", "c"]), ensemble_agreement(store, ["c", "a", "b"])
    for name in "abc":
        assert (one[name].matrix == other[name].matrix).all()


def test_weights_are_votes(tmp_path: Path) -> None:
    store = filled(tmp_path, {"a": 1, "b": 2})
    found = ensemble_agreement(store, ["a", "b"], {"a": 1000})
    assert found["a"].agreement == 1
    copies = PredictionStore(tmp_path / "copies", CLASSES, 1)
    for name, seed in {"a": 1, "again": 1, "b": 2}.items():
        copies.begin(name, "")
        for index in range(3):
            copies.write(name, index * 5, maps(100 * seed + index))
    twice = ensemble_agreement(copies, ["a", "again", "b"])
    assert (ensemble_agreement(store, ["a", "b"], {"a": 2})["b"].matrix == twice["b"].matrix).all()


def test_a_collapsed_candidate_agrees_least(tmp_path: Path) -> None:
    store = PredictionStore(tmp_path, CLASSES, 1)
    for name, noise in {"a": 10, "b": 20, "c": 30}.items():
        store.begin(name, "")
        store.write(name, 0, (maps(1) + 0.1 * maps(noise)) / 1.1)
    store.begin("collapsed", "")
    flat = torch.zeros(CLASSES, 8, 12)
    flat[2] = 1
    store.write("collapsed", 0, flat)
    found = ensemble_agreement(store, ["a", "b", "c", "collapsed"])
    assert min(found, key=lambda name: found[name].miou) == "collapsed"


def test_shrinking_is_the_mean_over_blocks() -> None:
    small = quantize(maps(1), 4)
    blocks = maps(1).numpy().reshape(CLASSES, 2, 4, 3, 4).mean((2, 4))
    assert small.shape == (CLASSES, 2, 3)
    assert np.abs(small - blocks * 255).max() <= 0.501
    assert quantize(maps(1, (5, 7)), 4).shape == (CLASSES, 2, 2)
    assert quantize(maps(1, (1, 1)), 4).shape == (CLASSES, 1, 1)


def test_a_pixel_that_is_not_finite_has_no_say(tmp_path: Path) -> None:
    broken = maps(1)
    broken[:, 0, 0] = torch.nan
    broken[1, 0, 1] = torch.inf
    assert quantize(broken, 1)[:, 0, 0].tolist() == [0] * CLASSES
    store = PredictionStore(tmp_path, CLASSES, 1)
    for name, prediction in {"a": maps(1), "broken": torch.full_like(maps(1), torch.nan)}.items():
        store.begin(name, "")
        store.write(name, 0, prediction)
    assert ensemble_agreement(store, ["a", "broken"])["a"].agreement == 1


def test_comparison_of_two_candidates(tmp_path: Path) -> None:
    store = filled(tmp_path, {"a": 1, "b": 2})
    a, b = (np.stack([store.read(name, i * 5).argmax(0) for i in range(3)]) for name in "ab")
    assert compare(store, "a", "b").miou == pytest.approx(miou(a, b, CLASSES))
    assert compare(store, "a", "a").agreement == 1


def test_what_is_there_is_not_written_again(tmp_path: Path) -> None:
    store = filled(tmp_path, {"a": 1}, images=2)
    assert store.indices("a") == [0, 5]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npz")}
    again = filled(tmp_path, {"a": 1}, images=3)
    assert again.indices("a") == [0, 5, 10]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert not list(tmp_path.rglob(".*.part"))


def test_files_of_equal_predictions_are_equal(tmp_path: Path) -> None:
    filled(tmp_path / "x", {"a": 1})
    filled(tmp_path / "y", {"a": 1})
    contents = [[p.read_bytes() for p in sorted((tmp_path / part).rglob("*.npz"))] for part in "xy"]
    assert contents[0] == contents[1]


def test_predictions_of_another_network_are_removed(tmp_path: Path) -> None:
    store = filled(tmp_path, {"a": 1})
    store.begin("a", "other weights")
    assert store.indices("a") == []
    store.write("a", 0, maps(9))
    PredictionStore(tmp_path, CLASSES, shrink=2).begin("a", "other weights")
    assert store.indices("a") == []


def test_candidates_with_predictions_of_other_images_are_refused(tmp_path: Path) -> None:
    store = filled(tmp_path, {"a": 1, "b": 2})
    store.write("b", 99, maps(1))
    with pytest.raises(InputError, match="4 images for b and of 3 for a"):
        ensemble_agreement(store, ["a", "b"])


def test_predictions_of_other_sizes_are_refused(tmp_path: Path) -> None:
    store = filled(tmp_path, {"a": 1, "b": 2}, images=1)
    for name, size in {"a": (4, 4), "b": (4, 5)}.items():
        store.write(name, 7, maps(1, size))
    with pytest.raises(InputError, match="image 7 differ in size"):
        compare(store, "a", "b")


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "flipped", "gone", "shape"])
def test_a_damaged_file_is_named(tmp_path: Path, damage: str) -> None:
    store = filled(tmp_path, {"a": 1})
    path = tmp_path / "a" / "000005.npz"
    content = path.read_bytes()
    middle = len(content) // 2
    if damage == "gone":
        path.unlink()
    elif damage == "shape":
        with path.open("wb") as file:
            np.savez_compressed(file, probabilities=np.zeros((2, 3), np.uint8))
    else:
        path.write_bytes(
            {
                "empty": b"",
                "text": b"not an archive",
                "cut": content[:middle],
                "flipped": content[:middle]
                + bytes(255 - byte for byte in content[middle : middle + 8])
                + content[middle + 8 :],
            }[damage]
        )
    with pytest.raises(InputError, match=r"000005\.npz"):
        store.read("a", 5)


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a b"])
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="not a valid name of a candidate"):
        PredictionStore(tmp_path, CLASSES).begin(name, "")


def test_another_number_of_classes_is_refused(tmp_path: Path) -> None:
    store = filled(tmp_path, {"a": 1})
    with pytest.raises(ValueError, match="store holds"):
        store.write("a", 1, torch.rand(3, 4, 4))
    with pytest.raises(InputError, match="instead of uint8"):
        PredictionStore(tmp_path, CLASSES + 1).read("a", 0)


def test_no_candidates_have_no_agreement(tmp_path: Path) -> None:
    assert ensemble_agreement(PredictionStore(tmp_path, CLASSES), []) == {}
