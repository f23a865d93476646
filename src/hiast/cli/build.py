"""From a configuration to the label space, the datasets and the network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from hiast.classes import LabelSpace
from hiast.cli.build_folders import dataset_folders, derived_folder, keep_counts
from hiast.cli.check import check_built
from hiast.cli.conf_files import choices
from hiast.cli.config import instantiate, plain
from hiast.cli.own_folder import source_file
from hiast.errors import InputError
from hiast.stage_names import STAGES

if TYPE_CHECKING:
    from hiast.data import AdaptationDataModule, DatasetDataModule, JoinedDataModule
    from hiast.data.io.cache import Cache
    from hiast.models import SegmentationNetwork


def build_classes(config: DictConfig) -> LabelSpace:
    """The scenario's label space.

    Raises:
        InputError: No scenario was given, or it does not say its name and classes.
    """
    missing = [key for key in ("name", "classes") if OmegaConf.is_missing(config, key)]
    if missing:
        file = source_file("")
        if file is None:
            raise InputError(
                f"No scenario was given: add +scenario=NAME, one of {', '.join(choices('scenario'))}."
            )
        raise InputError(
            f"{file} does not set {' and '.join(missing)}, which a scenario must; see hiast-data-new."
        )
    with naming("classes"):
        try:
            space = instantiate(config.classes)
        except InputError:
            raise
        except ValueError as error:  # LabelSpace itself says what is wrong with names and colors.
            raise InputError(f"classes: {error}") from error
        if not isinstance(space, LabelSpace):
            raise InputError("classes must build a hiast.classes.LabelSpace.")
    return space


def build_domains(
    config: DictConfig, classes: LabelSpace, *, cached: bool = True
) -> tuple[DatasetDataModule | JoinedDataModule, DatasetDataModule | JoinedDataModule]:
    """Source and target. Labeled images of the target (``data.labeled_target``) are a part of the source.

    Args:
        config: Composed ``train.yaml``.
        classes: The scenario's.
        cached: Read from the cache that ``data.cache`` asks for; False: from the files.

    Raises:
        InputError: A side is not named, or a setting does not fit.
    """
    from hiast.data import JoinedDataModule

    cache = build_cache(config) if cached else None
    options: dict[str, Any] = {"classes": classes, "unreadable": config.data.unreadable, "cache": cache}
    options |= {"max_images": config.data.max_images} if config.data.max_images is not None else {}
    sampling = config.data.rare_class_sampling
    of_source = {} if sampling is None else {"rare_class_sampling": plain(sampling)}
    source = _dataset(config, "source", options | of_source)
    target = _dataset(config, "target", options)
    for module in single_datasets(source):
        keep_counts(config, module)
        if config.selection.source_fraction and not module.has_val:
            module.val_fraction = config.selection.source_fraction
    if config.data.labeled_target is None:
        return source, target
    labeled = _dataset(config, "labeled_target", options)
    share = config.data.labeled_target_share
    if not 0 < share < 1:
        raise InputError(f"data.labeled_target_share is {share}: give a number between 0 and 1.")
    for module in single_datasets(labeled):
        # Candidates are measured on validation images of the source, never of the target.
        module.validates = False
    weights = [(1 - share) * weight for weight in _weights(source)]
    both = JoinedDataModule([*single_datasets(source), *single_datasets(labeled)], [*weights, share])
    return both, target


def _weights(source: DatasetDataModule | JoinedDataModule) -> list[float]:
    """How often each dataset of a source is drawn; the weights sum to 1."""
    modules = single_datasets(source)
    if len(modules) == 1:
        return [1.0]  # Its images may still be packed in archives.
    given = getattr(source, "weights", None)
    weights = [len(module.train_dataset()) for module in modules] if given is None else list(given)
    return [weight / sum(weights) for weight in weights]


def _dataset(config: DictConfig, side: str, options: dict[str, Any]) -> Any:
    node = OmegaConf.select(config, f"data.{side}")
    if node is None:
        raise InputError(
            f"The scenario names no data.{side}: add '- /dataset@data.{side}: NAME' to its defaults."
        )
    if "_target_" not in node:
        file = source_file(f"data.{side}") or f"data.{side}"
        raise InputError(
            f"{file} does not say _target_, the class that reads the dataset; see hiast-data-new."
        )
    with naming(f"data.{side}"):
        return instantiate(node, **options, **dataset_folders(config, node, side))


def build_cache(config: DictConfig) -> Cache | None:
    """The cache of prepared images that ``data.cache`` asks for."""
    from hiast.data.io.cache import Cache

    name, root = config.data.cache, Path(config.data_root)
    # Where nothing has been chosen for the machine, "auto" reads the files.
    return None if name in (None, "auto") else Cache(derived_folder(config, root) / name, root)


def single_datasets(side: DatasetDataModule | JoinedDataModule) -> tuple[DatasetDataModule, ...]:
    """The datasets of a source or of a target."""
    from hiast.data import JoinedDataModule

    return side.modules if isinstance(side, JoinedDataModule) else (side,)


def build_datamodule(config: DictConfig, classes: LabelSpace) -> AdaptationDataModule:
    """Source and target joined."""
    from hiast.data import AdaptationDataModule
    from hiast.data.augmentation.weak import WeakAugmentation

    return AdaptationDataModule(
        *build_domains(config, classes),
        source_augmentation=WeakAugmentation(instantiate(config.crop.source)),
        target_augmentation=WeakAugmentation(instantiate(config.crop.target)),
        strong=instantiate(config.augmentation.strong),
        hard_class_augmentation=_optional(config.augmentation.hard_class),
        num_workers=config.data.num_workers,
        seed=config.seed,
    )


def _optional(node: Any) -> Any:
    """What a part of the configuration builds; None for one that was left out, whatever its other keys are."""
    return None if node is None or node.get("_target_") is None else instantiate(node)


def build_target(
    trained: dict[str, Any],
    classes: LabelSpace,
    data_root: str | None,
    num_workers: int,
    *,
    trusted: bool = False,
) -> DatasetDataModule:
    """The target of a training configuration, for evaluation.

    Args:
        trained: The configuration.
        classes: The label space.
        data_root: Replaces the folder of training; None keeps it.
        num_workers: Worker processes of the loader.
        trusted: Whether the configuration is the user's own. From that in a checkpoint, which may come from a
            stranger, nothing is built but datamodules of this library that only read (``reads_only``).

    Raises:
        InputError: The configuration names something else, or its values do not fit.
    """
    try:
        node = dict(trained["data"]["target"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            "The checkpoint does not say what its target is: name your scenario too (+scenario=NAME)."
        ) from error
    if not trusted and not _only_reads(node):
        raise InputError(
            f"The checkpoint says that {node.get('_target_')} reads the target, and a checkpoint is trusted with plain "
            "labeled datasets only: name your scenario too (+scenario=NAME, --config-dir DIR)."
        )
    if data_root is not None:
        folders = (Path(str(folder)) for folder in (node["data_root"], trained["data_root"], data_root))
        node["data_root"] = str(_moved(*folders))
    options = {"classes": classes, "unreadable": trained["data"].get("unreadable", "stop")}
    target = OmegaConf.create(node)
    check_built(target, "data.target")
    return instantiate(target, **options, num_workers=num_workers)  # type: ignore[no-any-return]


def _only_reads(node: dict[str, Any]) -> bool:
    """Whether a stranger's configuration of a dataset can do no harm."""
    import hiast.data

    _, _, name = str(node.get("_target_")).rpartition("hiast.data.")
    kind = getattr(hiast.data, name, None) if name in dir(hiast.data) else None
    # Anything that Hydra would build or look up inside of the node could run a stranger's program.
    inner = str([value for key, value in node.items() if key != "_target_"])
    harmless = "_target_" not in inner and "${" not in inner and node.get("_target_") == f"hiast.data.{name}"
    return harmless and getattr(kind, "reads_only", False) is True


def _moved(folder: Path, root: Path, new_root: Path) -> Path:
    """A dataset's folder when the root of all data has moved; a folder outside of the root is ``new_root`` itself."""
    return new_root / folder.relative_to(root) if folder.is_relative_to(root) else new_root


def build_network(config: DictConfig, classes: LabelSpace, *, pretrained: bool = True) -> SegmentationNetwork:
    """The network.

    Args:
        config: Composed ``train.yaml``.
        classes: The scenario's.
        pretrained: Whether to load the weights that the backbone's configuration names; False: random weights.

    Raises:
        InputError: The weights cannot be had, or a setting does not fit.
    """
    from hiast.models import SegmentationNetwork

    node = config.backbone.copy()
    if not pretrained:
        node.update({key: None for key in ("pretrained", "weights") if key in node})
    network = instantiate(node, num_classes=len(classes))
    if not isinstance(network, SegmentationNetwork):
        raise InputError(
            f"backbone: {node._target_} gives a {type(network).__name__}: let it be a subclass of "
            "hiast.models.SegmentationNetwork."
        )
    return network


def stage_names(config: DictConfig) -> list[str]:
    """The stages to run, in order; one whose module was left out (``warmup=none``) is not among them."""
    modules = {name: OmegaConf.select(config, f"{name}.module._target_") for name in STAGES}
    return [name for name in STAGES if name in config.stages and modules[name] is not None]


def device_count(config: DictConfig) -> int:
    """Number of devices of a run, over all machines; 1 where only Lightning knows it (``auto``)."""
    devices = config.trainer.get("devices", 1)
    count = (
        len(devices) if not isinstance(devices, int | str) else int(devices) if str(devices).isdigit() else 1
    )
    return max(1, count) * int(config.trainer.get("num_nodes", 1))


def existing(path: str | None, key: str) -> Path | None:
    """Path of a checkpoint that the user named, by itself or by the run directory that it is selected in; or None.

    Raises:
        InputError: There is no such file.
    """
    if path is None:
        return None
    from hiast.training.checkpoint import checkpoint_of, no_checkpoint

    checkpoint = checkpoint_of(path)
    if checkpoint.is_dir():
        raise InputError(f"{key}: {no_checkpoint(checkpoint)}")
    if not checkpoint.is_file():
        raise InputError(f"{key}: there is no file {path}.")
    return checkpoint


@contextmanager
def naming(key: str) -> Iterator[None]:
    """Name the user's file that holds a part of the configuration in errors about it.

    Raises:
        InputError: The same error, with the file in front.
    """
    try:
        yield
    except InputError as error:
        file = source_file(key)
        if file is None or str(file) in str(error):
            raise
        raise InputError(f"{file}: {error}") from error
