"""Configuration files as people save them: what is meant is taken, the rest named with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from hiast.cli.yaml_text import read_document
from hiast.errors import InputError

HEAD = "name: own\nlabels: x\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "own.yaml"


def read(file: Path, text: str | bytes) -> dict:
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return yaml.safe_load(read_document(file).text)


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("\timages: x\n", "line 3: a tab"),
        ("labels: y\n", "line 3: the key 'labels' stands in line 2 too"),
        ("x: [road, [y\n", "line 3: a bracket is not closed"),
        ("x: [images/{name}.png]\n", "line 3: text with { or } needs quotes"),
        ("note: road: 1\n", "line 3: the indentation does not fit, or a text with ': '"),
        ("x: %a\n", "line 3: text that begins with % or @"),
        ("x: @a\n", "line 3: text that begins with % or @"),
        ("images: *.png\n", "line 3: text that begins with *"),
        ("images: **/*.png\n", "line 3: text that begins with *"),
        ("images: {name}.png\n", "line 3: text that begins with {"),
        ("x: !a\n", "line 3: !a is not a type"),
        ("x: 'abc\n", "line 3: a quote is not closed"),
        ("labels\n", "line 3: a ':' is missing"),
        ("  x: 3\n", "line 3: the indentation"),
        ("label_colors:\n  #804080: road\n", "line 4: a '#' begins a comment"),
        ("x: \0\n", "line 3: the character"),
        ("ids: {1: road, 01: sky}\n", "line 3: the key '1' stands in line 3 too"),
        ("{a: b}: c\n", "line 3: a key is a list or a mapping"),
    ],
)
def test_mistakes_are_named_with_file_and_line(file: Path, line: str, wanted: str) -> None:
    with pytest.raises(InputError) as caught:
        read(file, HEAD + line)
    assert str(caught.value).startswith(f"{file}, {wanted}"), caught.value
    assert len(str(caught.value).splitlines()) == 1


def test_latin_1_is_named_with_its_line(file: Path) -> None:
    with pytest.raises(InputError, match=r"line 3: the file is not UTF-8 text \(byte 0xdf\)"):
        read(file, HEAD.encode() + b"# stra\xdfe\n")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_byte_order_marks_are_harmless(file: Path, encoding: str) -> None:
    text = "# Straße\n# @package _global_\n---\nname: Straße\n"
    assert read(file, text.encode(encoding)) == {"name": "Straße"}
    assert read_document(file).package == "_global_"


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "null\n"])
def test_an_empty_file_holds_nothing(file: Path, text: str) -> None:
    assert read(file, text) == {}


@pytest.mark.parametrize("text", ["- a\n", "road\n"])
def test_other_things_than_keys_are_refused(file: Path, text: str) -> None:
    with pytest.raises(InputError, match="line 1: the file must hold"):
        read(file, text)


def test_class_names_are_text_whatever_they_look_like(file: Path) -> None:
    found = read(file, "names: [road, off, on, no, y, 0, 1.50, 'true', 2024-01-01, 0x10]")
    assert found == {"names": ["road", "off", "on", "no", "y", "0", "1.50", "true", "2024-01-01", "0x10"]}
    assert read(file, "names: [null, ~]") == {"names": [None, None]}


def test_ids_are_numbers_and_their_classes_text(file: Path) -> None:
    found = read(file, "ids: {0: road, '1': off, 007: yes, 010: 3, 12: null, 13: ~}")
    assert found == {"ids": {0: "road", 1: "off", 7: "yes", 10: "3", 12: None, 13: None}}


def test_colors_and_class_maps_are_text(file: Path) -> None:
    found = read(
        file,
        "label_colors: {[128, 64, 128]: on, '#804080': null}\ncolors: {no: [1, 2, 3]}\nclass_map: {on: 1}",
    )
    assert found == {
        "label_colors": {"128,64,128": "on", "#804080": None},
        "colors": {"no": "1,2,3"},
        "class_map": {"on": "1"},
    }


def test_paths_are_text(file: Path) -> None:
    found = read(
        file,
        "data_root: 2024\nimages: 1e3\nval_list: null\nrun: ${name}\nvideos: on\nweights: 007\nseed: 010",
    )
    assert found == {
        "data_root": "2024", "images": "1e3", "val_list": None, "run": "${name}", "videos": "on", "weights": "007",
        "seed": 8,
    }  # fmt: skip


def test_lines_of_keys(file: Path) -> None:
    file.write_text("a: 1\nb:\n  c: {d: 2}\n  e:\n    - f: 3\n")
    lines = read_document(file).lines
    assert lines["a",] == 1 and lines["b", "c", "d"] == 3 and lines["b", "e", "0", "f"] == 5


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read_document(tmp_path)
