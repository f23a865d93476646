"""Batch-norm statistics of target images: what they are, when they are estimated, and that nothing else moves them."""

from __future__ import annotations

import copy
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import cv2
import pytest
import torch
from small_network import Recorder, bare_trainer
from target_images import SIZE, Data, Images, module_of

from hiast import HIASTModule
from hiast.callbacks import TargetStatistics, ValidationSchedule, bn_statistics
from hiast.callbacks.bn_statistics import StatisticsStore
from hiast.errors import InputError, RunError
from hiast.models import reestimate_bn_stats
from hiast.training import OnlineModule, SourceOnlyModule, WarmupModule

STAGES = (SourceOnlyModule, WarmupModule, HIASTModule)


def expected(module):
    return expected_of(module, module.network)


def expected_of(module, network):
    """Running statistics of a copy of a network, estimated image by image as written in the docstring."""
    network, images = copy.deepcopy(network), Images()
    resized = [
        torch.from_numpy(
            cv2.resize(images.read_image(i), SIZE[::-1], interpolation=cv2.INTER_LINEAR)
        ).permute(2, 0, 1)
        for i in range(len(images))
    ]
    reestimate_bn_stats(network, [module.normalize(torch.stack(resized[i : i + 4])) for i in (0, 4)])
    return running(network)


def running(network):
    return {key: value.clone() for key, value in network.state_dict().items() if "running" in key}


def fit(module, schedule):
    """Running statistics behind each step."""
    recorder = Recorder()
    bare_trainer(callbacks=[TargetStatistics(schedule), recorder]).fit(module, datamodule=Data())
    return [{key: value for key, value in state.items() if "running" in key} for state in recorder.students]


def equal(one, other):
    return all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("freeze_bn", ["affine", "full"])
@pytest.mark.parametrize("stage", STAGES)
def test_the_end_of_a_stage_has_the_targets_statistics(stage, freeze_bn):
    module = module_of(stage, bn_statistics="target", freeze_bn=freeze_bn)
    before = running(module.network)
    seen = fit(module, ValidationSchedule(100))
    assert all(equal(step, before) for step in seen[:3])
    assert not equal(seen[3], before)
    assert equal(running(module.network), seen[3])
    assert equal(running(module.network), expected(module))
    assert module.network.training


@pytest.mark.parametrize("stage", STAGES)
def test_published_statistics_move_and_are_not_estimated(stage):
    module = module_of(stage)
    seen = fit(module, ValidationSchedule(100))
    assert not any(equal(a, b) for a, b in itertools.pairwise(seen))
    assert not equal(running(module.network), expected(module))


def test_online_both_networks_have_them_before_the_first_step_at_looks_and_at_the_end():
    module = module_of(OnlineModule, bn_statistics="target")
    start = expected(module)
    seen: dict[int, list[dict]] = {}

    class Keep(Recorder):
        def on_train_start(self, trainer, pl_module):
            seen[0] = [running(module.network), running(module.teacher.network)]

        def on_train_batch_end(self, trainer, pl_module, *_):
            seen[module.batches_done] = [running(module.network), running(module.teacher.network)]
            wanted[module.batches_done] = [expected(module), expected_of(module, module.teacher.network)]

    wanted: dict[int, list[dict]] = {}
    callbacks = [TargetStatistics(ValidationSchedule(100), looks=1), Keep()]
    bare_trainer(callbacks=callbacks).fit(module, datamodule=Data())
    assert equal(seen[0][0], start) and equal(seen[0][1], start)
    for step, are_new in {1: False, 2: True, 3: False, 4: True}.items():
        for network in (0, 1):
            assert equal(seen[step][network], wanted[step][network]) == are_new, (step, network)


def test_online_those_of_a_teacher_that_normalizes_by_its_batches_are_not_estimated():
    module = module_of(OnlineModule, bn_statistics="target", teacher_bn="batch")
    before = running(module.teacher.network)
    seen = []

    class Keep(Recorder):
        def on_train_start(self, trainer, pl_module):
            seen.extend((running(module.network), running(module.teacher.network)))

    callbacks = [TargetStatistics(ValidationSchedule(100)), Keep()]
    bare_trainer(callbacks=callbacks).fit(module, datamodule=Data())
    assert equal(seen[1], before) and not equal(seen[0], before)


def test_they_are_estimated_before_a_validation(monkeypatch):
    module = module_of(HIASTModule, bn_statistics="target")
    monkeypatch.setattr(ValidationSchedule, "follows", lambda *_: module.batches_done == 2)
    seen = fit(module, ValidationSchedule(2))
    assert equal(seen[1], seen[2])
    assert not equal(seen[0], seen[1])
    assert not equal(seen[2], seen[3])


def test_many_images_are_thinned_out_evenly(monkeypatch):

    read = []
    monkeypatch.setattr(bn_statistics, "MOST_IMAGES", 3)
    original = Images.read_image
    monkeypatch.setattr(
        Images, "read_image", lambda self, index: (read.append(index), original(self, index))[1]
    )
    module = module_of(HIASTModule, bn_statistics="target")
    bn_statistics.estimate_on(module.network, module, Images())
    assert sorted(read) == [0, 3, 6]


class Counting(Images):
    """Images that count how often they are read."""

    def __init__(self) -> None:
        self.read: list[int] = []

    def read_image(self, index):
        self.read.append(index)
        return super().read_image(index)


def test_equal_weights_are_estimated_once():
    module, images, store = module_of(HIASTModule, bn_statistics="target"), Counting(), StatisticsStore()
    bn_statistics.estimate_on(module.network, module, images, store=store)
    assert equal(running(module.network), expected(module))
    assert sorted(images.read) == list(range(7))
    # The first teacher is a copy of the student, with other running statistics.
    teacher = module.teacher.network
    for buffer in teacher.buffers():
        buffer.fill_(3)
    bn_statistics.estimate_on(teacher, module, images, store=store)
    assert equal(running(teacher), running(module.network))
    assert len(images.read) == 7
    with torch.no_grad():
        next(module.network.parameters()).add_(0.1)
    bn_statistics.estimate_on(module.network, module, images, store=store)
    assert equal(running(module.network), expected(module))
    assert not equal(running(teacher), running(module.network))
    assert len(images.read) == 14


def test_other_images_or_sizes_are_not_equal_weights():
    module, store = module_of(HIASTModule), StatisticsStore()
    bn_statistics.estimate_on(module.network, module, Images(), store=store)
    before = running(module.network)
    module.validation_size = (24, 48)
    bn_statistics.estimate_on(module.network, module, Images(), store=store)
    assert not equal(running(module.network), before)
    fewer = Images()
    fewer.names = Images.names[:5]
    images = Counting()
    images.names = fewer.names
    bn_statistics.estimate_on(module.network, module, images, store=store)
    assert sorted(images.read) == list(range(5))


def test_the_store_keeps_the_latest_networks_only():
    store, module = StatisticsStore(), module_of(HIASTModule)
    for number in range(20):
        store.keep(str(number), module.network)
    assert "0" not in store
    assert "19" in store


class Threads:
    """Processes that are threads of this one."""

    def __init__(self, rank: int, barrier: threading.Barrier, values: list) -> None:
        self.rank, self.world_size = rank, barrier.parties
        self.barrier, self.values = barrier, values

    def all_gather_object(self, value):
        self.values[self.rank] = value
        self.barrier.wait(60)
        gathered = list(self.values)
        self.barrier.wait(60)
        return gathered


def in_threads(count, work):
    """Results of ``work(communicator)`` in several threads; an error is a result."""
    barrier, values = threading.Barrier(count), [None] * count

    def run(rank):
        try:
            return work(Threads(rank, barrier, values))
        except Exception as error:  # noqa: BLE001 - it is looked at
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("size", [SIZE, None])
def test_processes_share_the_reading_and_get_what_one_gets(monkeypatch, count, size):
    monkeypatch.setattr(bn_statistics, "BATCH", 2)
    alone = module_of(HIASTModule, validation_size=size)
    bn_statistics.estimate_on(alone.network, alone, Images())

    def estimate(communicator):
        module, images = module_of(HIASTModule, validation_size=size), Counting()
        bn_statistics.estimate_on(module.network, module, images, communicator=communicator)
        return running(module.network), images.read

    results = in_threads(count, estimate)
    assert all(equal(found, running(alone.network)) for found, _ in results)
    assert sorted(itertools.chain(*(read for _, read in results))) == list(range(7))


def test_a_process_that_knows_less_is_waited_for():
    stores = [StatisticsStore(), StatisticsStore()]

    def estimate(communicator):
        module, images = module_of(HIASTModule), Counting()
        bn_statistics.estimate_on(
            module.network, module, images, store=stores[communicator.rank], communicator=communicator
        )
        return images.read

    first = module_of(HIASTModule)
    bn_statistics.estimate_on(first.network, first, Images(), store=stores[0])
    assert [len(read) for read in in_threads(2, estimate)] == [4, 3]
    assert in_threads(2, estimate) == [[], []]


def test_an_image_that_cannot_be_read_stops_all_processes():
    class Broken(Images):
        def read_image(self, index):
            if index == 5:
                raise InputError("city/5.png is damaged.")
            return super().read_image(index)

    def estimate(communicator):
        module = module_of(HIASTModule)
        bn_statistics.estimate_on(module.network, module, Broken(), communicator=communicator)

    one, two = in_threads(2, estimate)
    assert isinstance(one, RunError) and isinstance(two, InputError)
    assert "process 1 failed with InputError: city/5.png is damaged." in str(one)


def test_unknown_statistics():
    with pytest.raises(InputError, match="bn_statistics is 'both'; choose running or target"):
        module_of(WarmupModule, bn_statistics="both")
