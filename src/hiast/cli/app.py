"""Running a command through ``hydra.main``: one job, a sweep of jobs, or what Hydra shows of a configuration."""

from __future__ import annotations

import gc
import importlib
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
from hydra import compose, initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import run_job
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from hiast.cli.answers import answered
from hiast.cli.command import Guard
from hiast.cli.conf_files import conf_directory
from hiast.cli.config import check_composed, settled
from hiast.cli.faults import JobFailedError
from hiast.cli.kinds import FilePath, flat
from hiast.cli.own_folder import searched
from hiast.cli.settings import TABLES, text_keys
from hiast.cli.words import KEY, CommandLine, literal
from hiast.errors import InputError

Job = Callable[[DictConfig], int | None]


def run(job: Job, config_name: str, line: CommandLine, guard: Guard) -> int:
    """Do what a command line asks for.

    Args:
        job: The work; returns an exit code or None.
        config_name: Base configuration in ``conf``.
        line: What the user typed.
        guard: Calls a job of a sweep and turns errors into exit codes.

    Returns:
        The exit code of the job.

    Raises:
        InputError: The configuration cannot be composed, or does not fit.
        JobFailedError: A job of a sweep has failed.
    """
    sweep = line.has("--multirun")
    settings = literal(line.settings, text_keys(config_name), sweep=sweep)
    if sweep:
        settings = _with_sweep_folder(settings, config_name)
    options = [word for pair in line.options.items() for word in pair if word is not None]
    task = _Task(job, config_name, line, guard, list(sys.argv))
    task.run_is_given = any(re.match(r"\+{0,2}run=['\"]", word) for word in settings)

    def attempt(settings: list[str]) -> None:
        GlobalHydra.instance().clear()
        with _command_line([sys.argv[0], *options, *settings]):
            if options or not _did_one_job(task, config_name, settings):
                main = hydra.main(
                    version_base="1.3", config_path=str(conf_directory()), config_name=config_name
                )
                main(task)()

    with searched(line.folders), answered(line.folders):
        try:
            settled(settings, attempt)
        except SystemExit as error:
            if isinstance(error.code, int) and error.code > 2:
                raise
            return 2 if error.code else 0
    if task.error is not None:
        raise task.error
    return task.code


def _did_one_job(task: _Task, config_name: str, settings: list[str]) -> bool:
    """Compose once and do one job; False: nothing is done, since the configuration asks for a sweep.

    ``hydra.main`` composes a configuration twice, only to see whether it asks for a sweep.
    """
    with initialize_config_dir(str(conf_directory()), version_base="1.3"):
        config = compose(config_name, settings, return_hydra_config=True)
        if config.hydra.mode == RunMode.MULTIRUN:
            return False
        config.hydra.mode = RunMode.RUN
        callbacks = Callbacks(config)
        callbacks.on_run_start(config=config, config_name=config_name)
        done = run_job(
            hydra_context=HydraContext(GlobalHydra.instance().config_loader(), callbacks),
            task_function=task,
            config=config,
            job_dir_key="hydra.run.dir",
            job_subdir_key=None,
        )
        callbacks.on_run_end(config=config, config_name=config_name, job_return=done)
        _ = done.return_value  # Raises what a job has not stored in the task.
    return True


class _Task:
    """What Hydra calls for each job."""

    def __init__(
        self,
        job: Job,
        config_name: str,
        line: CommandLine,
        guard: Guard,
        argv: list[str],
    ) -> None:
        self.job, self.config_name, self.line, self.guard, self.argv = job, config_name, line, guard, argv
        self.run_is_given = False
        """Whether ``run`` is one path for all jobs of a sweep."""
        self.code = 0
        self.error: Exception | None = None

    def __call__(self, config: DictConfig) -> None:
        chosen = HydraConfig.get()
        sweep = chosen.mode == RunMode.MULTIRUN
        with _command_line(self.argv):
            if sweep:
                self.in_sweep(config, chosen)
                return
            try:
                self.code = self.work(config, chosen)
            except Exception as error:  # noqa: BLE001 - it is raised again where Hydra does not comment on it
                self.error = error

    def work(self, config: DictConfig, chosen: Any) -> int:
        if chosen.job.chdir:
            raise InputError(
                "hydra.job.chdir=true would have paths start in another folder: leave it out, and set run to choose "
                "where a run is written."
            )
        _resolve_hydra(config)
        if self.config_name == "train":
            _choose_run(config, chosen, self.run_is_given)
        if chosen.mode == RunMode.MULTIRUN:
            sys.argv = [self.argv[0], *_words_of_job(config, self.line, chosen.overrides.task)]
        check_composed(config, self.config_name, self.line, chosen.runtime.choices)
        self.guard.roots = _folders(config, self.config_name)
        # Lightning starts its processes with the words of this one unless Hydra seems to be in charge.
        HydraConfig.instance().cfg = None
        _finish_imports(self.config_name)
        return self.job(config) or 0

    def in_sweep(self, config: DictConfig, chosen: Any) -> None:
        with _restored_environment():
            try:
                code = self.guard(lambda: self.work(config, chosen))
            except Exception:  # noqa: BLE001 - a bug: the other jobs of the sweep may still work
                traceback.print_exc()
                code = 1
        if code > 128:
            raise SystemExit(code)
        if code:
            raise JobFailedError(code)


def _finish_imports(config_name: str) -> None:
    """Import what is large, and collect garbage from now on; what is imported is never looked at again."""
    # The configuration of a training names its classes, which are imported when it is checked.
    if config_name in ("eval", "export", "label", "predict"):
        importlib.import_module("hiast.training")
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def _with_sweep_folder(settings: list[str], config_name: str) -> list[str]:
    """Let the jobs of a sweep write to different places.

    Raises:
        InputError: All jobs would write to the same file or folder.
    """
    outputs = {
        k for k, kind in flat(TABLES[config_name]).items() if isinstance(kind, FilePath) and kind.output
    }
    matches = [match for word in settings if (match := KEY.fullmatch(word)) and match["key"] in outputs]
    for match in matches:
        key, value = match["key"], match["value"] or ""
        if "${" in value or value == "null" or value[:1] not in "'\"":
            continue
        if key != "run":
            raise InputError(
                f"All jobs of the sweep would write to {key}={value}: write {key}='{value.strip(chr(39))}"
                "_${hydra:job.num}' in single quotes, or sweep over it."
            )
        if not any(word.startswith("hydra.sweep.dir=") for word in settings):
            settings = [*settings, f"hydra.sweep.dir={value}"]
    return settings


def _choose_run(config: DictConfig, chosen: Any, given: bool) -> None:
    """The run directory that Hydra's own settings ask for: of a job in a sweep, or ``hydra.run.dir``."""
    if chosen.mode == RunMode.MULTIRUN:
        if config.run is None:
            config.run = os.path.relpath(chosen.runtime.output_dir)
        elif given and not OmegaConf.is_interpolation(config, "run"):
            config.run = str(Path(config.run, chosen.sweep.subdir))
    elif config.run is None and any(word.startswith("hydra.run.dir=") for word in chosen.overrides.hydra):
        config.run = chosen.run.dir


def _words_of_job(config: DictConfig, line: CommandLine, task: Sequence[str]) -> list[str]:
    """Words that start a job of a sweep alone, for the processes that Lightning starts for further devices."""
    words = [word for folder in line.folders for word in ("--config-dir", str(folder))]
    text = re.compile("|".join(text.pattern for text in map(text_keys, TABLES)))
    for word in task:
        match = KEY.fullmatch(word)
        if match is None or not text.fullmatch(match["key"]):
            words.append(word)
        elif match["key"] != "run":
            words.append(f"{match['sign']}{match['key']}={OmegaConf.select(config, match['key'])}")
    words.append("hydra.mode=RUN")
    return words if config.get("run") is None else [*words, f"run={config.run}"]


def _resolve_hydra(config: Any) -> None:
    """Replace references to Hydra's settings (``${hydra:job.num}``) by their values, while Hydra knows them."""
    _resolve_within(config, OmegaConf.to_container(config, resolve=False))


def _resolve_within(config: Any, raw: Any) -> None:
    for name, value in raw.items() if isinstance(raw, dict) else enumerate(raw):
        if isinstance(value, str):
            if "${hydra:" in value:
                with read_write(config), open_dict(config):
                    try:
                        config[name] = config[name]
                    except OmegaConfBaseException as error:
                        reason = str(error).splitlines()[0]
                        raise InputError(f"{config._get_full_key(name)} is {value}: {reason}.") from error
        elif isinstance(value, dict | list):
            _resolve_within(config._get_node(name), value)


@contextmanager
def _command_line(words: Sequence[str]) -> Iterator[None]:
    """Set ``sys.argv`` for a while, and have Hydra raise errors instead of printing them."""
    argv, full = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv = list(words)
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        sys.argv = argv
        os.environ.pop("HYDRA_FULL_ERROR", None)
        if full is not None:
            os.environ["HYDRA_FULL_ERROR"] = full


@contextmanager
def _restored_environment() -> Iterator[None]:
    """Undo what a job of several processes leaves behind, so that the next job can start its own."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)
        if "torch.distributed" in sys.modules:
            import torch.distributed as dist

            if dist.is_available() and dist.is_initialized():
                dist.destroy_process_group()


def _folders(config: DictConfig, config_name: str) -> list[Path]:
    """Files and folders that a configuration names."""
    kinds = flat(TABLES[config_name])
    keys = [key for key, kind in kinds.items() if isinstance(kind, FilePath)]
    keys += [
        f"data.{side}.data_root" for side in ("source", "target") if config_name not in ("eval", "label")
    ]
    values = (OmegaConf.select(config, key, throw_on_missing=False) for key in keys)
    return [Path(value) for value in values if isinstance(value, str) and value]
