"""``hiast-report``: one run, several, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_folders import write_run

from hiast.cli.command import run_command
from hiast.cli.report import USAGE, report


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Calls the command in an empty folder with two runs below ``a, b``."""
    monkeypatch.chdir(tmp_path)
    write_run(Path("a, b/one"))
    write_run(Path("a, b/two"), seed=2, shift=0.1)
    return lambda *words: run_command(report, "report", USAGE, words, bare=("run",))


@pytest.mark.parametrize("word", ["run=a, b/one", "a, b/one"])
def test_one_run(run, capsys: pytest.CaptureFixture, word: str) -> None:
    assert run(word) == 0
    assert "Report: a, b/one/report.html" in capsys.readouterr().out
    assert "<h1>two_worlds</h1>" in Path("a, b/one/report.html").read_text()


@pytest.mark.parametrize("word", ["run=a, b/one,a, b/two", "run=a, b"])
def test_several_runs(run, capsys: pytest.CaptureFixture, word: str) -> None:
    if word.count("/") == 2:
        Path("a, b").rename("ab")
        word = word.replace("a, b", "ab")
    assert run(word) == 0
    output = capsys.readouterr().out
    assert "55.0 ± 7.1" in output and "Report: comparison.html" in output
    assert "chosen: the candidate that was selected without labels" in " ".join(output.split())
    assert "Comparison of 2 runs" in Path("comparison.html").read_text()


def test_runs_that_have_not_ended_are_counted(run, capsys: pytest.CaptureFixture) -> None:
    write_run(Path("a, b/three"), seed=3, rounds=1)
    assert run("run=a, b") == 0
    assert "3 (1 not ended)" in capsys.readouterr().out
    assert "<td>3 (1 not ended)" in Path("comparison.html").read_text().replace(
        ' class="number" data-value="3"', ""
    )


def test_another_place(run) -> None:
    assert run("run=a, b", "out=new/page.html") == 0
    assert Path("new/page.html").is_file() and not Path("comparison.html").exists()


@pytest.mark.parametrize(
    ("words", "output"),
    [
        ((), "Which run?"),
        (("run=nothing",), "nothing is not a run directory"),
        (("run=a, b", "out=a, b"), "is a folder"),
        (("run=a, b/one", "out=page.html"), "a, b/one is one run, whose page is a, b/one/report.html"),
        (("run=a, b", "of=x"), "of: there is no such key"),
    ],
)
def test_wrong_input(run, capsys: pytest.CaptureFixture, words: tuple[str, ...], output: str) -> None:
    assert run(*words) == 2
    assert output in capsys.readouterr().err


def test_damaged_files_are_named(run, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("config.yaml", "classes.json"):
        Path("a, b/one", name).write_text("{", encoding="utf-8")
    assert run("run=a, b/one") == 0
    assert (
        "a, b/one/config.yaml is damaged" in caplog.text and "a, b/one/classes.json is damaged" in caplog.text
    )
