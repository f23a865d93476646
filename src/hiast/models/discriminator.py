"""The domain discriminator of the adversarial warm-up."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class Discriminator(nn.Module):
    """Five 4x4 convolutions with stride 2 that tell source from target score maps (Tsai et al. 2018).

    Args:
        num_classes: Channels of the score maps.
        width: Channels after the first convolution; they double up to eight times that.
    """

    def __init__(self, num_classes: int = 19, width: int = 64) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(num_classes, width, 4, 2, 1)
        self.conv2 = nn.Conv2d(width, 2 * width, 4, 2, 1)
        self.conv3 = nn.Conv2d(2 * width, 4 * width, 4, 2, 1)
        self.conv4 = nn.Conv2d(4 * width, 8 * width, 4, 2, 1)
        self.classifier = nn.Conv2d(8 * width, 1, 4, 2, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Domain scores [B,1,H//32,W//32] of ``maps`` [B,C,H,W]; H and W are at least 32.

        Towards 0 is source, towards 1 target (with binary cross-entropy the score is a logit).
        """
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            maps = F.leaky_relu(conv(maps), 0.2, inplace=True)
        scores: Tensor = self.classifier(maps)
        return scores
