"""Contents of checkpoints: what rebuilds a module of any stage from tensors and plain values alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

import torch

from hiast.classes import LabelSpace
from hiast.errors import InputError
from hiast.models import SegmentationNetwork
from hiast.plain import plain
from hiast.training.checkpoint import FORMAT, network_from, read_checkpoint
from hiast.training.ingredients import unknown_parts
from hiast.training.prediction import PredictionModule


class StoredModule(PredictionModule):
    """A module whose checkpoints hold everything that rebuilds it.

    Attributes:
        stage: Name of the stage.
        round_number: Round of the stage, counted from 1.
        run_config: Plain values of the configuration of the run, stored in checkpoints.
    """

    stage: ClassVar[str]
    round_number: int

    def __init__(
        self,
        network: SegmentationNetwork,
        classes: LabelSpace,
        validation_size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(network, classes, validation_size)
        self.run_config: dict[str, Any] = {}
        self._batches_before = 0
        self._processed_before = 0

    @property
    def batches_done(self) -> int:
        """Batches of this round that have gone through the optimizer, over all starts of the program."""
        return self._batches_before + self._processed - self._processed_before

    @property
    def _processed(self) -> int:
        """Batches that the trainer has trained on, in all of its epochs."""
        if self._trainer is None:
            return 0
        progress: Any = self.trainer.fit_loop.epoch_loop.batch_progress.total
        return int(progress.processed)

    def on_fit_start(self) -> None:
        """Count the batches of this fit alone: a trainer may have fitted another module before."""
        self._processed_before = self._processed

    @property
    def steps_done(self) -> int:
        """Optimizer steps of this round that are done."""
        return self.batches_done

    def arguments(self) -> dict[str, Any]:
        """Constructor arguments as plain values, stored in checkpoints."""
        return {"validation_size": None if self.validation_size is None else list(self.validation_size)}

    @classmethod
    def from_arguments(
        cls, network: SegmentationNetwork, classes: LabelSpace, arguments: dict[str, Any]
    ) -> Self:
        """The inverse of ``arguments``."""
        return cls(network, classes, **arguments)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what rebuilds the module, as plain values, and leave Lightning's loop counters and hyperparameters out.

        A run resumes from (stage, round, batches_done) alone, in a fresh loop over a loader that starts there.
        """
        checkpoint.pop("loops", None)
        # What save_hyperparameters collects includes objects, and ``arguments`` rebuilds the module.
        checkpoint.pop("hyper_parameters", None)
        # Lightning counts these from where the program was started last.
        checkpoint.update(epoch=0, global_step=self.steps_done)
        checkpoint.get("callbacks", {}).pop(
            "Timer", None
        )  # trainer.max_time limits each start of the program.
        about = {
            "format": FORMAT,
            "stage": self.stage,
            "round": self.round_number,
            "batches_done": self.batches_done,
            "arguments": self.arguments(),
            "classes": self.classes.to_dict(),
            "network": getattr(self.network, "recipe", None),
            "config": self.run_config,
        }
        # Settings from numpy would make a file that is refused when it is loaded.
        checkpoint["hiast"] = plain(about)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Resume behind the last batch of the checkpoint.

        Raises:
            InputError: The checkpoint is of another stage, or was not written by a module of this library.
        """
        about = checkpoint.get("hiast")
        if not isinstance(about, dict):
            raise InputError(f"{self.stage}: the checkpoint was not written by a module of this library.")
        stage = about.get("stage", self.stage)
        if stage != self.stage:
            raise InputError(
                f"{self.stage}: the checkpoint is of stage {stage}: go on from one of stage {self.stage}, or "
                "give the network of hiast.training.load_module to a new module."
            )
        self._batches_before = int(about["batches_done"])

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]
        cls,
        checkpoint_path: str | Path,
        map_location: str | torch.device = "cpu",
        network: SegmentationNetwork | None = None,
    ) -> Self:
        """Rebuild a module from a checkpoint of its own stage; nothing but tensors and plain values is loaded.

        Args:
            checkpoint_path: A ``last.ckpt`` or ``best.ckpt``.
            map_location: Device for the weights.
            network: The network, if it is of a class of your own; otherwise it is rebuilt from the checkpoint.

        Raises:
            InputError: No such file, not a checkpoint of this library, one of another stage, or a network that does
                not fit it.
        """
        checkpoint = read_checkpoint(checkpoint_path, map_location)
        about = checkpoint["hiast"]
        if about["stage"] != cls.stage:
            raise InputError(
                f"{checkpoint_path} is a checkpoint of stage {about['stage']}, not of {cls.stage}: use "
                "hiast.training.load_module, which takes any stage."
            )
        with torch.random.fork_rng(devices=[]):  # Random weights are replaced by those of the checkpoint.
            built = network if network is not None else network_from(checkpoint, checkpoint_path)
            try:
                module = cls.from_arguments(built, LabelSpace(**about["classes"]), about["arguments"])
                # The state of an ingredient of one's own has no place; only further training would need it.
                unknown = tuple(f"{name}." for name in unknown_parts(about["arguments"]))
                state = {
                    key: value
                    for key, value in checkpoint["state_dict"].items()
                    if not key.startswith(unknown)
                }
                module.load_state_dict(state)
            except (KeyError, TypeError, ValueError, RuntimeError) as error:
                reason = " ".join(str(error).split())[:200]
                raise InputError(
                    f"{checkpoint_path} does not fit {cls.__name__} with its network: {reason}"
                ) from error
        module.on_load_checkpoint(checkpoint)
        module.run_config = about["config"]
        return module.to(map_location).eval()
