"""Sweeps and what Hydra shows, as in any program of Hydra, with the exit codes of this one."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest
import yaml
from hydra._internal.hydra import Hydra
from hydra.core.global_hydra import GlobalHydra

from hiast.cli.command import run_command
from hiast.errors import InputError

DEMO = "+scenario=demo"


class Jobs:
    """Records the jobs that it is called for; some of them fail."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, str]] = []
        self.argv: list[list[str]] = []

    def __call__(self, config) -> int:
        self.seen.append((config.seed, config.get("run")))
        self.argv.append(sys.argv[1:])
        if config.seed == 3:
            raise InputError("seed three")
        if config.seed == 4:
            raise TypeError("a bug")
        os.environ["LEFT_BEHIND"] = "1"
        return 0


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Jobs:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["hiast-train", "as", "typed"])
    monkeypatch.delenv("LEFT_BEHIND", raising=False)
    return Jobs()


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> Callable[..., tuple[int, str, str]]:
    """Runs the train command with a job that must not be called; returns exit code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def show(*words: str) -> tuple[int, str, str]:
        code = run_command(lambda config: pytest.fail("called"), "train", "hiast-train ...", words)
        printed = capsys.readouterr()
        return code, printed.out, printed.err.strip()

    return show


def test_one_job_sees_the_words_as_typed_and_writes_nothing(jobs: Jobs) -> None:
    assert run_command(jobs, "train", "", [DEMO, "run=a b"]) == 0
    assert jobs.seen == [(888, "a b")] and jobs.argv == [["as", "typed"]]
    assert not list(Path().iterdir())


def test_one_job_composes_once_and_has_what_hydra_gives_to_jobs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    composed: list[int] = []
    environment: list[str] = []
    compose_config = Hydra.compose_config
    monkeypatch.setattr(
        Hydra, "compose_config", lambda *args, **kw: composed.append(1) or compose_config(*args, **kw)
    )
    words = [DEMO, "+hydra.job.env_set.OF_THIS_JOB=7", "+hydra.callbacks.mine._target_=test_app.Noted"]
    assert run_command(lambda config: environment.append(os.environ["OF_THIS_JOB"]), "train", "", words) == 0
    assert environment == ["7"] and len(composed) == 1 and "OF_THIS_JOB" not in os.environ
    assert Noted.calls == ["on_run_start", "on_job_start", "on_job_end", "on_run_end"]
    assert not GlobalHydra.instance().is_initialized()


class Noted:
    """A callback of Hydra."""

    calls: ClassVar[list[str]] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda **_: self.calls.append(name)


def test_a_sweep_runs_each_value_below_its_run_directory(jobs: Jobs) -> None:
    assert run_command(jobs, "train", "", ["seed=1,2", "-m", DEMO, "run=my runs"]) == 0
    assert jobs.seen == [(1, "my runs/0"), (2, "my runs/1")]
    # What the processes of several devices are started with.
    assert set(jobs.argv[1]) == {"seed=2", DEMO, "run=my runs/1", "hydra.mode=RUN"}
    assert "LEFT_BEHIND" not in os.environ


def test_a_sweep_without_a_run_directory_uses_hydras(jobs: Jobs) -> None:
    words = [DEMO, "seed=choice(1,2)", "--multirun", "hydra.sweep.dir=swept", "hydra.sweep.subdir=${seed}"]
    assert run_command(jobs, "train", "", words) == 0
    assert jobs.seen == [(1, "swept/1"), (2, "swept/2")]


def test_a_run_directory_may_refer_to_other_keys(jobs: Jobs) -> None:
    assert run_command(jobs, "train", "", [DEMO, "seed=1,2", "-m", "run=r_${seed}"]) == 0
    assert [run for _, run in jobs.seen] == ["r_1", "r_2"]


def test_a_search_brings_its_values(jobs: Jobs, tmp_path: Path) -> None:
    search = tmp_path / "conf/hparams_search/mine.yaml"
    search.parent.mkdir(parents=True)
    search.write_text("hydra: {mode: MULTIRUN, sweeper: {params: {seed: 'range(5,7)'}}}")
    assert run_command(jobs, "train", "", ["--config-dir", "conf", "hparams_search=mine", DEMO, "run=r"]) == 0
    assert jobs.seen == [(5, "r/0"), (6, "r/1")]


def test_the_other_jobs_of_a_sweep_run_when_one_fails(jobs: Jobs, capsys) -> None:
    assert run_command(jobs, "train", "", [DEMO, "seed=3,4,5", "-m", "run=r"]) == 2
    assert [seed for seed, _ in jobs.seen] == [3, 4, 5]
    printed = capsys.readouterr().err
    assert "seed three\n" in printed and "TypeError: a bug" in printed


def test_a_sweep_stops_when_a_job_is_stopped(jobs: Jobs) -> None:
    def stopped(config) -> int:
        jobs(config)
        return 143

    with pytest.raises(SystemExit) as caught:
        run_command(stopped, "train", "", [DEMO, "seed=1,2", "-m", "run=r"])
    assert caught.value.code == 143 and len(jobs.seen) == 1


def test_jobs_that_would_write_to_one_file_are_refused(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    outputs: list[str] = []
    job = lambda config: outputs.append(config.output)  # noqa: E731
    words = ["checkpoint=a.ckpt,b.ckpt", "-m"]
    assert run_command(job, "eval", "", [*words, "output=scores.json"]) == 2
    assert "${hydra:job.num}" in capsys.readouterr().err
    assert run_command(job, "eval", "", [*words, "output=s_${hydra:job.num}.json"]) == 0
    assert outputs == ["s_0.json", "s_1.json"]


def test_hydras_own_folder_is_the_run_directory(jobs: Jobs) -> None:
    assert run_command(jobs, "train", "", [DEMO, "hydra.run.dir=x"]) == 0
    assert jobs.seen == [(888, "x")]


@pytest.mark.parametrize("words", [["--cfg"], ["--cfg", "job"], ["--cfg=job"], ["-c", "job"]])
def test_the_configuration_is_shown(shown, words: list[str]) -> None:
    code, printed, _ = shown(words[0], *words[1:], DEMO, "seed=5", "run=a=b")
    config = yaml.safe_load(printed)
    assert code == 0 and config["seed"] == 5 and config["run"] == "a=b" and "hydra" not in config


def test_a_part_of_the_configuration_is_shown_resolved(shown) -> None:
    code, printed, _ = shown(DEMO, "--cfg", "job", "--package", "pseudo_label", "--resolve")
    assert code == 0 and yaml.safe_load(printed)["size"] == [128, 256]
    assert printed.startswith("# @package pseudo_label")


def test_hydras_configuration_is_shown(shown) -> None:
    assert (
        yaml.safe_load(shown("--cfg", "hydra", DEMO)[1])["hydra"]["runtime"]["choices"]["scenario"] == "demo"
    )
    assert {"hydra", "seed"} <= set(yaml.safe_load(shown("--cfg", "all", DEMO)[1]))


def test_how_a_configuration_is_composed_is_shown(shown, tmp_path: Path) -> None:
    (tmp_path / "my conf").mkdir()
    code, printed, _ = shown(DEMO, "--info", "searchpath", "--config-dir", "my conf")
    assert code == 0 and "my conf" in printed


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["--cfg", "job", "-m"], "Only one of --run, --multirun, --cfg"),
        (["--resolve"], "--resolve flag can only be used"),
        (["--cfg", "job", "-p", "nowhere"], "package 'nowhere' not found"),
        (["hydra/launcher=joblib", "-m"], "There is no hydra/launcher 'joblib' installed"),
        (["hydra.nope=3"], "hydra.nope: there is no such key"),
        (["+scenario=gta5_cityscapes"], "scenario is given more than once"),
        (["seed=interval(1,2)", "-m"], "does not support sweep type"),
    ],
)
def test_what_hydra_refuses_is_wrong_input(shown, words: list[str], wanted: str) -> None:
    code, _, printed = shown(DEMO, *words)
    assert code == 2 and wanted in printed and "Traceback" not in printed, printed


def test_tab_completion(shown, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/hiast-train"])
    code, printed, _ = shown("--shell-completion", "install=bash")
    assert code == 0 and "complete -o nospace -o default -F hydra_bash_completion hiast-train" in printed
    (tmp_path / "conf/scenario").mkdir(parents=True)
    (tmp_path / "conf/scenario/own.yaml").write_text("name: own")
    for line, wanted in {
        "hiast-train +scenario=dem": "+scenario=demo",
        "hiast-train --config-dir conf +scenario=ow": "+scenario=own",
        "hiast-train warmup.max": "warmup.max_steps=",
    }.items():
        monkeypatch.setenv("COMP_LINE", line)
        code, printed, _ = shown("--shell-completion", "query=bash")
        assert code == 0 and wanted in printed.split(), (line, printed)


@pytest.mark.parametrize(
    ("word", "instead"),
    [
        ("~source_only.max_steps", "leave it, or give a value"),
        ("~trainer", "leave it, or give a value"),
        ("~logger", "leave it, or give a value"),
        ("~seed", "leave it, or give a value"),
    ],
)
def test_a_setting_that_is_read_cannot_be_removed(shown, word: str, instead: str) -> None:
    code, _, errors = shown(DEMO, word)
    assert code == 2 and errors.startswith(f"{word}: this setting cannot be removed") and instead in errors
    assert len(errors.splitlines()) == 1


def test_a_setting_that_another_word_adds_can_be_removed(jobs: Jobs) -> None:
    """``backbone.pretrained=null`` is for the network of a scenario; another one that is chosen has no such key."""
    words = [DEMO, "seed=7", "backbone.unknown=1", "~backbone.unknown"]
    assert run_command(jobs, "train", "hiast-train ...", words) == 0
    assert jobs.seen[0][0] == 7


def test_a_variable_that_is_not_set_is_one_sentence(shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOT_SET", raising=False)
    code, _, errors = shown(DEMO, "seed=${oc.env:NOT_SET}")
    assert code == 2 and "NOT_SET" in errors and len(errors.splitlines()) == 1
    code, _, errors = shown(DEMO, "run=x_${hydra:job.num}_${oc.env:NOT_SET}")
    assert code == 2 and "NOT_SET" in errors and len(errors.splitlines()) == 1


def test_numbers_of_the_environment(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEED", "7")
    assert run_command(jobs, "train", "hiast-train ...", [DEMO, "seed=${oc.env:SEED}"]) == 0
    assert jobs.seen[0][0] == 7


@pytest.mark.parametrize("more", [[], ["-m", "seed=1,2"]])
def test_a_job_does_not_change_the_working_folder(shown, more: list[str]) -> None:
    code, _, errors = shown(DEMO, "hydra.job.chdir=true", *more)
    assert code and "hydra.job.chdir=true would have paths start in another folder" in errors


def test_garbage_is_collected_while_a_job_works_and_after_a_command(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    seen = []

    def job(config) -> None:
        seen.append(gc.isenabled())
        raise InputError("no such thing")

    assert run_command(job, "train", "", [DEMO]) == 2
    assert run_command(job, "train", "", ["+scenario=unknown"]) == 2  # ends before its job begins
    assert seen == [True]
    assert gc.isenabled()


def test_no_garbage_is_collected_while_a_command_imports_what_it_needs(tmp_path: Path) -> None:
    program = """
import gc
full = []
gc.callbacks.append(lambda phase, info: full.append(info) if info["generation"] == 2 and phase == "stop" else None)
from hiast.cli.command import run_command
def job(config):
    import sys
    assert "pytorch_lightning" in sys.modules
    print(len(full), gc.get_freeze_count() > 100_000)
run_command(job, "eval", "", ["checkpoint=x"])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert done.stdout.split() == ["0", "True"]
