"""Margins for what is not known: by how much limits shift so that they still hold when load turns out otherwise."""

from amm_opt.margins.margin import Margin, as_margin, draws_needed
from amm_opt.margins.shift import LoadErrors, Shift

__all__ = ["LoadErrors", "Margin", "Shift", "as_margin", "draws_needed"]
