"""What is left to the machine is filled in; presets of the trainer compose and train."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import yaml
from own_data import WORDS, write_conf, write_data

from hiast.cli.build import build_classes
from hiast.cli.build_stages import build_stages
from hiast.cli.command import run_command
from hiast.cli.config import choices, compose
from hiast.cli.data_prepare import prepare_data
from hiast.cli.hardware import settle, settle_inference
from hiast.cli.train import train
from hiast.errors import InputError
from hiast.run.hardware import Machine
from hiast.run.resume_check import first_difference

A100 = Machine("cuda", "A100", 4, 16, True, True)
LAPTOP = Machine("cpu", "Laptop", 1, 4, False, False)
SERVER = Machine("cpu", "Server", 1, 32, True, False)


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_conf(tmp_path)


def on(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Machine, "present", classmethod(lambda cls: machine))


def settled(*words: str, run: Path | None = None):
    config = compose("train", [*WORDS, "trainer=auto", "data.num_workers=null", *words])
    hardware = settle(config, build_classes(config), run)
    return config, hardware


@pytest.mark.parametrize(
    ("machine", "accelerator", "precision", "workers"),
    [(A100, "gpu", "bf16-mixed", 8), (LAPTOP, "cpu", "32-true", 1), (SERVER, "cpu", "bf16-mixed", 2)],
)
def test_every_open_setting_gets_a_value(machine, accelerator, precision, workers, monkeypatch) -> None:
    on(machine, monkeypatch)
    config, hardware = settled()
    assert (config.trainer.accelerator, config.trainer.devices) == (accelerator, 1)
    assert (config.trainer.precision, config.data.num_workers) == (precision, workers)
    assert config.data.cache is None and "no cache" in hardware.sentence
    wanted = ["trainer.accelerator", "trainer.precision", "data.num_workers", "data.cache"]
    assert list(config.chosen_by_machine) == wanted


def test_depthwise_networks_stay_in_float32_on_a_cpu(monkeypatch) -> None:
    on(SERVER, monkeypatch)
    config = compose("train", ["+scenario=demo"])
    settle(config, build_classes(config))
    assert config.trainer.precision == "32-true"


def test_what_is_set_stays_and_is_not_noted(monkeypatch) -> None:
    on(A100, monkeypatch)
    config, _ = settled(
        "trainer.precision=16-mixed", "data.num_workers=3", "data.cache=null", "trainer.devices=2"
    )
    assert (config.trainer.precision, config.data.num_workers) == ("16-mixed", 3)
    assert list(config.chosen_by_machine) == ["trainer.accelerator"]


def as_yaml(config) -> str:
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(config, resolve=True)


def test_a_run_resumes_on_another_machine(monkeypatch) -> None:
    on(A100, monkeypatch)
    there, _ = settled("trainer.devices=auto")
    on(LAPTOP, monkeypatch)
    here, _ = settled()
    assert (there.trainer.precision, here.trainer.precision) == ("bf16-mixed", "32-true")
    assert first_difference(as_yaml(there), as_yaml(here), ["source_only"]) is None
    fixed, _ = settled("trainer.precision=32-true")
    assert "trainer.precision" in first_difference(as_yaml(there), as_yaml(fixed), ["source_only"])


def test_the_precision_of_a_run_is_kept_where_the_device_can(tmp_path: Path, monkeypatch) -> None:
    on(LAPTOP, monkeypatch)
    there, _ = settled()
    (tmp_path / "config.yaml").write_text(as_yaml(there))
    on(A100, monkeypatch)
    here, hardware = settled(run=tmp_path)
    assert here.trainer.precision == "32-true" and "as the run began" in hardware.sentence
    (tmp_path / "config.yaml").write_text("- damaged")
    assert settled(run=tmp_path)[0].trainer.precision == "bf16-mixed"


STAGES = {"stages": ["source_only"], "source_only": {"module": {"_target_": "a"}}}


def test_a_cache_that_changes_pixels_is_not_exchanged() -> None:
    raw, jpeg = (yaml.safe_dump(STAGES | {"data": {"cache": name}}) for name in ("raw", "jpeg"))
    none = yaml.safe_dump(STAGES | {"data": {"cache": None}})
    assert first_difference(raw, none, ["source_only"]) is None
    assert first_difference(none, jpeg, ["source_only"]) == "data.cache was None and is jpeg"


def test_a_whole_cache_is_used_and_half_of_one_is_not(tmp_path: Path, monkeypatch) -> None:
    on(LAPTOP, monkeypatch)
    write_data(tmp_path / "data")
    prepare_data(compose("data_prepare", [*WORDS, "data.cache=zstd"]))
    assert settled()[0].data.cache == "zstd"
    next((tmp_path / "data/cache/zstd").rglob("*.*")).unlink()
    config, hardware = settled()
    assert config.data.cache is None and "no cache" in hardware.sentence


def test_processes_that_nobody_asked_for_are_refused(monkeypatch) -> None:
    for name, value in {"LOCAL_RANK": "0", "RANK": "0", "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "x",
                        "GROUP_RANK": "0", "LOCAL_WORLD_SIZE": "2"}.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("hiast.run.distributed.TorchElasticEnvironment.detect", staticmethod(lambda: True))
    with pytest.raises(InputError, match="has started 2 processes"):
        settled()


def test_commands_that_only_run_a_network(monkeypatch, caplog) -> None:
    on(SERVER, monkeypatch)
    caplog.set_level(logging.INFO, "hiast")
    open_options = {"accelerator": "auto", "devices": 1, "precision": None}
    assert settle_inference(open_options, None).trainer["precision"] == "bf16-mixed"
    assert settle_inference(open_options, None, "32-true").trainer["precision"] == "32-true"
    assert settle_inference(open_options, None, "16-mixed").trainer["precision"] == "bf16-mixed"
    assert len(caplog.messages) == 3 and "Server: 1 device" in caplog.messages[0]


NEEDED = {"slurm": ["trainer.num_nodes=2", "trainer.devices=4"]}


@pytest.mark.parametrize("name", choices("trainer"))
def test_every_preset_composes_and_keeps_batches_and_rates(name: str, monkeypatch) -> None:
    on(A100, monkeypatch)
    words = [f"trainer={name}", *NEEDED.get(name, [])]
    plain = build_stages(compose("train", ["+scenario=gta5_cityscapes"]))
    config = compose("train", ["+scenario=gta5_cityscapes", *words])
    hardware = settle(config, build_classes(config))
    assert "auto" not in (hardware.trainer["precision"], hardware.trainer["devices"])
    for stage, other in zip(build_stages(config), plain, strict=True):
        for one, two in zip(stage.rounds, other.rounds, strict=True):
            assert (one.batch_size, one.max_steps) == (two.batch_size, two.max_steps)
            assert one.module.keywords["optimizer"] == two.module.keywords["optimizer"]
            assert one.accumulate_grad_batches == (2 if name == "low_memory" else 1)


def test_low_memory_really_trains(tmp_path: Path) -> None:
    write_data(tmp_path / "data")
    words = [
        "trainer=low_memory",
        "trainer.accelerator=cpu",
        "trainer.precision=32-true",
        "pictures=0",
        "run=run",
    ]
    assert run_command(train, "train", "", [*WORDS, *words]) == 0
    result = json.loads((tmp_path / "run/self_training/result_1.json").read_text())
    assert result["steps"] == 2
    values = yaml.safe_load((tmp_path / "run/config.yaml").read_text())
    assert values["warmup"]["accumulate_grad_batches"] == 2
    start = json.loads((tmp_path / "run/environment.json").read_text())["starts"][0]
    assert "1 device, precision 32-true (as set)" in start["hardware"]
