"""Fixtures that several tests share: drawn scenes in the datasets' real layouts, and the golden arrays."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

# Before torch and OpenCV start their thread pools; tests run beside each other on few cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

import cv2
import pytest
import torch

from hiast.scenes import write_cityscapes, write_gta5, write_robotcar, write_synthia


def pytest_configure() -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


@pytest.fixture(autouse=True)
def root_logging() -> Iterator[None]:
    """Programs set the level and the handlers of all logging. A test leaves both as they were."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    for handler in [one for one in root.handlers if one not in handlers]:
        root.removeHandler(handler)


@pytest.fixture(scope="session")
def drawn_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data_root with 8 GTA5, 8 SYNTHIA, 6 + 4 Cityscapes and 4 + 3 RobotCar scenes. Tests only read it."""
    root = tmp_path_factory.mktemp("data")
    write_gta5(root, 8, (96, 192))
    write_synthia(root, 8, (96, 192))
    write_cityscapes(root, 6, 4, (96, 192))
    write_robotcar(root, 4, 3, (96, 128))
    return root


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of golden arrays."""
    return Path(__file__).parent / "golden"


@pytest.fixture
def drawn_copy(drawn_data: Path, tmp_path: Path) -> Path:
    """A copy of the drawn data that a test may damage."""
    return Path(shutil.copytree(drawn_data, tmp_path / "drawn"))
