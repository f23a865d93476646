"""The report of a run: what is on the page, whatever the run has left behind, and nothing from outside."""

from __future__ import annotations

import json
import math
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from run_folders import CLASSES, STEPS, embedded, write_run

from hiast.errors import InputError
from hiast.report.facts import read_run
from hiast.report.history import planned_rounds, planned_steps
from hiast.report.notices import notices_of
from hiast.report.page import run_page
from hiast.report.write import write_report
from hiast.selection import CandidateRecords, choose, write_choice


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("report") / "run")


@pytest.fixture(scope="module")
def page(run: Path) -> str:
    return run_page(read_run(run))


class Tags(HTMLParser):
    """Counts tags and checks that they close in the order in which they open."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: dict[str, int] = {}
        self.ids: set[str] = set()
        self.links: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen[tag] = self.seen.get(tag, 0) + 1
        named = dict(attrs)
        self.ids |= {named["id"]} if named.get("id") else set()
        if tag == "a" and (named.get("href") or "").startswith("#"):
            self.links.add(str(named["href"])[1:])
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen[tag] = self.seen.get(tag, 0) + 1

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parsed(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    return tags


def test_the_page_is_whole_and_needs_nothing_from_outside(page: str) -> None:
    tags = parsed(page)
    assert tags.links <= tags.ids
    assert not re.search(r"(src|href)=\"(?!data:image/|#)", page)
    assert "@import" not in page and "url(" not in page and "fetch(" not in page
    assert len(page.encode()) < 300_000


def test_names_are_escaped(page: str) -> None:
    assert "<b>sky</b>" not in page and "&lt;b&gt;sky&lt;/b&gt; &amp; &#34;air&#34;" in page
    assert "town/&lt;1&gt;" in page and "GPU &lt;7&gt;" in page and "+scenario=&lt;x&gt;" in page
    (colors,) = embedded(page, "data-colors")
    assert dict(colors)["70,130,180"] == CLASSES.names[1]


def test_nan_never_reaches_the_page(page: str, run: Path) -> None:
    assert not re.search(
        r"\b(nan|inf|NaN|Infinity|None|Undefined)\b", re.sub(r"<script>.*</script>", "", page, flags=re.S)
    )
    for columns in embedded(page, "data-columns"):
        assert all(math.isfinite(column["at"]) for column in columns)


def test_equal_runs_give_equal_pages(run: Path, page: str) -> None:
    assert run_page(read_run(run)) == page


def test_the_page_shows_what_the_run_holds(page: str) -> None:
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))
    assert "self_training-2 is selected" in text
    assert "50 % of the pixels have a pseudo-label" in text and "60.0 % wrong" in text
    assert "road 80.0 85.0 90.0 +10.0" in text  # IoU of the class after each round, and its change
    assert "2026-01-01" in text and "torch 2.11" in text and "AVX2" in text
    assert "2 x GPU <7>" in text.replace("&lt;", "<").replace("&gt;", ">")
    assert "mIoU-4 on 2 of 2 labeled images" in text


@pytest.mark.parametrize(
    ("seconds", "shown"), [(32, "0:32 device time, min:s"), (3599.6, "1:00:00 device time, h:min:s")]
)
def test_the_unit_of_the_device_time_is_that_of_its_figure(run: Path, seconds: float, shown: str) -> None:
    facts = read_run(run)
    page = run_page(replace(facts, times=[facts.times[0] | {"seconds": seconds, "devices": 1}]))
    assert shown in re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def test_why_a_candidate_is_refused_stands_below_the_table(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    start, *later = CandidateRecords(run).read()
    candidates = [
        start.with_scores(colored_miou=0.7),
        *(each.with_scores(colored_miou=0.6) for each in later),
    ]
    CandidateRecords(run).record_all(candidates)
    write_choice(run, choose(candidates))
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", write_report(run).read_text()))
    assert f"{start.name} is selected: it is the only one of {len(candidates)} candidates" in text
    for each in later:
        assert f"{each.name} is rejected: The mIoU on source images in colors of the target is 60.0" in text


def test_coverage_of_each_class_over_the_round(run: Path, page: str) -> None:
    first, second = read_run(run).labels
    assert first.labeled == second.labeled == (1, 2, 3)
    # Images in the order 2, 0, 1; image 0 of the first round alone has a label of the last class.
    assert first.covered.tolist() == [[0.25, 0.25, 0.25, 0], [0.25, 0.25, 0.25, 0.25], [0.25, 0.25, 0.25, 0]]
    assert second.covered.sum(0).tolist() == [0.75, 0.75, 0.75, 0]
    train = re.search(
        r"<title>train: share of the pixels over the round, 0 to ([\d.]+) %</title>(<polyline[^>]+>)", page
    )
    assert train is not None and train.group(1) == "25.00" and train.group(2).count("21.0") == 2


def test_values_under_the_pointer_are_those_of_the_run(page: str) -> None:
    lines = [
        line
        for columns in embedded(page, "data-columns")[:1]
        for column in columns
        for line in column["lines"]
    ]
    assert f"step {3 * STEPS}, self_training 2" in lines
    assert "validated network: 50.00" in lines and "chosen: self_training-2: 50.00" in lines


def test_numbers_sort_by_their_value(page: str) -> None:
    values = [float(value) for value in re.findall(r'data-value="(-?[\d.e-]+)">', page)]
    assert len(values) > 40 and 0.9 in values


def test_notices_say_what_stands_out(run: Path) -> None:
    messages = {notice.text: notice.severity for notice in notices_of(read_run(run))}
    assert messages["train has had no pseudo-label pixel since self_training 2."] == "warning"
    assert messages["train: the IoU fell to 0 in self_training 2."] == "error"
    assert not any("has not ended" in text or "done harm" in text for text in messages)


def test_equal_alarms_of_several_candidates_are_one_notice(run: Path) -> None:
    alarms = [f"look-{n}: the histogram has moved by 0.{n} nats since look-0." for n in (1, 2, 3)]
    other = "look-3: teacher and student have parted."
    facts = replace(read_run(run), alarms=(*alarms, other))
    messages = [notice.text for notice in notices_of(facts) if notice.text.startswith("look-")]
    assert messages == [f"{alarms[-1]} The same of 2 candidates before, since look-1.", other]


def test_settings_that_the_machine_chose_are_marked(run: Path) -> None:
    chosen = ["trainer.precision"]
    changed = {
        "seed": [888, 5],
        "trainer.precision": ["auto", "32-true"],
        "chosen_by_machine": [None, chosen],
    }
    facts = read_run(run)
    facts.settings["settings"] = changed
    page = run_page(facts)
    assert page.count("chosen by the machine") == 1 and "chosen_by_machine" not in page


def test_harm_is_said_first(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    path = run / "self_training/result_2.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"means": {"mIoU-4": 0.2}}))
    first, *_ = notices_of(read_run(run))
    assert first.severity == "error" and "Adaptation has done harm: mIoU-4 is 20.0" in first.text


def test_harm_since_the_checkpoint_that_a_run_started_from(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    path = run / "candidates_labeled.json"
    record = json.loads(path.read_text())
    record["candidates"]["start"] = {"step": 0, "miou": 0.9, "teacher": None}
    path.write_text(json.dumps(record))
    messages = [notice.text for notice in notices_of(read_run(run)) if notice.severity == "error"]
    assert any(
        "harm: self_training-2 has 50.0 and the checkpoint" in text and "90.0" in text for text in messages
    )


def test_an_unfinished_run_is_shown_up_to_its_last_record(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", rounds=1)
    with (run / "metrics.csv").open("a") as file:
        file.write("self_training,2,2,total,1.0\nself_training,2,3,tot")  # it writes just now
    facts = read_run(run)
    assert [one.title for one in facts.rounds] == ["source_only", "self_training 1", "self_training 2"]
    assert facts.rounds[-1].seen == 2 and not facts.finished
    assert any("at step 2 of 4 of self_training 2" in notice.text for notice in notices_of(facts))
    assert "at step 2" in run_page(facts)


@pytest.mark.parametrize(
    "kept",
    [
        ("config.yaml",), ("metrics.csv",), ("environment.json",), ("config.yaml", "metrics.csv"),
        ("metrics.csv", "source_only"),
    ],
)  # fmt: skip
def test_a_run_of_which_little_is_left_has_a_page(run: Path, tmp_path: Path, kept: tuple[str, ...]) -> None:
    for name in kept:
        if (run / name).is_dir():
            shutil.copytree(run / name, tmp_path / name)
        else:
            shutil.copy(run / name, tmp_path / name)
    parsed(write_report(tmp_path).read_text())


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"[]", b"{", b'{"format": 99}', b'{"format": 1}', b"null"]
)
def test_no_damaged_file_keeps_a_page_from_being_made(run: Path, tmp_path: Path, content: bytes) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    for path in [*copy.rglob("*.json"), *copy.rglob("labels.csv"), copy / "config.yaml"]:
        path.write_bytes(content)
    parsed(write_report(copy).read_text())


def test_half_a_record_is_left_out(run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    for name in ("validation_1", "examples_1", "hard_classes_1", "result_1"):
        path = copy / f"self_training/{name}.json"
        path.write_text('{"format": 1, "examples": [{}], "worst": [3], "classes": 7}')
    for name in ("times", "lineage", "candidates_labeled", "classes", "selected"):
        key = {"times": "fits", "lineage": "rounds", "candidates_labeled": "candidates"}.get(name, "selected")
        (copy / f"{name}.json").write_text(json.dumps({"format": 1, key: {"a": 1}, "names": 5}))
    (copy / "environment.json").write_text('{"starts": [{"packages": 3, "command": "x"}, 5]}')
    parsed(write_report(copy).read_text())


def test_the_page_of_a_long_run_stays_light(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    terms = [f"term_{number}" for number in range(8)]
    with (run / "metrics.csv").open("a") as file:
        for stage, number in (("source_only", 1), ("self_training", 1), ("self_training", 2)):
            rows = (
                f"{stage},{number},{step},{term},{step / 7!r}\n"
                for step in range(5, 4000, 2)
                for term in terms
            )
            file.writelines(rows)
    assert len(write_report(run).read_bytes()) < 700_000


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a run directory"):
        read_run(tmp_path)


def test_the_plan_of_a_configuration() -> None:
    module = {"module": {"_target_": "a"}}
    config = {
        "stages": ["source_only", "warmup", "self_training"],
        "source_only": {"max_steps": 5, **module},
        "warmup": {"module": {"_target_": None}},
        "self_training": {"max_steps": 7, "rounds": 2, "by_round": {"2": {"max_steps": 9}}, **module},
        "online": {"max_steps": None},
    }
    assert planned_rounds(config) == [("source_only", 1), ("self_training", 1), ("self_training", 2)]
    assert [planned_steps(config, "self_training", number) for number in (1, 2)] == [7, 9]
    assert planned_steps(config, "online", 1) == 7 + 9
    assert planned_rounds({}) == [] and planned_steps({}, "online", 1) == 0


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("validation_1.json", {"matrix": [[1, 0], [0, 1]]}),
        (
            "examples_1.json",
            {"examples": [{"name": "a", "image": "", "before": "", "kept": None}], "training": []},
        ),
    ],
)
def test_records_that_lack_a_value_are_shown_without_it(tmp_path: Path, file: str, content: dict) -> None:
    run = tmp_path / "run"
    (run / "source_only").mkdir(parents=True)
    (run / "config.yaml").write_text("name: t\nstages: [source_only]\nsource_only: {max_steps: 10}\n")
    classes = {
        "format": 1,
        "names": ["a", "b"],
        "colors": [[1, 2, 3], [4, 5, 6]],
        "reported": {"m": ["a", "b"]},
    }
    (run / "classes.json").write_text(json.dumps(classes))
    (run / "metrics.csv").write_text("stage,round,step,name,value\nsource_only,1,5,total,1.0\n")
    (run / "source_only" / file).write_text(json.dumps({"format": 1} | content))
    write_report(run)
    assert (run / "report.html").is_file()
