"""Real runs of hiast-train on drawn scenes, small enough to be started, broken and continued many times."""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from hiast.scenes import write_cityscapes, write_gta5

HERE = Path(__file__).parent


def free_port() -> int:
    """A port for processes to meet at, from below those that the system gives to outgoing connections meanwhile."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as free, contextlib.suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port


class Launcher:
    """Runs hiast-train in processes forked from one that has everything imported."""

    def __init__(self, data: Path, small: tuple[str, ...]) -> None:
        self.overrides = [f"data_root={data}", *small]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "launcher.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=environment,
        )  # fmt: skip
        assert self._answer(600) == "ready"

    def train(
        self, folder: Path, *overrides: str, faults: tuple[dict, ...] = (), ranks: int = 1, faulty_rank: int = 0,
        seconds: float = 400,
    ) -> list[int]:  # fmt: skip
        """Exit codes of a run in ``folder``, one per process."""
        words = [*self.overrides, *overrides]
        return self._call(
            folder=str(folder),
            overrides=words,
            faults=faults,
            ranks=ranks,
            faulty_rank=faulty_rank,
            seconds=seconds,
        )

    def command(
        self, name: str, folder: Path, *words: str, faults: tuple[dict, ...], ranks: int
    ) -> list[int]:
        """Exit codes of ``hiast-NAME`` in ``folder``, one per process."""
        return self._call(command=name, folder=str(folder), overrides=words, faults=faults, ranks=ranks)

    def _call(self, seconds: float = 400, **request: object) -> list[int]:
        request |= {"port": free_port()}
        self.process.stdin.write(json.dumps(request) + "\n")
        return json.loads(self._answer(seconds))

    port = staticmethod(free_port)

    def _answer(self, seconds: float) -> str:
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        if not ready:
            self.close()
            pytest.fail(f"A run did not end within {seconds} s.")
        return self.process.stdout.readline().strip()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="session")
def kill_test() -> ModuleType:
    """benchmarks/kill_test.py."""
    import importlib.util

    spec = importlib.util.spec_from_file_location(
        "kill_test", HERE.parents[1] / "benchmarks" / "kill_test.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data_root with 6 GTA5 and 5 + 2 Cityscapes scenes of 64 x 128."""
    root = tmp_path_factory.mktemp("small_data")
    write_gta5(root, 6, (64, 128))
    write_cityscapes(root, 5, 2, (64, 128))
    return root


@pytest.fixture(scope="session")
def launcher(small_data: Path, kill_test: ModuleType) -> Iterator[Launcher]:
    """Starts real runs."""
    launcher = Launcher(small_data, kill_test.SMALL)
    yield launcher
    launcher.close()


@pytest.fixture(scope="session")
def reference_run(launcher: Launcher, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("reference_run")
    assert launcher.train(folder) == [0], (folder / "log_0.txt").read_text()
    return folder / "run"
