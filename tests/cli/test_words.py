"""Words of a command line: options anywhere, bare paths, and values that mean themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from hiast.cli.settings import TABLES, text_keys
from hiast.cli.words import literal, parse, wants_help
from hiast.errors import InputError


def test_options_stand_anywhere_among_the_settings(tmp_path: Path) -> None:
    line = parse(
        ["a=1", "--cfg", "b=2", "-m", "--config-dir", str(tmp_path), "--info=defaults", "+c=3", "-p", "x"]
    )
    assert line.settings == ["a=1", "b=2", "+c=3"]
    assert line.options == {"--cfg": "job", "--multirun": None, "--info": "defaults", "--package": "x"}
    assert line.folders == [tmp_path]
    assert wants_help(["a=1", "--help"]) and wants_help(["-h"]) and not wants_help(["help=1"])


@pytest.mark.parametrize("name", ["My project ü", "a,b", "d[1]", "e=f", "it's", "2024", "50 %", "#1"])
def test_a_configuration_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    for words in (
        ["--config-dir", str(tmp_path / name)],
        [f"--config-dir={tmp_path / name}"],
        ["-cd", str(tmp_path / name)],
    ):
        assert parse(words).folders == [tmp_path / name]


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["--config-dir"], "--config-dir needs a folder"),
        (["--config-dir", "/nowhere"], "no folder /nowhere"),
        (["--cfg=yaml"], "takes job, hydra, all"),
        (["--multirn"], "did you mean --multirun"),
        (["--config-name", "x"], "+scenario=NAME"),
        (["--resume", "r"], "run=DIR"),
        (["--batch-size", "3"], "batch_size=VALUE"),
        (["demo"], "'demo' is not a setting"),
    ],
)
def test_options_that_do_not_exist_are_refused(words: list[str], wanted: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(words)
    assert wanted in str(caught.value)


@pytest.mark.parametrize(
    ("word", "setting"),
    [
        ("last.ckpt", "checkpoint=last.ckpt"),
        ("epoch=3-step=10.ckpt", "checkpoint=epoch=3-step=10.ckpt"),
        ("runs/epoch=3/x", "checkpoint=runs/epoch=3/x"),
        ("run (1)/a b.ckpt", "checkpoint=run (1)/a b.ckpt"),
        ("2024", "checkpoint=2024"),
        ("flip=true", "flip=true"),
        ("trainer.devices=2", "trainer.devices=2"),
        ("hydra.verbose=true", "hydra.verbose=true"),
        ("flipp=true", "flipp=true"),
    ],
)
def test_a_bare_path_is_the_checkpoint(word: str, setting: str) -> None:
    assert parse([word], ["checkpoint"], list(TABLES["eval"])).settings == [setting]


def test_a_file_named_like_a_setting_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("flip=true").write_text("")
    assert parse(["flip=true"], ["checkpoint"], ["flip"]).settings == ["checkpoint=flip=true"]


def test_bare_paths_fill_the_keys_that_are_left() -> None:
    keys = ["checkpoint", "input", "output"]
    known = list(TABLES["predict"])

    def settings(*words: str) -> list[str]:
        return parse(words, keys, known).settings

    assert settings("a.ckpt", "shots", "out", "flip=true") == [
        "checkpoint=a.ckpt",
        "input=shots",
        "output=out",
        "flip=true",
    ]
    assert settings("input=shots", "flip=true", "a.ckpt", "out") == [
        "input=shots",
        "flip=true",
        "checkpoint=a.ckpt",
        "output=out",
    ]
    assert settings("shots", "checkpoint=a.ckpt") == ["input=shots", "checkpoint=a.ckpt"]
    assert settings("a.ckpt", "shots/*.jpg") == ["checkpoint=a.ckpt", "input=shots/*.jpg"]
    with pytest.raises(InputError, match=r"'3\.jpg' is one path too many .* quote a pattern"):
        settings("a.ckpt", "1.jpg", "2.jpg", "3.jpg", "4.jpg")


def test_two_bare_paths_are_refused_by_the_second() -> None:
    with pytest.raises(
        InputError, match=r"'b.ckpt' is one word too many after checkpoint: settings are written as"
    ):
        parse(["a.ckpt", "b.ckpt"], ["checkpoint"], [])


def test_several_bare_runs_are_compared() -> None:
    assert parse(["a", "out=x.html", "b", "c"], ["run"], ["out"]).settings == ["run=a,b,c", "out=x.html"]


@pytest.mark.parametrize(
    ("word", "wanted"),
    [
        ("--data-root", "for example data_root=VALUE"),
        ("--sed", "for example seed=VALUE"),
        ("--lr", "settings are written as key=value; see --help"),
    ],
)
def test_an_option_of_other_programs_names_a_key_that_there_is(word: str, wanted: str) -> None:
    with pytest.raises(InputError, match=wanted):
        parse([word, "0.1"], known=["data_root", "seed"])


PATHS = [
    "data ü",
    "data (1)",
    "a=b",
    "it's",
    'say "x"',
    "d,1",
    "d[1]",
    "{a}",
    "2024",
    "1e3",
    "true",
    "50%",
    "#1",
    "a\\",
    "a\\'b",
    "x:y",
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "key", ["data_root", "run", "++init_from", "data.source.images", "+data.target.val_list"]
)
def test_the_value_of_a_path_is_what_the_shell_hands_over(path: str, key: str) -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    (word,) = literal([f"{key}={path}"], text_keys("train"))
    (override,) = OverridesParser.create().parse_overrides([word])
    assert override.value() == path and not override.is_sweep_override()
    assert override.get_key_element() == key


@pytest.mark.parametrize(
    "word", ["seed=1,2", "loss=iast", "run=null", "~data.source.class_map", "data.source.class_map={a: b}"]
)
def test_other_values_are_of_hydras_grammar(word: str) -> None:
    assert literal([word], text_keys("train")) == [word]


def test_a_value_that_is_quoted_for_hydra_stays() -> None:
    assert literal(["run='a b'", 'data_root="data (1)"'], text_keys("train")) == [
        "run='a b'",
        'data_root="data (1)"',
    ]


def test_a_sweep_divides_paths_at_commas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = text_keys("eval")
    assert literal(["checkpoint=a,b"], text, sweep=True) == ["checkpoint=a,b"]
    assert literal(["checkpoint=a b"], text, sweep=True) == ["checkpoint='a b'"]
    Path("a,b").write_text("")
    assert literal(["checkpoint=a,b"], text, sweep=True) == ["checkpoint='a,b'"]


@pytest.mark.parametrize(
    ("command", "word"), [("train", "run="), ("eval", "checkpoint="), ("label", "output=")]
)
def test_an_empty_path_is_refused(command: str, word: str) -> None:
    with pytest.raises(InputError, match="is empty"):
        literal([word], text_keys(command))
