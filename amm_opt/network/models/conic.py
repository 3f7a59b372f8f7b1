"""What the toolkit needs of a conic network model beside what every model has."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import cvxpy as cp
import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from amm_opt.arrays import BoolArray, FloatArray, IntArray
from amm_opt.errors import InputError
from amm_opt.network.models.base import NetworkModel
from amm_opt.network.models.limits import Quantities

LOSS_WEIGHT = 1e-3


@dataclass(frozen=True, eq=False)
class ConicForm:
    """The relaxation as matrices over the unknowns u = (P, Q, w, l), per unit of each branch's rating.

    With net injections p (kW) and q (kvar) of the buses:

        equality @ u + active @ p + reactive @ q == rhs
        lower <= w = u[voltage] <= upper, l = u[current] >= 0
        every 4 rows of currents @ u + currents_base in a second-order cone (the first is the length)
        every 3 rows of powers @ u + powers_base, the limit of the branch added to the first, likewise: transformers
        amperes @ u + amperes_base <= limit of the branch: lines and switches
        lower <= metered @ u <= upper, the active power of branches with a limit of it: the last quantities

    ``powers`` and ``amperes`` have the sending ends first and then the receiving ends, those of lines where the
    current differs.

    Attributes:
        loss_kw: (k,) losses of all branches are loss_kw @ u.
        branches: (L,) branches with an impedance or a limit in amperes, by the bus they feed: one of ``l`` and of the
            currents' cones each; ``lossy`` (L,) those with an impedance.
        of_powers, of_amperes: which of the limits of branches each row or cone has.
    """

    equality: sp.csr_array
    active: sp.csr_array
    reactive: sp.csr_array
    rhs: FloatArray
    voltage: slice
    current: slice
    currents: sp.csr_array
    currents_base: FloatArray
    powers: sp.csr_array
    powers_base: FloatArray
    amperes: sp.csr_array
    amperes_base: FloatArray
    of_powers: IntArray
    of_amperes: IntArray
    metered: sp.csr_array
    loss_kw: FloatArray
    branches: IntArray
    lossy: BoolArray

    @property
    def size(self) -> int:
        """Number of unknowns k."""
        return len(self.loss_kw)

    @property
    def rated_from(self) -> int:
        """Place of the first rating among the limited quantities, behind the voltages."""
        return int(self.voltage.stop - self.voltage.start)

    def inequalities(self, lower: FloatArray, upper: FloatArray) -> tuple[sp.csr_array, FloatArray]:
        """Limits (m,) as rows ``matrix @ u <= rhs``, all but those of cones."""
        eye = sp.eye_array(self.size, format="csr")
        w, n = eye[self.voltage], self.rated_from
        amperes = upper[n + self.of_amperes] - self.amperes_base
        active = slice(len(upper) - self.metered.shape[0], len(upper))
        above, below = np.isfinite(upper[active]), np.isfinite(lower[active])
        metered = upper[active][above], -lower[active][below]
        rows = [w, -w, -eye[self.current], self.amperes, self.metered[above], -self.metered[below]]
        rhs = [upper[:n], -lower[:n], np.zeros(len(self.branches)), amperes, *metered]
        return sp.csr_array(sp.vstack(rows)), np.concatenate(rhs)

    def gap(self, u: FloatArray, n_buses: int) -> FloatArray:
        """(n_buses,) ``l v - (P^2 + Q^2)`` at each branch, as a fraction of its rating squared; 0 where exact."""
        longest, p2, q2, difference = (self.currents @ u + self.currents_base).reshape(-1, 4).T
        out = np.zeros(n_buses)
        gap = np.maximum(longest**2 - difference**2 - p2**2 - q2**2, 0.0) / 4.0
        out[self.branches[self.lossy]] = gap[self.lossy]
        return out


@dataclass(frozen=True, eq=False)
class Relaxation:
    """The relaxed model of one injection in cvxpy: unknowns, constraints and the losses of all branches in kW."""

    unknowns: cp.Variable
    constraints: list[cp.Constraint]
    loss_kw: cp.Expression


class ConicNetworkModel(NetworkModel):
    """A network model with losses, whose programs take a convex relaxation: second-order cones instead of rows.

    ``state`` and ``evaluate`` are those of the network itself, not of the relaxation.

    Attributes:
        loss_weight: times the losses in kW is subtracted from what is maximised, so that among equals the least
            losses are taken.
    """

    loss_weight: ClassVar[float] = LOSS_WEIGHT

    @property
    @abstractmethod
    def form(self) -> ConicForm:
        """The relaxation as matrices."""

    @abstractmethod
    def relaxation(
        self, p_kw: cp.Expression, q_kvar: cp.Expression, lower: cp.Expression, upper: cp.Expression
    ) -> Relaxation:
        """The relaxed model in cvxpy; arguments as for :meth:`constraints`."""

    @property
    @abstractmethod
    def linear(self) -> NetworkModel:
        """The linear model of the same feeder, from which sensitivities are read."""

    def constraints(
        self, p_kw: cp.Expression, q_kvar: cp.Expression, lower: cp.Expression, upper: cp.Expression
    ) -> list[cp.Constraint]:
        """The relaxed model as cvxpy constraints."""
        return self.relaxation(p_kw, q_kvar, lower, upper).constraints

    def rows(self, k: ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
        """A conic model has no affine rows; its ``linear`` one has.

        Raises:
            InputError: always.
        """
        raise InputError(f"limited quantities of {self.name} are not affine: take rows of its linear model")


@dataclass(frozen=True, eq=False)
class Tangents:
    """K limited quantities where they touch injections p, q: value + active @ (p' - p) + reactive @ (q' - q) elsewhere.

    Attributes:
        value: (K,) there.
        active, reactive: (K, ...) per kW and per kvar of what the model takes as an injection.
    """

    value: FloatArray
    active: FloatArray
    reactive: FloatArray


@runtime_checkable
class TangentModel(Protocol):
    """A network model whose upper limits are of convex quantities and whose lower limits are of concave ones."""

    @property
    def quantities(self) -> Quantities:
        """Every limited quantity."""

    def evaluate(self, p_kw: ArrayLike, q_kvar: ArrayLike) -> FloatArray:
        """The quantities, NaN where there are none."""

    def tangents(self, p_kw: FloatArray, q_kvar: FloatArray, k: IntArray) -> Tangents:
        """Tangents of the quantities ``k`` at one injection."""


def stacked(blocks: list[list[sp.csr_array | None]]) -> sp.csr_array:
    """A block matrix that stores no zeros."""
    matrix = sp.csr_array(sp.block_array(blocks))
    matrix.eliminate_zeros()
    return matrix


def interleaved(parts: list[sp.csr_array]) -> sp.csr_array:
    """Row 0 of every part, then row 1 of every part, and so on."""
    count, rows = len(parts), parts[0].shape[0]
    order = np.arange(count * rows).reshape(count, rows).T.ravel()
    return sp.csr_array(sp.csr_array(sp.vstack(parts))[order])
