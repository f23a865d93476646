"""The warm-up's steps by hand against the same written down in plain torch."""

from __future__ import annotations

import math
from contextlib import nullcontext

import pytest
import torch
from pytorch_lightning.plugins import MixedPrecision
from small_network import CLASSES, TinyNetwork, batches, fit, halves, same, settings, state
from torch.nn import functional as F

from hiast.errors import InputError
from hiast.models import Discriminator
from hiast.training import WarmupModule

STEPS = 4
CHOICES = {
    "softmax_mse": {"discriminator_input": "softmax", "discriminator_loss": "mse"},
    "softmax_bce": {"discriminator_input": "softmax", "discriminator_loss": "bce"},
    "entropy_mse": {"discriminator_input": "entropy", "discriminator_loss": "mse", "entropy_weight": 0.3},
    "minent": {"discriminator_input": None, "entropy_weight": 0.3},
}


def module_of(steps: int = STEPS, **choice) -> WarmupModule:
    choice = {"adversarial_weight": 0.7, "discriminator_lr": 1e-3} | choice
    made = WarmupModule(TinyNetwork(), CLASSES, optimizer=settings(), max_steps=steps, **choice)
    if made.discriminator is not None:
        torch.manual_seed(3)
        made.discriminator = Discriminator(len(CLASSES), width=4)
    return made


class Reference:
    """Two networks and two optimizers, stepped as published."""

    def __init__(self, choice: dict) -> None:
        made = module_of(**choice)
        self.network, self.discriminator = made.network, made.discriminator
        self.maps = choice["discriminator_input"]
        self.kind = choice.get("discriminator_loss")
        self.entropy_weight = choice.get("entropy_weight", 0.0)
        self.of_network = torch.optim.Adam(
            [
                {"params": [p for p in part.parameters() if p.requires_grad], "start": rate}
                for part, rate in ((self.network.encoder, 1e-3), (self.network.head, 1e-2))
            ],
            weight_decay=5e-4,
        )
        if self.discriminator is not None:
            self.of_discriminator = torch.optim.Adam(self.discriminator.parameters(), lr=1e-3)
        self.mean, self.std = (
            torch.tensor(values).mul(255).view(1, 3, 1, 1) for values in (self.network.mean, self.network.std)
        )

    def logits(self, sample: dict) -> torch.Tensor:
        return self.network((sample["image"].float() - self.mean) / self.std)

    def entropy(self, logits: torch.Tensor) -> torch.Tensor:
        p = logits.softmax(1)
        return p * (p + 1e-30).log2() / -math.log2(len(CLASSES))

    def judged(self, logits: torch.Tensor, label: float) -> torch.Tensor:
        maps = logits.softmax(1) if self.maps == "softmax" else self.entropy(logits)
        outputs = self.discriminator(maps)
        loss = F.mse_loss if self.kind == "mse" else F.binary_cross_entropy_with_logits
        return loss(outputs, torch.full_like(outputs, label))

    def step(self, batch: dict, number: int, clip: float = math.inf) -> None:
        share = (1 + math.cos(math.pi * number / STEPS)) / 2
        for group in self.of_network.param_groups:
            group["lr"] = 1e-6 + (group["start"] - 1e-6) * share
        self.of_network.zero_grad()
        source, target = self.logits(batch["source"]), self.logits(batch["target"])
        labels = batch["source"]["label"].long()
        kept = labels != 255
        total = F.cross_entropy(source, labels, ignore_index=255, reduction="none").sum() / kept.sum()
        if self.discriminator is not None:
            total = total + 0.7 * self.judged(target, 0.0)
        if self.entropy_weight:
            total = total + self.entropy_weight * self.entropy(target).sum(1).mean()
        total.backward()
        clipped(self.of_network, clip)
        self.of_network.step()
        if self.discriminator is None:
            return
        for group in self.of_discriminator.param_groups:
            group["lr"] = 1e-6 + (1e-3 - 1e-6) * share
        self.of_discriminator.zero_grad()  # what the network's step left behind
        ((self.judged(source.detach(), 0.0) + self.judged(target.detach(), 1.0)) / 2).backward()
        clipped(self.of_discriminator, clip)
        self.of_discriminator.step()


def clipped(optimizer: torch.optim.Optimizer, clip: float) -> None:
    if clip < math.inf:
        torch.nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], clip)


@pytest.mark.parametrize("name", CHOICES)
def test_steps_equal_plain_torch(name):
    items = batches(STEPS, ignored=0.2)
    made = module_of(**CHOICES[name])
    start = state(made.network)
    fit(made, items)
    reference = Reference(CHOICES[name])
    for number, item in enumerate(items):
        reference.step(item, number)
    for key, value in state(reference.network).items():
        torch.testing.assert_close(made.network.state_dict()[key], value, rtol=1e-5, atol=1e-6, msg=key)
    if made.discriminator is not None:
        for key, value in state(reference.discriminator).items():
            torch.testing.assert_close(
                made.discriminator.state_dict()[key], value, rtol=1e-5, atol=1e-6, msg=key
            )
    assert not same(start, state(made.network))


def test_clipped_steps_equal_plain_torch():
    items = batches(STEPS, ignored=0.2)
    made, free = module_of(), module_of()
    made.clipping = {"gradient_clip_val": 0.01, "gradient_clip_algorithm": "norm"}
    fit(made, items)
    fit(free, items)
    reference = Reference(CHOICES["softmax_mse"])
    for number, item in enumerate(items):
        reference.step(item, number, clip=0.01)
    assert same(state(made.network), state(reference.network))
    assert same(state(made.discriminator), state(reference.discriminator))
    assert not same(state(made.network), state(free.network))


def test_the_networks_step_leaves_no_gradient_in_the_discriminator():
    made = module_of()
    batch = batches(1)[0]
    made.losses(batch)["total"].backward()
    wanted = [p.grad.clone() for p in made.network.head.parameters()]
    assert all(p.grad is not None for p in made.discriminator.parameters())

    made = module_of()
    made.manual_backward = lambda loss: loss.backward()
    made._network_step(batch)
    assert all(p.grad is None and p.requires_grad for p in made.discriminator.parameters())
    for found, value in zip((p.grad for p in made.network.head.parameters()), wanted, strict=True):
        assert torch.equal(found, value)


def test_an_adversarial_step_does_not_reach_frozen_batch_norm_but_moves_its_statistics():
    made = module_of()
    norm = made.network.encoder[1]
    before = state(norm)
    fit(made, batches(2))
    assert torch.equal(norm.weight, before["weight"]) and torch.equal(norm.bias, before["bias"])
    assert not torch.equal(norm.running_mean, before["running_mean"])
    # A forward pass of the source and one of the target in each of the two steps.
    assert int(norm.num_batches_tracked) == 4


def test_accumulation_equals_one_bigger_batch():
    whole = batches(3, size=4)
    parts = [half for item in whole for half in halves(item)]
    # Statistics of a batch depend on its size, so they stand still here.
    options = {"entropy_weight": 0.2, "freeze_bn": "full"}
    big, small = module_of(3, **options), module_of(3, accumulate_grad_batches=2, **options)
    one, two = fit(big, whole), fit(small, parts)
    assert len(one.gradients) == len(two.gradients) == 6
    for found, wanted in zip(two.gradients, one.gradients, strict=True):
        for a, b in zip(found, wanted, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3 * float(b.abs().max()))
    # The weights rest between the steps.
    assert same(two.students[0], state(TinyNetwork()))
    assert not same(two.students[1], two.students[0]) and same(two.students[1], two.students[2])
    for key, value in one.students[-1].items():
        torch.testing.assert_close(two.students[-1][key], value, rtol=0, atol=2e-4, msg=key)


class ScaledFloat32(MixedPrecision):
    """Gradient scaling alone: powers of two change no float32 gradient, so they may change no weight."""

    def __init__(self, scaler: torch.amp.GradScaler) -> None:
        super().__init__("16-mixed", "cpu", scaler)

    def forward_context(self):
        return nullcontext()


@pytest.mark.parametrize("accumulate_grad_batches", [1, 2])
def test_gradient_scaling_changes_no_weight(accumulate_grad_batches):
    items = batches(STEPS * accumulate_grad_batches)
    plain, scaled = (
        module_of(accumulate_grad_batches=accumulate_grad_batches),
        module_of(accumulate_grad_batches=accumulate_grad_batches),
    )
    fit(plain, items)
    # Doubled at every update: network and discriminator must be unscaled by the scale of their own step.
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=1)
    fit(scaled, items, plugins=[ScaledFloat32(scaler)])
    assert scaler.get_scale() == 4.0 * 2**STEPS
    assert same(state(scaled.network), state(plain.network))
    assert same(state(scaled.discriminator), state(plain.discriminator))


def test_an_overflow_skips_the_step_and_lowers_the_scale():
    made = module_of()
    before, judge = state(made.network), state(made.discriminator)
    made.network.head.weight.register_hook(lambda gradient: gradient * float("inf"))
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    fit(made, batches(1), plugins=[ScaledFloat32(scaler)])
    assert torch.equal(made.network.head.weight, before["head.weight"])
    assert torch.equal(made.network.encoder[0].weight, before["encoder.0.weight"])
    assert scaler.get_scale() == 2.0**15
    assert not same(judge, state(made.discriminator))


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_half_precision_stays_near_single(precision):
    plain, half = module_of(2), module_of(2)
    items = batches(2)
    fit(plain, items)
    plugin = MixedPrecision(precision, "cpu")
    fit(half, items, plugins=[plugin])
    start = state(TinyNetwork())
    for key in ("encoder.0.weight", "head.weight"):
        moved, wanted = (state(m.network)[key] - start[key] for m in (half, plain))
        assert moved.abs().max() > 0
        assert float((moved - wanted).norm() / wanted.norm()) < 0.3, key


def test_a_warmup_without_anything_is_refused():
    with pytest.raises(InputError, match="warmup=none"):
        WarmupModule(TinyNetwork(), CLASSES, discriminator_input=None)


def test_minent_has_one_optimizer_and_no_discriminator():
    made = module_of(**CHOICES["minent"])
    assert made.discriminator is None
    assert len(made.configure_optimizers()) == 1
    assert set(made.losses(batches(1)[0])) == {"source_cross_entropy", "target_entropy", "total"}


def test_terms_add_up():
    made = module_of(**CHOICES["entropy_mse"]).eval()
    terms = {key: value.item() for key, value in made.losses(batches(1)[0]).items()}
    wanted = terms["source_cross_entropy"] + 0.7 * terms["adversarial"] + 0.3 * terms["target_entropy"]
    assert terms["total"] == pytest.approx(wanted, rel=1e-6)


def test_the_passes_are_those_that_compile_mode_compiles(monkeypatch):
    module = module_of()
    calls = []
    monkeypatch.setattr(
        torch, "compile", lambda function, mode: lambda x: (calls.append(mode), function(x))[1]
    )
    module.compile_mode = "default"
    module.eval()
    plain = module.losses(batches(1)[0])
    module.compile_passes()
    compiled = module.losses(batches(1)[0])
    assert calls == ["default", "default"]
    assert torch.equal(plain["total"], compiled["total"])
