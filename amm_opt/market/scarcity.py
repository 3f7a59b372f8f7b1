"""Scarcity: how much of the requested use each limit cannot carry, who inherits it, and the price it makes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from amm_opt.arrays import BoolArray, FloatArray, IntArray
from amm_opt.cases import Case, Requests
from amm_opt.errors import InputError, unknown
from amm_opt.fields import Checked, is_number
from amm_opt.grid import KEPT_NUMBERS, ROWS_AT_ONCE, Grid
from amm_opt.network import Layers
from amm_opt.network.feeder.layers import SYSTEM
from amm_opt.tolerances import ROW_SLACK

SHAPES = ("linear", "power", "logistic", "published")


NODAL, UNIFORM = "nodal", "uniform"


@dataclass(frozen=True, eq=False)
class Scarcity:
    """Deficits of one interval and what they come from; import first.

    Attributes:
        deficit: (2, n) what everybody inherits, in [0, 1].
        quantity: (2, n) the limited quantity that is tightest for each, -1 where there is no deficit.
        upper: (2, n) whether it is its upper limit.
    """

    deficit: FloatArray
    quantity: IntArray
    upper: BoolArray


def deficits(grid: Grid, requests: Requests, pricing: str = NODAL) -> FloatArray:
    """Deficit that each participant inherits in one interval: (2, n), row 0 import, row 1 export, in [0, 1].

    For a limited quantity c, headroom H is its limit minus what inflexible load uses and U what the net of all
    requests would use on top; its deficit is clip(1 - H/U, 0, 1) where U > 0: the fraction of the requested use that
    c cannot carry. A participant inherits the tightest limit, weighted by its own sensitivity relative to that of the
    most sensitive participant; a side of a limit counts for the direction that loads it. A limit that all requests
    together exceed by less than what solvers let pass is kept, and has no deficit. (Ours.) On a conic network model
    the limited quantities are those of LinDistFlow.

    Args:
        requests: one interval, arrays of shape (n,).
        pricing: ``nodal``, as above; or the name of a layer of ``Case.layers``, of which every area is a zone of one
            deficit, that of the tightest in it, and limits of finer layers do not count; ``uniform`` for the zone
            ``system``.

    Raises:
        InputError: where there is no such layer.
    """
    return grid.once(requests, f"deficits {pricing}", lambda: _deficits(grid.linear, requests, pricing))


def scarcity(grid: Grid, requests: Requests, pricing: str = NODAL) -> Scarcity:
    """The same deficits, and the limit that each comes from; the first of those that are equally tight.

    Args, Raises: as for :func:`deficits`.
    """
    grid = grid.linear
    deficit, quantity = np.zeros(2 * grid.n), np.full(2 * grid.n, -1, dtype=np.intp)
    upper = np.zeros(2 * grid.n, dtype=bool)
    for row, side, who, missing in _tight(grid, requests, pricing):
        mine = np.arange(2 * grid.n)[who]
        mine = mine[missing > deficit[mine]]
        deficit[who] = np.maximum(deficit[who], missing)
        quantity[mine], upper[mine] = row, side > 0
    whole = Scarcity(deficit.reshape(2, -1), quantity.reshape(2, -1), upper.reshape(2, -1))
    if (zone := zones(grid.case, pricing)) is None:
        return whole
    tightest = np.zeros((2, zone.max(initial=0) + 1), dtype=np.intp)
    for d, order in enumerate(np.argsort(whole.deficit, axis=1, kind="stable")):
        tightest[d, zone[order]] = order
    of = tightest[:, zone]
    both = np.array([[0], [1]])
    return Scarcity(whole.deficit[both, of], whole.quantity[both, of], whole.upper[both, of])


def zones(case: Case, pricing: str) -> IntArray | None:
    """(n,) the area of ``Case.layers`` whose price each participant pays; None where everybody has its own.

    Raises:
        InputError: where there is no such layer.
    """
    if pricing == NODAL:
        return None
    layers = case.layers
    return layers.zones(case.bus, _number(layers, pricing))


def _number(layers: Layers, pricing: str) -> int:
    if pricing not in (UNIFORM, *layers.names):
        raise unknown("pricing", pricing, (NODAL, UNIFORM, *layers.names))
    return layers.number(SYSTEM if pricing == UNIFORM else pricing)


def areas_of(grid: Grid) -> IntArray:
    """(m,) the area of ``Case.layers`` that each limited quantity belongs to."""
    q, layers = grid.network.quantities, grid.case.layers
    area, band = np.zeros(len(q.kind), dtype=np.intp), q.kind == "voltage"
    area[band], area[~band] = layers.of_band[q.element[band]], layers.of_branch[q.element[~band]]
    return area


def _deficits(grid: Grid, requests: Requests, pricing: str) -> FloatArray:
    inherited = np.zeros(2 * grid.n)
    for _, _, who, missing in _tight(grid, requests, pricing):
        inherited[who] = np.maximum(inherited[who], missing)
    both = inherited.reshape(2, -1)
    if (zone := zones(grid.case, pricing)) is not None:
        tightest = np.zeros((2, zone.max(initial=0) + 1))
        for d in range(2):
            np.maximum.at(tightest[d], zone, both[d])
        both = tightest[:, zone]
    both.setflags(write=False)  # others are given the same array
    return both


def _tight(grid: Grid, requests: Requests, pricing: str) -> Iterator[tuple[int, float, IntArray | slice, FloatArray]]:
    """Every limit that requests exceed and that counts: quantity, side, places among (2 n), deficit at each of them."""
    q, (lower, upper) = grid.network.quantities, grid.bounds(requests)
    inflexible, asked = grid.usage(requests)
    if grid.within(asked, (lower, upper)):
        return
    use = asked - inflexible
    for side, headroom in ((1.0, upper - inflexible), (-1.0, inflexible - lower)):
        loading = side * use
        tight = np.flatnonzero((loading > 0) & (loading > headroom + ROW_SLACK * q.tolerance))
        if pricing != NODAL and len(tight):
            layers = grid.case.layers
            tight = tight[layers.layer[areas_of(grid)[tight]] >= _number(layers, pricing)]
        if len(tight):
            deficit = 1.0 - np.maximum(headroom[tight], 0.0) / loading[tight]
            relative = relative_sensitivities(grid, tight, side)
            for row, (who, share), missing in zip(tight.tolist(), relative, deficit.tolist(), strict=True):
                yield row, side, who, missing * share


Relative = tuple[IntArray | slice, FloatArray]
_KNOWN: WeakKeyDictionary[Grid, dict[tuple[int, float], Relative]] = WeakKeyDictionary()


def relative_sensitivities(grid: Grid, rows: IntArray, side: float) -> Iterator[Relative]:
    """Everyone's sensitivity towards each limit, relative to that of the most sensitive, limit by limit.

    They are kept as long as there is room: the same limits are tight in many intervals.

    Args:
        side: 1 for upper limits, -1 for lower ones.

    Returns:
        Places among (2 n), imports first, that load the limit at all, and their shares in (0, 1].
    """
    known = _KNOWN.setdefault(grid, {})
    for start in range(0, len(rows), ROWS_AT_ONCE):
        keys = [(k, side) for k in rows[start : start + ROWS_AT_ONCE].tolist()]
        new = [key for key in keys if key not in known]
        if new:
            if sum(len(share) for _, share in known.values()) + 2 * len(new) * grid.n > KEPT_NUMBERS:
                known.clear()
                new = keys
            known.update(zip(new, _relative_of(grid, np.array([k for k, _ in new]), side), strict=True))
        yield from (known[key] for key in keys)


def _relative_of(grid: Grid, rows: IntArray, side: float) -> Iterator[Relative]:
    loading = np.maximum(side * grid.sensitivity(rows), 0.0)
    largest = loading.max(axis=2, keepdims=True, initial=0.0)
    shares = loading / np.where(largest > 0, largest, 1.0)
    for share in np.concatenate(list(shares), axis=1):
        who = np.flatnonzero(share)
        yield (slice(None), share.copy()) if 2 * len(who) > len(share) else (who, share[who])


@dataclass(frozen=True)
class PriceCurve(Checked):
    """Bounded prices driven by deficits, for both directions, in currency per kWh.

    ``import = lo + (hi - lo) phi(deficit)`` and ``export = hi - (hi - lo) phi(deficit)``, phi rising from 0 to 1. The
    lowest import price is at least the highest export price, so that nobody earns by buying and selling at once.

    Attributes:
        import_bounds, export_bounds: lowest and highest price.
        shape: phi: ``linear``, ``power`` (deficit^exponent) or ``logistic`` (steepness 10 around 1/2, rescaled to
            reach 0 and 1); or ``published``, linear, with a sell side that follows the deficit of import instead:
            ``export = lo + (hi - lo) deficit of import``. With bounds (0, 265) and (-265, 0) these are buy = 265 (1 -
            min(1, supply/demand)) and sell = -265 min(1, supply/demand) p/kWh of arXiv 2407.20814.
        exponent: of ``power``.

    Raises:
        InputError: bounds upside down or not finite, an import price that may be below an export price, an unknown
            shape, an exponent that is not positive.
    """

    import_bounds: tuple[float, float] = (0.10, 0.40)
    export_bounds: tuple[float, float] = (0.00, 0.08)
    shape: str = "linear"
    exponent: float = 2.0

    def __post_init__(self) -> None:
        problems = [
            f"{name} = {bounds}: the lowest price must not exceed the highest, both finite"
            for name, bounds in (("import price", self.import_bounds), ("export price", self.export_bounds))
            if not (len(bounds) == 2 and all(map(is_number, bounds)) and bounds[0] <= bounds[1])
        ]
        if not problems and self.import_bounds[0] < self.export_bounds[1]:
            problems.append(
                f"the lowest import price {self.import_bounds[0]} is below the highest export price"
                f" {self.export_bounds[1]}: buying and selling at once would earn money"
            )
        if self.shape not in SHAPES:
            problems.append(f"price shape {self.shape!r}; valid choices: {', '.join(SHAPES)}")
        if not self.exponent > 0:
            problems.append(f"price exponent = {self.exponent} must be positive")
        if problems:
            raise InputError(problems)

    @property
    def lipschitz(self) -> float:
        """How much phi changes at most per deficit: 1; ``power`` its exponent, endless below 1; ``logistic`` 2.53.

        Prices change by at most this times (highest - lowest) times the change of the deficit.
        """
        if self.shape == "power":
            return self.exponent if self.exponent >= 1 else float("inf")
        return float(2.5 / np.tanh(2.5)) if self.shape == "logistic" else 1.0

    def phi(self, deficit: FloatArray) -> FloatArray:
        """Monotone from 0 at no deficit to 1 at a deficit of 1."""
        d = np.minimum(np.maximum(deficit, 0.0), 1.0)
        if self.shape == "power":
            return np.asarray(d**self.exponent)
        if self.shape == "logistic":
            return np.asarray(0.5 + np.tanh(5.0 * (d - 0.5)) / (2.0 * np.tanh(2.5)))
        return np.asarray(d)

    def prices(self, deficit: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Import and export price (n,) each from a (2, n) deficit."""
        (lo, hi), (lo_e, hi_e) = self.import_bounds, self.export_bounds
        imports = lo + (hi - lo) * self.phi(deficit[0])
        if self.shape == "published":
            return imports, lo_e + (hi_e - lo_e) * self.phi(deficit[0])
        return imports, hi_e - (hi_e - lo_e) * self.phi(deficit[1])
