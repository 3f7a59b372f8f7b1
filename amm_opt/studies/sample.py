"""Samples of parameters: points that fill their ranges, drawn with a seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.stats import qmc

from amm_opt.arrays import FloatArray
from amm_opt.errors import InputError
from amm_opt.fields import is_number, is_whole, shortened
from amm_opt.studies.indices.design import DELTA, MORRIS, SOBOL, Design
from amm_opt.studies.parameters import Value

METHODS = ("random", "sobol", "latin_hypercube", "saltelli", "morris")
DESIGNS = {"saltelli": SOBOL, "morris": MORRIS, "latin_hypercube": DELTA}
"""Which indices follow from a sample."""
SALIB = ("saltelli", "morris")
POWERS = ("sobol", "saltelli")


@dataclass(frozen=True)
class Sample:
    """Points in the box of some parameters' ranges.

    Attributes:
        bounds: lowest and highest value of each parameter, by its dotted name.
        count: how many points; a power of 2 for ``sobol`` and ``saltelli``, whose balance rests on it. With d
            parameters ``saltelli`` takes count (d + 2) points, ``morris`` count (d + 1).
        method: ``random``, ``sobol`` (scrambled; I. M. Sobol, "On the distribution of points in a cube and the
            approximate evaluation of integrals", USSR Comput. Math. Math. Phys. 7(4), 1967) or ``latin_hypercube``;
            these two are those of scipy.stats.qmc; ``saltelli`` and ``morris`` are patterns from which indices follow
            (``StudyResult.indices``), those of SALib.
        seed: of every draw.

    Raises:
        InputError: everything that is wrong with them.
    """

    bounds: Mapping[str, Sequence[float]] = field(default_factory=dict)
    count: int = 64
    method: str = "sobol"
    seed: int = 0

    def __post_init__(self) -> None:
        problems = []
        if not isinstance(self.bounds, Mapping) or not self.bounds:
            problems.append("no bounds are given: name the parameters with their lowest and highest value")
        for name, pair in self.bounds.items() if isinstance(self.bounds, Mapping) else ():
            if not (_is_pair(pair) and pair[0] < pair[1]):
                problems.append(f"bounds of {name} = {shortened(pair)} must be two numbers, the lower one first")
        if not (is_whole(self.count) and self.count > 0):
            problems.append(f"count = {shortened(self.count)} must be a whole number of at least 1")
        elif self.method in POWERS and self.count & (self.count - 1):
            near = 1 << self.count.bit_length()
            problems.append(f"count = {self.count} must be a power of 2 for {self.method}, such as {near}")
        if self.method not in METHODS:
            problems.append(f"method = {shortened(self.method)}; valid choices: {', '.join(METHODS)}")
        if not (is_whole(self.seed) and self.seed >= 0):
            problems.append(f"seed = {shortened(self.seed)} must be a whole number of at least 0")
        if problems:
            raise InputError(problems, subject="sample")
        if self.method in SALIB:
            _ = self.design

    @property
    def design(self) -> Design | None:
        """What gives indices of outcomes at its points, on the unit cube; None for a sample from which none follow.

        Raises:
            InputError: for a single parameter, and where SALib (the ``study`` extra) is not installed.
        """
        if self.method not in DESIGNS:
            return None
        return Design(dict.fromkeys(self.bounds, (0.0, 1.0)), DESIGNS[self.method], self.count, self.seed)

    @property
    def size(self) -> int:
        """How many points it has."""
        d = len(self.bounds)
        return self.count * {"saltelli": d + 2, "morris": d + 1}.get(self.method, 1)

    def points(self, whole: Sequence[str] = ()) -> list[dict[str, Value]]:
        """The parameters of every point.

        Args:
            whole: those that take whole numbers only, both ends of their bounds included.
        """
        return self._scaled(self.unit, whole)

    @property
    def unit(self) -> FloatArray:
        """(points, parameters) in the unit cube."""
        generator, size = np.random.default_rng(self.seed), len(self.bounds)
        if self.method in SALIB and (design := self.design) is not None:
            return np.asarray(design.points(), dtype=float)
        if self.method == "random":
            return generator.random((self.count, size))
        if self.method == "sobol":
            return np.asarray(qmc.Sobol(size, scramble=True, seed=generator).random(self.count))
        return np.asarray(qmc.LatinHypercube(size, seed=generator).random(self.count))

    def _scaled(self, unit: FloatArray, whole: Sequence[str]) -> list[dict[str, Value]]:
        columns: list[list[Value]] = []
        for (name, (low, high)), u in zip(self.bounds.items(), unit.T, strict=True):
            if name in whole:
                count = int(high) - int(low) + 1
                columns.append([int(low) + int(x) for x in np.minimum(np.floor(u * count), count - 1)])
            else:
                columns.append([float(low + (high - low) * x) for x in u])
        return [dict(zip(self.bounds, row, strict=True)) for row in zip(*columns, strict=True)]


def _is_pair(pair: Any) -> bool:
    return isinstance(pair, Sequence | np.ndarray) and len(pair) == 2 and all(map(is_number, pair))
