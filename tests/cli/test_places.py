"""Places for results are checked before anything is computed, and what cannot be written is said by its own name."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from hiast.cli import places
from hiast.cli.faults import RESUME, explain
from hiast.cli.places import check_file, check_folder
from hiast.errors import InputError


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder.onnx").mkdir()
    Path("file").write_bytes(b"x")


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("folder.onnx", "output: folder.onnx is a folder; name a file in it, such as folder.onnx/m.onnx."),
        ("file/x.onnx", "output: file/x.onnx lies below file, which is a file; name a place in a folder."),
        (
            "file/a/x.onnx",
            "output: file/a/x.onnx lies below file, which is a file; name a place in a folder.",
        ),
        ("/dev/null", "output: /dev/null is a device or a pipe; name a file."),
        ("/proc/x.onnx", "output: /proc/x.onnx cannot be written ("),
        ("/proc/a/x.onnx", "output: /proc/a/x.onnx cannot be written ("),
        (f"{'x' * 300}.onnx", "cannot be written (File name too long); name a file in another folder."),
        (f"{'x' * 250}.onnx", "cannot be written (File name too long); name a file in another folder."),
    ],
)
def test_a_file_that_cannot_be_written(path: str, wanted: str) -> None:
    if path.startswith("/") and not Path(path[:5]).exists():
        pytest.skip("This system has no such folder.")
    with pytest.raises(InputError) as raised:
        check_file("output", Path(path), "m.onnx")
    assert wanted in str(raised.value)


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("file", "output: file is a file; name a folder."),
        ("file/a/b", "output: file/a/b lies below file, which is a file; name a place in a folder."),
        ("/proc/x", "output: /proc/x cannot be written ("),
    ],
)
def test_a_folder_that_cannot_be_written(path: str, wanted: str) -> None:
    with pytest.raises(InputError) as raised:
        check_folder("output", Path(path))
    assert wanted in str(raised.value)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_what_the_system_refuses_is_said(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path) -> None:
        raise OSError(number, "refused", "somewhere")

    monkeypatch.setattr(places, "_try_to_write", refused)
    for check in (lambda: check_file("out", Path("a/b.html"), "x"), lambda: check_folder("out", Path("a/b"))):
        with pytest.raises(InputError, match=r"out: a/b(\.html)? cannot be written \(refused\)"):
            check()


def test_places_that_can_be_written_are_left_as_they_are() -> None:
    before = sorted(Path().rglob("*"))
    check_file("output", Path("new/deep/x.onnx"), "m.onnx")
    check_file("output", Path("file"), "m.onnx")
    check_folder("output", Path("new/deep"))
    check_folder("output", Path("folder.onnx"))
    assert sorted(Path().rglob("*")) == before and Path("file").read_bytes() == b"x"


def test_a_file_in_the_way_of_a_named_path_is_no_bug() -> None:
    with pytest.raises(OSError, match="file") as raised:
        Path("file/a").mkdir(parents=True)
    assert "Not a directory (file/a)" in (explain(raised.value, "export", [Path("file/a/x.onnx")]) or "")
    assert explain(raised.value, "export", [Path("other/x.onnx")]) is None


def test_resuming_is_promised_by_commands_that_resume() -> None:
    error = OSError(errno.EROFS, "Read-only file system", "run")
    for command in ("train", "label", "predict", "data_prepare"):
        assert (explain(error, command) or "").endswith(f"(run): fix this. {RESUME}")
    for command in ("export", "report", "eval"):
        assert (explain(error, command) or "").endswith("(run): fix this. Then rerun the same command.")
