from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from hiast.errors import InputError
from hiast.models import (
    DeepLabV2,
    SmpNetwork,
    Teacher,
    freeze_batch_norm,
    frozen_running_stats,
    reestimate_bn_stats,
    synchronize_batch_norm,
)

NETWORKS = {
    "deeplab": lambda: DeepLabV2(3, layers=(1, 1, 1, 1), width=4),
    "lite0": lambda: SmpNetwork("FPN", "tu-tf_efficientnet_lite0", None, 3),
}


def norms(network: nn.Module) -> list[nn.Module]:
    return [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]


def statistics(network: nn.Module) -> list[torch.Tensor]:
    return [value.clone() for norm in norms(network) for value in (norm.running_mean, norm.running_var)]


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest):
    torch.manual_seed(0)
    return NETWORKS[request.param]()


@pytest.mark.parametrize(
    ("mode", "trains", "moves"), [("none", True, True), ("affine", False, True), ("full", False, False)]
)
def test_modes(network, mode: str, trains: bool, moves: bool):
    freeze_batch_norm(network, mode)
    nn.ModuleList([network]).eval().train()
    before = statistics(network)
    images = torch.randn(2, 3, 64, 64)
    network(images).square().mean().backward()
    assert all(not torch.equal(a, b) for a, b in zip(before, statistics(network), strict=True)) == moves
    for norm in norms(network):
        assert norm.training is moves
        assert (norm.weight.grad is not None) is trains
        assert (norm.bias.grad is not None) is trains
    frozen = {id(p) for norm in norms(network) for p in norm.parameters()}
    others = [p for p in network.parameters() if id(p) not in frozen]
    assert all(p.grad is not None for p in others)


def test_full_uses_running_statistics_in_training(network):
    freeze_batch_norm(network, "full")
    norm = norms(network.train())[0]
    norm.running_mean.fill_(0.5)
    norm.running_var.fill_(3.0)
    x = torch.linspace(-2, 2, 8 * norm.num_features).view(2, norm.num_features, 2, 2)
    scaled = ((x - 0.5) / (3.0 + norm.eps) ** 0.5).detach()
    activated = scaled.clamp(0, 6) if hasattr(norm, "act") else scaled
    torch.testing.assert_close(norm(x).detach(), activated)


def test_modes_can_be_changed_back(network):
    freeze_batch_norm(network, "full")
    freeze_batch_norm(network, "none")
    network.train()
    assert all(norm.training and norm.weight.requires_grad for norm in norms(network))


def test_frozen_network_can_be_copied_and_pickled(network):
    freeze_batch_norm(network, "full")
    for again in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        again.train()
        assert not any(norm.training for norm in norms(again))
    assert not any(p.requires_grad for p in Teacher(network).parameters())


def test_unknown_mode(network):
    with pytest.raises(InputError, match=r"'half'.*affine"):
        freeze_batch_norm(network, "half")


def test_synchronized_norm_keeps_activation_and_freezing(network):
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        expected = network.eval()(images)
    freeze_batch_norm(network, "full")
    count = len(norms(network))
    converted = synchronize_batch_norm(network).train()
    assert sum(isinstance(module, nn.SyncBatchNorm) for module in converted.modules()) == count
    assert not any(norm.training for norm in norms(converted))
    with torch.inference_mode():
        torch.testing.assert_close(converted.eval()(images), expected)


def test_frozen_running_stats_do_not_move():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).train()
    source, target = torch.randn(2, 3, 8, 8) + 5, torch.randn(2, 3, 8, 8)
    alone = copy.deepcopy(network)
    alone(target)
    with frozen_running_stats(network):
        during = network(source)
    network(target)
    torch.testing.assert_close(during, copy.deepcopy(alone).train()(source))
    torch.testing.assert_close(network[1].running_mean, alone[1].running_mean, rtol=0, atol=0)
    torch.testing.assert_close(network[1].running_var, alone[1].running_var, rtol=0, atol=0)
    assert network[1].momentum == 0.1


def small_network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5))


@pytest.mark.parametrize("training", [True, False])
def test_reestimated_statistics_are_the_mean_over_batches(training: bool):
    network = small_network().train(training)
    before = copy.deepcopy(network.state_dict())
    batches = [torch.randn(2, 3, 5, 6) * scale for scale in (1.0, 3.0, 0.5)]
    reestimate_bn_stats(network, iter(batches))
    features = [network[0](batch) for batch in batches]
    torch.testing.assert_close(
        network[1].running_mean, torch.stack([f.mean((0, 2, 3)) for f in features]).mean(0)
    )
    torch.testing.assert_close(
        network[1].running_var, torch.stack([f.var((0, 2, 3)) for f in features]).mean(0)
    )
    for key in ("0.weight", "0.bias", "1.weight", "1.bias"):
        assert torch.equal(network.state_dict()[key], before[key])
    assert network[1].momentum == 0.1
    assert [module.training for module in network.modules()] == [training] * 4


def broken(batches: int):
    yield from (torch.randn(2, 3, 5, 6) for _ in range(batches))
    raise torch.OutOfMemoryError("out of memory")


@pytest.mark.parametrize("fails", ["no images", "while reading", "in the network"])
def test_a_failed_estimate_leaves_the_network_as_it_was(fails: str):
    network = small_network().train()
    network(torch.randn(2, 3, 5, 6))
    network.eval()
    before = copy.deepcopy(network.state_dict())
    batches = {
        "no images": [],
        "while reading": broken(2),
        "in the network": [torch.randn(2, 3, 5, 6), torch.randn(2, 9, 5, 6)],
    }[fails]
    kind = InputError if fails == "no images" else RuntimeError
    with pytest.raises(kind, match="without images" if fails == "no images" else None):
        reestimate_bn_stats(network, batches)
    assert network.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert network[1].momentum == 0.1
    assert not any(module.training for module in network.modules())


def test_a_network_without_batch_norm_is_left_as_it_is():
    network = nn.Conv2d(3, 2, 1)
    before = copy.deepcopy(network.state_dict())
    reestimate_bn_stats(network, [torch.randn(1, 3, 4, 4)])
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
