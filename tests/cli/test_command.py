"""Help, version, tracebacks, pipes and terminals."""

from __future__ import annotations

import errno
import io
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

import hiast.cli
from hiast.cli.command import _StderrHandler, run_command
from hiast.errors import InputError, RunError

COMMANDS = ["train", "eval", "label", "data_check", "data_demo", "data_new", "data_prepare"]
DEMO = "data_demo"
"""A command whose configuration is composed quickly."""


@pytest.mark.parametrize(
    "words", [["--help"], ["-h"], ["+scenario=demo", "--help", "--cfg"], ["x", "--help", "me"]]
)
def test_help_wherever_it_stands(words: list[str], capsys) -> None:
    assert run_command(lambda config: pytest.fail("called"), DEMO, "hiast-x DIR", words) == 0
    output = capsys.readouterr().out
    assert output.startswith("hiast-x DIR\n") and "--multirun" in output and "--shell-completion" in output


def test_operations_that_apple_gpus_lack_run_on_the_cpu_unless_it_is_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[str | None] = []

    def job(config: object) -> None:
        seen.append(os.environ.get("PYTORCH_ENABLE_MPS_FALLBACK"))

    monkeypatch.setenv("PYTORCH_ENABLE_MPS_FALLBACK", "0")
    assert run_command(job, DEMO, "", []) == 0
    monkeypatch.delenv("PYTORCH_ENABLE_MPS_FALLBACK")
    assert run_command(job, DEMO, "", []) == 0
    assert seen == ["0", "1"]


def test_version(capsys) -> None:
    import hiast

    assert run_command(lambda config: pytest.fail("called"), DEMO, "", ["x=1", "--version"]) == 0
    assert capsys.readouterr().out == f"hiast {hiast.__version__}\n"


def raising(error: BaseException):
    def job(config) -> int:
        raise error

    return job


@pytest.mark.parametrize(
    "error",
    [
        TypeError("a bug"), ValueError("a bug"), KeyError("a bug"), RuntimeError("timed out"),
        FileNotFoundError(errno.ENOENT, "No such file", "/nowhere/x"), RuntimeError("Broken pipe"), OSError("a bug"),
    ],
)  # fmt: skip
def test_bugs_keep_their_traceback(error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        run_command(raising(error), DEMO, "", [])
    assert caught.value is error and caught.traceback[-1].name == "job"


@pytest.mark.parametrize(
    ("error", "code", "wanted"),
    [
        (InputError("The file is wrong."), 2, "The file is wrong."),
        (RunError("The run ends."), 1, "The run ends."),
        (
            OSError(errno.ENOSPC, "No space left on device", "run/last.ckpt"),
            1,
            "No space left on device (run/last.ckpt)",
        ),
        (
            FileNotFoundError(errno.ENOENT, "No such file", "data/demo/x.png"),
            1,
            "No such file or directory (data/demo/x.png)",
        ),
        (KeyboardInterrupt(), 130, "Interrupted."),
    ],
)
def test_faults_are_one_sentence(error: BaseException, code: int, wanted: str, capsys) -> None:
    assert run_command(raising(error), DEMO, "", []) == code
    output = capsys.readouterr().err.strip()
    assert wanted in output and len(output.splitlines()) == 1


def test_tracebacks_are_shown_on_request(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setenv("HIAST_DEBUG", "1")
    assert run_command(raising(InputError("wrong")), DEMO, "", []) == 2
    output = capsys.readouterr().err
    assert output.startswith("Traceback") and output.endswith("InputError: wrong\nwrong\n")
    monkeypatch.setenv("HIAST_DEBUG", "0")
    assert run_command(raising(InputError("wrong")), DEMO, "", []) == 2
    assert capsys.readouterr().err == "wrong\n"


def test_a_message_that_follows_itself_is_written_once(capsys: pytest.CaptureFixture[str]) -> None:
    handler = _StderrHandler()
    for text in ("one", "one", "two", "one"):
        handler.handle(logging.LogRecord("hiast", logging.INFO, __file__, 1, "%s", (text,), None))
    assert capsys.readouterr().err == "one\ntwo\none\n"


def test_a_terminal_that_does_not_know_a_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(io.BytesIO(), encoding="ascii"))

    def job(config) -> int:
        sys.stdout.write("Straße \udce9\n")
        raise InputError("Straße")

    assert run_command(job, DEMO, "", []) == 2
    sys.stdout.flush()
    assert sys.stdout.buffer.getvalue() == b"Stra\\xdfe \\udce9\n"
    assert sys.stderr.buffer.getvalue() == b"Stra\\xdfe\n"


def piped(words: str) -> subprocess.CompletedProcess:
    """A command whose standard output is closed after its first line."""
    code = "import sys; from hiast.cli.data_demo import main; main()"
    shell = f"set -o pipefail; {sys.executable} -c '{code}' {words} | head -1"
    return subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False)


def test_a_closed_pipe_ends_quietly() -> None:
    done = piped("--cfg all")
    assert done.stderr == "" and len(done.stdout.splitlines()) == 1
    assert done.returncode in (0, 141)  # 0: all was written before the pipe was closed


def test_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w")
    monkeypatch.setattr(sys, "stdout", stream)

    def job(config) -> int:
        print("x" * 100_000, flush=True)  # noqa: T201
        return 0

    assert run_command(job, DEMO, "", []) == 141
    stream.close()


def test_a_broken_pipe_of_the_program_itself_is_a_bug() -> None:
    with pytest.raises(BrokenPipeError):
        run_command(raising(BrokenPipeError(errno.EPIPE, "Broken pipe")), DEMO, "", [])


def test_files_of_a_run_are_utf_8_in_any_locale(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from hiast.run.directory import RunDirectory\n"
        "from hiast.callbacks.metrics_file import read_metrics\n"
        "d = RunDirectory('run')\n"
        "for _ in range(2): d.open('name: Straße\\nstages: []\\n', 1)\n"
        "d.write_result('source_only', 1, {'iou': {'Straße': 1.0}}); assert d.read_result('source_only', 1)\n"
        "assert 'Straße' in Path('run/config.yaml').read_text('utf-8')"
    )
    ascii_locale = {
        "LC_ALL": "C",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONUTF8": "0",
    }
    (tmp_path / "script.py").write_text(code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env=os.environ | ascii_locale,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("closed", [">&-", "<&- >&-", "<&- >&- 2>&-"])
def test_standard_streams_may_be_closed(tmp_path: Path, closed: str) -> None:
    program = (
        "import os; from hiast.cli.command import run_command\n"
        "def job(config):\n"
        "    file = open('result', 'w'); print('shown'); os.system('echo shown too'); file.write(str(file.fileno()))\n"
        "raise SystemExit(run_command(job, 'report', 'usage', ['run=x']))"
    )
    command = f'exec "{sys.executable}" -c "$PROGRAM" {closed}'
    done = subprocess.run(
        ["sh", "-c", command], cwd=tmp_path, env=os.environ | {"PROGRAM": program}, check=False
    )
    assert done.returncode == 0
    assert int((tmp_path / "result").read_text()) > 2


@pytest.mark.parametrize("name", sorted(path.stem for path in Path(hiast.cli.__file__).parent.glob("*.py")))
def test_a_command_can_be_started_as_a_module(name: str) -> None:
    text = (Path(hiast.cli.__file__).parent / f"{name}.py").read_text()
    assert ("def main() -> None:" in text) == ('if __name__ == "__main__":\n    main()' in text)
