"""Estimate what the reference runs cost: operations are counted, times follow from published ones; nothing is run.

    python benchmarks/reference_costs.py

Networks are built without memory (device "meta") and PyTorch counts the floating point operations of a forward pass of
one image. A backward pass counts as two forward passes. The table in docs/reference/reference_runs.md comes from here.
"""

from __future__ import annotations

from dataclasses import dataclass

import timm
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from hiast.cli.config import compose, instantiate, plain

HOURS = 3600.0
STEPS = 40_000


@dataclass(frozen=True)
class Passes:
    """Operations of one image.

    Attributes:
        student: Forward pass in training.
        teacher: Forward pass in evaluation, in which HRDA looks through nine windows.
    """

    student: float
    teacher: float


def operations(network: nn.Module, height: int, width: int) -> float:
    """Floating point operations of a forward pass of one image (a multiplication and an addition are two)."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.empty(1, 3, height, width))
    return float(counter.get_total_flops())


def passes(backbone: str, height: int, width: int, *overrides: str) -> Passes:
    """Passes of a network of ``conf/backbone``."""
    config = compose("train", ["+scenario=gta5_cityscapes", f"backbone={backbone}", *overrides])
    values = plain(config.backbone)
    values |= {key: None for key in ("pretrained", "weights") if key in values}
    with torch.device("meta"):
        network = instantiate(values, num_classes=19)
    evaluated = operations(network.eval(), height, width)
    if backbone.startswith("hrda"):
        # In training HRDA sees the context and one window; in evaluation the context and nine windows.
        return Passes(evaluated / 10 * 2, evaluated)
    return Passes(evaluated, evaluated)


def hiast(small: Passes) -> float:
    """Source only, warm-up and three rounds of 8,000 steps, as published."""
    source_only = 24_936 * 8 * 3 * small.student
    warmup = 24_940 * 4 * 2 * 3 * small.student
    rounds = 3 * 8_000 * 6 * (3 * small.student + small.teacher)
    return source_only + warmup + rounds


def online(of: Passes, batch: int, trained: int, labeled: float) -> float:
    """Online self-training.

    Args:
        of: The network's passes.
        batch: Images of each domain per step.
        trained: Views that the student is trained on: source, mixed and masked.
        labeled: Passes of the teacher and of frozen encoders.
    """
    return STEPS * batch * (trained * 3 * of.student + labeled * of.teacher)


def daformer(of: Passes, trained: int) -> float:
    """DAFormer (two trained views) or MIC (three); a pass of the frozen encoder counts as one of the student."""
    return online(of, 2, trained, 1) + STEPS * 2 * of.student


def adapt(of: Passes) -> float:
    """Source only and online self-training with a batch of 2."""
    return 24_936 * 8 * 3 * of.student + online(of, 2, 2, 1)


def published_vit_large() -> float:
    """VFM-UDA with ViT-L/14 on 1120 pixels; its light head is left out."""
    with torch.device("meta"):
        encoder = timm.create_model("vit_large_patch14_dinov2", img_size=1120, num_classes=0)
    forward = operations(encoder.eval(), 1120, 1120)
    return online(Passes(forward, forward), 8, 3, 2)


def main() -> None:
    """Print published times with their rates, and the estimates of each run."""
    half = passes("daformer_mit_b5", 512, 512)
    full = passes("hrda_mit_b5", 1024, 1024)
    deeplab, deeplab_half = (passes("deeplab_v2_resnet101", 512, width) for width in (1024, 512))
    convnext = passes("convnext_base_dinov3_upernet", 512, 512)
    vit_base = passes("vit_base_dinov2_dpt", 1024, 1024)
    vit_large = passes(
        "vit_base_dinov2_dpt", 1024, 1024, "backbone.encoder=tu-vit_large_patch14_dinov2.lvd142m"
    )
    anchors = {
        "DAFormer, RTX 2080 Ti": (daformer(half, 2), 16 * HOURS),
        "HRDA, Titan RTX": (daformer(full, 2), 32 * HOURS),
        "VFM-UDA ViT-L, A100 (4 for 20 h)": (published_vit_large(), 80 * HOURS),
    }
    for name, (work, seconds) in anchors.items():
        print(
            f"{name}: {work / 1e15:.0f} PFLOP in {seconds / HOURS:.0f} GPU hours: {work / seconds / 1e12:.1f} TFLOP/s"
        )
    of_2080, of_titan, of_a100 = (work / seconds for work, seconds in anchors.values())
    small: dict[str, float] = {
        "hiast, deeplab_v2_resnet101": hiast(deeplab),
        "daformer, daformer_mit_b5": daformer(half, 2),
        "mic, daformer_mit_b5": daformer(half, 3),
        "daformer, hrda_mit_b5, crop=full": daformer(full, 2),
        "mic, hrda_mit_b5, crop=full": daformer(full, 3),
        "adapt, deeplab_v2_resnet101": adapt(deeplab_half),
        "adapt, convnext_base_dinov3_upernet": adapt(convnext),
        "adapt, daformer_mit_b5": adapt(half),
    }
    large: dict[str, float] = {
        "vfm_uda, vit_base_dinov2_dpt, crop=full, batch 8": online(vit_base, 8, 3, 2),
        "vfm_uda, ViT-L DINOv2, crop=full, batch 8": online(vit_large, 8, 3, 2),
    }
    # Convolutions and small batches keep an A100 less busy than a ViT with a batch of 8 does.
    for runs, most, least in ((small, of_a100 / 3, of_a100 / 10), (large, of_a100, of_a100 / 2)):
        for name, work in runs.items():
            old = [work / rate / HOURS for rate in (of_titan, of_2080)]
            new = [work / rate / HOURS for rate in (most, least)]
            print(
                f"{name}: {work / 1e15:.0f} PFLOP; A100 {new[0]:.1f} to {new[1]:.1f} hours; "
                f"Titan RTX {old[0]:.0f}, RTX 2080 Ti {old[1]:.0f} hours"
            )


if __name__ == "__main__":
    main()
