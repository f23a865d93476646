"""Comparison: groups, means and deviations over seeds, names, and where runs are found."""

from __future__ import annotations

import json
import math
import statistics
from pathlib import Path

import pytest
import yaml
from run_folders import IOU, write_run

from hiast.errors import InputError
from hiast.report.compare import Figure, compare, find_runs
from hiast.report.comparison_page import comparison_page, figure


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seeds of one setting, one of another, in numbered folders."""
    root = tmp_path_factory.mktemp("sweep")
    for place, (seed, lr, shift) in enumerate(
        [(3, 1e-4, 0.0), (1, 1e-4, 0.02), (2, 1e-4, 0.07), (1, 5e-4, -0.05)]
    ):
        write_run(root / str(place + 8), seed=seed, lr=lr, shift=shift)
    return root


def test_seeds_are_one_group_with_mean_and_deviation(sweep: Path) -> None:
    comparison = compare(find_runs([str(sweep)]))
    seeds, other = comparison.groups
    assert [run.seed for run in seeds.runs] == [1, 2, 3] and len(other.runs) == 1
    base = sum(IOU["self_training 2"]) / 4
    means = [base, base + 0.02, base + 0.07]
    found = seeds.mean("mIoU-4")
    assert (found.mean, found.deviation) == pytest.approx((statistics.mean(means), statistics.stdev(means)))
    assert found.count == 3
    assert other.mean("mIoU-4").mean == pytest.approx(base - 0.05) and math.isnan(
        other.mean("mIoU-4").deviation
    )
    assert seeds.iou("road").mean == pytest.approx(0.9 + 0.03)
    assert seeds.gain.mean == pytest.approx(base - sum(IOU["source_only"]) / 4)


def test_what_the_machine_chose_makes_no_other_group(sweep: Path, tmp_path: Path) -> None:
    for place, chosen in enumerate((["trainer", "data.num_workers"], ["trainer"])):
        write_run(tmp_path / str(place), seed=place, lr=1e-4, shift=0.0)
        config = tmp_path / str(place) / "config.yaml"
        settings = yaml.safe_load(config.read_text("utf-8")) | {"chosen_by_machine": chosen}
        config.write_text(yaml.safe_dump(settings), "utf-8")
    assert len(compare(find_runs([str(tmp_path)])).groups) == 1


def set_in(run: Path, **changes: object) -> Path:
    """A run whose configuration has other values at the top."""
    config = run / "config.yaml"
    config.write_text(yaml.safe_dump(yaml.safe_load(config.read_text("utf-8")) | changes), "utf-8")
    return run


@pytest.mark.parametrize(
    ("trainer", "groups"),
    [
        ({"accelerator": "gpu", "devices": 2, "strategy": "ddp"}, 1),
        ({"max_time": {"hours": 12}, "profiler": "simple"}, 1),
        ({"gradient_clip_val": 0.1}, 2),
        ({"precision": "bf16-mixed"}, 2),
    ],
)
def test_arguments_of_the_trainer_that_change_the_training_make_another_group(
    tmp_path: Path, trainer: dict[str, object], groups: int
) -> None:
    usual = {"accelerator": "cpu", "devices": 1, "precision": "32-true"}
    first = set_in(write_run(tmp_path / "1"), trainer=usual)
    second = set_in(write_run(tmp_path / "2", seed=2), trainer=usual | trainer)
    comparison = compare([first, second])
    assert len(comparison.groups) == groups
    assert list(comparison.settings) == ([f"trainer.{name}" for name in trainer] if groups > 1 else [])


@pytest.mark.parametrize(("cache", "groups"), [("raw", 1), ("zstd", 1), ("jpeg", 2)])
def test_a_cache_of_the_same_pixels_makes_no_other_group(tmp_path: Path, cache: str, groups: int) -> None:
    first = set_in(write_run(tmp_path / "1"), data={"cache": None})
    second = set_in(write_run(tmp_path / "2", seed=2), data={"cache": cache})
    assert len(compare([first, second]).groups) == groups


def start_from(run: Path, path: str) -> Path:
    """A run that starts from the network of another run."""
    settings = json.loads((run / "settings.json").read_text())
    settings["settings"] |= {"init_from": [None, path]}
    (run / "settings.json").write_text(json.dumps(settings))
    return set_in(run, init_from=path)


def test_seeds_that_start_from_networks_of_their_own_are_one_group(tmp_path: Path) -> None:
    runs = [
        start_from(write_run(tmp_path / str(seed), seed=seed), f"source_40/{seed}") for seed in (1, 2, 10)
    ]
    assert len(compare(runs).groups) == 1
    other = start_from(write_run(tmp_path / "other", seed=3), "source_40/2")
    last = start_from(write_run(tmp_path / "last", seed=2), "better/2")
    comparison = compare([*runs, other, last])
    assert [len(group.runs) for group in comparison.groups] == [3, 1, 1]
    starts = ["source_40/SEED", "source_40/2", "better/SEED"]
    assert comparison.settings == {"init_from": starts}
    assert [group.name for group in comparison.groups] == [f"init_from={start}" for start in starts]


def test_runs_of_one_seed_are_not_counted_as_seeds(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / str(place), seed=seed) for place, seed in enumerate((1, 2, 2))]
    (group,) = compare(runs).groups
    assert group.count == "3 (of 2 seeds)"
    assert "3 (of 2 seeds)" in comparison_page(compare(runs))


def test_groups_are_named_by_what_was_set(sweep: Path) -> None:
    comparison = compare(find_runs([str(sweep)]))
    assert [group.name for group in comparison.groups] == ["two_worlds", "lr=0.0005"]
    assert comparison.settings == {"source_only.module.optimizer.lr": [1e-4, 5e-4]}


def test_settings_of_one_name_in_two_stages_are_named_whole(sweep: Path, tmp_path: Path) -> None:
    other = write_run(tmp_path / "other", lr=1e-4)
    key = "self_training.module.optimizer.lr"
    stage = {"max_steps": 4, "rounds": 2, "module": {"_target_": "b", "optimizer": {"lr": 7e-5}}}
    set_in(other, self_training=stage)
    settings = json.loads((other / "settings.json").read_text()) | {"settings": {key: [1e-4, 7e-5]}}
    (other / "settings.json").write_text(json.dumps(settings))
    names = [group.name for group in compare([sweep / "8", sweep / "11", other]).groups]
    assert names == ["two_worlds", "source_only.module.optimizer.lr=0.0005", f"{key}=7e-05"]


def test_a_run_and_a_link_to_it_are_one_run(sweep: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "first")
    (tmp_path / "latest").symlink_to(run)
    assert find_runs([str(tmp_path)]) == [run]
    assert find_runs([str(tmp_path / "latest"), str(run)]) == [tmp_path / "latest"]


def test_folders_of_a_sweep_come_in_the_order_of_their_numbers(sweep: Path) -> None:
    assert [path.name for path in find_runs([str(sweep)])] == ["8", "9", "10", "11"]
    assert [path.name for path in find_runs([str(sweep / "1*")])] == ["10", "11"]
    assert find_runs([str(sweep / "9"), str(sweep / "9")]) == [sweep / "9"]


@pytest.mark.parametrize("word", ["nothing", "no*thing"])
def test_a_word_that_names_no_run_is_refused(word: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a run directory"):
        find_runs([str(tmp_path / word)])


def test_the_page(sweep: Path) -> None:
    page = comparison_page(compare(find_runs([str(sweep)])))
    assert page == comparison_page(compare(find_runs([str(sweep)])))
    assert "<b>sky" not in page and "nan" not in page.split("<script>")[0]
    assert "53.0 \N{PLUS-MINUS SIGN} 3.6" in page  # 50, 52 and 57


def test_a_long_setting_that_differs_is_shown_in_part(tmp_path: Path) -> None:
    first = write_run(tmp_path / "1")
    second = set_in(write_run(tmp_path / "2"), online={"views": ["jitter"] * 40})
    page = comparison_page(compare([first, second]))
    assert "<code>online.views</code>" in page and " ..." in page and len(page.split("jitter")) < 40


def test_a_run_without_scores_can_be_compared(sweep: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "metrics.csv").write_text("stage,round,step,name,value\n")
    comparison = compare([sweep / "8", bare])
    assert len(comparison.groups) == 2
    assert "bare" in comparison_page(comparison)
    assert comparison_page(compare([bare, bare.parent / "bare"]))


def test_runs_of_several_scenarios_are_named_by_them(sweep: Path, tmp_path: Path) -> None:
    other = write_run(tmp_path / "first")
    config = (other / "config.yaml").read_text().replace("name: two_worlds", "name: mine")
    (other / "config.yaml").write_text(config)
    assert [run.label for run in compare([sweep / "8", other]).runs] == ["two_worlds/8", "mine/first"]


def test_figures() -> None:
    assert Figure.of([]).count == 0 and math.isnan(Figure.of([math.nan]).mean)
    assert figure(Figure.of([0.5])) == "50.0" and figure(Figure.of([])) == "-"
