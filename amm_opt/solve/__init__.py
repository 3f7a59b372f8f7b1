"""The program contract and the ways to solve it."""

from amm_opt.solve.audit import Audit
from amm_opt.solve.program import DIRECTIONS, Injection, Leximin, Program, Solution, Step

__all__ = ["DIRECTIONS", "Audit", "Injection", "Leximin", "Program", "Solution", "Step"]
