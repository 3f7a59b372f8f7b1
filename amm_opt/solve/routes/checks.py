"""Checks of a program and of its parameters' numbers, before anything is solved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import cvxpy as cp
import numpy as np

from amm_opt.errors import InputError
from amm_opt.grid import Grid
from amm_opt.program import HorizonProgram, Leximin, Program
from amm_opt.solve.compile import parameters_of

Own = Mapping[str, cp.Parameter]
"""A program's own parameters by name."""


def check_program(program: Program, grid: Grid) -> dict[str, cp.Parameter]:
    """The mechanism's own parameters by name, after checking that the program can be compiled once.

    Raises:
        InputError: with the offending expression.
    """
    if not isinstance(program.objective, Leximin) and not program.objective.is_dcp(dpp=True):
        raise InputError(f"program is not DPP (linear in its parameters, convex): objective {program.objective}")
    for constraint in program.constraints:
        if not constraint.is_dcp(dpp=True):
            raise InputError(f"program is not DPP (linear in its parameters, convex): constraint {constraint}")
    for injection in program.injections:
        for expression in (injection.import_kw, injection.export_kw):
            if not (expression.is_affine() and expression.is_dcp(dpp=True)):
                raise InputError(f"program is not DPP: injection {expression} is not affine")
            if expression.shape != (grid.n,):
                raise InputError(f"injection {expression} has shape {expression.shape}, not ({grid.n},)")
    given = {parameter.id for parameter in grid.parameters}
    own: dict[str, cp.Parameter] = {}
    for parameter in parameters_of(program):
        if parameter.id in given:
            continue
        if parameter.name() in own:
            raise InputError(f"two parameters of the program are named {parameter.name()!r}")
        own[parameter.name()] = parameter
    return own


def check_values(own: Mapping[str, cp.Parameter], values: Mapping[str, Any], leading: tuple[int, ...] = ()) -> None:
    """Check the numbers of the mechanism's parameters.

    Args:
        leading: dimensions in front of each parameter's own shape, such as the number of intervals.

    Raises:
        InputError: missing or unknown names, wrong sizes, NaN or a wrong sign.
    """
    if missing := sorted(own.keys() - values.keys()):
        raise InputError(f"no value for parameter {', '.join(missing)} of the program")
    if extra := sorted(values.keys() - own.keys()):
        raise InputError(f"values for unknown parameter {', '.join(extra)}; the program has {', '.join(sorted(own))}")
    for name, parameter in own.items():
        value = np.asarray(values[name], dtype=float)
        shape = (*leading, *parameter.shape)
        if value.shape != shape:
            raise InputError(f"the value of parameter {name!r} has shape {value.shape}, not {shape}")
        if not np.isfinite(value).all():
            raise InputError(f"parameter {name!r} has a value that is not finite")
        if parameter.attributes["nonneg"] and value.size and value.min() < 0:
            raise InputError(f"parameter {name!r} must not be negative, its value goes down to {value.min():g}")


def horizon_parameters(program: HorizonProgram, grid: Grid) -> tuple[Own, Own]:
    """Own parameters of the interval's program and of the coupling, after checking both.

    Raises:
        InputError: with what is wrong.
    """
    if grid.conic:
        raise InputError(f"programs over a horizon need a linear network model, and {grid.network.name} is conic")
    own = (check_program(program.interval, grid), check_program(program.coupling, grid))
    if both := sorted(own[0].keys() & own[1].keys()):
        raise InputError(f"parameter {both[0]!r} is both an interval's and the coupling's")
    for name in (*program.totals, *program.stores.values()):
        if name not in program.interval.values:
            known = ", ".join(program.interval.values)
            raise InputError(f"the interval's program has no value {name!r}; valid choices: {known}")
    return own


def value_check(program: Program | HorizonProgram, grid: Grid) -> Callable[[Mapping[str, Any], int], None]:
    """What checks the numbers of all parameters, given them and the number of intervals.

    Raises:
        InputError: where the program cannot be solved; later see ``check_values``.
    """
    if isinstance(program, Program):
        own = check_program(program, grid)
        return lambda values, n_steps: check_values(own, values)
    inner, coupling = horizon_parameters(program, grid)
    stores = {f"{store}_{kind}" for store in program.stores for kind in ("initial", "lower", "upper")}

    def check(values: Mapping[str, Any], n_steps: int) -> None:
        if missing := sorted(stores - values.keys()):
            raise InputError(f"no value for {', '.join(missing)} of the program's stores")
        of_interval = {n: v for n, v in values.items() if n in inner}
        check_values(inner, of_interval, (n_steps,))
        check_values(coupling, {n: v for n, v in values.items() if n not in stores and n not in of_interval})

    return check
