"""Tests of the batches that networks are measured on."""

from __future__ import annotations

import pytest
import torch

from hiast.callbacks import sample_images
from hiast.callbacks.sample_images import in_batches, labeled_batches
from hiast.selection.agreement import most_probable


def image(value: int, height: int = 4, width: int = 8) -> torch.Tensor:
    return torch.full((1, 3, height, width), value, dtype=torch.uint8)


def test_images_of_one_size_share_a_batch_up_to_the_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_images, "BATCH_PIXELS", 64)
    samples = [
        (image(0), 0),
        (image(1), 1),
        (image(2), 2),
        (image(3, 8), 3),
        (image(4, 20), 4),
        (image(5), 5),
    ]
    found = [[index for _, index in batch] for batch in in_batches(samples)]
    assert found == [[0, 1], [2], [3], [4], [5]]


def test_no_image_makes_no_batch() -> None:
    assert list(in_batches([])) == []


def test_labels_of_other_sizes_end_a_batch() -> None:
    labels = [torch.full((1, 4, width), number, dtype=torch.uint8) for number, width in enumerate((8, 8, 6))]
    batches = list(labeled_batches((image(number), label) for number, label in enumerate(labels)))
    assert [tuple(maps.shape) for maps, _ in batches] == [(2, 3, 4, 8), (1, 3, 4, 8)]
    assert [label[:, 0, 0].tolist() for _, label in batches] == [[0, 1], [2]]
    assert [maps[:, 0, 0, 0].tolist() for maps, _ in batches] == [[0, 1], [2]]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_most_probable_class_is_that_of_argmax(layout: torch.memory_format) -> None:
    # Values of few kinds: the first of equal classes counts.
    maps = torch.randint(0, 3, (2, 19, 16, 24), generator=torch.Generator().manual_seed(0)).float()
    maps = maps.contiguous(memory_format=layout)
    assert torch.equal(most_probable(maps), maps.argmax(1))
