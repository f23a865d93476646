"""Files of whole timm models as weights of the encoders made from them."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch

from hiast.errors import InputError
from hiast.models import SmpNetwork

MODELS = {
    "convnext_atto": ("FPN", {}),
    "pvt_v2_b0": ("Segformer", {}),
    "sam2_hiera_tiny": ("FPN", {}),
    "resnet18": ("FPN", {}),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_file_of_the_whole_model_fills_the_encoder(tmp_path: Path, name: str):
    architecture, options = MODELS[name]
    torch.manual_seed(0)
    donor = timm.create_model(name).eval()
    torch.save(donor.state_dict(), tmp_path / "timm.pth")
    network = SmpNetwork(architecture, f"tu-{name}", str(tmp_path / "timm.pth"), 2, **options).eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        ours = network.encoder(images)[-1]
        theirs = donor.forward_intermediates(images, intermediates_only=True)[-1]
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_patches_of_14_pixels_are_resampled_to_16(tmp_path: Path):
    name, small = "vit_small_patch14_dinov2.lvd142m", {"embed_dim": 48, "num_heads": 3}
    donor = timm.create_model(name, img_size=56, **small)
    torch.save(donor.state_dict(), tmp_path / "dinov2.pth")
    network = SmpNetwork(
        "DPT",
        f"tu-{name}",
        str(tmp_path / "dinov2.pth"),
        2,
        patch_size=16,
        img_size=96,
        dynamic_img_size=True,
        **small,
    )
    model = network.encoder.model
    assert model.patch_embed.proj.weight.shape == (48, 3, 16, 16)
    assert model.pos_embed.shape == (1, 6 * 6 + 1, 48)
    assert torch.equal(model.blocks[3].mlp.fc1.weight, donor.blocks[3].mlp.fc1.weight)
    # Resampled patches answer an image of their size as before: their weights sum up to the same on a constant.
    white = [m.patch_embed.proj.weight.sum((2, 3)) for m in (model, donor)]
    torch.testing.assert_close(white[0], white[1], rtol=0.05, atol=0.05)


def test_a_file_that_does_not_fit_names_what_is_missing(tmp_path: Path):
    state = timm.create_model("convnext_atto").state_dict()
    del state["stages.2.blocks.1.mlp.fc1.weight"]
    torch.save(state, tmp_path / "timm.pth")
    with pytest.raises(InputError, match=r"timm\.pth.*stages_2\.blocks\.1\.mlp\.fc1\.weight"):
        SmpNetwork("FPN", "tu-convnext_atto", str(tmp_path / "timm.pth"), 2)
