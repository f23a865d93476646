"""Generated pages are current, all pages are in the navigation, and links between files lead somewhere."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest
import yaml

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
LINK = re.compile(r"\]\(([^)#\s]+)")


def load_script(name: str) -> ModuleType:
    path = DOCS / "_scripts" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


def test_the_configuration_page_is_current() -> None:
    script = load_script("make_configuration")
    current = script.PAGE.read_text(encoding="utf-8")
    assert current == script.page(), "run python docs/_scripts/make_configuration.py"
    assert "| `self_training.rounds` | integer >= 1 | `3` |" in current


def test_the_navigation_names_every_page() -> None:
    text = re.sub(r"^\s*#.*$", "", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), flags=re.MULTILINE)
    named = re.findall(r"[\w/]+\.md", str(yaml.safe_load(text)["nav"]))
    assert sorted(named) == [page.relative_to(DOCS).as_posix() for page in PAGES]


@pytest.mark.parametrize("name", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_from_the_top_level_lead_to_files(name: str) -> None:
    links = [link for link in LINK.findall((ROOT / name).read_text(encoding="utf-8")) if "://" not in link]
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_links_between_pages_lead_to_files(page: Path) -> None:
    links = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_paths_in_comments_lead_to_pages() -> None:
    folders = [ROOT / name for name in ("src", "conf", "benchmarks", "docs/_scripts", "tests")]
    files = [path for folder in folders for path in folder.rglob("*") if path.suffix in (".py", ".yaml")]
    for path in files:
        for name in re.findall(r"docs/[\w/]+\.md", path.read_text(encoding="utf-8")):
            assert (ROOT / name).is_file(), f"{path} names {name}"


@pytest.mark.parametrize("script", sorted((ROOT / "scripts").iterdir()), ids=lambda path: path.name)
def test_paths_in_scripts_lead_somewhere(script: Path) -> None:
    named = re.findall(r"\b(?:src|conf|docs|tests|benchmarks)/[\w/.-]+", script.read_text(encoding="utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_commands_are_recorded_as_a_terminal_shows_them(tmp_path: Path) -> None:
    script = load_script("record_demo")
    header, *events = map(
        json.loads, script.record(["printf 'one\\ntwo ü\\n'", "tput cols"], tmp_path).splitlines()
    )
    assert (header["version"], header["width"]) == (2, script.COLUMNS)
    assert all(kind == "o" for _, kind, _ in events)
    assert [time for time, *_ in events] == sorted(time for time, *_ in events)
    shown = "".join(text for *_, text in events)
    assert "one\r\ntwo ü\r\n" in shown and f"{script.COLUMNS}\r\n" in shown
    with pytest.raises(SystemExit, match="false ended with exit code 1"):
        script.record(["false"], tmp_path)


def test_long_pauses_are_cut() -> None:
    script = load_script("record_demo")
    times = iter([0.0, 1.0, 100.0])
    recording = script.Recording(lambda: next(times))
    recording.add("a")
    recording.add("b")
    assert [time for time, *_ in recording.events] == [1.0, 1.0 + script.LONGEST_PAUSE]


@pytest.mark.parametrize("package", ["hiast", "hiast.data"])
def test_every_public_name_is_in_the_python_reference(package: str) -> None:
    stub = ROOT / "src" / package.replace(".", "/") / "__init__.pyi"
    names = re.findall(r"^from \S+ import \w+ as (\w+)$", stub.read_text(encoding="utf-8"), re.MULTILINE)
    documented = re.findall(r"^::: (\S+)$", (DOCS / "reference/python.md").read_text(), re.MULTILINE)
    either = {name.rpartition(".")[2] for name in documented}
    assert len(names) > 5 and [name for name in names if name not in either] == []


def test_no_text_names_a_section_that_is_not_there() -> None:
    """Pages have titles, not numbers: "method section 3" leads nowhere."""
    folders = [ROOT / name for name in ("src", "conf", "benchmarks", "docs", "tests")]
    texts = [
        path for folder in folders for path in folder.rglob("*") if path.suffix in (".py", ".yaml", ".md")
    ]
    numbered = re.compile(r"method(?:\.md)?,? section \d", re.IGNORECASE)
    found = [
        path for path in [*texts, *ROOT.glob("*.md")] if numbered.search(path.read_text(encoding="utf-8"))
    ]
    assert found == [Path(__file__)], found


def test_the_paths_in_the_architecture_name_functions_that_exist() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    for title in ("From a file to the loss", "From a confidence to a label"):
        section = text.split(f"## {title}\n")[1].split("\n## ")[0]
        hops = []
        for row in re.findall(r"^\|[^|]*\| (`[^|]*) \| (\d[^|]*) \|$", section, flags=re.MULTILINE):
            first, *others = re.findall(r"`([^`]+)`", row[0])
            folder = ROOT / "src/hiast" / Path(first).parent
            paths = [ROOT / "src/hiast" / first, *(folder / other for other in others)]
            code = "".join(
                (path if path.is_file() else ROOT / "src/hiast" / other).read_text()
                for path, other in zip(paths, [first, *others], strict=True)
            )
            for number, name in re.findall(r"(\d+) `([^`]+)`", row[1]):
                hops.append(int(number))
                assert re.search(rf"(?:def|class) {name.split('.')[-1]}\b", code), (
                    f"{name} is not in {row[0]}"
                )
        assert hops == list(range(1, len(hops) + 1))
        assert f"These are {len(hops)} hops" in section


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_no_page_holds_a_place_that_was_to_be_filled(page: Path) -> None:
    assert re.findall(r"@[A-Z_]+@|\bTODO\b|\bTBD\b|\bXXX\b", page.read_text(encoding="utf-8")) == []
