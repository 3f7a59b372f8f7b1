"""Small cases built by hand, and ways to change a case without changing what it means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from amm_opt.arrays import FloatArray
from amm_opt.cases import Case, Requests, from_tables
from amm_opt.grid import Grid
from amm_opt.market import Mechanism, State
from amm_opt.network import LinDistFlow
from amm_opt.program import Program, Solution
from amm_opt.simulation.results.run import Run
from amm_opt.solve.solver import ProgramSolver

NAN = float("nan")
TRACE = 1e-4
"""Ohm: an impedance that matters to no voltage limit."""


def small_case(
    lines: Mapping[str, tuple[str, float, float]],
    people: Sequence[str],
    inflexible: ArrayLike,
    imports: ArrayLike,
    exports: ArrayLike,
    *,
    feeder: Mapping[str, str] | None = None,
    x_ohm: float = 0.0,
    **columns: Any,
) -> Case:
    """A case at 0.4 kV, source ``src`` at 1.0 pu, band 0.9 to 1.1.

    Args:
        lines: for every bus but the source (bus above, r_ohm, rating_kva).
        people: bus of each participant; powers are (T, n) or (n,) in kW.
        feeder: LV feeder of each bus (default: all on ``F``).
        columns: further columns of the participants' table.
    """
    powers = [np.atleast_2d(np.asarray(p, dtype=float)) for p in (inflexible, imports, exports)]
    steps = max(2, *(len(p) for p in powers))
    powers = [np.broadcast_to(p, (steps, len(people))) for p in powers]
    buses = pd.DataFrame({"name": ["src", *lines], "vn_kv": 0.4, "v_min_pu": 0.9, "v_max_pu": 1.1})
    buses["tier"] = ["MV"] + ["LV"] * len(lines)
    buses["feeder"] = [None, *((feeder or {}).get(b, None if feeder else "F") for b in lines)]
    buses["v_source_pu"] = [1.0] + [NAN] * len(lines)
    branches = pd.DataFrame(
        [(f"to-{bus}", above, bus, r, x_ohm, rating) for bus, (above, r, rating) in lines.items()],
        columns=["name", "from_bus", "to_bus", "r_ohm", "x_ohm", "rating_kva"],
    )
    names = [f"p{i}" for i in range(len(people))]
    table = {"connection_import_kw": 100.0, "connection_export_kw": 100.0, **columns}
    profiles: dict[str, Any] = {"time": pd.date_range("2030-01-07", periods=steps, freq="30min")}
    series = []
    for quantity, power in zip(("inflexible", "import", "export"), powers, strict=True):
        for i, name in enumerate(names):
            profiles[f"{quantity}-{i}"] = power[:, i]
            series.append((name, quantity, f"{quantity}-{i}", 1.0))
    return from_tables(
        name="small",
        buses=buses,
        branches=branches,
        participants=pd.DataFrame({"name": names, "bus": list(people), **table}),
        profiles=pd.DataFrame(profiles),
        series=pd.DataFrame(series, columns=["participant", "quantity", "profile", "scale_kw"]),
    )


def one_transformer(
    rating_kva: float, inflexible: ArrayLike, imports: ArrayLike, exports: ArrayLike, **kw: Any
) -> Case:
    """Participants at one bus behind one transformer that is the only limit."""
    n = np.shape(np.atleast_2d(np.asarray(imports)))[1]
    return small_case({"lv": ("src", TRACE, rating_kva)}, ["lv"] * n, inflexible, imports, exports, **kw)


def rebuilt(case: Case, **tables: pd.DataFrame) -> Case:
    """The case with some of its tables replaced."""
    return from_tables(name=case.name, scenario=case.scenario, **{**case.tables(), **tables})


def shuffled(case: Case, seed: int) -> Case:
    """The same case with participants, buses and branches in another order."""
    rng = np.random.default_rng(seed)
    tables = case.tables()
    names = ("participants", "buses", "branches")
    return rebuilt(case, **{name: tables[name].iloc[rng.permutation(len(tables[name]))] for name in names})


def in_other_units(case: Case, factor: float) -> Case:
    """Every power, rating and connection times ``factor``, every impedance divided by it: the same voltages."""
    tables = case.tables()
    changed = {
        "branches": [("rating_kva", factor), ("r_ohm", 1 / factor), ("x_ohm", 1 / factor)],
        "participants": [
            (column, factor) for column in ("connection_import_kw", "connection_export_kw", "battery_kwh", "battery_kw")
        ],
        "series": [("scale_kw", factor)],
        "sessions": [("power_kw", factor), ("energy_kwh", factor)],
    }
    for table, columns in changed.items():
        if table in tables:
            new = {column: tables[table][column].astype(float) * by for column, by in columns}
            tables[table] = tables[table].assign(**new)
    return from_tables(name=case.name, scenario=case.scenario, **tables)


def grid_of(case: Case) -> Grid:
    """What programs on this case are built from."""
    return Grid(case, LinDistFlow(case.feeder))


def first_interval(case: Case) -> Requests:
    """The first interval, arrays of shape (n,)."""
    return case.requests(0, 1).interval(0)


def cleared(case: Case, mechanism: Mechanism[Any], start: int = 0, state: State | None = None) -> Any:
    """What a mechanism's ``clear`` gives for one interval, by the automatic choice of solver."""
    grid, requests = grid_of(case), case.requests(start, start + 1).interval(0)
    declared, limits = mechanism.program(grid), grid.limits(requests)
    named = {"": declared} if isinstance(declared, Program) else declared or {}
    solvers = {name: ProgramSolver(program, grid, (None,)) for name, program in named.items()}

    def solve(values: Mapping[str, Any], name: str = "") -> Solution:
        return solvers[name].solve(values, requests, *limits)

    return mechanism.clear(grid, solve, mechanism.initial_state(case) if state is None else state, requests)


def network_rows(grid: Grid) -> tuple[FloatArray, FloatArray]:
    """Change of every limited quantity per kW of import and of export of each participant: (m, n) each, dense."""
    a_p, a_q, _ = grid.network.rows(np.arange(len(grid.network.quantities.lower)))
    _, k_import, k_export = grid.case.kvar_per_kw
    at_p, at_q = a_p[:, grid.case.bus], a_q[:, grid.case.bus]
    return -(at_p + at_q * k_import), at_p + at_q * k_export


def mixed_case(seed: int) -> Case:
    """A small tree with thermal and voltage limits, reactive power, and requests of both kinds at once."""
    rng = np.random.default_rng(seed)
    lines: dict[str, tuple[str, float, float]] = {"b0": ("src", 0.03, rng.uniform(130, 200))}
    for b in range(1, 6):
        lines[f"b{b}"] = (f"b{rng.integers(b)}", rng.uniform(0.05, 0.25), rng.uniform(40, 120))
    n = 10
    people = [f"b{b}" for b in rng.integers(0, 6, n)]
    powers = (rng.uniform(-2, 3, n), rng.uniform(5, 35, n), rng.uniform(5, 25, n) * (rng.random(n) < 0.3))
    return small_case(lines, people, *powers, x_ohm=0.02, power_factor=0.95, power_factor_import=0.97)


def linear_limits(case: Case) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Every limit as matrix @ (x, y) <= bound, and the requests (x, y)."""
    grid, requests = grid_of(case), first_interval(case)
    lower, upper = grid.limits(requests)
    alone, _ = grid.usage(requests)
    rows = np.hstack(network_rows(grid))
    request = np.concatenate([requests.import_request_kw, requests.export_request_kw])
    return np.vstack([rows, -rows]), np.concatenate([upper - alone, alone - lower]), request


def difference(a: Run, b: Run, columns: ArrayLike | slice = slice(None), factor: float = 1.0) -> float:
    """Largest difference of two allocations as a fraction of the request (of 1 kW where less was requested).

    Args:
        columns: where each participant of ``a`` stands in ``b``; ``factor``: units of ``b`` per unit of ``a``.
    """
    worst = 0.0
    for one, other, request in (
        (a.allocation.import_kw, b.allocation.import_kw, a.requests.import_request_kw),
        (a.allocation.export_kw, b.allocation.export_kw, a.requests.export_request_kw),
    ):
        gap = np.abs(one - other[:, columns] / factor) / np.maximum(1.0, request)
        worst = max(worst, float(gap.max()))
    return worst
