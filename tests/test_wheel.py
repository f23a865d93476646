"""A wheel, built through the sdist and installed outside the checkout, carries the configs and runs the demo."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RUN = """
import sys
import hiast
from hiast.cli.config import conf_directory
from hiast.cli.train import main
assert hiast.__file__.startswith(sys.argv[1]), hiast.__file__
assert str(conf_directory()).startswith(sys.argv[1]), conf_directory()
sys.argv = ["hiast-train", *sys.argv[2:]]
main()
"""


@pytest.mark.slow
def test_wheel(tmp_path, drawn_data):
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path / "dist"), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    place = tmp_path / "installed"
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(place), str(wheel)]
    subprocess.run(install, check=True)
    words = [
        "+scenario=demo",
        f"data_root={drawn_data}",
        "run=run",
        "backbone.weights=null",
        "data.num_workers=0",
        "pictures=0",
        *(
            f"{stage}.{key}"
            for stage in ("source_only", "warmup", "self_training")
            for key in ("max_steps=1", "batch_size=1")
        ),
        "self_training.rounds=1",
        "data.source_crop.height=32",
        "data.source_crop.width=64",
        "data.target_crop.height=32",
        "data.target_crop.width=64",
        "validation.size=[32,64]",
    ]
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(place), *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(place)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "self_training" in done.stdout and "mIoU-19" in done.stdout
    assert (tmp_path / "run/self_training/checkpoints/last.ckpt").is_file()
