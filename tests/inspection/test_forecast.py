"""Costs are counted as by hand, and what would fit is found."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn

from hiast.inspection import cost
from hiast.inspection.cost import PassCost, Rates, network_flops, pass_cost, rates
from hiast.inspection.forecast import (
    Forecast,
    StageWork,
    duration,
    folder_bytes,
    free_memory,
    needed,
    resident,
)
from hiast.memory import peak_memory

CPU = torch.device("cpu")


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.ReLU(), nn.Conv2d(8, 5, 1, bias=False))


def test_operations_and_kept_activations_are_counted_as_by_hand() -> None:
    pixels = 16 * 24
    cost = pass_cost(network(), (16, 24), half=False)
    assert cost.flops == 2 * pixels * (3 * 8 * 9 + 8 * 5)
    # The images, which the first layer keeps, and the output of the ReLU, which it and the last layer share.
    assert cost.saved == 4 * pixels * (3 + 8)


def test_mixed_precision_keeps_half_and_copies_of_the_weights() -> None:
    pixels, weights = 16 * 24, 3 * 8 * 9 + 8 * 5
    cost = pass_cost(network(), (16, 24), half=True)
    assert cost.saved == 2 * pixels * (3 + 8) + 2 * weights


def test_nothing_is_kept_without_training() -> None:
    cost = pass_cost(network(), (16, 24), half=False, training=False)
    assert cost.saved == 0 and cost.flops > 0


def test_the_network_is_left_as_it_is() -> None:
    layers = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).eval()
    before = {name: value.clone() for name, value in layers.state_dict().items()}
    assert pass_cost(layers, (8, 8), half=False) is not None
    assert not layers.training and all(p.grad is None and p.device == CPU for p in layers.parameters())
    assert all(torch.equal(before[name], value) for name, value in layers.state_dict().items())


def test_a_network_that_looks_at_values_cannot_be_counted() -> None:
    class Looks(nn.Module):
        def forward(self, images):
            return images if float(images.mean()) > 0 else -images

    assert pass_cost(Looks(), (8, 8), half=False) is None


def test_rates_of_this_machine() -> None:
    found = rates(CPU, half=False)
    assert found.flops > 1e8 and found.bytes > 1e8 and 1e-7 < found.call < 1e-2
    assert found.seconds(2 * found.flops, 0) == pytest.approx(2)


class Timed(nn.Module):
    """A network whose pass takes a known time on the clock of the probe, whatever the image."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 64, 3, padding=1), nn.BatchNorm2d(64), nn.Conv2d(64, 5, 3, padding=1)
        )
        self.sizes: list[tuple[int, int, int]] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if images.device.type != "meta":
            self.sizes.append((images.shape[0], *images.shape[2:]))
        return self.layers(images)


def test_a_network_is_timed_by_its_own_forward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "_fastest", lambda action, device: (action(), 0.5)[1])
    layers = Timed()
    before, state = {k: v.clone() for k, v in layers.state_dict().items()}, torch.get_rng_state()
    flops = 2 * 32 * 64 * 9 * (3 * 64 + 64 * 5)
    assert network_flops(layers, PassCost(flops, 0), (32, 64), 1, half=False) == pytest.approx(flops / 0.5)
    assert layers.sizes[-1] == (1, 32, 64) and layers.training
    assert all(torch.equal(before[name], value) for name, value in layers.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    # A large image is tried smaller: 12.4 GFLOP at 1024 x 1280 become 3 at about half the side.
    large = PassCost(640 * flops, 0)
    found = network_flops(layers, large, (1024, 1280), 4, half=False)
    assert layers.sizes[-1] == (1, 512, 640)
    assert found == pytest.approx(640 * flops / 4 / 0.5)
    # Small images are tried as a batch, of which 3 GFLOP are enough.
    assert network_flops(layers, PassCost(flops, 0), (32, 64), 4, half=False) == pytest.approx(
        4 * flops / 0.5
    )
    assert layers.sizes[-1] == (4, 32, 64)
    network_flops(layers, PassCost(1.4e9, 0), (32, 64), 4, half=False)
    assert layers.sizes[-1] == (2, 32, 64)
    assert network_flops(layers, PassCost(flops, 0), (32, 64), 1, half=True) is not None


def test_a_network_that_cannot_be_tried_has_no_rate() -> None:
    class OneSize(nn.Conv2d):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            if images.shape[-1] != 2048:
                raise ValueError("2048 columns are needed")
            return super().forward(images)

    assert network_flops(OneSize(3, 64, 9), PassCost(1e11, 0), (1024, 2048), 1, half=False) is None
    assert network_flops(nn.Identity(), PassCost(0, 0), (8, 8), 1, half=False) is None


WORK = StageWork(
    "warmup",
    10,
    6,
    1,
    (PassCost(1e9, 100.0), PassCost(1e9, 100.0)),
    (PassCost(1e9, 0),),
    500,
    30,
    PassCost(2e9, 0),
)


def test_time_follows_from_operations() -> None:
    # 60 images: two trained views count three times, one passive view once; 30 looks count twice.
    assert WORK.seconds(Rates(1e9, float("inf"))) == pytest.approx(60 * (6 + 1) + 30 * 2 * 2)


def test_a_fast_device_waits_for_the_host() -> None:
    work = dataclasses.replace(
        WORK,
        accumulate=2,
        trained=(PassCost(1e9, 0, 300),),
        passive=(PassCost(1e9, 0, 300),),
        look=PassCost(1, 0, 30),
    )
    # Ten steps of two batches issue 300 operations, and a third for the teacher; 30 looks count twice.
    fast = Rates(float("inf"), float("inf"), 1e-3)
    assert work.seconds(fast) == pytest.approx(10 * 2 * 0.4 + 2 * 30 * 0.01)
    assert work.seconds(Rates(1e9, float("inf"), 1e-9)) == pytest.approx(10 * 6 * 4 + 2 * 30 * 1e-8)


def test_memory_follows_from_images_at_a_time() -> None:
    assert WORK.memory() == 500 + 6 * 200
    assert WORK.memory(4) == 500 + 2 * 200  # six images in four batches: two at a time


@pytest.mark.parametrize(
    ("free", "accumulate"), [(1700, 1), (1699, 2), (1100, 2), (900, 3), (700, 6), (699, None)]
)
def test_the_smallest_division_that_fits(free: int, accumulate: int | None) -> None:
    assert WORK.fitting(free) == accumulate


def forecast(free: float, *stages: StageWork) -> Forecast:
    return Forecast(stages or (WORK,), 100.0, free, "memory of the GPU", Rates(1e9, 1e12), 5e6, 2e9)


def test_what_fits_is_not_warned_of() -> None:
    found = forecast(1800)
    assert found.warning() is None
    assert (
        "1.8 kB of the memory of the GPU (1.8 kB free)" in found.sentence() and "\n" not in found.sentence()
    )
    assert "5 MB of disk (2 GB free)" in found.sentence() and "warmup 9 minutes" in found.sentence()


def test_what_does_not_fit_is_warned_of_with_what_would() -> None:
    small = dataclasses.replace(WORK, name="source_only", trained=WORK.trained[:1])
    text = forecast(1300, small, WORK).warning()
    assert "warmup.accumulate_grad_batches=2 " in text and "source_only" not in text
    assert "about 1.2 kB instead of 1.8 kB" in text


def test_single_images_that_do_not_fit() -> None:
    assert "smaller crops" in forecast(600).remedy()


def test_an_estimate_that_was_too_low_leads_to_the_next_division() -> None:
    assert "warmup.accumulate_grad_batches=2" in forecast(1e9).remedy()


def test_needed_beside_estimated(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(1000))
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    assert folder_bytes(tmp_path) == 1000
    text = needed(forecast(1e9), 2000, folder_bytes(tmp_path), 60)
    assert (
        "2 kB of the memory of the GPU (estimated 1.8 kB), 1 kB of disk (5 MB), 1 minute (9 minutes)" in text
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.5, "0.5 seconds"),
        (1, "1 second"),
        (60, "1 minute"),
        (5399, "90 minutes"),
        (7200, "2 hours"),
        (259_200, "3 days"),
    ],
)
def test_times_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_memory_of_this_process() -> None:
    held = torch.ones(2**22)
    assert 0 < resident() <= 1.05 * peak_memory(CPU)
    assert free_memory(CPU) > held.numel()
