"""Parameter groups and learning rates against torch's own schedulers and the written formulas."""

from __future__ import annotations

import pytest
import torch
from small_network import CLASSES, TinyNetwork, batches, fit, same, settings, state

from hiast.errors import InputError
from hiast.models import freeze_batch_norm
from hiast.training import OptimizerSettings, Schedule, SourceOnlyModule, WarmupModule
from hiast.training.optim import _decays, set_lrs

RATE, STEPS = 3e-6, 37


def rates(schedule: Schedule, steps: int = STEPS) -> list[list[float]]:
    """Rate of each group at every step of a round and behind the last."""
    optimizer = OptimizerSettings(lr=RATE, schedule=schedule).build(TinyNetwork())
    found = []
    for step in range(steps + 1):
        set_lrs(optimizer, schedule, step, steps)
        found.append([group["lr"] for group in optimizer.param_groups])
    return found


def torch_rates(make, steps: int = STEPS) -> list[list[float]]:
    """The same from a scheduler of torch's over a backbone group and a head group."""
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate} for rate in (RATE, 10 * RATE)]
    optimizer = torch.optim.Adam(groups)
    scheduler = make(optimizer)
    found = []
    for _ in range(steps + 1):
        found.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return found


def test_cosine_equals_torch_at_every_step_with_the_shared_floor():
    wanted = torch_rates(
        lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS, eta_min=0.001 * RATE)
    )
    found = rates(Schedule())
    torch.testing.assert_close(
        torch.tensor(found, dtype=torch.float64), torch.tensor(wanted, dtype=torch.float64), rtol=1e-9, atol=0
    )
    assert found[0] == [RATE, 10 * RATE]
    assert found[-1] == pytest.approx([0.001 * RATE, 0.001 * RATE], rel=1e-12)


def test_poly_equals_torch_at_every_step():
    wanted = torch_rates(lambda o: torch.optim.lr_scheduler.PolynomialLR(o, STEPS, power=0.9))
    torch.testing.assert_close(
        torch.tensor(rates(Schedule("poly")), dtype=torch.float64),
        torch.tensor(wanted, dtype=torch.float64),
        rtol=1e-9,
        atol=1e-22,
    )


def test_constant_and_an_own_floor():
    assert rates(Schedule("constant")) == [[RATE, 10 * RATE]] * (STEPS + 1)
    assert rates(Schedule(min_lr_factor=0.5))[-1] == pytest.approx([RATE / 2, RATE / 2])
    assert rates(Schedule(), steps=1) == [[RATE, 10 * RATE], pytest.approx([0.001 * RATE] * 2)]


def test_groups_are_backbone_and_head_and_the_published_adam():
    network = TinyNetwork()
    optimizer = OptimizerSettings(lr=RATE).build(network)
    backbone, head = optimizer.param_groups
    assert [id(p) for p in backbone["params"]] == [id(p) for p in network.encoder.parameters()]
    assert [id(p) for p in head["params"]] == [id(p) for p in network.head.parameters()]
    assert (backbone["lr"], head["lr"]) == (RATE, 10 * RATE)
    assert type(optimizer) is torch.optim.Adam
    for group in optimizer.param_groups:
        assert group["betas"] == (0.9, 0.999)
        assert group["weight_decay"] == 5e-4
        assert not group["amsgrad"]


def test_frozen_batch_norm_is_not_optimized():
    network = TinyNetwork()
    freeze_batch_norm(network, "affine")
    kept = {id(p) for group in OptimizerSettings().build(network).param_groups for p in group["params"]}
    norm = network.encoder[1]
    assert not kept & {id(norm.weight), id(norm.bias)}
    assert len(kept) == len(list(network.parameters())) - 2


def test_an_update_is_adam_with_l2_decay():
    network = TinyNetwork()
    weight = network.head.weight
    before = weight.detach().clone()
    optimizer = OptimizerSettings(lr=0.01, head_lr_mult=2.0, weight_decay=0.1).build(network)
    gradients = [torch.full_like(before, 0.3), torch.full_like(before, -0.2)]
    first, second, wanted = torch.zeros_like(before), torch.zeros_like(before), before.clone()
    for step, gradient in enumerate(gradients, 1):
        weight.grad = gradient.clone()
        optimizer.step()
        decayed = gradient + 0.1 * wanted
        first = 0.9 * first + 0.1 * decayed
        second = 0.999 * second + 0.001 * decayed**2
        wanted = wanted - 0.02 * (first / (1 - 0.9**step)) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
    torch.testing.assert_close(weight.detach(), wanted, rtol=1e-5, atol=1e-6)


def test_adamw_decays_the_weights_themselves():
    network = TinyNetwork()
    before = network.head.weight.detach().clone()
    optimizer = OptimizerSettings(lr=0.01, weight_decay=0.1, name="adamw").build(network)
    network.head.weight.grad = torch.zeros_like(before)
    optimizer.step()
    torch.testing.assert_close(network.head.weight.detach(), before * (1 - 0.1 * 0.1))


@pytest.mark.parametrize(
    ("name", "shape", "decays"),
    [
        ("blocks.0.mlp.weight", (8, 8), True),
        ("blocks.0.norm.weight", (8,), False),
        ("pos_embed", (1, 4, 8), False),
        ("cls_token", (1, 1, 8), False),
        ("layers.0.attn.relative_position_bias_table", (9, 3), False),
    ],
)
def test_tokens_and_tables_of_positions_do_not_decay(name, shape, decays):
    assert _decays(name, torch.nn.Parameter(torch.zeros(shape))) is decays


def test_settings_survive_as_plain_values():
    made = OptimizerSettings(1e-4, 5.0, 0.0, (0.8, 0.9), "adamw", Schedule("poly", 0.1, 2.0))
    values = made.to_dict()
    assert type(values["schedule"]) is dict and type(values["betas"]) is list
    assert OptimizerSettings(**values) == made


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: OptimizerSettings(name="sgd"), "adam or adamw"),
        (lambda: Schedule("step"), "cosine, poly or constant"),
        (lambda: SourceOnlyModule(TinyNetwork(), CLASSES, max_steps=0), "at least 1"),
        (lambda: SourceOnlyModule(TinyNetwork(), CLASSES, accumulate_grad_batches=0), "at least 1"),
    ],
)
def test_settings_that_mean_nothing(make, words):
    with pytest.raises(InputError, match=words):
        make()


@pytest.mark.parametrize("accumulate_grad_batches", [1, 2])
def test_rates_of_a_running_round_follow_the_schedule(accumulate_grad_batches):
    module = SourceOnlyModule(
        TinyNetwork(),
        CLASSES,
        optimizer=settings(),
        max_steps=4,
        accumulate_grad_batches=accumulate_grad_batches,
    )
    recorder = fit(module, batches(4 * accumulate_grad_batches))
    wanted = [[Schedule().lr(rate, 1e-3, step, 4) for rate in (1e-3, 1e-2)] for step in range(4)]
    assert [found[0] for found in recorder.rates] == [
        rate for rate in wanted for _ in range(accumulate_grad_batches)
    ]


def test_the_discriminators_rate_follows_its_own_floor():
    module = WarmupModule(TinyNetwork(), CLASSES, optimizer=settings(), max_steps=3, discriminator_lr=5e-4)
    recorder = fit(module, batches(3))
    assert [found[1] for found in recorder.rates] == [
        [Schedule().lr(5e-4, 5e-4, step, 3)] for step in range(3)
    ]


def test_moments_and_schedule_are_fresh_in_each_round():
    """Two rounds of the library against two separate optimizers and schedulers of torch's."""
    network = TinyNetwork()
    items = batches(3, seed=1)
    for number in (1, 2):
        module = SourceOnlyModule(
            network, CLASSES, optimizer=settings(), max_steps=3, round_number=number, freeze_bn="affine"
        )
        recorder = fit(module, items)
        assert recorder.rates[0] == [[1e-3, 1e-2]]

    plain = TinyNetwork().to(memory_format=torch.channels_last)
    for norm in (plain.encoder[1],):
        norm.requires_grad_(False)
    mean, std = (torch.tensor(v).mul(255).view(1, 3, 1, 1) for v in (plain.mean, plain.std))
    for _ in range(2):
        groups = [
            {"params": [p for p in part.parameters() if p.requires_grad], "lr": rate}
            for part, rate in ((plain.encoder, 1e-3), (plain.head, 1e-2))
        ]
        optimizer = torch.optim.Adam(groups, betas=(0.9, 0.999), weight_decay=5e-4)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 3, eta_min=1e-6)
        for item in items:
            logits = plain((item["source"]["image"].float() - mean) / std)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(logits, item["source"]["label"].long()).backward()
            optimizer.step()
            scheduler.step()
    for key, value in state(plain).items():
        torch.testing.assert_close(state(network)[key], value, rtol=1e-4, atol=1e-6, msg=key)
    assert not same(state(network), state(TinyNetwork()))


@pytest.mark.parametrize(("scaling", "factor"), [("none", 1.0), ("sqrt", 2.0), ("linear", 4.0)])
def test_the_rate_is_scaled_from_the_batch_size_that_it_is_for(scaling: str, factor: float) -> None:
    settings = OptimizerSettings(lr=1e-3, lr_scaling=scaling, lr_batch_size=6)
    assert settings.scaled(24).lr == pytest.approx(factor * 1e-3)
    assert settings.scaled(6).lr == pytest.approx(1e-3)
    with pytest.raises(InputError, match="lr_batch_size is 0"):
        OptimizerSettings(lr_batch_size=0)
