"""The most probable class: bit for bit what a full softmax gives."""

from __future__ import annotations

import pytest
import torch

from hiast.pseudo_labels import top_class


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    "shape",
    [(2, 19, 12, 16), (1, 5, 33, 47), (3, 150, 9, 31), (1, 1, 8, 8), (2, 2, 31, 1), (1, 3, 3, 40_000)],
)
def test_equals_the_full_softmax(shape, dtype, layout):
    # Rounded logits, so that many pixels have several most probable classes.
    logits = (torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 3).round()
    logits = logits.to(dtype).contiguous(memory_format=layout)
    confidence, prediction = top_class(logits)
    expected = logits.float().softmax(1).max(1)
    assert torch.equal(confidence, expected.values)
    assert torch.equal(prediction.long(), expected.indices)
    assert (confidence.dtype, prediction.dtype) == (torch.float32, torch.uint8)


def test_no_images():
    confidence, prediction = top_class(torch.zeros(0, 3, 4, 5))
    assert confidence.shape == prediction.shape == (0, 4, 5)


def test_extreme_logits():
    logits = torch.tensor([[-1e30, 1e30], [0.0, 0.0], [90.0, -90.0]]).T.reshape(1, 2, 3, 1)
    confidence, prediction = top_class(logits)
    assert confidence.flatten().tolist() == [1.0, 0.5, 1.0]
    assert prediction.flatten().tolist() == [1, 0, 0]
