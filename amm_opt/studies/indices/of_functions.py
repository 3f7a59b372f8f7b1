"""Indices of functions in one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from amm_opt.errors import InputError
from amm_opt.fields import is_number, not_callable, shortened
from amm_opt.studies.indices.design import DELTA, MORRIS, SOBOL, Design
from amm_opt.studies.indices.indices import Indices

Bounds = Mapping[str, Sequence[float]]
Function = Callable[..., float]


def sobol_indices(
    function: Function, bounds: Bounds, *, count: int = 256, seed: int = 0, units: Mapping[str, str] | None = None
) -> Indices:
    """Sobol' indices, first and total, of a function of some uncertain numbers.

    Args:
        function: called with the numbers by name, ``function(kappa=2.0, rho=0.1)``, and returns the outcome.
        bounds, count, seed, units: see ``Design``; it is called count (numbers + 2) times.

    Raises:
        InputError: see ``Design``; also where the function returns no finite number.
    """
    return _indices(function, Design(bounds, SOBOL, count, seed, units or {}))


def morris_indices(
    function: Function, bounds: Bounds, *, count: int = 16, seed: int = 0, units: Mapping[str, str] | None = None
) -> Indices:
    """Morris' elementary effects: which numbers matter at all, in count (numbers + 1) calls; as ``sobol_indices``."""
    return _indices(function, Design(bounds, MORRIS, count, seed, units or {}))


def delta_indices(
    function: Function, bounds: Bounds, *, count: int = 512, seed: int = 0, units: Mapping[str, str] | None = None
) -> Indices:
    """Moment-independent delta indices, and first-order ones, from count calls; as ``sobol_indices``."""
    return _indices(function, Design(bounds, DELTA, count, seed, units or {}))


def _indices(function: Function, design: Design) -> Indices:
    if problem := not_callable(function, "function") or ("a function must be given" if function is None else ""):
        raise InputError(problem)
    values = [_number(function(**point)) for point in design.points().to_dict("records")]
    return design.indices(values, getattr(function, "__name__", ""))


def _number(value: Any) -> float:
    if not is_number(value):
        raise InputError(f"the function returned {shortened(value)}, which is no finite number")
    return float(value)
