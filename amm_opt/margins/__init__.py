"""Margins for what is not known: by how much limits shift so that they still hold when load turns out otherwise."""

from amm_opt.margins.auto import (
    CLOSE,
    LARGEST_SCALE,
    TRAINING,
    AutoMargin,
    Trained,
    asked_margin,
    smallest_scale,
    trained,
)
from amm_opt.margins.errors import LoadErrors
from amm_opt.margins.margin import Margin, as_margin, draws_needed
from amm_opt.margins.shift import Shift

__all__ = [
    "CLOSE",
    "LARGEST_SCALE",
    "TRAINING",
    "AutoMargin",
    "LoadErrors",
    "Margin",
    "Shift",
    "Trained",
    "as_margin",
    "asked_margin",
    "draws_needed",
    "smallest_scale",
    "trained",
]
