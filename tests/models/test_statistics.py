"""Statistics of batch normalization on another domain, against means written out."""

import copy

import pytest
import torch
from torch import nn

from hiast.errors import InputError
from hiast.models import reestimate_bn_stats


def make():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5))


@pytest.mark.parametrize("training", [True, False])
def test_plain_mean_over_batches(training):
    network = make().train(training)
    before = copy.deepcopy(network.state_dict())
    batches = [torch.randn(2, 3, 5, 6) * scale for scale in (1.0, 3.0, 0.5)]
    reestimate_bn_stats(network, iter(batches))
    features = [network[0](batch) for batch in batches]
    mean = torch.stack([f.mean((0, 2, 3)) for f in features]).mean(0)
    variance = torch.stack([f.var((0, 2, 3)) for f in features]).mean(0)
    torch.testing.assert_close(network[1].running_mean, mean)
    torch.testing.assert_close(network[1].running_var, variance)
    for key in ("0.weight", "0.bias", "1.weight", "1.bias"):
        assert torch.equal(network.state_dict()[key], before[key])
    assert network[1].momentum == 0.1
    assert [module.training for module in network.modules()] == [training] * 4


def test_no_images():
    with pytest.raises(InputError, match="without images"):
        reestimate_bn_stats(make(), [])
