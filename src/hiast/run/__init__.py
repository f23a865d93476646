"""A run: its directory, and the walk through its stages."""

from hiast.run.directory import RunDirectory
from hiast.run.pipeline import Pipeline
from hiast.run.stages import Round, Stage

__all__ = ["Pipeline", "Round", "RunDirectory", "Stage"]
