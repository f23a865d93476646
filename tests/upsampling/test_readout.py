"""The read-out in blocks against softmax, argmax and entropy of full-size maps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hiast.errors import InputError
from hiast.upsampling import Upsampling, View, read_out
from hiast.upsampling import blocks as module

UP = Upsampling.to((48, 80))


def draw(classes: int = 7, batch: int = 2, size: tuple[int, int] = (6, 10), seed: int = 0) -> Tensor:
    return 3 * torch.randn(batch, classes, *size, generator=torch.Generator().manual_seed(seed))


def plainly(views: list[View]) -> tuple[Tensor, Tensor, Tensor]:
    """Labels, confidence and normalized entropy of each image by full-size maps in float64."""
    maps = []
    for logits, upsampling, mirrored in views:
        full = upsampling(logits.double()).softmax(1)
        maps.append(full.flip(-1) if mirrored else full)
    mean = torch.stack(maps).mean(0)
    entropy = torch.special.entr(mean).sum(1).mean((1, 2)) / torch.tensor(float(mean.shape[1])).log()
    return mean.argmax(1), mean.amax(1), entropy


@pytest.mark.parametrize("classes", [2, 7, 19, 255])
@pytest.mark.parametrize("elements", [1, 20_000, 10**7])
def test_one_view(monkeypatch: pytest.MonkeyPatch, classes: int, elements: int) -> None:
    monkeypatch.setattr(module, "CPU_BLOCK", elements)
    view = View(draw(classes), UP)
    found = read_out([view], entropy=True)
    labels, confidence, entropy = plainly([view])
    assert found.labels.dtype == torch.uint8 and found.confidence.dtype == torch.float32
    assert torch.equal(found.labels.long(), labels)
    torch.testing.assert_close(found.confidence.double(), confidence, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(found.entropy, entropy, rtol=1e-6, atol=1e-8)
    assert found.share is None and read_out([view]).entropy is None


@pytest.mark.parametrize("elements", [1, 10**7])
def test_several_views_are_averaged(monkeypatch: pytest.MonkeyPatch, elements: int) -> None:
    monkeypatch.setattr(module, "CPU_BLOCK", elements)
    padded = Upsampling.to((64, 96), kept=(60, 90)).then((48, 80))
    views = [
        View(draw(), UP),
        View(draw(seed=1), UP, mirrored=True),
        View(draw(size=(16, 24), seed=2), padded),
        View(draw(size=(16, 24), seed=3), padded, mirrored=True),
        View(draw(size=(9, 9), seed=4), Upsampling.to((48, 80), align_corners=False)),
    ]
    found = read_out(views, entropy=True)
    labels, confidence, entropy = plainly(views)
    assert torch.equal(found.labels.long(), labels)
    torch.testing.assert_close(found.confidence.double(), confidence, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(found.entropy, entropy, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_mirrored_view_alone(mirrored: bool) -> None:
    view = View(draw(), UP, mirrored)
    labels, _, _ = plainly([view])
    assert torch.equal(read_out([view]).labels.long(), labels)


def test_the_first_of_equal_classes_wins() -> None:
    logits = torch.zeros(1, 5, 2, 2)
    logits[:, 2] = logits[:, 4] = 1
    assert read_out([View(logits, Upsampling.to((8, 8)))]).labels.unique().tolist() == [2]
    both = [View(logits, Upsampling.to((8, 8)))] * 2
    assert read_out(both).labels.unique().tolist() == [2]


def test_share_of_confident_pixels_counts_ties() -> None:
    logits = torch.zeros(1, 2, 2, 2)
    assert float(read_out([View(logits, UP)], threshold=0.5).share) == 1
    assert float(read_out([View(logits, UP)], threshold=0.51).share) == 0
    view = View(draw(), UP)
    found = read_out([view], threshold=0.9)
    assert float(found.share) == pytest.approx(float((found.confidence >= 0.9).double().mean()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_read_out_in_float32(dtype: torch.dtype) -> None:
    logits = draw(19).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = read_out([View(logits, UP)], entropy=True)
    full = read_out([View(logits.float(), UP)], entropy=True)
    assert half.confidence.dtype == torch.float32
    for found, wanted in zip(half[:3], full[:3], strict=True):
        assert torch.equal(found, wanted)


@pytest.mark.parametrize("views", [1, 2])
def test_extremes(views: int) -> None:
    logits = 1e4 * draw(5)
    found = read_out([View(logits, UP)] * views, entropy=True)
    labels, confidence, entropy = plainly([View(logits, UP)])
    assert torch.equal(found.labels.long(), labels)
    torch.testing.assert_close(found.confidence.double(), confidence, rtol=1e-2, atol=1e-6)
    assert torch.isfinite(found.entropy).all()
    torch.testing.assert_close(found.entropy, entropy, rtol=1e-3, atol=1e-6)


def test_one_class_is_certain() -> None:
    found = read_out([View(draw(1), UP)], entropy=True, threshold=1.0)
    assert not found.labels.any()
    assert bool((found.confidence == 1).all()) and not found.entropy.any() and float(found.share) == 1


def test_logits_that_are_not_numbers_give_labels_that_are_classes() -> None:
    found = read_out([View(torch.full((1, 3, 2, 2), torch.nan), UP)])
    assert int(found.labels.max()) < 3 and bool(found.confidence.isnan().all())


def test_any_memory_format_and_no_change_of_the_input() -> None:
    logits = draw(19)
    wanted = read_out([View(logits, UP)])
    again = logits.to(memory_format=torch.channels_last).requires_grad_()
    found = read_out([View(again, UP)])
    assert torch.equal(found.labels, wanted.labels) and torch.equal(found.confidence, wanted.confidence)
    assert torch.equal(again, logits) and not found.confidence.requires_grad


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="at least one"):
        read_out([])
    with pytest.raises(InputError, match="differ"):
        read_out([View(draw(3), UP), View(draw(4), UP)])
    with pytest.raises(InputError, match="differ"):
        read_out([View(draw(3), UP), View(draw(3), Upsampling.to((10, 10)))])
    with pytest.raises(InputError, match="255 classes"):
        read_out([View(draw(256), UP)])
