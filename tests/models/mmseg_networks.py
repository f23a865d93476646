"""The published networks of DAFormer and HRDA, written from their description: keys, shapes and forward passes.

Names are those of mmsegmentation 0.16 with the mix transformer of SegFormer: every function reads its weights from a
state dict by their full keys.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.nn import functional as F

SR_RATIOS, HEADS = (8, 4, 2, 1), (1, 2, 5, 8)
DILATIONS = (1, 6, 12, 18)


@dataclass(frozen=True)
class MixTransformer:
    dims: tuple[int, ...]
    depths: tuple[int, ...]


B0 = MixTransformer((32, 64, 160, 256), (2, 2, 2, 2))
B5 = MixTransformer((64, 128, 320, 512), (3, 6, 40, 3))


# -- keys and shapes ------------------------------------------------------------------------------------------------


def layer(name: str, *shape: int, bias: bool = True) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": shape} | ({f"{name}.bias": shape[:1]} if bias else {})


def conv_module(name: str, *shape: int) -> dict[str, tuple[int, ...]]:
    norm = {f"{name}.bn.{key}": shape[:1] for key in ("weight", "bias", "running_mean", "running_var")}
    return layer(f"{name}.conv", *shape, bias=False) | norm | {f"{name}.bn.num_batches_tracked": ()}


def backbone_shapes(net: MixTransformer) -> dict[str, tuple[int, ...]]:
    shapes = {}
    for stage, dim in enumerate(net.dims, 1):
        before, kernel = (3, 7) if stage == 1 else (net.dims[stage - 2], 3)
        embed = f"backbone.patch_embed{stage}"
        shapes |= layer(f"{embed}.proj", dim, before, kernel, kernel) | layer(f"{embed}.norm", dim)
        for number in range(net.depths[stage - 1]):
            block = f"backbone.block{stage}.{number}"
            shapes |= layer(f"{block}.norm1", dim) | layer(f"{block}.norm2", dim)
            shapes |= layer(f"{block}.attn.q", dim, dim) | layer(f"{block}.attn.kv", 2 * dim, dim)
            shapes |= layer(f"{block}.attn.proj", dim, dim)
            ratio = SR_RATIOS[stage - 1]
            if ratio > 1:
                shapes |= layer(f"{block}.attn.sr", dim, dim, ratio, ratio)
                shapes |= layer(f"{block}.attn.norm", dim)
            shapes |= layer(f"{block}.mlp.fc1", 4 * dim, dim)
            shapes |= layer(f"{block}.mlp.dwconv.dwconv", 4 * dim, 1, 3, 3)
            shapes |= layer(f"{block}.mlp.fc2", dim, 4 * dim)
        shapes |= layer(f"backbone.norm{stage}", dim)
    return shapes


def head_shapes(name: str, net: MixTransformer, classes: int, channels: int, aspp: bool = True):
    shapes = layer(f"{name}.conv_seg", classes, channels, 1, 1)
    for level, dim in enumerate(net.dims):
        shapes |= layer(f"{name}.embed_layers.{level}.proj", channels, dim)
    fuse, together = f"{name}.fuse_layer", 4 * channels
    if not aspp:
        return shapes | conv_module(fuse, channels, together, 1, 1)
    for number, dilation in enumerate(DILATIONS):
        branch = f"{fuse}.aspp_modules.{number}"
        if dilation == 1:
            shapes |= conv_module(branch, channels, together, 1, 1)
        else:
            shapes |= conv_module(f"{branch}.depthwise_conv", together, 1, 3, 3)
            shapes |= conv_module(f"{branch}.pointwise_conv", channels, together, 1, 1)
    return shapes | conv_module(f"{fuse}.bottleneck", channels, 4 * channels, 3, 3)


def daformer_shapes(net: MixTransformer, classes: int = 19, channels: int = 256):
    return backbone_shapes(net) | head_shapes("decode_head", net, classes, channels)


def hrda_shapes(net: MixTransformer, classes: int = 19, channels: int = 256):
    return (
        backbone_shapes(net)
        | head_shapes("decode_head.head", net, classes, channels)
        | head_shapes("decode_head.scale_attention", net, classes, channels, aspp=False)
    )


def draw(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> dict[str, torch.Tensor]:
    """Weights with which activations and attention stay of order one."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for key, shape in shapes.items():
        if key.endswith("num_batches_tracked"):
            state[key] = torch.tensor(7)
        elif key.endswith("running_var"):
            state[key] = 0.5 + torch.rand(shape, generator=generator)
        elif len(shape) > 1:
            spread = math.sqrt(1 / math.prod(shape[1:]))
            state[key] = torch.randn(shape, generator=generator).mul_(spread)
        elif key.endswith("weight"):
            state[key] = 0.7 + 0.6 * torch.rand(shape, generator=generator)
        else:
            state[key] = 0.1 * torch.randn(shape, generator=generator)
    return state


# -- forward passes -------------------------------------------------------------------------------------------------


class Reference:
    """Forward passes in eval mode."""

    def __init__(self, state: dict[str, torch.Tensor], net: MixTransformer) -> None:
        self.w, self.net = state, net

    def linear(self, x, name):
        return x @ self.w[f"{name}.weight"].T + self.w[f"{name}.bias"]

    def norm(self, x, name, eps):
        centered = x - x.mean(-1, keepdim=True)
        scaled = centered / (centered.square().mean(-1, keepdim=True) + eps).sqrt()
        return scaled * self.w[f"{name}.weight"] + self.w[f"{name}.bias"]

    def conv_norm_relu(self, x, name, padding=0, dilation=1, groups=1):
        x = F.conv2d(x, self.w[f"{name}.conv.weight"], padding=padding, dilation=dilation, groups=groups)
        mean, var, weight, bias = (
            self.w[f"{name}.bn.{key}"].view(1, -1, 1, 1)
            for key in ("running_mean", "running_var", "weight", "bias")
        )
        return ((x - mean) / (var + 1e-5).sqrt() * weight + bias).clamp(min=0)

    def attention(self, tokens, name, size, heads, ratio):
        batch, _, dim = tokens.shape
        keys = tokens
        if ratio > 1:
            grid = tokens.transpose(1, 2).reshape(batch, dim, *size)
            grid = F.conv2d(grid, self.w[f"{name}.sr.weight"], self.w[f"{name}.sr.bias"], stride=ratio)
            keys = self.norm(grid.flatten(2).transpose(1, 2), f"{name}.norm", 1e-5)
        q = self.linear(tokens, f"{name}.q")
        k, v = self.linear(keys, f"{name}.kv").split(dim, dim=-1)
        width = dim // heads
        mixed = []
        for head in range(heads):
            part = slice(head * width, (head + 1) * width)
            weights = (q[..., part] @ k[..., part].transpose(1, 2) / math.sqrt(width)).softmax(-1)
            mixed.append(weights @ v[..., part])
        return self.linear(torch.cat(mixed, -1), f"{name}.proj")

    def mlp(self, tokens, name, size):
        hidden = self.linear(tokens, f"{name}.fc1")
        grid = hidden.transpose(1, 2).reshape(len(hidden), -1, *size)
        weight, bias = (self.w[f"{name}.dwconv.dwconv.{key}"] for key in ("weight", "bias"))
        grid = F.conv2d(grid, weight, bias, padding=1, groups=grid.shape[1])
        return self.linear(F.gelu(grid.flatten(2).transpose(1, 2)), f"{name}.fc2")

    def backbone(self, x):
        levels = []
        for stage in range(1, 5):
            embed = f"backbone.patch_embed{stage}"
            kernel, stride = (7, 4) if stage == 1 else (3, 2)
            weight, bias = self.w[f"{embed}.proj.weight"], self.w[f"{embed}.proj.bias"]
            x = F.conv2d(x, weight, bias, stride=stride, padding=kernel // 2)
            size = x.shape[-2:]
            x = self.norm(x.flatten(2).transpose(1, 2), f"{embed}.norm", 1e-5)
            for number in range(self.net.depths[stage - 1]):
                name = f"backbone.block{stage}.{number}"
                before = self.norm(x, f"{name}.norm1", 1e-6)
                x = x + self.attention(before, f"{name}.attn", size, HEADS[stage - 1], SR_RATIOS[stage - 1])
                x = x + self.mlp(self.norm(x, f"{name}.norm2", 1e-6), f"{name}.mlp", size)
            x = self.norm(x, f"backbone.norm{stage}", 1e-6).transpose(1, 2).reshape(len(x), -1, *size)
            levels.append(x)
        return levels

    def head(self, levels, name="decode_head"):
        size, projected = levels[0].shape[-2:], []
        for level, x in enumerate(levels):
            weight, bias = (self.w[f"{name}.embed_layers.{level}.proj.{key}"] for key in ("weight", "bias"))
            x = F.conv2d(x, weight[..., None, None], bias)
            projected.append(F.interpolate(x, size=size, mode="bilinear", align_corners=False))
        x, fuse = torch.cat(projected, 1), f"{name}.fuse_layer"
        if f"{fuse}.conv.weight" in self.w:
            x = self.conv_norm_relu(x, fuse)
        else:
            branches = [self.conv_norm_relu(x, f"{fuse}.aspp_modules.0")]
            for number, dilation in enumerate(DILATIONS[1:], 1):
                branch = f"{fuse}.aspp_modules.{number}"
                deep = self.conv_norm_relu(x, f"{branch}.depthwise_conv", dilation, dilation, x.shape[1])
                branches.append(self.conv_norm_relu(deep, f"{branch}.pointwise_conv"))
            x = self.conv_norm_relu(torch.cat(branches, 1), f"{fuse}.bottleneck", padding=1)
        return F.conv2d(x, self.w[f"{name}.conv_seg.weight"], self.w[f"{name}.conv_seg.bias"])

    def daformer(self, images):
        """Logits at a quarter of the image size."""
        return self.head(self.backbone(images))

    def hrda(self, images, detail):
        """Fused logits at a quarter of the image size; detail windows with half overlap."""
        height, width = images.shape[-2:]
        context, attention = self.context(images)
        total = torch.zeros(len(images), context.shape[1], height // 4, width // 4)
        count = torch.zeros(height // 4, width // 4)
        for top in self.starts(height, detail):
            for left in self.starts(width, detail):
                window = images[..., top : top + detail, left : left + detail]
                place = (slice(top // 4, (top + detail) // 4), slice(left // 4, (left + detail) // 4))
                total[(..., *place)] += self.head(self.backbone(window), "decode_head.head")
                count[place] += 1
        return self.double((1 - attention) * context) + self.double(attention) * total / count

    def hrda_training(self, images, window):
        """Fused logits with detail in one window alone, and the logits of the window."""
        top, left, height, width = window
        context, attention = self.context(images)
        inside = torch.zeros_like(attention)
        inside[..., top // 8 : (top + height) // 8, left // 8 : (left + width) // 8] = 1
        attention = attention * inside
        detail = self.head(
            self.backbone(images[..., top : top + height, left : left + width]), "decode_head.head"
        )
        fused = self.double((1 - attention) * context)
        placed = torch.zeros_like(fused)
        placed[..., top // 4 : (top + height) // 4, left // 4 : (left + width) // 4] = detail
        return fused + self.double(attention) * placed, detail

    def context(self, images):
        levels = self.backbone(F.interpolate(images, scale_factor=0.5, mode="bilinear", align_corners=False))
        return self.head(levels, "decode_head.head"), self.head(
            levels, "decode_head.scale_attention"
        ).sigmoid()

    @staticmethod
    def double(x):
        return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)

    @staticmethod
    def starts(whole, side):
        return sorted({min(start, whole - side) for start in range(0, whole, side // 2)})
