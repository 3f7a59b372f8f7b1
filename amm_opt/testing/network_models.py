"""Checks of a network model: its parts agree with each other, and it agrees with AC power flow where little flows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import cvxpy as cp
import numpy as np

from amm_opt.arrays import BoolArray, FloatArray
from amm_opt.cases import Case
from amm_opt.errors import InputError, counted
from amm_opt.network import ACNetwork, ConicNetworkModel, NetworkModel
from amm_opt.registry import network_of
from amm_opt.testing import cases
from amm_opt.testing.checks import Check, claim, run_all

LIGHT, INTERVALS = 0.1, slice(0, cases.INTERVALS)
"""Share of the requests at which a model is held against AC power flow, and the intervals of the small case."""
VOLTAGE_ERROR_PU, FLOW_ERROR, SLOPE_ERROR = 2e-3, 0.02, 0.05
"""At light load: voltages in pu, flows as a fraction of the rating, sensitivities as a fraction of the largest one."""


def check_network_model(kind: Any) -> None:
    """Hold a network model to its interface and to AC power flow, on the small feeders that it takes.

    Args:
        kind: the class (anything that makes a model of a ``Feeder``), or an installed name.

    Raises:
        CheckError: an AssertionError that names everything that does not hold.
        InputError: where the model takes neither a balanced feeder nor one on phases, or the ``ac`` extra is missing.
    """
    run_all(_name(kind), network_model_checks(kind))


def network_model_checks(kind: Any) -> Iterator[Check]:
    """The checks of :func:`check_network_model` one by one, for ``pytest.mark.parametrize``."""
    subjects, refusals = [], []
    for balanced in (True, False):
        try:
            subjects.append(_Subject(network_of(cases.rich_case(balanced), kind), balanced))
        except InputError as error:
            refusals.append(str(error))
    if not subjects:
        raise InputError([f"{_name(kind)} takes no feeder", *refusals])
    for subject in subjects:
        where = "balanced" if subject.balanced else "phases"
        own = _BOXES if subject.model.boxes else _CONIC if subject.conic else _LINEAR
        for name, check in {**_COMMON, **own}.items():
            yield Check(f"{name} ({where})", partial(check, subject))


def _name(kind: Any) -> str:
    return str(kind if isinstance(kind, str) else getattr(kind, "name", kind))


@dataclass(frozen=True)
class _Subject:
    """A model of one of the small feeders."""

    model: NetworkModel
    balanced: bool

    @property
    def conic(self) -> bool:
        return isinstance(self.model, ConicNetworkModel)

    @property
    def case(self) -> Case:
        return cases.rich_case(self.balanced)

    @cached_property
    def incidence(self) -> Any:
        return self.model.incidence(self.case.bus, self.case.phases)

    @cached_property
    def with_band(self) -> BoolArray:
        """(nodes,) those with a voltage limit."""
        return np.isfinite(self.model.v_min_pu) | np.isfinite(self.model.v_max_pu)

    @property
    def apparent(self) -> bool:
        """Whether ratings limit more than active power."""
        return self.conic or bool(self.model.limits.normals[:, 1].any())

    @cached_property
    def rated(self) -> BoolArray:
        """(branches,) those with a rating."""
        return np.isfinite(self.model.rating_kva)

    def injections(self, share: float) -> tuple[FloatArray, FloatArray]:
        """(T, nodes) net injections with this share of load and requests."""
        w = self.case.requests(INTERVALS.start, INTERVALS.stop)
        load, imports, exports = (share * x for x in (w.inflexible_kw, w.import_request_kw, w.export_request_kw))
        return self.case.bus_injections(load, imports, exports, self.incidence, w.inflexible_kvar)

    def random(self, seed: int) -> tuple[FloatArray, FloatArray]:
        """(3, nodes) net injections of a few kW."""
        rng = np.random.default_rng(seed)
        p = rng.uniform(-6.0, 6.0, (3, self.model.n_nodes))
        q = rng.uniform(-2.0, 2.0, (3, self.model.n_nodes))
        return p, q


def _members(s: _Subject) -> None:
    q, n = s.model.quantities, s.model.n_nodes
    m = len(q.kind)
    for name in ("element", "lower", "upper", "tolerance"):
        claim(
            len(getattr(q, name)) == m,
            f"quantities.{name} has {counted(len(getattr(q, name)), 'entry', 'entries')}, kind has {m}",
        )
    claim(set(q.kind) <= {"voltage", "thermal", "active"}, f"quantities.kind holds {sorted(set(q.kind))}")
    at = s.model.quantity_bus
    claim(np.all((at >= 1) & (at < s.case.feeder.n_buses)), "quantity_bus is no bus below the source")
    claim(np.all(q.lower < q.upper), "a lower limit is not below its upper one")
    claim(np.all(q.tolerance > 0), "a tolerance is not positive")
    for name, size in {"v_min_pu": n, "v_max_pu": n, "rating_kva": len(s.model.branch)}.items():
        shape = np.shape(getattr(s.model, name))
        claim(shape == (size,), f"{name} has shape {shape}, not ({size},)")


def _shares(s: _Subject) -> None:
    shares = s.incidence
    claim(shares.shape == (s.model.n_nodes, s.case.n_participants), f"incidence has shape {shares.shape}")
    total = np.asarray(shares.sum(axis=0)).ravel()
    claim(np.allclose(total, 1.0), f"the shares of a participant's power add up to {total.min():g} .. {total.max():g}")
    claim(shares.min() >= 0, "a share is negative")


def _batches(s: _Subject) -> None:
    p, q = s.random(1)
    together, state = s.model.evaluate(p, q), s.model.state(p, q)
    for k in range(len(p)):
        claim(
            np.allclose(together[k], s.model.evaluate(p[k], q[k]), atol=1e-10), "evaluate differs on one interval alone"
        )
        alone = s.model.state(p[k], q[k])
        for name in ("v_pu", "s_flow_kva"):
            whole, part = getattr(state, name)[k], getattr(alone, name)
            claim(np.shape(part) == (s.model.n_nodes,), f"state.{name} has shape {np.shape(part)}")
            claim(np.allclose(whole, part, atol=1e-8), f"state.{name} differs on one interval alone")


def _limits_are_those_of_the_state(s: _Subject) -> None:
    """A quantity is beyond its limit where the state is: voltages exactly, flows up to the 2 % of a polygon.

    Quantities of models of boxes are bounds, which may be beyond a limit before the state is.
    """
    of, bounds = s.model.quantities, s.model.boxes
    for share in (0.5, 0.8, 1.0, 1.5, 3.0):
        p, q = s.injections(share)
        u, state = s.model.evaluate(p, q), s.model.state(p, q)
        beyond = (u > of.upper) | (u < of.lower)
        for k in np.flatnonzero(~(np.isnan(state.v_pu).any(axis=1) | np.isnan(u).any(axis=1))):
            v = ((state.v_pu > s.model.v_max_pu) | (state.v_pu < s.model.v_min_pu))[k].any()
            seen = beyond[k, of.kind == "voltage"].any()
            claim(seen or not v, "the state is beyond a voltage band, the quantities say otherwise")
            claim(v or bounds or not seen, "the state is not beyond a voltage band, the quantities say otherwise")
            loading = float(np.max(state.loading_kva[k] / s.model.rating_kva))
            seen = beyond[k, of.kind == "thermal"].any()
            claim(seen or loading <= 1.0 + 1e-9, f"a branch carries {loading:.4f} of its rating, no quantity says so")
            seen = seen and not bounds
            claim(not seen or loading >= 0.98, f"a quantity is beyond its limit at {loading:.4f} of the rating")
            if len(s.model.metered):
                active = float(s.model.metered.loading(state.p_flow_kw[k]).max())
                seen = beyond[k, of.kind == "active"].any()
                fits = seen >= (active > 1.0) if bounds else seen == (active > 1.0)
                claim(fits, f"a branch carries {active:.4f} of its limit of active power")


def _rows(s: _Subject) -> None:
    every = np.arange(len(s.model.quantities.kind))
    a_p, a_q, constant = s.model.rows(every)
    claim(a_p.shape == (len(every), s.model.n_nodes), f"rows have shape {a_p.shape}")
    for seed in (2, 3):
        p, q = s.random(seed)
        gap = np.abs(p @ a_p.T + q @ a_q.T + constant - s.model.evaluate(p, q))
        k = int(np.argmax(gap.max(axis=0)))
        claim(gap.max() <= 1e-8, f"row {k} ({s.model.quantities.kind[k]}) is off evaluate by {gap.max():.2g}")
    some = every[::3][::-1]
    for part, whole in zip(s.model.rows(some), (a_p, a_q, constant), strict=True):
        claim(np.array_equal(part, whole[some]), "rows of some quantities are not those among all of them")


def _constraints(s: _Subject) -> None:
    """The smallest widening of u - widening .. u + widening that the constraints allow is 0, or what is cut off."""
    m, of = len(s.model.quantities.kind), s.model.quantities
    rng = np.random.default_rng(4)
    p, q = s.random(4)
    for k, cut in ((0, None), (1, int(rng.integers(m))), (2, int(np.flatnonzero(of.kind == "thermal")[0]))):
        u = s.model.evaluate(p[k], q[k])
        widening = cp.Variable(nonneg=True)
        less = np.zeros(m)
        if cut is not None:
            less[cut] = 0.125
        given = (cp.Constant(p[k]), cp.Constant(q[k]), u - widening, u + widening - less)
        problem = cp.Problem(cp.Minimize(widening), s.model.constraints(*given))
        problem.solve(solver=cp.CLARABEL)
        claim(problem.status == cp.OPTIMAL, f"constraints around evaluate's own values are {problem.status}")
        off = abs(float(widening.value) - less.max())
        claim(off <= 1e-5, f"constraints are off evaluate by {off:.2g}")


def _relaxation(s: _Subject) -> None:
    """Least losses under given injections: the power flow itself, since nothing is gained by losses."""
    assert isinstance(s.model, ConicNetworkModel)
    p, q = s.injections(0.5)
    of, state = s.model.quantities, s.model.state(p, q)
    for k in (0, 3, 6):
        relaxed = s.model.relaxation(cp.Constant(p[k]), cp.Constant(q[k]), of.lower - 1.0, of.upper + 1.0)
        problem = cp.Problem(cp.Minimize(relaxed.loss_kw), relaxed.constraints)
        problem.solve(solver=cp.CLARABEL)
        claim(problem.status in (cp.OPTIMAL, cp.OPTIMAL_INACCURATE), f"the relaxation is {problem.status}")
        w = relaxed.unknowns.value[s.model.form.voltage]
        gap = float(np.abs(np.sqrt(w) - state.v_pu[k][1:]).max())
        claim(gap <= 1e-4, f"at least losses the relaxation's voltages are off the power flow by {gap:.2g} pu")


def _box(s: _Subject) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Lowest and highest injections of the intervals' requests: p, then q."""
    w = s.case.requests(INTERVALS.start, INTERVALS.stop)
    powers = (0.6 * w.import_request_kw, 0.6 * w.export_request_kw)
    ends = [
        s.case.bus_injections(w.inflexible_kw, x, y, s.incidence, w.inflexible_kvar)
        for x, y in ((powers[0], 0.0), (0.0, powers[1]), powers, (0.0, 0.0))
    ]
    p, q = (np.stack([end[k] for end in ends]) for k in (0, 1))
    return p.min(axis=0), p.max(axis=0), q.min(axis=0), q.max(axis=0)


def _points_of_a_box(s: _Subject) -> None:
    """Whatever is within a box, corners too, is within its limits; a box within another uses no more of a limit."""
    p_low, p_high, q_low, q_high = _box(s)
    of, rng = s.model.quantities, np.random.default_rng(5)
    u = s.model.evaluate(np.concatenate([p_low, p_high], axis=-1), np.concatenate([q_low, q_high], axis=-1))
    upper = np.isfinite(of.upper)
    for inside in (*rng.random((8, *p_low.shape)), *(rng.random((8, *p_low.shape)) < 0.5).astype(float)):
        p, q = p_low + inside * (p_high - p_low), q_low + inside * (q_high - q_low)
        point, state = s.model.evaluate(p, q), s.model.state(p, q)
        beyond = np.where(upper, point - u, np.where(np.isfinite(of.lower), u - point, 0.0))
        claim(np.nanmax(beyond) <= 1e-9, f"a point uses a limit by {np.nanmax(beyond):.2g} more than the box around it")
        fits = np.all((u <= of.upper) & (u >= of.lower), axis=-1)
        v = np.all((state.v_pu <= s.model.v_max_pu + 1e-9) & (state.v_pu >= s.model.v_min_pu - 1e-9), axis=-1)
        loading = np.max(state.loading_kva / s.model.rating_kva, axis=-1)
        claim(np.all(v[fits]), "a point of a box that keeps its limits is outside a voltage band")
        claim(np.all(loading[fits] <= 1.0 + 1e-9), "a point of a box that keeps its limits is above a rating")


def _constraints_of_a_box(s: _Subject) -> None:
    """The smallest widening of its own limits that the constraints allow for a box is 0, or what is cut off."""
    p_low, p_high, q_low, q_high = _box(s)
    of = s.model.quantities
    thermal = int(np.flatnonzero(of.kind == "thermal")[0])
    for k, cut in ((0, None), (3, int(np.flatnonzero(np.isfinite(of.upper))[0])), (6, thermal)):
        p, q = np.concatenate([p_low[k], p_high[k]]), np.concatenate([q_low[k], q_high[k]])
        u, less, widening = s.model.evaluate(p, q), np.zeros(len(of.kind)), cp.Variable(nonneg=True)
        if cut is not None:
            less[cut] = 0.125 * abs(u[cut])
        given = (cp.Constant(p), cp.Constant(q), u - widening, u + widening - less)
        problem = cp.Problem(cp.Minimize(widening), s.model.constraints(*given))
        problem.solve(solver=cp.CLARABEL)
        claim(problem.status in (cp.OPTIMAL, cp.OPTIMAL_INACCURATE), f"constraints around a box are {problem.status}")
        off = abs(float(widening.value) - less.max())
        claim(off <= 1e-4, f"constraints are off evaluate by {off:.2g}")


def _agrees_with_ac(s: _Subject) -> None:
    p, q = s.injections(LIGHT)
    ac, state = ACNetwork(s.case.feeder).flow(p, q), s.model.state(p, q)
    error = float(np.abs(ac.v_pu - state.v_pu)[:, s.with_band].max(initial=0.0))
    claim(error <= VOLTAGE_ERROR_PU, f"at light load voltages are off AC power flow by {error:.2g} pu")
    flows = (ac.loading_kva, state.loading_kva) if s.apparent else (ac.p_flow_kw, state.p_flow_kw)
    error = float((np.abs(np.subtract(*flows)) / s.model.rating_kva)[:, s.rated].max(initial=0.0))
    claim(error <= FLOW_ERROR, f"at light load flows are off AC power flow by {error:.2g} of the rating")


def _slopes_agree_with_ac(s: _Subject) -> None:
    network, step = ACNetwork(s.case.feeder), 1.0
    p, q = (x[0] for x in s.injections(LIGHT))
    nodes = range(1, s.model.n_nodes, 2)
    for kind in ("active", "reactive"):
        bumps = np.stack([np.zeros_like(p), *(step * (np.arange(len(p)) == j) for j in nodes)])
        at = (p + bumps, q + 0 * bumps) if kind == "active" else (p + 0 * bumps, q + bumps)
        mine, true = (v[1:] - v[0] for v in (np.asarray(s.model.state(*at).v_pu), network.flow(*at).v_pu))
        error = float(np.abs(mine - true)[:, s.with_band].max(initial=0.0) / np.abs(true).max())
        claim(error <= SLOPE_ERROR, f"change of voltage with {kind} power is off AC power flow by {error:.1%}")


_COMMON: dict[str, Callable[[_Subject], None]] = {
    "members have their shapes": _members,
    "shares of participants add up": _shares,
    "many intervals are as each alone": _batches,
    "limited quantities are those of the state": _limits_are_those_of_the_state,
    "the state is near AC power flow": _agrees_with_ac,
    "sensitivities are near those of AC power flow": _slopes_agree_with_ac,
}
_LINEAR: dict[str, Callable[[_Subject], None]] = {"rows are evaluate": _rows, "constraints are evaluate": _constraints}
_BOXES: dict[str, Callable[[_Subject], None]] = {
    "points of a box keep its limits": _points_of_a_box,
    "constraints of a box are evaluate": _constraints_of_a_box,
}
_CONIC: dict[str, Callable[[_Subject], None]] = {"the relaxation is the power flow": _relaxation}
