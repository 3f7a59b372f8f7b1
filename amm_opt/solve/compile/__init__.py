"""Programs compiled once: canonicalised by cvxpy, reduced, and kept as numbers that are affine in the parameters."""

from amm_opt.solve.compile.affine import AffineMap, AffineMatrix
from amm_opt.solve.compile.canonical import NotCompilableError
from amm_opt.solve.compile.form import Known, compiled_once
from amm_opt.solve.compile.numbers import Numbers
from amm_opt.solve.compile.program import CompiledProgram, Powers, parameters_of
from amm_opt.solve.compile.rows import Rows, stacked

__all__ = [
    "AffineMap",
    "AffineMatrix",
    "CompiledProgram",
    "Known",
    "NotCompilableError",
    "Numbers",
    "Powers",
    "Rows",
    "compiled_once",
    "parameters_of",
    "stacked",
]
