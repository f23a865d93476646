"""What is chosen on which machine; explicit settings win."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from hiast.errors import InputError
from hiast.run.hardware import Machine, _container_cores, choose, device_count, has_depthwise

PLAIN = nn.Conv2d(3, 8, 3)


def plain() -> nn.Module:
    return PLAIN


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
    chosen = choose(trainer, None, lambda: network, machine)
    assert (chosen.trainer["accelerator"], chosen.trainer["precision"]) == (accelerator, precision)
    assert chosen.num_workers == workers
    assert machine.name in chosen.sentence and precision in chosen.sentence and "\n" not in chosen.sentence


def test_explicit_settings_win():
    trainer = {"accelerator": "cpu", "devices": 2, "precision": "16-mixed", "gradient_clip_val": 1.0}
    chosen = choose(trainer, 3, plain, H100)
    assert chosen.trainer == trainer
    assert chosen.num_workers == 3


@pytest.mark.parametrize("precision", ["bf16-true", "16-true", "64-true", 64, "transformer-engine"])
def test_weights_of_other_precisions_are_refused_before_anything_runs(precision):
    with pytest.raises(InputError, match="choose 32-true, bf16-mixed or 16-mixed"):
        choose({"accelerator": "cpu", "precision": precision}, 0, plain)


def test_all_devices():
    assert choose({"devices": "auto", "precision": "auto"}, None, plain, H100).trainer["devices"] == 4
    assert choose({"devices": "auto", "precision": "auto"}, None, plain, OLD).trainer["devices"] == 1


def test_a_cpu_beside_a_gpu_is_not_judged_by_the_gpu():
    chosen = choose({"accelerator": "cpu", "devices": 1, "precision": "auto"}, None, plain, H100)
    assert chosen.trainer["precision"] == "32-true"


def test_depthwise_convolutions():
    assert has_depthwise(DEPTHWISE)
    assert not has_depthwise(nn.Conv2d(8, 8, 3, groups=2))


def test_this_machine():
    assert Machine.present().cores >= 1


OPEN = {"accelerator": "auto", "devices": 1, "precision": "auto"}


@pytest.mark.parametrize(
    ("earlier", "machine", "precision"),
    [
        ("32-true", H100, "32-true"),
        ("16-mixed", H100, "16-mixed"),
        ("bf16-mixed", V100, "16-mixed"),
        ("16-mixed", EPYC, "bf16-mixed"),
        ("bf16-mixed", OLD, "32-true"),
    ],
)
def test_a_run_resumes_in_its_precision_if_the_device_supports_it(earlier, machine, precision):
    assert choose(OPEN, None, plain, machine, earlier=earlier).trainer["precision"] == precision


def test_the_network_is_only_made_where_it_decides():
    def never() -> nn.Module:
        raise AssertionError

    choose(OPEN, None, never, H100)
    choose(OPEN, None, never, OLD)
    choose(OPEN | {"precision": "32-true"}, None, never, EPYC)


@pytest.mark.parametrize(
    ("devices", "count"),
    [(2, 2), ("3", 3), ([0, 2], 2), ("0,1,3", 3), ("0,", 1), (-1, 4), ("-1", 4), ("auto", 4)],
)
def test_every_form_of_devices_is_counted(devices, count):
    assert device_count(devices, 4) == count
    assert choose(OPEN | {"devices": devices}, None, plain, H100).num_workers == min(8, 32 // count)


def test_unused_devices_are_said():
    assert "1 of 4 devices" in choose(OPEN, None, plain, H100).sentence
    assert "4 devices" in choose(OPEN | {"devices": "auto"}, None, plain, H100).sentence


def test_threads_leave_cores_to_loader_workers(monkeypatch: pytest.MonkeyPatch):
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("torch.get_num_threads", lambda: 16)
    assert choose(OPEN, None, plain, OLD).threads == 14
    assert choose(OPEN, 0, plain, OLD).threads is None  # PyTorch's own number
    assert choose(OPEN, None, plain, H100).threads is None
    assert choose(OPEN | {"devices": 2}, None, plain, OLD).threads is None  # Lightning divides the cores
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert choose(OPEN, None, plain, OLD).threads is None


def test_the_limit_of_a_container(tmp_path: Path):
    assert _container_cores(tmp_path) is None
    for text, cores in (("max 100000", None), ("150000 100000", 2), ("400000 100000", 4), ("odd", None)):
        (tmp_path / "cpu.max").write_text(text)
        assert _container_cores(tmp_path) == cores
