"""Unsupervised domain adaptation for semantic segmentation by hard-aware instance adaptive self-training."""

__version__ = "0.1.0"
