"""Batches of loaders of one's own: what is refused, and in which words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from small_network import CLASSES, Batches, TinyNetwork, bare_trainer, batches, draw, fit, settings
from torch.utils.data import DataLoader

from hiast.errors import InputError
from hiast.training import AdaptationModule, HIASTModule, OnlineModule, SourceOnlyModule, WarmupModule

Change = Callable[[dict[str, Any]], Any]
CHANGES: list[tuple[Change, str]] = [
    (
        lambda s: s.update(image=s["image"] / 255),
        r"hold 'image' of torch\.float32 \[2, 3, 32, 32\]: give uint8",
    ),
    (
        lambda s: s.update(image=s["image"].permute(0, 2, 3, 1)),
        r"hold 'image' of torch\.uint8 \[2, 32, 32, 3\]",
    ),
    (lambda s: s.update(image=s["image"][0]), r"hold 'image' of torch\.uint8 \[3, 32, 32\]"),
    (lambda s: s.update(label=s["label"].long()), r"hold 'label' of torch\.int64 .*give uint8 \[2, 32, 32\]"),
    (lambda s: s.update(label=s["label"][:, None]), r"hold 'label' of torch\.uint8 \[2, 1, 32, 32\]"),
    (lambda s: s.update(label=s["label"][:, ::2, ::2]), r"hold 'label' of torch\.uint8 \[2, 16, 16\]"),
    (lambda s: s.pop("image"), "hold no tensor 'image'"),
]
STAGES = [
    (SourceOnlyModule, "source"),
    (WarmupModule, "source"),
    (HIASTModule, "target"),
    (OnlineModule, "source"),
]


@pytest.mark.parametrize(("change", "sentence"), CHANGES)
@pytest.mark.parametrize(("stage", "domain"), STAGES)
def test_samples_of_another_form_are_refused(
    stage: type[AdaptationModule], domain: str, change: Change, sentence: str
) -> None:
    batch = batches(1)[0]
    change(batch[domain])
    with pytest.raises(InputError, match=f"the {domain} batches {sentence}"):
        fit(stage(TinyNetwork(), CLASSES, optimizer=settings(), max_steps=1), [batch])


@pytest.mark.parametrize("missing", ["image", "label"])
def test_validation_batches_without_a_part_are_refused(missing: str) -> None:
    sample = draw(0, 1)
    del sample[missing]
    module = SourceOnlyModule(TinyNetwork(), CLASSES)
    with pytest.raises(InputError, match=f"Validation batches hold no tensor '{missing}'"):
        bare_trainer().validate(module, DataLoader(Batches([sample]), batch_size=None))


def test_validation_images_of_0_to_1_are_refused() -> None:
    sample = draw(0, 1)
    sample["image"] = sample["image"] / 255
    module = SourceOnlyModule(TinyNetwork(), CLASSES)
    with pytest.raises(InputError, match=r"Validation batches hold 'image' of torch\.float32"):
        bare_trainer().validate(module, DataLoader(Batches([sample]), batch_size=None))
