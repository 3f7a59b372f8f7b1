"""Solvers of the problems that the routes make, and what a solver of one's own needs."""

from amm_opt.solve.backends.reduced import Backend, Point, Reduced, failed, infeasible, unbounded

__all__ = ["Backend", "Point", "Reduced", "failed", "infeasible", "unbounded"]
