"""The Python of the pages runs, in the order in which a page shows it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hiast.scenes import write_cityscapes, write_gta5

HOWTO = Path(__file__).parents[2] / "docs/howto"


def blocks(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (HOWTO / page).read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in ("street", "a", "b"):
        Image.fromarray(rng.integers(0, 256, (64, 128, 3)).astype(np.uint8)).save(f"{name}.jpg")
    return tmp_path


def test_a_network_of_ones_own_in_a_training_of_ones_own(folder: Path) -> None:
    write_gta5("data", 2, (64, 128))
    write_cityscapes("data", 2, 1, (64, 128))
    names: dict = {}
    for block in blocks("extend.md"):
        exec(block, names)
    assert names["module"].steps_done == names["again"].steps_done == 4
    for one, other in zip(names["module"].parameters(), names["again"].parameters(), strict=True):
        assert one.equal(other)


@pytest.mark.parametrize("page", ["predict.md", "share.md", "reports.md"])
def test_a_trained_network(folder: Path, reference_run: Path, page: str) -> None:
    shutil.copytree(reference_run, "outputs/demo/TIME")
    shutil.copy(reference_run / "selected.ckpt", "selected.ckpt")
    shutil.copytree(reference_run, "outputs/seeds/0")
    names: dict = {}
    for block in blocks(page):
        lines = [line for line in block.splitlines() if "push_to_hub" not in line]
        text = "\n".join(lines).replace("someone/my-model", "./my-model")
        exec(text, names)
    if page != "reports.md":
        assert names["prediction"].labels.shape == (64, 128)
