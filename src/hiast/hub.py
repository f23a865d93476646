"""Networks as they are shared: loaded from checkpoints, folders of the Hugging Face Hub and exported files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from huggingface_hub import ModelCard, ModelHubMixin, hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
)
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from hiast.classes import LabelSpace
from hiast.errors import InputError
from hiast.export.card import DEMO_DOMAINS, card_text
from hiast.files import write_atomically
from hiast.models import build_from_recipe
from hiast.plain import plain
from hiast.prediction.image_settings import image_settings
from hiast.training import load_module
from hiast.training.checkpoint import EXPORTED, checkpoint_of, no_checkpoint
from hiast.training.prediction import PredictionModule

if TYPE_CHECKING:
    from hiast.export.exported import ExportedModel
    from hiast.models import SegmentationNetwork

FORMAT = 1
"""Version of config.json; raised when older programs could not read it."""

WEIGHTS, CONFIG = "model.safetensors", "config.json"
_CHECKPOINTS = (".ckpt", ".pth", ".pt", ".bin", ".safetensors", *EXPORTED)
"""Suffixes of files, which no repository is asked for."""


class SegmentationModel(
    PredictionModule, ModelHubMixin, library_name="hiast", tags=["semantic-segmentation"]
):
    """A trained network with what is needed to use and to share it: classes, colors, normalization and size.

    ``save_pretrained(folder)``, ``from_pretrained(folder or repository)`` and ``push_to_hub(repository)`` are those of
    huggingface_hub. A folder holds config.json, model.safetensors and README.md, a model card; nothing is pickled.

    Args:
        network: The network; it is set to eval mode.
        classes: The label space; its length is C.
        validation_size: (height, width) at which the network sees images; None keeps the size of each image.
        facts: Plain values for the model card: ``scenario``, ``stage``, ``round``, ``source``, ``target`` (names of
            datasets) and ``metrics`` (name -> value in 0..1).
        image_settings: How image files are read: ``bands`` and ``value_range`` as in the target's dataset.

    Examples:
        >>> import numpy as np
        >>> from hiast.classes import CITYSCAPES_19
        >>> from hiast.models import DeepLabV2
        >>> network = DeepLabV2(num_classes=19, layers=(1, 1, 1, 1), width=8)
        >>> model = SegmentationModel(network, CITYSCAPES_19, validation_size=(64, 128))
        >>> _ = model.save_pretrained("my-model")
        >>> model = SegmentationModel.from_pretrained("my-model")
        >>> model.predict(np.zeros((100, 200, 3), np.uint8)).labels.shape
        (100, 200)
    """

    # The mixin would read a configuration off the arguments, which are objects here.
    _hub_mixin_config: ClassVar[dict[str, Any]] = {}  # type: ignore[misc]

    def __init__(
        self,
        network: SegmentationNetwork,
        classes: LabelSpace,
        validation_size: tuple[int, int] | None = None,
        facts: dict[str, Any] | None = None,
        image_settings: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(network, classes, validation_size)
        self.facts = dict(facts or {})
        self.image_settings = dict(image_settings or {})
        self.eval()

    @classmethod
    def from_checkpoint(
        cls, path: str | Path, map_location: str | torch.device = "cpu", *, teacher: bool = False
    ) -> Self:
        """The network of a checkpoint of any stage.

        Args:
            path: A checkpoint of this library.
            map_location: Device for the weights.
            teacher: Take the teacher of a self-training checkpoint instead of the network that was evaluated.

        Raises:
            InputError: The file cannot be read, or has no teacher.
        """
        module: Any = load_module(path, map_location)
        network = module.evaluation_network
        if teacher:
            if not hasattr(module, "teacher"):
                raise InputError(
                    f"{path} is of stage {module.stage} and has no teacher: leave teacher=true out."
                )
            network = module.teacher.network
        facts = run_facts(module.run_config) | {"stage": module.stage, "round": module.round_number}
        read_as = image_settings(module.run_config)
        return cls(network, module.classes, module.validation_size, facts, read_as).to(map_location)

    @property
    def run_config(self) -> dict[str, Any]:
        """The part of a run's configuration that prediction needs: how images of the target are read."""
        return {"data": {"target": self.image_settings}}

    def to_config(self) -> dict[str, Any]:
        """Contents of config.json.

        Raises:
            InputError: The network is of a class of your own, which nobody else could rebuild.
        """
        recipe = getattr(self.network, "recipe", None)
        if recipe is None:
            raise InputError(
                "The network is of your own class, without a recipe to rebuild it, and cannot be shared."
            )
        names = self.classes.names
        config: dict[str, Any] = {
            "format": FORMAT,
            "library_name": "hiast",
            "architectures": ["SegmentationModel"],
            "num_labels": len(names),
            "id2label": {str(index): name for index, name in enumerate(names)},
            "label2id": {name: index for index, name in enumerate(names)},
            "colors": [list(color) for color in self.classes.colors],
            "reported_means": {title: list(of) for title, of in self.classes.reported.items()},
            "image_mean": list(self.network.mean),  # type: ignore[arg-type]
            "image_std": list(self.network.std),  # type: ignore[arg-type]
            "inference_size": None if self.validation_size is None else list(self.validation_size),
            "network_recipe": recipe,
            "training_facts": self.facts,
            "image_reading": self.image_settings,
        }
        return plain(config)  # type: ignore[no-any-return]

    def _save_pretrained(self, save_directory: Path) -> None:
        config = json.dumps(self.to_config(), indent=2, ensure_ascii=False) + "\n"
        write_atomically(save_directory / CONFIG, config.encode("utf-8"))
        state = {key: value.detach().cpu().contiguous() for key, value in self.network.state_dict().items()}
        partial = save_directory / f".{WEIGHTS}.part"
        try:
            partial.touch()
            allowed = partial.stat().st_mode
            save_file(_unshared(state), partial, metadata={"format": "pt"})
            # safetensors keeps new files from other users; a folder to share has the usual permissions of the user.
            partial.chmod(allowed)
            partial.replace(save_directory / WEIGHTS)
        finally:
            partial.unlink(missing_ok=True)

    @classmethod
    def _from_pretrained(  # type: ignore[override]
        cls,
        *,
        model_id: str,
        revision: str | None,
        cache_dir: str | Path | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        config: dict[str, Any] | None = None,
        map_location: str | torch.device = "cpu",
    ) -> Self:
        if config is None:
            raise InputError(
                f"{model_id} is neither a folder with a {CONFIG} of this library nor a repository that can be reached."
            )
        if Path(model_id).is_dir():
            weights = Path(model_id) / WEIGHTS
        else:
            options: dict[str, Any] = {
                "revision": revision,
                "cache_dir": cache_dir,
                "force_download": force_download,
                "local_files_only": local_files_only,
                "token": token,
            }
            try:
                weights = Path(hf_hub_download(repo_id=model_id, filename=WEIGHTS, **options))
            except (EntryNotFoundError, LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
                raise InputError(f"{model_id} has no {WEIGHTS} that can be fetched: {error}") from error
        return cls._built(config, weights, model_id).to(map_location)

    @classmethod
    def _built(cls, config: dict[str, Any], weights: Path, name: str) -> Self:
        if config.get("format") != FORMAT or not isinstance(config.get("network_recipe"), dict):
            raise InputError(f"{name} was not saved by this library, or by a newer version of it.")
        if not weights.is_file():
            raise InputError(f"{name} is not complete: it holds no {WEIGHTS}.")
        try:
            names = [config["id2label"][str(index)] for index in range(len(config["id2label"]))]
            classes = LabelSpace(tuple(names), tuple(config["colors"]), config["reported_means"])
            with torch.random.fork_rng(devices=[]):  # Random weights are replaced by those of the file.
                network = build_from_recipe(config["network_recipe"])
            network.load_state_dict(load_file(weights))
            size = config["inference_size"]
            return cls(
                network,
                classes,
                None if size is None else (size[0], size[1]),
                config["training_facts"],
                config.get("image_reading"),
            )
        except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"{name} is damaged: {reason}") from error

    def generate_model_card(self, *args: Any, **kwargs: Any) -> ModelCard:
        """The model card as README.md; ``save_pretrained(model_card_kwargs={...})`` adds or replaces facts.

        Args:
            args: Not used.
            kwargs: Facts: ``metrics``, ``source``, ``target``, ``license``, ``data_licenses`` (dataset -> sentence).
        """
        return ModelCard(card_text(self.to_config(), self.facts | kwargs))


def load_model(
    path: str | Path, device: str | torch.device = "cpu", *, teacher: bool = False
) -> SegmentationModel | ExportedModel:
    """A trained network, ready to predict.

    Args:
        path: A checkpoint, or a run directory, which stands for its ``selected.ckpt``; a folder of ``save_pretrained``
            or the name of a repository of the Hub; or an exported file: ``.onnx``, ``.xml`` (OpenVINO), ``.pt2``
            (torch.export) or ``.safetensors``.
        device: Where it runs.
        teacher: Take the teacher of a self-training checkpoint.

    Raises:
        InputError: There is no such file or device, the file cannot be read, or a package is missing that runs it.

    Examples:
        >>> import numpy as np
        >>> from hiast.classes import CITYSCAPES_19
        >>> from hiast.models import DeepLabV2
        >>> network = DeepLabV2(num_classes=19, layers=(1, 1, 1, 1), width=8)
        >>> _ = SegmentationModel(network, CITYSCAPES_19, (64, 128)).save_pretrained("my-model")
        >>> load_model("my-model").predict(np.zeros((100, 200, 3), np.uint8)).confidence.dtype
        dtype('float32')
    """
    place = checkpoint_of(Path(path).expanduser())
    _check_device(device)
    if teacher and (place.is_dir() or place.suffix in (*EXPORTED, ".safetensors")):
        raise InputError(f"{path} holds a single network: leave teacher=true out.")
    if place.suffix.lower() in EXPORTED:
        from hiast.export.exported import load_exported

        return load_exported(place, device)
    if place.suffix.lower() == ".safetensors":
        from hiast.export.description import read_safetensors_description

        config = read_safetensors_description(place)
        return SegmentationModel._built(config, place, str(path)).to(device)
    if place.is_dir() and not (place / CONFIG).is_file():
        raise InputError(no_checkpoint(place))
    if place.is_dir():
        _check_config(place / CONFIG)
        return SegmentationModel.from_pretrained(str(place), map_location=device)
    # A repository may have a dot in its name, as version numbers have.
    if not place.exists() and place.suffix.lower() not in _CHECKPOINTS:
        return _from_repository(str(path), device)
    return SegmentationModel.from_checkpoint(place, device, teacher=teacher)


def _check_config(path: Path) -> None:
    try:
        content = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}): save or download the model again.") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is damaged (it holds no object): save or download the model again.")


def _check_device(device: str | torch.device) -> None:
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise InputError(f"device: there is no '{device}'; name cpu, cuda, cuda:1 or mps.") from error
    if (kind == "cuda" and not torch.cuda.is_available()) or (
        kind == "mps" and not torch.backends.mps.is_available()
    ):
        raise InputError(f"device: '{device}' is not there: PyTorch sees no such device on this machine.")


def _from_repository(name: str, device: str | torch.device) -> SegmentationModel:
    """A model of the Hub; a name that is more likely a mistyped path is not looked for there."""
    owner, _, _ = name.partition("/")
    if not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name) or Path(owner).exists():
        raise InputError(f"There is no checkpoint and no folder {name}.")
    try:
        return SegmentationModel.from_pretrained(name, map_location=device)
    except (EntryNotFoundError, LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
        raise InputError(
            f"There is no checkpoint and no folder {name}, and no repository of that name can be reached."
        ) from error


def run_facts(config: dict[str, Any]) -> dict[str, Any]:
    """What the configuration of a run says for a model card: scenario, source and target."""
    facts: dict[str, Any] = {}
    if isinstance(config.get("name"), str):
        facts["scenario"] = config["name"]
    if facts.get("scenario") == "demo":
        return facts | DEMO_DOMAINS
    data = config.get("data")
    for side in ("source", "target"):
        node = data.get(side) if isinstance(data, dict) else None
        if isinstance(node, dict) and isinstance(node.get("_target_"), str):
            kind = node["_target_"].rpartition(".")[2].removesuffix("DataModule")
            facts[side] = str(node.get("name") or kind) if kind == "Folder" else kind
    return facts


def _unshared(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors that own their memory, which safetensors asks for."""
    seen: set[int] = set()
    own: dict[str, torch.Tensor] = {}
    for key, value in state.items():
        own[key] = value.clone() if value.data_ptr() in seen else value
        seen.add(value.data_ptr())
    return own
