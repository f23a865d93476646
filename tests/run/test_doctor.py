"""Each check says what is wrong, and nothing where nothing is."""

from __future__ import annotations

import resource
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from hiast.run import doctor
from hiast.run.hardware import Machine


def only(checks):
    (check,) = checks
    return check


def test_every_extra_for_users_has_a_feature() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert doctor.FEATURES.keys() == project["optional-dependencies"].keys() - {"docs", "dev"}


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("torch>=2", None),
        ("torch>=99", "torch is .*, needed is >=99"),
        ("no-such-package-of-hiast", "no-such-package-of-hiast is not installed"),
    ],
)
def test_packages_are_compared_with_what_is_needed(line: str, wanted: str | None) -> None:
    found = doctor.missing(Requirement(line))
    assert found is None if wanted is None else __import__("re").fullmatch(wanted, found)


def test_missing_packages_are_named_with_their_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["torch>=99", "torch>=2", 'no-such-av>=1; extra == "video"', 'numpy; extra == "onnx"']
    monkeypatch.setattr(metadata, "requires", lambda name: lines)
    needed, video = doctor.check_packages()
    assert needed.verdict == "error" and "needed is >=99" in needed.text
    assert (video.name, video.verdict) == (
        "extra video",
        "note",
    ) and "pip install 'hiast[video]'" in video.text


@pytest.mark.parametrize(
    ("machine", "wanted"),
    [
        (Machine("cpu", "Old", 1, 4, False, False), "Old, 4 cores, precision 32-true."),
        (Machine("cpu", "New", 1, 4, True, False), "bf16-mixed for networks that gain from it"),
        (Machine("mps", "M2", 1, 8, False, True), "M2, 8 cores, precision 32-true."),
    ],
)
def test_devices(machine: Machine, wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_has_nvidia", lambda: False)
    check = only(doctor.check_devices(machine))
    assert check.verdict == "ok" and wanted in check.text


def test_a_gpu_that_pytorch_cannot_use_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_has_nvidia", lambda: True)
    *_, check = doctor.check_devices(Machine("cpu", "CPU", 1, 4, False, False))
    assert check.verdict == "error" and "NVIDIA" in check.text


def test_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "free_memory", lambda device: 1e9)
    assert doctor.check_memory().verdict == "warning"


def test_shared_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.check_shared_memory(tmp_path / "none").verdict == "ok"
    usage = type("Usage", (), {"free": 64 * 2**20})
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: usage)
    check = doctor.check_shared_memory(tmp_path)
    assert check.verdict == "warning" and "--shm-size=8g" in check.text


@pytest.mark.parametrize(("limit", "verdict"), [(256, "warning"), (4096, "ok"), (-1, "ok")])
def test_open_files(limit: int, verdict: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (limit, limit))
    assert doctor.check_open_files().verdict == verdict


def test_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check = only(doctor.check_folder("data folder", tmp_path / "later/data"))
    assert "does not exist yet" in check.text and "free, written at" in check.text
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(doctor, "write_speed", lambda folder: 1e6)
    (tmp_path / "file.txt").touch()
    for place in ("file.txt", "file.txt/data"):
        check = only(doctor.check_folder("data folder", tmp_path / place))
        assert check.verdict == "error" and "file.txt is a file; name a folder" in check.text
    assert only(doctor.check_folder("data folder", tmp_path)).verdict == "warning"
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: False)
    assert "cannot be written" in only(doctor.check_folder("data folder", tmp_path)).text


def test_the_speed_of_a_disk(tmp_path: Path) -> None:
    assert doctor.write_speed(tmp_path, size=2**20) > 0
    assert not list(tmp_path.iterdir())


def test_the_whole_machine(tmp_path: Path) -> None:
    names = [check.name for check in doctor.check_machine(tmp_path, tmp_path)]
    assert names[0] == "packages" and names[-2:] == ["data folder", "run folder"]
