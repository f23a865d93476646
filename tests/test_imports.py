"""The import rule, read off the syntax trees; and that nothing heavy is imported before it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

import hiast

PACKAGE = Path(hiast.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
ANYONE = {
    "classes",
    "errors",
    "files",
    "locks",
    "memory",
    "pages",
    "plain",
    "progress",
    "ranks",
    "stage_names",
    "compile_modes",
    "neutral_settings",
    "counted",
    "upsampling",
}
EVERYTHING = {path.stem if path.is_file() else path.name for path in PACKAGE.iterdir()} - {
    "__init__",
    "__pycache__",
}

# Part of the package -> parts that it may import beside itself and those that anyone may.
ALLOWED: dict[str, set[str]] = {
    "classes": set(),
    "errors": set(),
    "files": set(),
    "locks": set(),
    "memory": set(),
    "pages": set(),
    "plain": set(),
    "progress": set(),
    "ranks": set(),
    "upsampling": set(),
    "stage_names": set(),
    "compile_modes": set(),
    "neutral_settings": set(),
    "counted": set(),
    "data": {"pseudo_labels", "formats"},
    "scenes": set(),
    "models": set(),
    "objectives": set(),
    "online": set(),
    "formats": set(),
    "selection": {"evaluation"},
    "pseudo_labels": set(),
    "evaluation": {"models"},
    "prediction": {"data", "evaluation", "formats", "models"},
    "export": {"data", "evaluation", "models", "prediction", "scenes"},
    "training": {
        *("data", "models", "objectives", "online", "prediction", "pseudo_labels", "evaluation", "selection"),
    },
    "hub": {"export", "models", "prediction", "training"},
    "callbacks": {
        *("training", "data", "models", "objectives", "online", "pseudo_labels", "evaluation", "selection"),
        "report",
    },
    "report": {"evaluation", "pseudo_labels", "selection"},
    "inspection": {"data", "evaluation", "formats", "models"},
    "run": EVERYTHING - {"cli"},
    "cli": EVERYTHING,
    "__init__": {"data", "training"},
}
# The same, where only single modules of a part are free.
ONLY = {
    "data": {"pseudo_labels": {"hiast.pseudo_labels.round_reader"}},
    "selection": {"evaluation": {"hiast.evaluation.metrics"}},
    "evaluation": {"models": {"hiast.models.normalize"}},
    "inspection": {"models": {"hiast.models.meta"}},
    "prediction": {"models": {"hiast.models.normalize"}},
}
LIGHTNING_FREE = ANYONE | {
    "models",
    "objectives",
    "online",
    "formats",
    "pseudo_labels",
    "report",
    "prediction",
    "export",
    "selection",
    "evaluation",
}
"""Parts that are plain torch or less."""


@dataclass(frozen=True)
class Import:
    name: str
    line: int
    deferred: bool
    """Inside a function, or for the type checker only."""


def module_name(path: Path) -> str:
    parts = ("hiast", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def part_of(name: str) -> str:
    return name.split(".")[1] if "." in name else "__init__"


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def imports(path: Path) -> tuple[Import, ...]:
    return tuple(_walk(tree(path), False))


def _walk(node: ast.AST, deferred: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        later = deferred or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            later = True
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, child.lineno, later) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, "imports are absolute"
            assert child.module is not None
            for alias in child.names:
                full = f"{child.module}.{alias.name}"
                yield Import(full if full in MODULES else child.module, child.lineno, later)
        else:
            yield from _walk(child, later)


MODULES = {module_name(path): path for path in FILES}


def test_every_part_has_a_rule():
    parts = {part_of(name) for name in MODULES}
    assert parts <= ALLOWED.keys(), f"say in ALLOWED what {parts - ALLOWED.keys()} may import"


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_imports_what_its_part_may(name: str):
    part = part_of(name)
    for found in imports(MODULES[name]):
        if not found.name.startswith("hiast."):
            continue
        other = part_of(found.name)
        place = f"{name}, line {found.line}: imports {found.name}"
        assert other != "cli" or part == "cli", f"{place}, but nothing imports cli"
        if other == part or other in ANYONE:
            continue
        assert other in ALLOWED[part], f"{place}, which {part} may not"
        only = ONLY.get(part, {}).get(other)
        assert only is None or found.name in only, f"{place}, of which {part} may import {only} only"


@pytest.mark.parametrize("name", sorted(MODULES))
def test_other_packages_stay_where_they_belong(name: str):
    part = part_of(name)
    for found in imports(MODULES[name]):
        top = found.name.split(".")[0]
        place = f"{name}, line {found.line}"
        assert top not in ("hydra", "omegaconf") or part == "cli", f"{place}: only cli imports {top}"
        assert top != "lightning", f"{place}: import pytorch_lightning"
        assert top != "pytorch_lightning" or part not in LIGHTNING_FREE, (
            f"{place}: {part} is without Lightning"
        )
        assert top != "torch" or part not in (
            "classes",
            "errors",
            "files",
            "locks",
            "pages",
            "progress",
            "stage_names",
            "compile_modes",
            "neutral_settings",
            "counted",
        ), f"{place}: {part} is without torch"


def test_imports_have_no_cycles():
    graph = {
        name: {found.name for found in imports(path) if not found.deferred and found.name in MODULES} - {name}
        for name, path in MODULES.items()
    }
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, f"cycle: {' -> '.join((*trail[trail.index(name) :], name))}"
        if name in done:
            return
        for other in sorted(graph[name]):
            visit(other, (*trail, name))
        done.add(name)

    for name in sorted(graph):
        visit(name, ())


def test_nothing_is_called_utils():
    assert not [name for name in MODULES if any(word in name for word in ("utils", "helpers", "misc"))]


DEFINITIONS = (
    ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign, ast.Expr, ast.If,
)  # fmt: skip


@pytest.mark.parametrize("name", sorted(MODULES))
def test_importing_has_no_side_effects(name: str):
    """On the top level there are definitions and no calls for their effect."""
    for node in tree(MODULES[name]).body:
        if isinstance(node, ast.Expr):
            assert isinstance(node.value, ast.Constant), f"{name}, line {node.lineno}: {ast.unparse(node)}"
        assert isinstance(node, DEFINITIONS), f"{name}, line {node.lineno}: {ast.unparse(node)[:80]}"
        if isinstance(node, ast.If):
            test = ast.unparse(node.test)
            assert test in ("TYPE_CHECKING", "__name__ == '__main__'"), (
                f"{name}, line {node.lineno}: if {test}"
            )


COMMANDS = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]["scripts"]
HEAVY = "torch, torchvision, pytorch_lightning, cv2, albumentations, timm, segmentation_models_pytorch, hydra"


def in_fresh_process(code: str) -> tuple[str, float]:
    """Output, and seconds of CPU that the process took."""
    report = (
        "\nimport resource, sys as _s\n"
        f"_heavy = [m for m in '{HEAVY}'.split(', ') if m in _s.modules]\n"
        "_use = resource.getrusage(resource.RUSAGE_SELF)\n"
        "print('LOADED', _heavy, 'CPU', _use.ru_utime + _use.ru_stime)\n"
    )
    done = subprocess.run([sys.executable, "-c", code + report], capture_output=True, text=True, check=True)
    output, _, rest = done.stdout.rpartition("LOADED ")
    loaded, _, seconds = rest.partition(" CPU ")
    assert loaded == "[]", loaded
    return output, float(seconds)


def test_importing_the_package_loads_nothing_heavy():
    in_fresh_process("import hiast\nassert 'HIASTModule' in hiast.__all__")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_answered_before_anything_heavy_is_loaded(command: str):
    output, seconds = in_fresh_process(
        f"import sys\nsys.argv = ['{command}', '--help']\n"
        f"from {COMMANDS[command].replace(':', ' import ')}\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code"
    )
    assert command in output
    # Of CPU time, which a busy machine does not stretch; with torch alone it would be several seconds.
    assert seconds < 1.5


@pytest.mark.parametrize("name", hiast.__all__)
def test_public_names_exist(name: str):
    assert getattr(hiast, name).__name__ == name


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="Unicorn"):
        hiast.Unicorn  # noqa: B018
