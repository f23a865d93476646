"""What is chosen on which machine; explicit settings win."""

from __future__ import annotations

import pytest
from torch import nn

from hiast.run.hardware import Machine, choose, has_depthwise

PLAIN = nn.Conv2d(3, 8, 3)
DEPTHWISE = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, groups=8))
H100 = Machine("cuda", "H100", 4, 32, True, True)
V100 = Machine("cuda", "V100", 1, 8, False, True)
P100 = Machine("cuda", "P100", 1, 8, False, False)
MAC = Machine("mps", "arm", 1, 8, False, True)
EPYC = Machine("cpu", "EPYC", 1, 2, True, False)
OLD = Machine("cpu", "Old", 1, 16, False, False)


@pytest.mark.parametrize(
    ("machine", "network", "accelerator", "precision", "workers"),
    [
        (H100, PLAIN, "gpu", "bf16-mixed", 8),
        (V100, PLAIN, "gpu", "16-mixed", 8),
        (P100, PLAIN, "gpu", "32-true", 8),
        (MAC, PLAIN, "mps", "32-true", 8),
        (EPYC, PLAIN, "cpu", "bf16-mixed", 0),
        (EPYC, DEPTHWISE, "cpu", "32-true", 0),
        (OLD, PLAIN, "cpu", "32-true", 2),
    ],
)
def test_what_is_left_open(machine, network, accelerator, precision, workers):
    trainer = {"accelerator": "auto", "devices": 1, "precision": "auto"}
    chosen = choose(trainer, None, network, machine)
    assert (chosen.trainer["accelerator"], chosen.trainer["precision"]) == (accelerator, precision)
    assert chosen.num_workers == workers
    assert machine.name in chosen.sentence and precision in chosen.sentence and "\n" not in chosen.sentence


def test_explicit_settings_win():
    trainer = {"accelerator": "cpu", "devices": 2, "precision": "16-mixed", "gradient_clip_val": 1.0}
    chosen = choose(trainer, 3, PLAIN, H100)
    assert chosen.trainer == trainer
    assert chosen.num_workers == 3


def test_all_devices():
    assert choose({"devices": "auto", "precision": "auto"}, None, PLAIN, H100).trainer["devices"] == 4
    assert choose({"devices": "auto", "precision": "auto"}, None, PLAIN, OLD).trainer["devices"] == 1


def test_a_cpu_beside_a_gpu_is_not_judged_by_the_gpu():
    chosen = choose({"accelerator": "cpu", "devices": 1, "precision": "auto"}, None, PLAIN, H100)
    assert chosen.trainer["precision"] == "32-true"


def test_depthwise_convolutions():
    assert has_depthwise(DEPTHWISE)
    assert not has_depthwise(nn.Conv2d(8, 8, 3, groups=2))


def test_this_machine():
    assert Machine.present().cores >= 1
