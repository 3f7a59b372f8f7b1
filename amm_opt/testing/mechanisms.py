"""Checks of a mechanism: what every one promises, on balanced feeders and on phases, whoever wrote it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, cast
from unittest.mock import patch

import numpy as np

from amm_opt.arrays import FloatArray
from amm_opt.cases import Case, from_tables
from amm_opt.errors import InputError
from amm_opt.grid import Grid
from amm_opt.market import Mechanism
from amm_opt.network import NetworkModel
from amm_opt.registry import as_mechanism, network_of, parameters_of
from amm_opt.simulation import Run, simulate
from amm_opt.simulation.loop import loop
from amm_opt.simulation.loop.planning import Windows
from amm_opt.testing import cases
from amm_opt.testing.checks import Check, claim, run_all

TOLERANCE = 1e-3
"""How far two allocations that should be equal may be apart, as a fraction of the request (of 1 kW where less)."""
VOLTAGE_SLACK_PU, THERMAL_SLACK = 2e-5, 2e-4
TINY_KW = 1e-10
CORNERS = 16
"""Of every box, drawn at random."""
SPLIT = 8
"""Intervals of the first part where a run is split: a day of the small case."""
POWERS = ("import_kw", "export_kw")
PRICES = ("import_price", "export_price")


def check_mechanism(
    mechanism: Mechanism[Any] | type[Mechanism[Any]] | str,
    *,
    network: Any = None,
    solver: Any = None,
    tolerance: float = TOLERANCE,
) -> None:
    """Hold a mechanism to what every one promises, on small scarce cases; some seconds.

    Args:
        mechanism: an instance, a class whose parameters have defaults, or a spec such as ``"amm:rho=0.1"``.
        network: a network model (name, class); by the feeder's phases where None, then both feeders are tried.
        solver: as for ``simulate``.
        tolerance: how far allocations that should be equal may be apart, as a fraction of the request (of 1 kW where
            less was requested); raise it for a solver that is not exact.

    Raises:
        CheckError: an AssertionError that names every promise which is broken.
        InputError: where the network model takes neither feeder, the mechanism refuses the network model or the solver,
            or an argument is wrong.
    """
    made = as_mechanism(mechanism)
    run_all(str(made), mechanism_checks(made, network=network, solver=solver, tolerance=tolerance))


def mechanism_checks(
    mechanism: Mechanism[Any] | type[Mechanism[Any]] | str,
    *,
    network: Any = None,
    solver: Any = None,
    tolerance: float = TOLERANCE,
) -> Iterator[Check]:
    """The checks of :func:`check_mechanism` one by one, for ``pytest.mark.parametrize``."""
    made = as_mechanism(mechanism)
    feeders = [balanced for balanced in (True, False) if network is None or _takes(network, balanced)]
    if not feeders:
        raise InputError(f"network model {network!r} takes neither a balanced feeder nor one on phases abc")
    for balanced in feeders:
        subject = _Subject(made, network, solver, tolerance, balanced)
        where = "balanced" if balanced else "phases"
        for name, check in _CHECKS.items():
            if balanced and check is _phase_names:
                continue
            yield Check(f"{name} ({where})", partial(check, subject))


def _takes(network: Any, balanced: bool) -> bool:
    try:
        network_of(cases.small_case(balanced), network)
    except InputError:
        return False
    return True


@dataclass(frozen=True)
class _Subject:
    """A mechanism on one of the small cases."""

    mechanism: Mechanism[Any]
    network: Any
    solver: Any
    tolerance: float
    balanced: bool

    @property
    def case(self) -> Case:
        return cases.small_case(self.balanced)

    @property
    def tables(self) -> dict[str, Any]:
        return cases.small_tables(self.balanced)

    @cached_property
    def run(self) -> Run:
        return self.on(self.case)

    def on(self, case: Case, mechanism: Mechanism[Any] | None = None, **options: Any) -> Run:
        given = mechanism or self.mechanism
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return simulate(case, given, network=self.network, solver=self.solver, **options)

    def claim_same(self, other: Run, why: str, factor: float = 1.0) -> None:
        """Both runs serve everybody alike, whatever the order of participants and in units ``factor`` apart."""
        place = cases.position(other.case, self.case.participant_names)
        at = slice(other.first - self.run.first, other.first - self.run.first + len(other.times))
        for name, request in zip(POWERS, self.run.requests.both_kw, strict=True):
            one, two = getattr(self.run.allocation, name)[at], getattr(other.allocation, name)[:, place] / factor
            gap = np.abs(one - two) / np.maximum(1.0, request[at])
            k, i = np.unravel_index(int(np.argmax(gap)), gap.shape)
            claim(
                gap[k, i] <= self.tolerance,
                f"{why} {self.case.participant_names[i]!r} has {one[k, i]:.6g} kW of {name.split('_')[0]} in interval"
                f" {at.start + k}, and {two[k, i]:.6g} kW",
            )

    def claim_same_prices(self, other: Run, why: str) -> None:
        for name in PRICES:
            one, two = getattr(self.run.allocation, name), getattr(other.allocation, name)
            claim((one is None) == (two is None), f"{why} prices are there in one run only")
            if one is not None:
                place = cases.position(other.case, self.case.participant_names)
                gap = np.abs(one - two[:, place])
                claim(float(np.nanmax(gap)) <= self.tolerance, f"{why} a price moves by {np.nanmax(gap):.3g}")


def _within_requests(s: _Subject) -> None:
    a = s.run.allocation
    claim(not s.run.failed_steps, f"intervals failed: {dict(list(s.run.failed_steps.items())[:3])}")
    for name, request in zip(POWERS, s.run.requests.both_kw, strict=True):
        power = getattr(a, name)
        claim(power.shape == request.shape, f"{name} has shape {power.shape}, not {request.shape}")
        claim(bool(np.all(np.isfinite(power))), f"{name} is not finite")
        claim(float(power.min()) >= -1e-9, f"{name} goes down to {power.min():.3g} kW")
        claim(float((power - request).max()) <= 1e-9, f"{name} is {(power - request).max():.3g} kW above a request")


def _within_limits(s: _Subject) -> None:
    if not s.mechanism.enforces_limits:
        return
    model = network_of(s.case, s.network)
    a = s.run.allocation
    _keeps_limits(s, model, a.drawn_kw, a.injected_kw, "")
    if model.boxes:
        for imports, exports in _corners(a.import_kw, a.export_kw):
            _keeps_limits(s, model, imports, exports, ", where some use less than they may")


def _corners(import_kw: FloatArray, export_kw: FloatArray) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Corners of the boxes (T, n) from nothing to what is served: one direction alone, and drawn ones."""
    yield import_kw, 0.0 * export_kw
    yield 0.0 * import_kw, export_kw
    rng = np.random.default_rng(0)
    for _ in range(CORNERS):
        yield import_kw * rng.integers(2, size=import_kw.shape), export_kw * rng.integers(2, size=export_kw.shape)


def _keeps_limits(s: _Subject, model: NetworkModel, drawn_kw: FloatArray, injected_kw: FloatArray, why: str) -> None:
    """What (T, n) powers make of the network, by the model's own state of a point."""
    state = Grid(s.case, model).state(s.run.requests, drawn_kw, injected_kw)
    over = np.nanmax(state.v_pu - model.v_max_pu), np.nanmax(model.v_min_pu - state.v_pu)
    claim(max(over) <= VOLTAGE_SLACK_PU, f"a voltage is {max(over):.3g} pu beyond its band{why}")
    loading = float(np.nanmax((state.loading_kva / model.rating_kva)[..., 1:]))
    claim(loading <= 1.0 + THERMAL_SLACK, f"a branch carries {loading:.5f} of its rating{why}")
    active = model.metered.loading(state.p_flow_kw).max(initial=0.0) if len(model.metered) else 0.0
    claim(active <= 1.0 + THERMAL_SLACK, f"a branch carries {active:.5f} of its limit of active power{why}")
    claim(np.all(np.isfinite(state.v_pu)), f"the network has no state under some allocation{why}")


def _served_at_all(s: _Subject) -> None:
    r = s.run.summary
    served = r["requested_import_mwh"] - r["unserved_mwh"], r["requested_export_mwh"] - r["curtailed_mwh"]
    claim(min(served) > 0, "nobody is served in one of the directions, although a good part is feasible")


def _order(s: _Subject) -> None:
    other = s.on(from_tables(**cases.in_other_order(s.tables)))
    s.claim_same(other, "with participants, buses and branches in another order")


def _units(s: _Subject) -> None:
    for factor in (0.1, 16.0):
        other = s.on(from_tables(**cases.in_other_units(s.tables, factor)), _in_units(s.mechanism, factor))
        s.claim_same(other, f"with every power times {factor:g} and every impedance divided by it", factor)
        s.claim_same_prices(other, f"with every power times {factor:g} and every impedance divided by it")


def _in_units(mechanism: Mechanism[Any], factor: float) -> Mechanism[Any]:
    """The mechanism with its powers in other units: parameters whose names end in ``_kw``, and those of inner ones."""
    changed: dict[str, Any] = {}
    for name in parameters_of(type(mechanism)):
        value = getattr(mechanism, name)
        if isinstance(value, Mechanism):
            changed[name] = _in_units(value, factor)
        elif name.endswith("_kw") and value is not None:
            changed[name] = value * factor
    return replace(cast(Any, mechanism), **changed) if changed else mechanism


def _alike(s: _Subject) -> None:
    one, two = cases.ALIKE
    for name in (*POWERS, *PRICES):
        values = getattr(s.run.allocation, name)
        if values is not None and not _draws(s.mechanism):
            gap = float(np.nanmax(np.abs(values[:, one] - values[:, two])))
            claim(gap <= 10 * s.tolerance, f"two identical participants differ by {gap:.3g} in {name}")


def _draws(mechanism: Mechanism[Any]) -> bool:
    """Whether participants are told apart on purpose, by a seeded draw."""
    return mechanism.draws_lots or bool(getattr(mechanism, "spread", 0.0))


def _phase_names(s: _Subject) -> None:
    other = s.on(from_tables(**cases.with_phases_renamed(s.tables)))
    s.claim_same(other, "with phases a, b, c called b, c, a")
    s.claim_same_prices(other, "with phases a, b, c called b, c, a")


def _blocks(s: _Subject) -> None:
    with patch.object(loop, "BLOCK_STEPS", 3):
        other = s.on(s.case)
    s.claim_same(other, "with blocks of 3 intervals instead of all at once")


def _split(s: _Subject) -> None:
    windows = Windows.of(s.mechanism, s.case.dt_h, s.case.n_steps)
    if windows.length > SPLIT or SPLIT % windows.commit:
        return
    first = s.on(s.case, steps=slice(0, SPLIT))
    state = type(first.state).from_arrays(first.state.arrays())
    second = s.on(s.case, steps=slice(SPLIT, None), state=state)
    s.claim_same(second, f"resumed after {SPLIT} intervals from the stored state")


def _pure(s: _Subject) -> None:
    before = s.mechanism.initial_state(s.case)
    kept = {name: array.copy() for name, array in before.arrays().items()}
    requests = s.case.requests(3, 4)
    allocation = s.run.allocation.select(slice(3, 4))
    if Windows.of(s.mechanism, s.case.dt_h, s.case.n_steps).length == 1:
        requests, allocation = requests.interval(0), s.run.allocation.select(3)
    one, two = (s.mechanism.advance(before, allocation, requests) for _ in range(2))
    for name, array in kept.items():
        claim(np.array_equal(before.arrays()[name], array), f"advance changes {name} of the state in place")
        claim(
            np.array_equal(one.arrays()[name], two.arrays()[name], equal_nan=True),
            f"advance called twice gives different {name}",
        )
    again = type(one).from_arrays(one.arrays())
    for name, array in one.arrays().items():
        claim(np.array_equal(again.arrays()[name], array, equal_nan=True), f"{name} is lost when the state is stored")
        claim(array.dtype == float, f"{name} of the state is no array of numbers")


def _reproducible(s: _Subject) -> None:
    other = s.on(s.case)
    for name in (*POWERS, *PRICES):
        one, two = getattr(s.run.allocation, name), getattr(other.allocation, name)
        claim((one is None) == (two is None), f"{name} is there in one of two equal runs")
        claim(one is None or np.array_equal(one, two, equal_nan=True), f"two equal runs differ in {name}")


def _prices(s: _Subject) -> None:
    scarce = s.on(s.case.with_scenario(import_scale=50.0, export_scale=50.0))
    for run in (s.run, scarce):
        for name in PRICES:
            price = getattr(run.allocation, name)
            if price is None:
                continue
            given = np.delete(price, list(run.failed_steps), axis=0)
            claim(bool(np.all(np.isfinite(given))), f"{name} is not finite")
            low, high = (getattr(s.mechanism, f"{name}_{end}", None) for end in ("min", "max"))
            claim(low is None or float(given.min()) >= low - 1e-12, f"{name} is below {name}_min = {low}")
            claim(high is None or float(given.max()) <= high + 1e-12, f"{name} is above {name}_max = {high}")


def _tiny_requests(s: _Subject) -> None:
    other = s.on(from_tables(**cases.with_tiny_requests(s.tables, TINY_KW)))
    why = f"where everybody asks for {TINY_KW:g} kW more,"
    s.claim_same(other, why)
    s.claim_same_prices(other, why)


def _like_automatic(s: _Subject) -> None:
    if s.solver is not None:
        other = replace(s, solver=None).run
        s.claim_same(other, "by the automatic choice of solver")


def _full_service(s: _Subject) -> None:
    if s.mechanism.full_service_optimal:
        with patch.object(Grid, "scarce", lambda _, requests: np.ones(requests.n_steps, dtype=bool)):
            other = s.on(s.case)
        s.claim_same(other, "although full_service_optimal is true, solving every interval changes the outcome:")


_CHECKS: dict[str, Callable[[_Subject], None]] = {
    "service is within requests": _within_requests,
    "limits are kept": _within_limits,
    "somebody is served": _served_at_all,
    "order does not matter": _order,
    "units do not matter": _units,
    "identical participants are served alike": _alike,
    "names of phases do not matter": _phase_names,
    "length of blocks does not matter": _blocks,
    "a run can be resumed from its state": _split,
    "the state is pure and can be stored": _pure,
    "equal runs are equal to the bit": _reproducible,
    "prices are finite and within their bounds": _prices,
    "tiny requests do not matter": _tiny_requests,
    "full service is optimal where that is said": _full_service,
    "the solver is as good as the automatic choice": _like_automatic,
}
