"""A run: its directory, its stages, and the pipeline that trains them in order."""

from hiast.run.directory import RunDirectory
from hiast.run.pipeline import Pipeline
from hiast.run.stages import Round, Stage

__all__ = ["Pipeline", "Round", "RunDirectory", "Stage"]
