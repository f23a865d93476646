from __future__ import annotations

import json

import pytest
import torch

from hiast.errors import InputError
from hiast.models import DeepLabV2, SmpNetwork, build_from_recipe

NETWORKS = {
    "deeplab": lambda: DeepLabV2(5, layers=(1, 1, 2, 1), width=4),
    "unet": lambda: SmpNetwork("Unet", "resnet18", None, 3, decoder_channels=(32, 16, 8, 8, 4)),
    "lite0": lambda: SmpNetwork("FPN", "tu-tf_efficientnet_lite0", "efficientnet-lite0-package", 4),
    "own input": lambda: SmpNetwork("Linknet", "resnet18", None, 4, mean=(0.1, 0.2, 0.3), std=(1, 2, 3)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_rebuilt_network_computes_the_same(name: str):
    network = NETWORKS[name]().eval()
    recipe = json.loads(json.dumps(network.recipe))
    rebuilt = build_from_recipe(recipe)
    rebuilt.load_state_dict(network.state_dict())
    images = torch.randn(1, 3, 40, 64)
    with torch.inference_mode():
        assert torch.equal(rebuilt.eval()(images), network(images))
    assert (rebuilt.mean, rebuilt.std, rebuilt.recipe) == (network.mean, network.std, network.recipe)


@pytest.mark.parametrize(
    "recipe",
    [
        {"network": "os.system", "command": "true"},
        {"network": ["DeepLabV2"]},
        {},
        {"network": "DeepLabV2", "num_classes": 2},
        {
            "network": "DeepLabV2",
            "num_classes": 2,
            "layers": [1, 1, 1, 1],
            "width": 4,
            "pretrained": "/etc/passwd",
        },
        NETWORKS["unet"]().recipe | {"weights": "imagenet"},
        NETWORKS["unet"]().recipe | {"options": {"weights": "imagenet"}},
        NETWORKS["unet"]().recipe | {"options": {"encoder_weights": "imagenet"}},
        NETWORKS["unet"]().recipe | {"encoder": "tu-hf-hub:someone/something"},
    ],
    ids=str,
)
def test_other_recipes_are_refused(recipe):
    with pytest.raises(InputError):
        build_from_recipe(recipe)
