"""Nothing that a stranger wrote is run, nothing is written outside of the run, nobody listens to the network."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from hiast.cli import eval as eval_command
from hiast.cli import label as label_command
from hiast.cli import train as train_command
from hiast.cli.command import run_command
from hiast.training import HIASTModule, load_module


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (os.mkdir, (str(self.path),))


@pytest.fixture(params=["zip", "legacy", "plain pickle"])
def malicious(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    """A checkpoint that makes a folder when it is loaded by pickle, and that folder."""
    trace, path = tmp_path / "trace", tmp_path / "malicious.ckpt"
    contents = {"hiast": {"format": 1, "stage": "self_training"}, "state_dict": {}, "x": Touch(trace)}
    if request.param == "plain pickle":
        path.write_bytes(pickle.dumps(contents))
    else:
        torch.save(contents, path, _use_new_zipfile_serialization=request.param == "zip")
    return path, trace


def test_a_malicious_checkpoint_is_refused(
    malicious: tuple[Path, Path], tmp_path: Path, small_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, trace = malicious
    (tmp_path / "in").mkdir()
    commands = (
        (eval_command.evaluate, "eval", [f"checkpoint={path}"]),
        (eval_command.evaluate, "eval", [f"checkpoint={path}", f"data_root={small_data}"]),
        (
            label_command.label,
            "label",
            [f"checkpoint={path}", f"input={tmp_path / 'in'}", f"output={tmp_path / 'out'}"],
        ),
        (
            train_command.train,
            "train",
            ["+scenario=demo", f"init_from={path}", f"run={tmp_path / 'run'}", f"data_root={small_data}"],
        ),
    )
    for job, name, words in commands:
        if name == "eval":
            code = run_command(lambda config, job=job: job(config, scenario=[]), name, "", words)
        else:
            code = run_command(job, name, "", words)
        assert code == 2
        assert "malicious.ckpt" in capsys.readouterr().err
    for load in (load_module, HIASTModule.load_from_checkpoint):
        with pytest.raises(ValueError, match=r"malicious\.ckpt"):
            load(path)
    assert not trace.exists()


def test_published_weights_are_read_without_pickle(malicious: tuple[Path, Path]) -> None:
    from hiast.models import DeepLabV2, load_published_weights

    path, trace = malicious
    with pytest.raises(ValueError, match=r"malicious\.ckpt"):
        load_published_weights(DeepLabV2(num_classes=19, pretrained=None, layers=(1, 1, 1, 1), width=8), path)
    assert not trace.exists()


@pytest.mark.parametrize("key", ["_target_", "data_root", "class_map"])
def test_a_malicious_configuration_in_a_checkpoint_is_refused(
    reference_run: Path, tmp_path: Path, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = tmp_path / "trace"
    contents = torch.load(reference_run / "self_training/checkpoints/last.ckpt", weights_only=True)
    target = contents["hiast"]["config"]["data"]["target"]
    call = {
        "_target_": "pathlib.Path.touch",
        "_args_": [{"_target_": "pathlib.Path", "_args_": [str(trace)]}],
    }
    target.update(call if key == "_target_" else {key: call})
    path = tmp_path / "stranger.ckpt"
    torch.save(contents, path)
    code = run_command(
        lambda config: eval_command.evaluate(config, scenario=[]), "eval", "", [f"checkpoint={path}"]
    )
    assert code == 2
    assert "Traceback" not in capsys.readouterr().err
    assert not trace.exists()


def test_a_recipe_builds_networks_only(reference_run: Path, tmp_path: Path) -> None:
    contents = torch.load(reference_run / "self_training/checkpoints/last.ckpt", weights_only=True)
    contents["hiast"]["network"] = {"network": "os.system", "command": f"touch {tmp_path / 'trace'}"}
    torch.save(contents, tmp_path / "stranger.ckpt")
    with pytest.raises(ValueError, match=r"os\.system"):
        load_module(tmp_path / "stranger.ckpt")
    assert not (tmp_path / "trace").exists()


def test_names_in_a_manifest_cannot_escape(reference_run: Path, tmp_path: Path) -> None:
    import hashlib
    import json
    import shutil

    from hiast.pseudo_labels.round_reader import RoundReader

    for number, bad in enumerate(("../outside", "/etc/passwd", "a/../../outside")):
        directory = shutil.copytree(reference_run / "self_training/rounds/1", tmp_path / str(number))
        table, manifest = directory / "labels.csv", directory / "manifest.json"
        content = json.loads(manifest.read_text())
        name = content["identity"]["names"][0]
        table.write_text(table.read_text().replace(f"{name},", f"{bad},"))
        content["identity"]["names"][0] = bad
        content["files"]["labels.csv"] = hashlib.sha256(table.read_bytes()).hexdigest()
        manifest.write_text(json.dumps(content))
        with pytest.raises(ValueError, match="leads out of"):
            RoundReader(directory, verify=True)


def test_names_inside_a_checkpoint_file_are_not_paths(tmp_path: Path) -> None:
    path = tmp_path / "archive.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../escaped/data.pkl", b"x")
    with pytest.raises(ValueError, match=r"archive\.ckpt"):
        load_module(path)
    assert sorted(tmp_path.iterdir()) == [path]


@pytest.mark.slow
def test_nobody_listens_to_the_network(launcher, tmp_path: Path) -> None:
    fault = {
        "at": "hiast.training.module:AdaptationModule.on_train_batch_start",
        "call": 2,
        "do": ["list_sockets", "sockets.txt"],
    }
    more = ("stages=[source_only]", "trainer.devices=2")
    assert launcher.train(tmp_path, *more, faults=(fault,), ranks=2) == [0, 0]
    assert_loopback((tmp_path / "sockets.txt").read_text())


def assert_loopback(addresses: str) -> None:
    assert addresses.split()
    assert set(addresses.split()) <= {
        "0100007F",
        "00000000000000000000000001000000",
        "0000000000000000FFFF00000100007F",
    }


@pytest.mark.slow
@pytest.mark.parametrize("command", ["label", "eval"])
def test_nobody_listens_to_the_network_outside_training(
    launcher, reference_run: Path, small_data: Path, tmp_path: Path, command: str
) -> None:
    words = {
        "label": [f"input={small_data}/GTA5/images", "output=labels"],
        "eval": [f"data_root={small_data}", "num_workers=0"],
    }[command]
    place = {
        "label": "hiast.data.io.images:ImageReader.read",
        "eval": "hiast.data.loading.segmentation:SegmentationDataset.__getitem__",
    }[command]
    checkpoint = reference_run / "self_training/checkpoints/last.ckpt"
    words = [f"checkpoint={checkpoint}", *words, "trainer.accelerator=cpu", "trainer.devices=2"]
    fault = {"at": place, "do": ["list_sockets", "sockets.txt"]}
    codes = launcher.command(command, tmp_path, *words, faults=(fault,), ranks=2)
    assert codes == [0, 0], (tmp_path / "log_0.txt").read_text()
    assert_loopback((tmp_path / "sockets.txt").read_text())


def test_nothing_is_sent_anywhere_unless_asked() -> None:
    from hiast.cli.config import compose

    assert compose("train", ["+scenario=demo"]).logger.loggers == []
    assert compose("train", ["+scenario=demo", "logger=wandb"]).logger.wandb.offline is True
    code = "import hiast.cli.build, hiast.run, sys; sys.exit('wandb' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
