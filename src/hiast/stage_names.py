"""The names of the stages: of configuration keys, run folders and modules."""

from __future__ import annotations

STAGES = ("source_only", "warmup", "self_training", "online")
"""In the order in which a run goes through them."""

ONLY_SELF_TRAINING = ("loss", "pseudo_label", "augmentation")
"""Parts of the configuration that no stage but self-training reads."""
