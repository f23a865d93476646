"""Settings that no stage of a run reads are named, and those that others follow are not."""

from __future__ import annotations

import pytest

from hiast.cli.changed_settings import changed_settings
from hiast.cli.config import compose
from hiast.cli.unread import unread_settings


@pytest.mark.parametrize(
    ("words", "unread"),
    [
        (["method=hiast", "loss=iast", "warmup.max_steps=5", "self_training.rounds=2"], []),
        (["method=dacs", "loss=iast", "augmentation=simple"], ["augmentation", "loss"]),
        (["method=dacs", "loss.kld=0", "warmup.max_steps=5"], ["loss.kld", "warmup.max_steps"]),
        (["method=dacs", "self_training.rounds=2", "+self_training.by_round.2.max_steps=5"], []),
        (
            ["method=dacs", "self_training.max_steps=9", "online.max_steps=5"],
            ["self_training.max_steps"],
        ),
        (["method=dacs", "self_training.module.ema_decay=0.5"], ["self_training.module.ema_decay"]),
        (["method=dacs", "pseudo_label.policy.alpha=0.1"], ["pseudo_label.policy.alpha"]),
        (["warmup=none", "self_training.module.ema_decay=0.5"], []),
        (["method=dacs", "warmup=minent"], ["warmup"]),
        (
            [
                "method=adapt",
                "stages=[online]",
                "source_only.max_steps=5",
                "source_only.module.optimizer.lr=1",
            ],
            ["source_only.max_steps"],
        ),
    ],
)
def test_settings_that_no_stage_reads(words: list[str], unread: list[str]) -> None:
    config = compose("train", ["+scenario=demo", *words])
    assert sorted(unread_settings(config, changed_settings(config))) == unread


def test_a_setting_that_refers_to_another_is_not_listed_beside_it() -> None:
    changed = changed_settings(
        compose("train", ["+scenario=demo", "pseudo_label.policy.alpha=0.2", "loss.kld=1"])
    )
    assert list(changed["settings"]) == ["loss.kld", "pseudo_label.policy.alpha"]
