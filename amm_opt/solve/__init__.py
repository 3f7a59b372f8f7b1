"""The program contract and the ways to solve it."""

from amm_opt.solve.audit import Audit
from amm_opt.solve.program import DIRECTIONS, HorizonProgram, Injection, Leximin, Program, Solution, Step

__all__ = ["DIRECTIONS", "Audit", "HorizonProgram", "Injection", "Leximin", "Program", "Solution", "Step"]
