"""Every shipped configuration composes, resolves and builds, with the values of the published runs."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from omegaconf import DictConfig

from hiast.classes import LabelSpace
from hiast.cli import build
from hiast.cli.build_loggers import build_loggers
from hiast.cli.build_stages import build_stages
from hiast.cli.config import choices, compose, conf_directory, instantiate, plain
from hiast.data import AdaptationDataModule
from hiast.data.augmentation import strong
from hiast.data.augmentation.copy_paste import HardClassAugmentation
from hiast.data.augmentation.fourier import FourierTowardsSource
from hiast.data.augmentation.weak import FixedScaleCrop
from hiast.errors import InputError
from hiast.models import DeepLabV2, SegmentationNetwork, SmpNetwork
from hiast.pseudo_labels import Argmax, ClassBalanced, Constant, InstanceAdaptive
from hiast.run import Round, Stage
from hiast.training import AdaptationModule, HIASTModule, SourceOnlyModule, WarmupModule

SCENARIOS = choices("scenario")
PUBLISHED = ["gta5_cityscapes", "synthia_cityscapes", "cityscapes_robotcar", "iast_gta5_cityscapes"]
GROUPS = ["augmentation", "backbone", "crop", "loss", "method", "pseudo_label", "trainer", "warmup", "logger"]
STAGES = ["source_only", "warmup", "self_training"]


@cache
def composed(*overrides: str) -> DictConfig:
    return compose("train", overrides)


def scenario(name: str, *overrides: str) -> DictConfig:
    return composed(f"+scenario={name}", *overrides)


def network_of(config: DictConfig) -> SegmentationNetwork:
    """The network at full size, without weights and without memory."""
    values = plain(config.backbone)
    values |= {key: None for key in ("pretrained", "weights") if key in values}
    with torch.device("meta"):
        return instantiate(values, num_classes=len(build.build_classes(config)))


@cache
def small_network(classes: int) -> DeepLabV2:
    return DeepLabV2(classes, layers=(1, 1, 1, 1), width=2)


def stages_of(config: DictConfig) -> dict[str, Stage]:
    return {stage.name: stage for stage in build_stages(config)}


def module_of(config: DictConfig, settings: Round, number: int = 1) -> AdaptationModule:
    """The module of a round, as the pipeline builds it, around a small network."""
    classes = build.build_classes(config)
    return settings.module(
        network=small_network(len(classes)),
        classes=classes,
        max_steps=settings.max_steps,
        accumulate_grad_batches=settings.accumulate_grad_batches,
        round_number=number,
        validation_size=tuple(config.validation.size),
        seed=config.seed,
    )


def policies_of(config: DictConfig) -> list[Any]:
    count = len(build.build_classes(config))
    return [r.labels.policy(num_classes=count) for r in stages_of(config)["self_training"].rounds]


# -- every file -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_builds_everything(name: str):
    config = scenario(name)
    plain(config)
    classes = build.build_classes(config)
    network = network_of(config)
    assert network.num_classes == len(classes)
    assert isinstance(network, torch.nn.Module)
    data = build.build_datamodule(config, classes)
    assert isinstance(data, AdaptationDataModule)
    assert data.classes.names == classes.names
    kinds = {"source_only": SourceOnlyModule, "warmup": WarmupModule, "self_training": HIASTModule}
    stages = stages_of(config)
    assert list(stages) == list(kinds)
    for stage in stages.values():
        for number, settings in enumerate(stage.rounds, 1):
            made = module_of(config, settings, number)
            assert type(made) is kinds[stage.name]
            assert settings.batch_size % settings.accumulate_grad_batches == 0
            assert (settings.labels is not None) is (stage.name == "self_training")
    assert len(policies_of(config)) == config.self_training.rounds


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_says_how_it_is_run(name: str):
    head = (conf_directory() / "scenario" / f"{name}.yaml").read_text().splitlines()
    assert head[0] == "# @package _global_"
    assert head[1].startswith(f"# hiast-train +scenario={name}")
    assert scenario(name).name == name


@pytest.mark.parametrize("method", choices("method"))
def test_every_method_takes_classes_of_other_scenes(method: str):
    config = scenario("gta5_cityscapes", f"method={method}")
    classes = LabelSpace(("soil", "crop", "weed"), ((0, 0, 0), (0, 255, 0), (255, 0, 0)))
    for stage in stages_of(config).values():
        settings = stage.rounds[0]
        module = settings.module(
            network=small_network(3), classes=classes, max_steps=4, accumulate_grad_batches=1, round_number=1,
            validation_size=(64, 128), seed=1,
        )  # fmt: skip
        assert module.classes == classes


@pytest.mark.parametrize(
    ("group", "choice"), [(group, choice) for group in GROUPS for choice in choices(group)]
)
def test_every_choice_of_a_group_builds(group: str, choice: str):
    config = scenario("gta5_cityscapes", f"{group}={choice}")
    plain(config)
    classes = build.build_classes(config)
    build.build_datamodule(config, classes)
    for stage in stages_of(config).values():
        for number, settings in enumerate(stage.rounds, 1):
            module_of(config, settings, number)
    if "self_training" in config.stages:
        assert len(policies_of(config)) == 3
    if group == "backbone":
        assert network_of(config).num_classes == 19
    assert group == "logger" or build_loggers(config) == []


def test_every_group_is_tested():
    folders = {path.name for path in conf_directory().iterdir() if path.is_dir()}
    # Templates are copied by hiast-data-new, whose tests fill them in.
    assert folders - {"template"} == {
        *(*GROUPS, "scenario", "dataset", "policy", "optimizer", "debug", "hparams_search", "hydra"),
    }


@pytest.mark.parametrize("choice", choices("dataset"))
def test_every_dataset_builds_as_a_target(choice: str):
    space = {"robotcar": "ROBOTCAR_9", "synthia": "SYNTHIA_19"}.get(choice, "CITYSCAPES_19")
    config = compose(
        "train",
        [
            "+scenario=gta5_cityscapes",
            f"dataset@data.target={choice}",
            f"classes.path=hiast.classes.{space}",
        ],
    )
    target = instantiate(config.data.target, classes=build.build_classes(config), unreadable="stop")
    assert target.classes.names == build.build_classes(config).names


@pytest.mark.parametrize(
    "path", sorted(p.stem for p in conf_directory().glob("*.yaml")), ids=lambda stem: f"{stem}.yaml"
)
def test_every_command_has_a_base_that_composes(path: str):
    assert isinstance(compose(path, []), DictConfig)


@pytest.mark.parametrize(
    "path", sorted(p.stem for p in conf_directory().glob("*.yaml")), ids=lambda stem: f"{stem}.yaml"
)
def test_no_command_lets_hydra_write_a_log_or_a_folder(path: str):
    """Hydra's own logging would take the messages of the commands away from standard error."""
    with initialize_config_dir(str(conf_directory()), version_base="1.3"):
        config = hydra_compose(path, return_hydra_config=True)
    assert (config.hydra.run.dir, config.hydra.output_subdir, config.hydra.job_logging.root) == (
        ".",
        None,
        None,
    )


def test_choices_of_policies_are_those_of_pseudo_labels():
    assert choices("policy") == choices("pseudo_label")


# -- the published values --------------------------------------------------------------------

TABLE: dict[str, dict[str, Any]] = {
    "gta5_cityscapes": {
        "classes": 19,
        "reported": ["mIoU-19"],
        "source_only": (1e-4, 8, 24936),
        "warmup": (2e-5, 4, 24940, 0.05, 2e-5),
        "rates": [3e-6, 2e-6, 1e-6],
        "alphas": [0.5, 0.5, 0.5],
        "source_crop": (512, 1024, 341, 950),
        "target_crop": (512, 1024, 341, 1000),
        "sizes": [(768, 1536)] * 3,
    },
    "synthia_cityscapes": {
        "classes": 19,
        "reported": ["mIoU-16", "mIoU-13"],
        "source_only": (1e-4, 8, 9400),
        "warmup": (2e-5, 4, 9400, 0.001, 2e-5),
        "rates": [3e-6, 2e-6, 1e-6],
        "alphas": [0.5, 0.5, 0.5],
        "source_crop": (512, 1024, 341, 640),
        "target_crop": (512, 1024, 341, 1000),
        "sizes": [(768, 1536)] * 3,
    },
    "cityscapes_robotcar": {
        "classes": 9,
        "reported": ["mIoU-9"],
        "source_only": (1e-4, 8, 24936),
        "warmup": (2e-5, 4, 24940, 0.05, 2e-5),
        "rates": [3e-6, 2e-6, 1e-6],
        "alphas": [0.5, 0.5, 0.5],
        "source_crop": (768, 1024, 341, 1000),
        "target_crop": (768, 1024, 341, 900),
        "sizes": [(960, 1280)] * 3,
    },
    "iast_gta5_cityscapes": {
        "classes": 19,
        "reported": ["mIoU-19"],
        "source_only": (1e-4, 8, 24936),
        "warmup": (2e-5, 4, 24940, 0.05, 2e-5),
        "rates": [3e-6, 2.5e-6, 2e-6],
        "alphas": [0.2, 0.25, 0.3],
        "source_crop": (512, 1024, 341, 950),
        "target_crop": (512, 1024, 341, 1000),
        "sizes": [(640, 1280), (768, 1536), (768, 1536)],
    },
}


def head_rate(module: AdaptationModule) -> float:
    backbone, head = module.optimizer.build(module.network).param_groups
    assert head["lr"] == pytest.approx(10 * backbone["lr"], rel=1e-12)
    return head["lr"]


@pytest.mark.parametrize("name", PUBLISHED)
def test_stages_have_the_published_values(name: str):
    wanted, config = TABLE[name], scenario(name)
    stages = stages_of(config)
    (source,), (warmup,) = stages["source_only"].rounds, stages["warmup"].rounds
    of_source, of_warmup = module_of(config, source), module_of(config, warmup)
    rate, batch, steps = wanted["source_only"]
    assert (head_rate(of_source), source.batch_size, source.max_steps) == (pytest.approx(rate), batch, steps)
    assert of_source.freeze_bn == "none"
    rate, batch, steps, weight, judge = wanted["warmup"]
    assert (head_rate(of_warmup), warmup.batch_size, warmup.max_steps) == (pytest.approx(rate), batch, steps)
    assert (of_warmup.adversarial_weight, of_warmup.discriminator_lr) == (weight, judge)
    assert (of_warmup.discriminator_input, of_warmup.discriminator_loss) == ("softmax", "mse")
    assert (of_warmup.entropy_weight, of_warmup.freeze_bn) == (0.0, "affine")


@pytest.mark.parametrize("name", PUBLISHED)
def test_rounds_have_the_published_values(name: str):
    wanted, config = TABLE[name], scenario(name)
    rounds = stages_of(config)["self_training"].rounds
    modules = [module_of(config, settings, number) for number, settings in enumerate(rounds, 1)]
    assert [m.optimizer.lr for m in modules] == wanted["rates"]
    assert [(r.batch_size, r.max_steps) for r in rounds] == [(6, 8000)] * 3
    for made in modules:
        assert (made.ema_decay, made.source_weight, made.freeze_bn) == (0.999, 0.0, "affine")
        optimizer = made.optimizer
        assert (optimizer.name, optimizer.betas, optimizer.weight_decay) == ("adam", (0.9, 0.999), 5e-4)
        assert (optimizer.schedule.name, optimizer.schedule.min_lr_factor) == ("cosine", 0.001)
        terms = (made.loss.kld, made.loss.entropy, made.loss.consistency)
        assert terms == ((0.1, 3.0, 0.0) if name.startswith("iast") else (0.1, 1.0, 0.5))
        assert (made.loss.region, made.loss.denominator, made.loss.class_normalized) == (
            "ignored", "nonzero", False,
        )  # fmt: skip
    policies = policies_of(config)
    assert [(p.alpha, p.beta, p.gamma) for p in policies] == [(a, 0.9, 8.0) for a in wanted["alphas"]]
    assert [r.labels.size for r in rounds] == wanted["sizes"]
    assert [r.labels.group_size for r in rounds] == [2] * 3


@pytest.mark.parametrize("name", PUBLISHED)
def test_data_has_the_published_values(name: str):
    wanted, config = TABLE[name], scenario(name)
    classes = build.build_classes(config)
    assert len(classes) == wanted["classes"]
    assert list(classes.reported) == wanted["reported"]
    assert (config.seed, config.validation.every_n_steps) == (888, 400)
    assert tuple(config.validation.size) == wanted["sizes"][-1]
    data = build.build_datamodule(config, classes)
    for domain in ("source", "target"):
        crop = data.augmentation[domain].crop
        found = (crop.height, crop.width, crop.min_height, crop.max_height)
        assert found == wanted[f"{domain}_crop"], domain
    assert type(data.strong) is strong.StrongAugmentation
    if name.startswith("iast"):
        assert data.hard_class_augmentation is None
    else:
        hard = data.hard_class_augmentation
        assert (hard.power, hard.drop, hard.donors) == (2.0, 0.1, 1)
        # Of nine classes all are hard, of 19 the 14 least confident.
        assert min(hard.count or 19, wanted["classes"]) == min(14, wanted["classes"])


def test_the_source_of_synthia_lacks_three_classes():
    config = scenario("synthia_cityscapes")
    data = build.build_datamodule(config, build.build_classes(config))
    lacking = {data.classes.names[i] for i in set(range(19)) - data.source_classes}
    assert lacking == {"terrain", "truck", "train"}


def test_cityscapes_is_mapped_to_the_nine_classes():
    config = scenario("cityscapes_robotcar")
    data = build.build_datamodule(config, build.build_classes(config))
    assert data.source_classes == frozenset(range(9))


def test_the_published_network_is_the_full_one():
    network = network_of(scenario("gta5_cityscapes"))
    assert isinstance(network, DeepLabV2)
    assert network.layers == (3, 4, 23, 3)
    assert sum(p.numel() for p in network.parameters()) > 42_000_000
    assert isinstance(network_of(scenario("demo")), SmpNetwork)


# -- ablations: each is one override ----------------------------------------------------------------------------


def loss_of(config: DictConfig) -> tuple[float, float, float]:
    (first, *_) = stages_of(config)["self_training"].rounds
    loss = module_of(config, first).loss
    return loss.kld, loss.entropy, loss.consistency


@pytest.mark.parametrize(
    ("override", "kind", "values"),
    [
        ("pseudo_label=class_balanced", ClassBalanced, {"proportion": 0.2, "every": 1}),
        ("pseudo_label=constant", Constant, {"threshold": 0.9}),
        ("pseudo_label=argmax", Argmax, {}),
        ("pseudo_label.policy.alpha=0.3", InstanceAdaptive, {"alpha": 0.3, "beta": 0.9}),
    ],
)
def test_policies_are_one_override(override: str, kind: type, values: dict[str, Any]):
    for policy in policies_of(scenario("gta5_cityscapes", override)):
        assert type(policy) is kind
        for key, value in values.items():
            assert getattr(policy, key) == value


@pytest.mark.parametrize(
    ("override", "wanted"),
    [
        ("loss=no_consistency", (0.1, 1.0, 0.0)),
        ("loss=no_regularizers", (0.0, 0.0, 0.5)),
        ("loss=cross_entropy", (0.0, 0.0, 0.0)),
        ("loss=iast", (0.1, 3.0, 0.0)),
    ],
)
def test_losses_are_one_override(override: str, wanted: tuple[float, float, float]):
    assert loss_of(scenario("gta5_cityscapes", override)) == wanted


def test_no_pasting_is_one_override():
    config = scenario("gta5_cityscapes", "augmentation=no_paste")
    data = build.build_datamodule(config, build.build_classes(config))
    assert data.hard_class_augmentation is None
    assert type(data.strong) is strong.StrongAugmentation


def test_the_fourier_view_is_one_override():
    config = scenario("gta5_cityscapes", "augmentation=fourier")
    data = build.build_datamodule(config, build.build_classes(config))
    assert data.strong == FourierTowardsSource(beta=0.001)
    assert data.hard_class_augmentation == hard(scenario("gta5_cityscapes"))


@pytest.mark.parametrize("name", SCENARIOS)
def test_crops_as_in_dacs_are_one_override(name: str):
    config = scenario(name, "crop=dacs")
    crops = build.build_datamodule(config, build.build_classes(config)).augmentation
    assert crops["source"].crop == FixedScaleCrop(512, 512, resized_height=720, resized_width=1280)
    assert crops["target"].crop == FixedScaleCrop(512, 512, resized_height=512, resized_width=1024)


def test_instance_adaptive_selection_alone_is_one_override_of_the_predecessor():
    config = scenario("iast_gta5_cityscapes", "loss=cross_entropy")
    assert loss_of(config) == (0.0, 0.0, 0.0)
    assert build.build_datamodule(config, build.build_classes(config)).hard_class_augmentation is None
    assert {type(policy) for policy in policies_of(config)} == {InstanceAdaptive}


@pytest.mark.parametrize(
    ("choice", "maps", "entropy_weighs"),
    [
        ("adversarial_softmax", "softmax", False),
        ("adversarial_entropy", "entropy", False),
        ("minent", None, True),
    ],
)
def test_warmups_are_one_override(choice: str, maps: str | None, entropy_weighs: bool):
    config = scenario("gta5_cityscapes", f"warmup={choice}")
    made = module_of(config, stages_of(config)["warmup"].rounds[0])
    assert made.discriminator_input == maps
    assert (made.discriminator is None) is (maps is None)
    assert (made.entropy_weight > 0) is entropy_weighs


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_warmup_leaves_the_stage_out(name: str):
    """Also where the scenario says how the stage would differ."""
    assert list(stages_of(scenario(name, "warmup=none"))) == ["source_only", "self_training"]


@pytest.mark.parametrize("stage", STAGES)
def test_options_of_the_optimizer_are_one_override(stage: str):
    prefix = f"{stage}.module.optimizer"
    words = (f"{prefix}.name=adamw", f"{prefix}.weight_decay=0.01", f"{prefix}.schedule.name=poly")
    config = scenario("gta5_cityscapes", *words)
    made = module_of(config, stages_of(config)[stage].rounds[0]).optimizer
    assert (made.name, made.weight_decay, made.schedule.name) == ("adamw", 0.01, "poly")


@pytest.mark.parametrize("loss", choices("loss"))
def test_options_of_the_loss_go_with_every_choice(loss: str):
    config = scenario("gta5_cityscapes", f"loss={loss}", "loss.class_normalized=true", "loss.region=all")
    assert (first(config).loss.class_normalized, first(config).loss.region) == (True, "all")


@pytest.mark.parametrize(
    ("override", "found"),
    [
        (
            "pseudo_label.group_size=1",
            lambda c: stages_of(c)["self_training"].rounds[0].labels.group_size == 1,
        ),
        ("augmentation.hard_class.donors=3", lambda c: hard(c).donors == 3),
        ("self_training.module.source_weight=0.5", lambda c: first(c).source_weight == 0.5),
        ("self_training.rounds=1", lambda c: len(stages_of(c)["self_training"].rounds) == 1),
        ("loss.region=all", lambda c: first(c).loss.region == "all"),
    ],
)
def test_options_of_the_rules_are_one_override(override: str, found: Any):
    assert found(scenario("gta5_cityscapes", override))


def test_the_published_sampling_of_class_balanced_is_one_more_override():
    config = scenario("gta5_cityscapes", "pseudo_label=class_balanced", "pseudo_label.policy.every=4")
    assert {policy.every for policy in policies_of(config)} == {4}


def first(config: DictConfig) -> HIASTModule:
    made = module_of(config, stages_of(config)["self_training"].rounds[0])
    assert isinstance(made, HIASTModule)
    return made


def hard(config: DictConfig) -> HardClassAugmentation:
    found = build.build_datamodule(config, build.build_classes(config)).hard_class_augmentation
    assert found is not None
    return found


# -- wrong input ------------------------------------------------------------------------------------------------


def test_no_scenario_lists_them_all():
    with pytest.raises(InputError) as caught:
        build.build_classes(compose("train", []))
    for name in SCENARIOS:
        assert name in str(caught.value)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("+scenario=mars", "mars.*gta5_cityscapes"),
        ("loss=mystery", "mystery.*hiast"),
        ("speed=3", "speed"),
        ("self_training.stesp=3", "stesp"),
    ],
)
def test_unknown_names_are_said(override: str, words: str):
    scenario_first = [] if override.startswith("+scenario") else ["+scenario=gta5_cityscapes"]
    with pytest.raises(InputError, match=f"(?s){words}"):
        compose("train", [*scenario_first, override])


def test_configurations_name_no_path_of_a_machine():
    for path in Path(conf_directory()).rglob("*.yaml"):
        text = path.read_text()
        assert "/home/" not in text and "/root/" not in text, path
