"""Points at which an outcome is to be evaluated, and the indices that follow from what it is there."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from amm_opt.arrays import FloatArray
from amm_opt.errors import InputError, counted
from amm_opt.fields import is_number, is_whole, shortened
from amm_opt.studies.indices.indices import Indices

SOBOL, MORRIS, DELTA = METHODS = ("sobol", "morris", "delta")
LEVELS = 4
"""Of the grid on which Morris' trajectories go."""
CONFIDENCE = 0.95
RESAMPLES = 100
COLUMNS = {
    SOBOL: {"first": "S1", "first_conf": "S1_conf", "total": "ST", "total_conf": "ST_conf"},
    MORRIS: {"mu": "mu", "mu_star": "mu_star", "mu_star_conf": "mu_star_conf", "sigma": "sigma"},
    DELTA: {"delta": "delta_raw", "delta_conf": "delta_raw_conf", "first": "S1", "first_conf": "S1_conf"},
}
"""Of the table of each method, and what SALib calls them."""


@dataclass(frozen=True)
class Design:
    """Points in the box of some numbers' ranges, in the pattern that a method needs.

    Each number is taken to be uniform within its range and independent of the others.

    Attributes:
        bounds: lowest and highest value of each number, by name.
        method: ``sobol``: variance-based indices, first and total (Saltelli's scheme, Comput. Phys. Commun. 181(2),
            2010, doi 10.1016/j.cpc.2009.09.018; confidence by bootstrap). ``morris``: elementary effects, per range of
            a number (M. D. Morris, Technometrics 33(2), 1991, doi 10.1080/00401706.1991.10484804). ``delta``: the
            moment-independent index of Borgonovo, and first-order ones, from a Latin hypercube (E. Plischke,
            E. Borgonovo, C. L. Smith, European J. Oper. Res. 226(3), 2013, doi 10.1016/j.ejor.2012.11.047).
        count: points that the method starts from: with d numbers there are count (d + 2) points for ``sobol``, which
            takes a power of 2, count (d + 1) for ``morris``, and count for ``delta``.
        seed: of every draw, those of confidence intervals too.
        units: of the numbers, for tables and pictures.

    Raises:
        InputError: everything that is wrong with them, and where SALib (the ``study`` extra) is not installed.
    """

    bounds: Mapping[str, Sequence[float]]
    method: str = SOBOL
    count: int = 256
    seed: int = 0
    units: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problems = list(_wrong_bounds(self.bounds))
        if self.method not in METHODS:
            problems.append(f"method = {shortened(self.method)}; valid choices: {', '.join(METHODS)}")
        if not (is_whole(self.count) and self.count > 1):
            problems.append(f"count = {shortened(self.count)} must be a whole number of at least 2")
        elif self.method == SOBOL and self.count & (self.count - 1):
            near = 1 << self.count.bit_length()
            problems.append(f"count = {self.count} must be a power of 2 for sobol, such as {near}")
        if not (is_whole(self.seed) and self.seed >= 0):
            problems.append(f"seed = {shortened(self.seed)} must be a whole number of at least 0")
        problems += _wrong_units(self.units, self.bounds)
        if problems:
            raise InputError(problems, subject="design")
        _salib("sample")

    @property
    def names(self) -> tuple[str, ...]:
        """Of the numbers."""
        return tuple(self.bounds)

    def points(self) -> pd.DataFrame:
        """One row for each point, a column for each number; the same for the same seed."""
        sample, problem = _salib("sample"), self._problem
        if self.method == SOBOL:
            points = sample.sobol.sample(problem, self.count, calc_second_order=False, seed=self.seed)
        elif self.method == MORRIS:
            points = sample.morris.sample(problem, self.count, num_levels=LEVELS, seed=self.seed)
        else:
            points = sample.latin.sample(problem, self.count, seed=self.seed)
        return pd.DataFrame(points, columns=list(self.names)).rename_axis("point")

    def indices(
        self, values: Sequence[float] | pd.Series | FloatArray, outcome: str = "", points: Any = None
    ) -> Indices:
        """The indices of an outcome.

        Args:
            values: what it is at every point, in their order.
            outcome: its name.
            points: for ``delta``, others than :meth:`points`, (points, numbers), of any sample.

        Raises:
            InputError: for another number of values, and values that are missing or not finite.
        """
        y, what = np.asarray(values, dtype=float), outcome or "the outcome"
        points = self.points() if points is None or self.method != DELTA else pd.DataFrame(points)
        if y.shape != (len(points),):
            raise InputError(f"{what} has shape {y.shape}, the design {counted(len(points), 'point')}")
        if missing := np.flatnonzero(~np.isfinite(y)).tolist():
            more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
            where = ", ".join(map(str, missing[:5]))
            raise InputError(
                f"{outcome or 'the outcome'} has no finite value at points {where}{more}: indices need all"
            )
        found = _flat(len(self.bounds)) if np.ptp(y) == 0.0 else self._analysed(points.to_numpy(), y)
        if unknown := [name for name, key in COLUMNS[self.method].items() if not np.all(np.isfinite(found[key]))]:
            raise InputError(f"{', '.join(unknown)}: no finite indices from {counted(len(points), 'point')}, take more")
        columns = {name: np.asarray(found[key], dtype=float) for name, key in COLUMNS[self.method].items()}
        units = [self.units.get(name, "") for name in self.names]
        table = pd.DataFrame({"unit": units, **columns}, index=pd.Index(self.names, name="parameter"))
        return Indices(self.method, outcome, table, len(points))

    def _analysed(self, points: FloatArray, y: FloatArray) -> Mapping[str, Any]:
        analyze, how = _salib("analyze"), {"conf_level": CONFIDENCE, "num_resamples": RESAMPLES, "seed": self.seed + 1}
        with _undisturbed():
            if self.method == SOBOL:
                found = analyze.sobol.analyze(self._problem, y, calc_second_order=False, **how)
            elif self.method == MORRIS:
                found = analyze.morris.analyze(self._problem, points, y, num_levels=LEVELS, **how)
            else:
                found = analyze.delta.analyze(self._problem, points, y, **how)
        old = {key.replace("delta", "delta_raw"): value for key, value in found.items() if "delta_raw" not in found}
        return {**old, **found}  # before 1.6 there was one kind of delta

    @property
    def _problem(self) -> dict[str, Any]:
        """As SALib takes it."""
        bounds = [[float(x) for x in pair] for pair in self.bounds.values()]
        return {"num_vars": len(bounds), "names": [f"x{i}" for i in range(len(bounds))], "bounds": bounds}


@contextmanager
def _undisturbed() -> Iterator[None]:
    """What SALib changes for all is afterwards as it was: numpy's generator, filters of warnings and how they look.

    On one thread: the matrices of its kernel densities are small.
    """
    state, look = np.random.get_state(), warnings.formatwarning  # noqa: NPY002
    try:
        with threadpool_limits(1), np.errstate(all="ignore"), warnings.catch_warnings(record=True):
            yield
    finally:
        np.random.set_state(state)  # noqa: NPY002
        warnings.formatwarning = look


def _flat(count: int) -> Mapping[str, FloatArray]:
    """Of an outcome that is the same everywhere: nothing matters."""
    keys = {key for columns in COLUMNS.values() for key in columns.values()}
    return {key: np.zeros(count) for key in keys}


def _wrong_bounds(bounds: Any) -> list[str]:
    if not isinstance(bounds, Mapping) or len(bounds) < 2:
        return ["bounds of at least two numbers must be given: their lowest and highest value, by name"]
    return [
        f"bounds of {name} = {shortened(pair)} must be two numbers, the lower one first"
        for name, pair in bounds.items()
        if not (_is_pair(pair) and pair[0] < pair[1])
    ]


def _wrong_units(units: Any, bounds: Any) -> list[str]:
    if not isinstance(units, Mapping):
        return [f"units = {shortened(units)} must be a mapping from names to units"]
    return [
        f"units: there are no bounds of {name!r}"
        for name in units
        if isinstance(bounds, Mapping) and name not in bounds
    ]


def _is_pair(pair: Any) -> bool:
    return isinstance(pair, Sequence | np.ndarray) and len(pair) == 2 and all(map(is_number, pair))


def _salib(part: str) -> Any:
    """Its samplers or analysers."""
    try:
        import SALib.analyze.delta
        import SALib.analyze.morris
        import SALib.analyze.sobol
        import SALib.sample.latin
        import SALib.sample.morris
        import SALib.sample.sobol
    except ImportError as error:
        raise InputError("SALib is not installed: pip install 'amm-opt[study]'") from error
    return getattr(SALib, part)
