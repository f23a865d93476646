"""Wrong input is answered in one sentence, with exit code 2 and without a traceback."""

from functools import partial

import pytest

from hiast.cli.command import run_command
from hiast.cli.eval import evaluate
from hiast.cli.label import label
from hiast.cli.train import train

DEMO = ["+scenario=demo", "data.num_workers=0", "backbone.weights=null"]


def answer(capsys, job, name, words):
    code = run_command(job, name, "", words)
    output = capsys.readouterr().err.strip().splitlines()
    return code, output


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ([], ["No scenario was given", "gta5_cityscapes"]),
        (["+scenario=mars"], ["no scenario 'mars'", "synthia_cityscapes"]),
        (["+scenario=demo", "backbone=resnet"], ["no backbone 'resnet'", "deeplab_v2_resnet101"]),
        (["+scenario=demo", "self_training.stepz=3"], ["self_training.stepz"]),
        (["+scenario=demo", "seed="], ["seed"]),
        (["+scenario=demo", "seed=[1"], ["[1"]),
        (
            ["+scenario=demo", "source_only.optimizer.lr=1,5e-3"],
            ["source_only.optimizer.lr=1.5e-3 for a number"],
        ),
        ([*DEMO, "data_root=/nowhere"], ["/nowhere", "GTA5"]),
        ([*DEMO, "stages=[warm]"], ["warm", "self_training"]),
        ([*DEMO, "validation.size=[1]"], ["validation.size"]),
        ([*DEMO, "validation.size=null"], ["pseudo_label.size", "[height, width]"]),
        (["--config-dir=/nowhere", *DEMO], ["--config-dir", "/nowhere"]),
        ([*DEMO, "init_from=/nowhere.ckpt"], ["/nowhere.ckpt"]),
        ([*DEMO, "stages=source_only"], ["stages", "source_only", "list"]),
        ([*DEMO, "validation.size=64"], ["validation.size", "[height, width]"]),
        ([*DEMO, "loss.region=edge"], ["edge", "ignored"]),
        ([*DEMO, "+pseudo_label.policy.alfa=1"], ["pseudo_label.policy", "alfa"]),
        (["+scenario=iast_gta5_cityscapes", "pseudo_label=argmax"], ["round 1", "by_round", "alpha"]),
        (
            [*DEMO, "source_only.batch_size=3", "source_only.accumulate_grad_batches=2"],
            ["source_only", "batch_size"],
        ),
    ],
)
def test_train(capsys, tmp_path, monkeypatch, words, wanted):
    monkeypatch.chdir(tmp_path)
    code, output = answer(capsys, train, "train", words)
    assert code == 2
    assert len(output) == 1, output
    for part in wanted:
        assert part in output[0]


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["warmup.module.discriminator_input=entrpy"], ["warmup", "entrpy", "entropy"]),
        (["+warmup.module.adversarial_wieght=1"], ["warmup.module", "adversarial_wieght"]),
        (["warmup.module.adversarial_weight=-1"], ["adversarial_weight", "-1"]),
        (["self_training.module.ema_decay=abc"], ["self_training", "ema_decay", "abc"]),
        (["self_training.by_round.3.module.optimizer.lr=x"], ["lr", "x"]),
        (["trainer.precision=half"], ["trainer", "half"]),
        (["trainer.accelerator=cuda"], ["trainer", "not available"]),
    ],
)
def test_a_mistake_in_a_later_stage_is_said_before_the_first(capsys, tmp_path, drawn_data, words, wanted):
    run = tmp_path / "run"
    base = [*DEMO, f"data_root={drawn_data}", f"run={run}", "backbone.decoder_pyramid_channels=32"]
    code, output = answer(capsys, train, "train", [*base, *words])
    assert code == 2
    assert len(output) == 1, output
    assert all(part in output[0] for part in wanted), output
    assert not list(run.rglob("*.ckpt"))


def test_a_folder_that_a_later_stage_reads_is_missed_before_the_first(capsys, tmp_path, drawn_copy):
    (drawn_copy / "cityscapes/leftImg8bit/train").rename(tmp_path / "elsewhere")
    code, output = answer(
        capsys, train, "train", [*DEMO, f"data_root={drawn_copy}", f"run={tmp_path / 'run'}"]
    )
    assert code == 2
    assert len(output) == 1, output
    assert "leftImg8bit/train" in output[0]
    assert not list((tmp_path / "run").rglob("*.ckpt"))


@pytest.mark.parametrize(
    "variables",
    [
        {"WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "none"},
        {"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_STEP_ID": "0"},
    ],
)
@pytest.mark.parametrize(
    ("words", "wanted"),
    [([], "has started 2 processes"), (["trainer.devices=2"], "run=DIR"), (["+run=there"], "has started 2")],
)
def test_processes_started_from_outside(capsys, monkeypatch, tmp_path, variables, words, wanted):
    """Each would train alone in the same directory, or all in directories of their own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HIAST_RUN_TIME", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    code, output = answer(capsys, train, "train", [*DEMO, *words])
    assert code == 2
    assert len(output) == 1 and wanted in output[0], output
    assert not list(tmp_path.iterdir())


def test_a_script_of_slurm_without_srun(capsys, monkeypatch, tmp_path, drawn_data):
    """SLURM sets the variables of all tasks in the script itself, where there is only one process."""
    for name, value in {"NTASKS": "2", "NTASKS_PER_NODE": "2", "PROCID": "0", "LOCALID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    words = [
        f"data_root={drawn_data}",
        "trainer.accelerator=cpu",
        "trainer.devices=2",
        f"run={tmp_path / 'run'}",
    ]
    code, output = answer(capsys, train, "train", [*DEMO, *words])
    assert code == 2
    assert len(output) == 1 and "write srun before the command" in output[0], output
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("RANK", "1", []),
        ("RANK", "1", ["trainer.devices=2"]),
        ("NODE_RANK", "1", ["trainer.devices=2"]),
        ("SLURM_PROCID", "3", []),
        ("LOCAL_RANK", "2", ["trainer.devices=2"]),
        ("LOCAL_RANK", "", []),
    ],
)
def test_a_number_that_no_process_of_the_run_has(
    capsys, monkeypatch, tmp_path, drawn_data, name, value, words
):
    """Some clusters set them for every machine; the run would be one without records and lock."""
    monkeypatch.setenv(name, value)
    run = tmp_path / "run"
    data = f"data_root={drawn_data}"
    code, output = answer(
        capsys, train, "train", [*DEMO, data, "trainer.accelerator=cpu", f"run={run}", *words]
    )
    assert code == 2
    assert len(output) == 1 and f"{name}={value} in the environment" in output[0], output
    assert not run.exists()


def test_unreadable_image(capsys, tmp_path, drawn_copy):
    image = sorted((drawn_copy / "GTA5/images").glob("*.png"))[0]
    image.write_bytes(image.read_bytes()[:400])
    code, output = answer(
        capsys,
        train,
        "train",
        [*DEMO, f"data_root={drawn_copy}", f"run={tmp_path / 'run'}", "source_only.max_steps=8"],
    )
    assert code == 2
    assert len(output) == 1, output
    assert str(image) in output[0]


def test_id_table_that_does_not_fit(capsys, tmp_path, drawn_copy):
    import numpy as np
    from PIL import Image

    for label_file in (drawn_copy / "GTA5/labels").glob("*.png"):
        size = Image.open(label_file).size
        Image.fromarray(np.full(size[::-1], 200, np.uint8)).save(label_file)
    code, output = answer(
        capsys, train, "train", [*DEMO, f"data_root={drawn_copy}", f"run={tmp_path / 'run'}"]
    )
    assert code == 2
    assert "id" in output[0] and "200" in output[0]
    assert len(output) == 1, output


def test_eval_and_label(capsys, tmp_path):
    other = tmp_path / "other.ckpt"
    import torch

    torch.save({"state_dict": {"w": torch.zeros(1)}}, other)
    for job, name in ((partial(evaluate, scenario=[]), "eval"), (label, "label")):
        extra = ["input=.", "output=out"] if name == "label" else []
        code, output = answer(capsys, job, name, extra)
        assert code == 2 and "checkpoint" in output[0] and len(output) == 1
        code, output = answer(capsys, job, name, [f"checkpoint={tmp_path / 'none.ckpt'}", *extra])
        assert code == 2 and "none.ckpt" in output[0] and len(output) == 1
        code, output = answer(capsys, job, name, [f"checkpoint={other}", *extra])
        assert code == 2 and "not a checkpoint of this library" in output[0] and len(output) == 1
    code, output = answer(
        capsys, partial(evaluate, scenario=["+scenario=gta5_cityscapes"]), "eval", [f"checkpoint={other}"]
    )
    assert code == 2 and "No entry" in output[0]
