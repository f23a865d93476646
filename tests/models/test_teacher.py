from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from hiast.models import DeepLabV2, Teacher


def student_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Conv2d(4, 2, 1))


def disturb(network: nn.Module) -> None:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter))
    network.train()(torch.randn(2, 3, 8, 8))


def test_update_is_the_moving_average():
    student = student_network()
    teacher = Teacher(student, ema_decay=0.9)
    expected = {name: value.detach().clone() for name, value in student.named_parameters()}
    for _ in range(5):
        disturb(student)
        teacher.update(student)
        for name, value in student.named_parameters():
            expected[name] = 0.9 * expected[name] + 0.1 * value.detach()
    for name, value in teacher.network.named_parameters():
        torch.testing.assert_close(value, expected[name], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("decay", [0.0, 1.0])
def test_the_ends_of_the_decay_are_exact(decay: float):
    student = student_network()
    teacher = Teacher(student, decay)
    before = [value.clone() for value in teacher.network.parameters()]
    disturb(student)
    teacher.update(student)
    wanted = before if decay else student.parameters()
    assert all(torch.equal(a, b) for a, b in zip(teacher.network.parameters(), wanted, strict=True))


def test_buffers_are_copied():
    student = student_network()
    teacher = Teacher(student)
    disturb(student)
    teacher.update(student)
    own = dict(teacher.network.named_buffers())
    assert {name.split(".")[-1] for name in own} == {"running_mean", "running_var", "num_batches_tracked"}
    for name, value in student.named_buffers():
        assert torch.equal(own[name], value), name
        assert own[name] is not value


def test_reset_takes_everything_over():
    student = student_network()
    teacher = Teacher(student)
    disturb(student)
    teacher.reset(student)
    for name, value in student.state_dict().items():
        assert torch.equal(teacher.network.state_dict()[name], value), name
    before = copy.deepcopy(teacher.network.state_dict())
    disturb(student)
    for name, value in teacher.network.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_stays_in_eval_mode_and_without_gradient():
    teacher = Teacher(student_network())
    nn.ModuleList([teacher]).train()
    assert not any(module.training for module in teacher.modules())
    images = torch.randn(2, 3, 8, 8, requires_grad=True)
    assert torch.equal(teacher(images), teacher(images))
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert not Teacher(student_network())(images.detach()).requires_grad


def test_making_a_teacher_leaves_the_student_alone():
    student = student_network().train()
    Teacher(student)
    assert student.training
    assert all(parameter.requires_grad for parameter in student.parameters())


def test_takes_a_student_whose_weights_are_not_saved_in_order(tmp_path):
    student = DeepLabV2(3, layers=(1, 1, 1, 1), width=4)
    teacher = Teacher(student)
    torch.save(teacher.state_dict(), tmp_path / "teacher.pt")
    again = Teacher(DeepLabV2(3, layers=(1, 1, 1, 1), width=4))
    again.load_state_dict(torch.load(tmp_path / "teacher.pt", weights_only=True))
    images = torch.randn(1, 3, 32, 32)
    assert torch.equal(again(images), teacher(images))


def test_another_network_is_refused():
    with pytest.raises(ValueError, match="different networks"):
        Teacher(student_network()).update(nn.Conv2d(3, 4, 3))
