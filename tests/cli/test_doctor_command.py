"""hiast-doctor: exit code, plain text, and a self-test that really trains."""

from __future__ import annotations

import re
import subprocess

import pytest

from hiast.cli import doctor
from hiast.cli.command import run_command
from hiast.run.doctor import Check


def diagnosed(*words: str) -> int:
    return run_command(doctor.diagnose, "doctor", doctor.USAGE, list(words))


def test_the_machine_alone(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert diagnosed("self_test=false") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "hiast works here."
    assert all(re.match(r"(ok|note|warning) +[\w ]+: .*\.$", line) for line in lines[:-1])
    assert not list(tmp_path.iterdir())


def test_an_error_decides_about_the_exit_code_and_stops_the_self_test(monkeypatch, capsys) -> None:
    bad = [Check("packages", "error", "torch is not installed."), Check("memory", "ok", "1 GB free.")]
    monkeypatch.setattr("hiast.run.doctor.check_machine", lambda data, outputs: iter(bad))
    monkeypatch.setattr(doctor, "self_test", lambda seconds: pytest.fail("It must not run."))
    assert diagnosed() == 1
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == "hiast does not work here." and "ok      memory" in out


def test_wrong_words(capsys) -> None:
    assert diagnosed("data_rot=x") == 2
    assert "data_root" in capsys.readouterr().err


@pytest.mark.slow
def test_the_self_test_trains() -> None:
    (check,) = doctor.self_test(500)
    assert check.verdict == "ok", check.text
    assert re.search(r"in \d+ s \(untrained network: mIoU-19 \d+\.\d\)", check.text)


def test_a_self_test_that_fails_says_why(monkeypatch) -> None:
    monkeypatch.setattr(doctor, "_SELF_TEST", ("+scenario=demo", "trainer.nonsense=1"))
    (check,) = doctor.self_test(500)
    assert check.verdict == "error" and "trainer.nonsense" in check.text


def test_a_self_test_that_takes_too_long_is_a_warning() -> None:
    (check,) = doctor.self_test(0.01)
    assert check.verdict == "warning" and "slow or busy" in check.text


def test_the_self_test_is_one_process_within_a_job_of_several(monkeypatch) -> None:
    given = {}

    def run(words, env, **_):
        given.update(env)
        return subprocess.CompletedProcess(words, 1, "", "stopped")

    for name in ("SLURM_NTASKS", "LOCAL_RANK", "WORLD_SIZE", "MASTER_PORT", "TORCHELASTIC_RUN_ID"):
        monkeypatch.setenv(name, "4")
    monkeypatch.setattr(subprocess, "run", run)
    (check,) = doctor.self_test(500)
    assert check.text.endswith("stopped") and "PATH" in given
    assert not [
        name for name in given if name.startswith(("SLURM_", "LOCAL_", "WORLD_", "MASTER_", "TORCHELASTIC_"))
    ]
