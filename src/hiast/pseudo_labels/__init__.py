"""Pseudo-labels: threshold policies, exact streaming selection, statistics, and the labeling of a whole set."""

from __future__ import annotations

from hiast.pseudo_labels.class_statistics import RoundStatistics
from hiast.pseudo_labels.confidence import top_class
from hiast.pseudo_labels.generate import generate_round
from hiast.pseudo_labels.policies import Argmax, ClassBalanced, Constant, InstanceAdaptive, Policy
from hiast.pseudo_labels.select import Selection, select

__all__ = [
    "Argmax",
    "ClassBalanced",
    "Constant",
    "InstanceAdaptive",
    "Policy",
    "RoundStatistics",
    "Selection",
    "generate_round",
    "select",
    "top_class",
]
