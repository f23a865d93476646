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
    said = capsys.readouterr().err.strip().splitlines()
    return code, said


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ([], ["No scenario was given", "gta5_cityscapes"]),
        (["+scenario=mars"], ["no scenario 'mars'", "synthia_cityscapes"]),
        (["+scenario=demo", "backbone=resnet"], ["no backbone 'resnet'", "deeplab_v2_resnet101"]),
        (["+scenario=demo", "self_training.stepz=3"], ["self_training.stepz"]),
        (["+scenario=demo", "seed="], ["seed"]),
        (["+scenario=demo", "seed=[1"], ["[1"]),
        ([*DEMO, "data_root=/nowhere"], ["/nowhere", "GTA5"]),
        ([*DEMO, "stages=[warm]"], ["warm", "self_training"]),
        ([*DEMO, "validation.size=[1]"], ["validation.size"]),
        ([*DEMO, "validation.size=null"], ["pseudo_label.size", "[height, width]"]),
        (["--config-dir=/nowhere", *DEMO], ["--config-dir", "/nowhere"]),
        ([*DEMO, "init_from=/nowhere.ckpt"], ["/nowhere.ckpt"]),
        ([*DEMO, "loss.region=edge"], ["edge", "ignored"]),
        ([*DEMO, "+pseudo_label.policy.alfa=1"], ["pseudo_label.policy", "alfa"]),
        ([*DEMO, "source_only.batch_size=3", "source_only.accumulate=2"], ["source_only", "batch_size"]),
    ],
)
def test_train(capsys, tmp_path, monkeypatch, words, wanted):
    monkeypatch.chdir(tmp_path)
    code, said = answer(capsys, train, "train", words)
    assert code == 2
    assert len(said) == 1, said
    for part in wanted:
        assert part in said[0]


def test_unreadable_image(capsys, tmp_path, drawn_copy):
    image = sorted((drawn_copy / "GTA5/images").glob("*.png"))[0]
    image.write_bytes(image.read_bytes()[:400])
    code, said = answer(
        capsys,
        train,
        "train",
        [*DEMO, f"data_root={drawn_copy}", f"run={tmp_path / 'run'}", "source_only.steps=8"],
    )
    assert code == 2
    assert len(said) == 1, said
    assert str(image) in said[0]


def test_id_table_that_does_not_fit(capsys, tmp_path, drawn_copy):
    import numpy as np
    from PIL import Image

    for label_file in (drawn_copy / "GTA5/labels").glob("*.png"):
        size = Image.open(label_file).size
        Image.fromarray(np.full(size[::-1], 200, np.uint8)).save(label_file)
    code, said = answer(capsys, train, "train", [*DEMO, f"data_root={drawn_copy}", f"run={tmp_path / 'run'}"])
    assert code == 2
    assert "200" in said[0] or "id" in said[0]
    assert len(said) == 1, said


def test_eval_and_label(capsys, tmp_path):
    other = tmp_path / "other.ckpt"
    import torch

    torch.save({"state_dict": {"w": torch.zeros(1)}}, other)
    for job, name in ((partial(evaluate, scenario=[]), "eval"), (label, "label")):
        extra = ["input=.", "output=out"] if name == "label" else []
        code, said = answer(capsys, job, name, extra)
        assert code == 2 and "checkpoint" in said[0] and len(said) == 1
        code, said = answer(capsys, job, name, [f"checkpoint={tmp_path / 'none.ckpt'}", *extra])
        assert code == 2 and "none.ckpt" in said[0] and len(said) == 1
        code, said = answer(capsys, job, name, [f"checkpoint={other}", *extra])
        assert code == 2 and "not a checkpoint of this library" in said[0] and len(said) == 1
    code, said = answer(
        capsys, partial(evaluate, scenario=["+scenario=gta5_cityscapes"]), "eval", [f"checkpoint={other}"]
    )
    assert code == 2 and "No entry" in said[0]
