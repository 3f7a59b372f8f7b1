"""The program contract and the ways to solve it."""

from amm_opt.arrays import DIRECTIONS
from amm_opt.grid import Grid
from amm_opt.program import Audit, HorizonProgram, Injection, Leximin, Program, Solution

__all__ = ["DIRECTIONS", "Audit", "Grid", "HorizonProgram", "Injection", "Leximin", "Program", "Solution"]
