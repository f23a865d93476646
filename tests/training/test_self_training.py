"""A round of self-training: what teacher and student see, how the teacher follows, what the terms add up to."""

from __future__ import annotations

import pytest
import torch
from pytorch_lightning.plugins import MixedPrecision
from small_network import CLASSES, TinyNetwork, batches, draw, fit, halves, same, settings, state
from torch import nn

from hiast.objectives import HIASTLoss
from hiast.training import HIASTModule


def module_of(steps: int = 3, **more) -> HIASTModule:
    return HIASTModule(TinyNetwork(), CLASSES, optimizer=settings(), max_steps=steps, **more)


def normalized(images: torch.Tensor, network: TinyNetwork) -> torch.Tensor:
    mean, std = (torch.tensor(v).mul(255).view(1, 3, 1, 1) for v in (network.mean, network.std))
    return (images.float() - mean) / std


def test_the_teacher_sees_the_weak_view_and_the_student_the_strong_one():
    made = module_of()
    by_student, by_teacher = [], []
    made.network.register_forward_pre_hook(lambda _, inputs: by_student.append(inputs[0].clone()))
    made.teacher.network.register_forward_pre_hook(
        lambda _, inputs: by_teacher.append((inputs[0].clone(), torch.is_grad_enabled()))
    )
    target = draw(5, ignored=0.5)
    made.losses({"target": target})
    assert len(by_student) == len(by_teacher) == 1
    assert torch.equal(by_student[0], normalized(target["strong"], made.network))
    assert torch.equal(by_teacher[0][0], normalized(target["image"], made.network))
    assert by_teacher[0][1] is False


def test_the_terms_are_the_loss_of_both_outputs_and_the_labels():
    made = module_of()
    with torch.no_grad():
        made.teacher.network.head.weight.mul_(3)
    target = draw(6, ignored=0.5)
    terms = made.losses({"target": target})
    with torch.no_grad():
        teacher = made.teacher.network(normalized(target["image"], made.network)).softmax(1)
        logits = made.network.train()(normalized(target["strong"], made.network))
        wanted = HIASTLoss()(logits, target["label"], teacher)
    assert terms.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(terms[name].detach(), value, msg=name)
        assert value > 0


def test_without_consistency_the_teacher_is_not_asked():
    made = module_of(loss=HIASTLoss(consistency=0.0))
    made.teacher.network.forward = None
    assert made.losses({"target": draw(7, ignored=0.5)})["consistency"] == 0


def test_labels_of_another_source_are_optional_and_weighted():
    made = module_of(source_weight=0.4, loss=HIASTLoss(kld=0, entropy=0, consistency=0))
    assert made.domains == ("source", "target")
    assert HIASTModule.domains == ("target",)
    batch = batches(1, ignored=0.3)[0]
    terms = {key: value.detach() for key, value in made.losses(batch).items()}
    made = module_of(source_weight=0.4)
    logits = made.network(normalized(batch["source"]["image"], made.network))
    labels = batch["source"]["label"].long()
    wanted = nn.functional.cross_entropy(logits, labels, ignore_index=255)
    torch.testing.assert_close(terms["source_cross_entropy"], wanted.detach())
    torch.testing.assert_close(terms["total"], terms["cross_entropy"] + 0.4 * wanted.detach())


def test_by_default_no_source_is_read():
    made = module_of()
    assert made.domains == ("target",)
    assert "source_cross_entropy" not in made.losses({"target": draw(8, ignored=0.5)})


@pytest.mark.parametrize("accumulate_grad_batches", [1, 2])
def test_the_teacher_follows_after_every_optimizer_step_and_only_then(accumulate_grad_batches):
    made = module_of(3, accumulate_grad_batches=accumulate_grad_batches, ema_decay=0.9)
    average = state(made.teacher.network)
    recorder = fit(made, batches(3 * accumulate_grad_batches, ignored=0.5))
    parameters = {name for name, _ in TinyNetwork().named_parameters()}
    for position, (student, teacher) in enumerate(zip(recorder.students, recorder.teachers, strict=True)):
        if (position + 1) % accumulate_grad_batches == 0:
            for name, value in student.items():
                average[name] = 0.9 * average[name] + 0.1 * value if name in parameters else value
        for name, value in average.items():
            torch.testing.assert_close(teacher[name], value, rtol=1e-5, atol=1e-7, msg=name)
    assert not same(recorder.students[-1], recorder.students[0])
    assert not made.teacher.training and not made.teacher.network.training


def test_accumulation_equals_one_bigger_batch():
    whole = batches(2, size=4)
    parts = [half for item in whole for half in halves(item)]
    big, small = module_of(2, freeze_bn="full"), module_of(2, freeze_bn="full", accumulate_grad_batches=2)
    one, two = fit(big, whole), fit(small, parts)
    assert len(one.gradients) == len(two.gradients) == 2
    for found, wanted in zip(two.gradients, one.gradients, strict=True):
        for a, b in zip(found, wanted, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3 * float(b.abs().max()))
    assert same(two.students[0], state(TinyNetwork()))


def test_the_teachers_ema_decay_is_published_by_default():
    assert module_of().ema_decay == module_of().teacher.ema_decay == 0.999
    assert module_of(ema_decay=0.5).teacher.ema_decay == 0.5


def test_a_round_begins_with_the_teacher_a_copy_of_the_student():
    made = module_of()
    with torch.no_grad():
        for value in made.network.state_dict().values():
            value.add_(1)
    assert not same(state(made.network), state(made.teacher.network))
    made.begin_round()
    assert same(state(made.network), state(made.teacher.network))


def test_the_teacher_is_never_optimized():
    made = module_of()
    optimized = {id(p) for group in made.configure_optimizers().param_groups for p in group["params"]}
    assert not optimized & {id(p) for p in made.teacher.parameters()}
    assert not any(p.requires_grad for p in made.teacher.parameters())


@pytest.mark.parametrize(("mode", "moves"), [("affine", True), ("full", False)])
def test_batch_norm_modes_in_a_round(mode, moves):
    made = module_of(2, freeze_bn=mode)
    before = state(made.network.encoder[1])
    fit(made, batches(2, ignored=0.5))
    norm = made.network.encoder[1]
    assert torch.equal(norm.weight, before["weight"]) and torch.equal(norm.bias, before["bias"])
    assert torch.equal(norm.running_mean, before["running_mean"]) is not moves
    assert torch.equal(norm.running_var, before["running_var"]) is not moves
    # The teacher's statistics are the student's.
    assert torch.equal(made.teacher.network.encoder[1].running_mean, norm.running_mean)


def test_affine_is_the_default_of_the_later_stages():
    assert module_of().freeze_bn == "affine"
    assert module_of(freeze_bn="none").network.encoder[1].weight.requires_grad


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_half_precision_stays_near_single(precision):
    plain, half = module_of(2), module_of(2)
    items = batches(2, ignored=0.5)
    fit(plain, items)
    fit(half, items, plugins=[MixedPrecision(precision, "cpu")])
    start = state(TinyNetwork())
    for key in ("encoder.0.weight", "head.weight"):
        moved, wanted = (state(m.network)[key] - start[key] for m in (half, plain))
        assert torch.isfinite(moved).all() and moved.abs().max() > 0
        assert float((moved - wanted).norm() / wanted.norm()) < 0.3, key


def test_all_ignored_labels_train_without_nan():
    made = module_of(1)
    item = batches(1, ignored=1.0)
    fit(made, item)
    assert all(torch.isfinite(value).all() for value in made.network.state_dict().values())
