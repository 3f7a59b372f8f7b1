"""Solvers: what each can do, which are installed, and in which order they are tried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, Protocol

import cvxpy as cp
import numpy as np
from cvxpy.constraints import SOC, ExpCone
from cvxpy.reductions.solvers.defines import SOLVER_MAP_CONIC, SOLVER_MAP_QP
from numpy.typing import NDArray

from amm_opt.errors import InputError, unknown

FALLBACKS = ("CLARABEL", "HIGHS", "PIQP", "QOCO", "SCS")

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


class Backend(Protocol):
    """A solver of one's own, passed as ``solver=`` or registered in the entry-point group ``amm_opt.solvers``.

    It gets small problems with few network rows (``amm_opt.solve.reduced.Reduced``) and multipliers to start from,
    and answers with ``problem.point(x, duals, name)`` or ``failed(reason)`` (both there). ``lp`` and ``qp`` say what
    it can solve; its answers are audited like any other.
    """

    name: str
    lp: bool
    qp: bool

    def solve(self, problem: Any, start: NDArray[np.float64]) -> Any:
        """The solution of one problem."""


Choice = str | Backend | None
"""A solver by name, as an object, or None for the choice by capability."""


def registered() -> dict[str, Backend]:
    """Backends that installed packages offer, by upper-case name."""
    return {entry.name.upper(): entry.load() for entry in entry_points(group="amm_opt.solvers")}


def solvers() -> dict[str, SolverInfo]:
    """Every continuous convex solver that cvxpy knows, registered backends, and our own dual Newton method, by name."""
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
    for name, backend in registered().items():
        found[name] = SolverInfo(name, True, backend.lp, backend.qp)
    return found


def label(solver: Choice) -> str:
    """How messages call a solver."""
    return "automatic" if solver is None else (solver if isinstance(solver, str) else solver.name).lower()


def solver_order(solver: Choice) -> tuple[Choice, ...]:
    """The solvers to try, the given one first.

    Raises:
        InputError: unknown or not installed solver.
    """
    known, own = solvers(), registered()
    ready = [s for s in FALLBACKS if known[s].installed]
    if solver is None or not isinstance(solver, str):
        return (solver, *ready)
    wanted = solver.upper()
    if wanted not in known:
        raise unknown("solver", solver, [s.lower() for s, info in known.items() if info.installed])
    if not known[wanted].installed:
        raise InputError(f"solver {solver!r} is not installed: {known[wanted].how_to_install}")
    return (own.get(wanted, wanted), *(s for s in ready if s != wanted))


_MEANING = {"lp": "linear", "qp": "quadratic", "socp": "second-order cone", "exp": "exponential cone"}


def require(solver: Choice, needs: frozenset[str]) -> None:
    """Check that a given solver can solve what a program needs.

    Raises:
        InputError: which capability is missing, and which installed solvers have it.
    """
    if solver is None:
        return
    known = solvers()
    able_to = known[solver] if isinstance(solver, str) else solver
    for need in sorted(needs):
        if not getattr(able_to, need, False):
            able = [s.lower() for s, info in known.items() if info.installed and getattr(info, need, False)]
            raise InputError(
                f"solver {label(solver)!r} cannot solve {_MEANING.get(need, need)} programs, which this needs;"
                f" valid choices: {', '.join(able) or 'none installed'}"
            )
