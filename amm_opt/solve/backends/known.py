"""Solvers: what each can do, which are installed, and in which order they are tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import clarabel
import cvxpy as cp
import highspy
import numpy as np
from cvxpy.constraints import SOC, ExpCone
from cvxpy.reductions.solvers.defines import SOLVER_MAP_CONIC, SOLVER_MAP_QP

from amm_opt.errors import InputError, Problems, one_line, unknown
from amm_opt.fields import shortened
from amm_opt.plugins import entries, load, loaded
from amm_opt.solve.answer import FAILED, INFEASIBLE, UNBOUNDED
from amm_opt.solve.backends.reduced import Backend
from amm_opt.solve.watch import Watch

FALLBACKS = ("CLARABEL", "HIGHS", "PIQP", "QOCO", "SCS")

TIME_LIMIT_S, HORIZON_TIME_LIMIT_S = 120.0, 10_800.0
"""For one call of a solver: a program of an interval takes milliseconds, one over a year some minutes."""

SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "CLARABEL": {"tol_gap_abs": 1e-10, "tol_gap_rel": 1e-10, "tol_feas": 1e-10},
    "HIGHS": {"primal_feasibility_tolerance": 1e-9, "dual_feasibility_tolerance": 1e-9},
    "PIQP": {"eps_abs": 1e-9, "eps_rel": 1e-10},
    "QOCO": {"abstol": 1e-9, "reltol": 1e-9},
    "OSQP": {"eps_abs": 1e-9, "eps_rel": 1e-9, "max_iter": 200_000, "polish": True},
    "SCS": {"eps_abs": 1e-9, "eps_rel": 1e-9, "max_iters": 200_000},
    "ECOS": {"abstol": 1e-10, "reltol": 1e-10, "feastol": 1e-10},
}
"""Tight tolerances: two solvers are to give the same allocation."""

CONIC_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    **SETTINGS,
    "CLARABEL": {
        **dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas"), 1e-8),
        **dict.fromkeys(("reduced_tol_gap_abs", "reduced_tol_gap_rel", "reduced_tol_feas"), 1e-6),
    },
}
"""On a network model with thousands of cones solvers stall before 1e-9; answers within the reduced ones are taken."""

_STATUS: Mapping[Any, str] = {
    highspy.HighsModelStatus.kInfeasible: INFEASIBLE,
    highspy.HighsModelStatus.kUnbounded: UNBOUNDED,
    clarabel.SolverStatus.PrimalInfeasible: INFEASIBLE,
    clarabel.SolverStatus.AlmostPrimalInfeasible: INFEASIBLE,
    clarabel.SolverStatus.DualInfeasible: UNBOUNDED,
    clarabel.SolverStatus.AlmostDualInfeasible: UNBOUNDED,
    cp.INFEASIBLE: INFEASIBLE,
    cp.INFEASIBLE_INACCURATE: INFEASIBLE,
    cp.UNBOUNDED: UNBOUNDED,
    cp.UNBOUNDED_INACCURATE: UNBOUNDED,
}


def status_of(said: Any) -> str:
    """What HiGHS, Clarabel or cvxpy has proved where it has no solution, by its own status."""
    return _STATUS.get(said, FAILED)


_MIXED_INTEGER = {"GLPK_MI", "CBC", "SCIP", "ECOS_BB"}
_PACKAGES = {
    "MOSEK": "Mosek",
    "GUROBI": "gurobipy",
    "XPRESS": "xpress",
    "CPLEX": "cplex",
    "COPT": "coptpy",
    "CVXOPT": "cvxopt",
    "GLPK": "cvxopt",
    "GLOP": "ortools",
    "PDLP": "ortools",
    "DAQP": "daqp",
    "ECOS": "ecos",
    "PIQP": "piqp",
    "PROXQP": "proxsuite",
    "QOCO": "qoco",
    "QPALM": "qpalm",
}


_HOT_START = {"COPT", "GUROBI", "HIGHS", "MOREAU", "OSQP", "PIQP", "PROXQP", "QPALM", "SCS", "XPRESS"}
_IN_PLACE = {"CLARABEL", "MOREAU", "OSQP", "PIQP", "PROXQP", "QOCO", "QPALM"}
_THREADS = {"CLARABEL", "COPT", "CPLEX", "GUROBI", "HIGHS", "KNITRO", "MOSEK", "PDLP", "XPRESS"}


@dataclass(frozen=True)
class SolverInfo:
    """What one solver can do.

    Attributes:
        lp, qp, socp, exp: linear programs, quadratic objectives, second-order and exponential cones.
        duals: returns multipliers; without them an answer cannot be audited.
        hot_start: starts from the answer of the interval before; in_place: keeps its model and changes numbers in it.
            Both say what cvxpy (read in version 1.9) does with it where a program is solved as declared. Of a compiled
            program HiGHS starts hot when a round adds rows, Clarabel's numbers are changed in place while its matrices
            have their entries in the same places, and our own method starts from the last interval's multipliers.
        threads: can use several threads.
    """

    name: str
    installed: bool
    lp: bool
    qp: bool
    socp: bool = False
    exp: bool = False
    duals: bool = True
    hot_start: bool = False
    in_place: bool = False
    threads: bool = False

    @property
    def how_to_install(self) -> str:
        """What to do to have it."""
        return f"pip install {_PACKAGES[self.name]}" if self.name in _PACKAGES else "see cvxpy.org"


Choice = str | Backend | None
"""A solver by name, as an object, or None for the choice by capability."""

PLUGINS = "amm_opt.solvers"


@dataclass(frozen=True)
class SolverOrder:
    """Solvers in the order in which they are tried; None is the choice by capability.

    ``time_limit_s`` holds for each call of a solver; by default TIME_LIMIT_S, or HORIZON_TIME_LIMIT_S for programs over
    a horizon. ``watch`` is told of every call of a solver.
    """

    choices: tuple[Choice, ...]
    time_limit_s: float | None = None
    watch: Watch | None = None

    @classmethod
    def of(cls, solvers: SolverOrder | Sequence[Choice]) -> SolverOrder:
        """From itself, or from a list."""
        return solvers if isinstance(solvers, SolverOrder) else cls(tuple(solvers))


def not_a_backend(item: Any) -> str:
    """What keeps an object or class from being a ``Backend``."""
    if isinstance(item, type):
        try:
            item = item()
        except Exception as error:
            return f"{item.__name__}() raises {one_line(error)}"
    lacks = [n for n, kind in (("name", str), ("lp", bool), ("qp", bool)) if not isinstance(getattr(item, n, 0), kind)]
    lacks += [] if callable(getattr(item, "solve", None)) else ["solve"]
    return f"{item!r} is no solver: it needs name (a text), lp and qp (True or False) and solve" if lacks else ""


def as_backend(item: Any) -> Backend:
    """A solver of one's own, made where a class is given.

    Raises:
        InputError: where it is none.
    """
    if problem := not_a_backend(item):
        raise InputError(problem)
    backend: Backend = item() if isinstance(item, type) else item
    return backend


def _built_in() -> set[str]:
    return {"DUAL_NEWTON", "WATER_FILLING", *SOLVER_MAP_CONIC, *SOLVER_MAP_QP}


def registered() -> dict[str, Backend]:
    """Backends that installed packages offer, by upper-case name; those that cannot be loaded are discarded."""
    return {name.upper(): as_backend(item) for name, item in loaded(PLUGINS, not_a_backend).items()}


def _by_plugin(name: str) -> Backend | None:
    """The registered backend of this name.

    Raises:
        InputError: where it cannot be loaded.
    """
    for other, entry in entries(PLUGINS).items():
        if other.upper() == name and name not in _built_in():
            return as_backend(load(entry, PLUGINS, not_a_backend))
    return None


def solvers() -> dict[str, SolverInfo]:
    """Every continuous convex solver that cvxpy knows, registered backends, and our own dual Newton method, by name."""
    built_in = _built_in()
    plugins = {name: backend for name, backend in registered().items() if name not in built_in}
    return _known() | {name: SolverInfo(name, True, backend.lp, backend.qp) for name, backend in plugins.items()}


def _known() -> dict[str, SolverInfo]:
    installed = set(cp.installed_solvers())
    found = {"DUAL_NEWTON": SolverInfo("DUAL_NEWTON", True, False, True, hot_start=True)}
    for name in sorted({*SOLVER_MAP_CONIC, *SOLVER_MAP_QP}):
        conic, quadratic = SOLVER_MAP_CONIC.get(name), SOLVER_MAP_QP.get(name)
        cones = set(conic.SUPPORTED_CONSTRAINTS) if conic is not None else set()
        qp = quadratic is not None or bool(conic is not None and conic.supports_quad_obj())
        if name not in _MIXED_INTEGER:
            found[name] = SolverInfo(
                name,
                name in installed,
                lp=True,
                qp=qp,
                socp=SOC in cones,
                exp=ExpCone in cones,
                hot_start=name in _HOT_START,
                in_place=name in _IN_PLACE,
                threads=name in _THREADS,
            )
    return found


def label(solver: Choice) -> str:
    """How runs and messages call a solver; a user's own that is named like one of ours is told apart."""
    if solver is None or isinstance(solver, str):
        return (solver or "automatic").lower()
    name = " ".join(str(solver.name).split()) or type(solver).__name__
    return f"{name} (own)" if name.upper() in _built_in() or name == "-" else name


def solver_order(solver: Any, time_limit_s: float | None = None) -> SolverOrder:
    """The solvers to try, the given one first.

    Raises:
        InputError: an unknown or not installed solver, an object that is none, or a time limit that is no number of
            seconds.
    """
    said = Problems()
    if time_limit_s is not None and not (_is_number(time_limit_s) and 0 < time_limit_s < np.inf):
        said.say(f"time_limit_s = {shortened(time_limit_s)} must be a number of seconds above 0")
    known = _known()
    ready = [s for s in FALLBACKS if known[s].installed]
    first = None if solver is None else said.of(lambda: _wanted(solver, known))
    said.report()
    return SolverOrder((first, *(s for s in ready if s != first)), time_limit_s)


def _wanted(solver: Any, known: Mapping[str, Any]) -> Any:
    """The solver of a name, or a solver itself."""
    if not isinstance(solver, str):
        return as_backend(solver)
    wanted = solver.upper()
    own = _by_plugin(wanted)
    if own is None and wanted not in known:
        raise unknown("solver", solver, [s.lower() for s, info in solvers().items() if info.installed])
    if own is None and not known[wanted].installed:
        raise InputError(f"solver {solver!r} is not installed: {known[wanted].how_to_install}")
    return own or wanted


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


_MEANING = {"lp": "linear", "qp": "quadratic", "socp": "second-order cone", "exp": "exponential cone"}


def require(solver: Choice, needs: frozenset[str]) -> None:
    """Check that a given solver can solve what a program needs.

    Raises:
        InputError: which capability is missing, and which installed solvers have it.
    """
    if solver is None:
        return
    known = _known()
    able_to = known[solver] if isinstance(solver, str) else solver
    for need in sorted(needs):
        if not getattr(able_to, need, False):
            able = [s.lower() for s, info in known.items() if info.installed and getattr(info, need, False)]
            raise InputError(
                f"solver {label(solver)!r} cannot solve {_MEANING.get(need, need)} programs, which this needs;"
                f" valid choices: {', '.join(able) or 'none installed'}"
            )
