"""Label-free scores of a network on the target, choice of a checkpoint among candidates, alarms and guards."""

from hiast.selection.agreement import PairCounter, PairScores
from hiast.selection.alarms import AlarmLimits, raised
from hiast.selection.candidates import SOURCE_ONLY, TARGET_STATISTICS, Candidate, CandidateScores
from hiast.selection.choose import Choice, Row, Rule, choice_cells, choose
from hiast.selection.ensemble import PredictionStore, compare, ensemble_agreement
from hiast.selection.guards import DynamicTeacher, batch_density, return_to
from hiast.selection.measure import class_shares, measure_source, measure_target, with_ensemble
from hiast.selection.records import CandidateRecords, read_choice, write_choice
from hiast.selection.rules import EnsembleRule, Limits, MeanRankRule, Verdict
from hiast.selection.samples import evenly_spaced, held_out
from hiast.selection.scores import TargetScores, TargetSummary
from hiast.selection.views import VIEWS, ConsistencyView, ViewConsistency

__all__ = [
    "SOURCE_ONLY",
    "TARGET_STATISTICS",
    "VIEWS",
    "AlarmLimits",
    "Candidate",
    "CandidateRecords",
    "CandidateScores",
    "Choice",
    "ConsistencyView",
    "DynamicTeacher",
    "EnsembleRule",
    "Limits",
    "MeanRankRule",
    "PairCounter",
    "PairScores",
    "PredictionStore",
    "Row",
    "Rule",
    "TargetScores",
    "TargetSummary",
    "Verdict",
    "ViewConsistency",
    "batch_density",
    "choice_cells",
    "choose",
    "class_shares",
    "compare",
    "ensemble_agreement",
    "evenly_spaced",
    "held_out",
    "measure_source",
    "measure_target",
    "raised",
    "read_choice",
    "return_to",
    "with_ensemble",
    "write_choice",
]
