"""Solvers: what each can do, which are installed, and in which order they are tried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cvxpy as cp
from cvxpy.constraints import SOC, ExpCone
from cvxpy.reductions.solvers.defines import SOLVER_MAP_CONIC, SOLVER_MAP_QP

from amm_opt.errors import InputError

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


@dataclass(frozen=True)
class SolverInfo:
    """One solver's capabilities: linear, quadratic objective, second-order and exponential cones."""

    name: str
    installed: bool
    lp: bool
    qp: bool
    socp: bool
    exp: bool

    @property
    def how_to_install(self) -> str:
        """What to do to have it."""
        return f"pip install {_PACKAGES[self.name]}" if self.name in _PACKAGES else "see cvxpy.org"


def solvers() -> dict[str, SolverInfo]:
    """Every continuous convex solver that cvxpy knows, and our own for separable quadratic programs, by name."""
    installed = set(cp.installed_solvers())
    found = {"DUAL_NEWTON": SolverInfo("DUAL_NEWTON", True, False, True, False, False)}
    for name in sorted({*SOLVER_MAP_CONIC, *SOLVER_MAP_QP}):
        conic, quadratic = SOLVER_MAP_CONIC.get(name), SOLVER_MAP_QP.get(name)
        cones = set(conic.SUPPORTED_CONSTRAINTS) if conic is not None else set()
        qp = quadratic is not None or bool(conic is not None and conic.supports_quad_obj())
        if name not in _MIXED_INTEGER:
            found[name] = SolverInfo(name, name in installed, True, qp, SOC in cones, ExpCone in cones)
    return found


def solver_order(name: str | None) -> tuple[str | None, ...]:
    """The solvers to try, the named one first; None stands for the choice by capability.

    Raises:
        InputError: unknown or not installed solver.
    """
    known = solvers()
    ready = [s for s in FALLBACKS if known[s].installed]
    if name is None:
        return (None, *ready)
    wanted = name.upper()
    if wanted not in known:
        choices = ", ".join(s.lower() for s, info in known.items() if info.installed)
        raise InputError(f"unknown solver {name!r}; valid choices: {choices}")
    if not known[wanted].installed:
        raise InputError(f"solver {name!r} is not installed: {known[wanted].how_to_install}")
    return (wanted, *(s for s in ready if s != wanted))


_MEANING = {"lp": "linear", "qp": "quadratic", "socp": "second-order cone", "exp": "exponential cone"}


def require(name: str | None, needs: frozenset[str]) -> None:
    """Check that a named solver can solve what a program needs.

    Raises:
        InputError: which capability is missing, and which installed solvers have it.
    """
    if name is None:
        return
    known = solvers()
    for need in sorted(needs):
        if not getattr(known[name], need, False):
            able = [s.lower() for s, info in known.items() if info.installed and getattr(info, need, False)]
            raise InputError(
                f"solver {name.lower()!r} cannot solve {_MEANING.get(need, need)} programs, which this mechanism needs;"
                f" valid choices: {', '.join(able) or 'none installed'}"
            )
