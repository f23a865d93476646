"""The read-out in one pass against probabilities, argmax, entropy and counts one after the other."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from hiast.errors import InputError
from hiast.evaluation import (
    coarse_views,
    confusion_matrix,
    evaluate,
    mean_entropy,
    predict_probabilities,
)
from hiast.evaluation.inference import Size
from hiast.models import SegmentationNetwork
from hiast.upsampling import Upsampling, read_out

MEAN, STD = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
CLASSES = 5


class Small(SegmentationNetwork):
    """Stride 4, padded to 8, as segmentation-models-pytorch does it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, CLASSES, 7, 4, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.upsampling(images.shape[-2], images.shape[-1])(self.coarse(images))

    def coarse(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        return 8 * self.conv(nn.functional.pad(images, (0, -width % 8, 0, -height % 8)))

    def upsampling(self, height: int, width: int) -> Upsampling:
        return Upsampling.to((height + -height % 8, width + -width % 8), kept=(height, width))


class Whole(Small):
    """A network of which nothing but ``forward`` is known."""

    coarse = SegmentationNetwork.coarse
    upsampling = SegmentationNetwork.upsampling

    def forward(self, images: Tensor) -> Tensor:
        return Small.upsampling(self, images.shape[-2], images.shape[-1])(Small.coarse(self, images))


def draw(height: int = 19, width: int = 31, batch: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(256, (batch, 3, height, width), generator=generator).to(torch.uint8)


@pytest.mark.parametrize("network", [Small(), Whole()])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("sizes", [None, [(16, 24)], [(12, 20), (17, 29)]])
@pytest.mark.parametrize("window", [None, (9, 11, 8)])
@pytest.mark.parametrize("output", [None, (40, 50)])
def test_equals_probabilities(
    network: Small,
    flip: bool,
    sizes: list[Size] | None,
    window: tuple[int, int, int] | None,
    output: Size | None,
) -> None:
    images = draw()
    wanted = predict_probabilities(
        network, images, mean=MEAN, std=STD, sizes=sizes, flip=flip, window=window, output_size=output
    )
    views = coarse_views(
        network, images.float() / 255, sizes=sizes, flip=flip, window=window, output_size=output
    )
    found = read_out(views, entropy=True)
    confidence, labels = wanted.max(1)
    assert torch.equal(found.labels.long(), labels)
    torch.testing.assert_close(found.confidence, confidence, rtol=1e-5, atol=1e-6)
    assert found.entropy is not None
    assert float(found.entropy.mean()) == pytest.approx(float(mean_entropy(wanted)), rel=1e-5)


def test_coarse_logits_are_not_made_full_size() -> None:
    (view,) = coarse_views(Small(), draw().float(), output_size=(400, 400))
    assert view.logits.shape == (2, CLASSES, 6, 8) and view.upsampling.size == (400, 400)


def test_evaluate_counts_what_it_reads_out() -> None:
    network, images = Small(), draw().float() / 255
    labels = torch.randint(CLASSES, (2, 40, 50), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    labels[:, :5] = 255
    found = evaluate(network, images, labels, CLASSES, sizes=[(16, 24)], flip=True)
    assert torch.equal(found.matrix, confusion_matrix(found.read_out.labels, labels, CLASSES))
    assert int(found.matrix.sum()) == int((labels != 255).sum())
    assert found.read_out.labels.shape == labels.shape
    assert found.read_out.entropy is not None and found.read_out.entropy.shape == (2,)


def test_no_size_is_refused() -> None:
    with pytest.raises(InputError, match="sizes is empty"):
        coarse_views(Small(), draw().float(), sizes=[])
