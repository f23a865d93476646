"""Pseudo-labels: threshold policies, exact streaming selection, statistics, and labelling a whole set."""

from __future__ import annotations

from hiast.pseudo_labels.generate import generate_round
from hiast.pseudo_labels.policies import Argmax, ClassBalanced, Constant, InstanceAdaptive, Policy
from hiast.pseudo_labels.select import Selection, select
from hiast.pseudo_labels.statistics import RoundStatistics

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
]
