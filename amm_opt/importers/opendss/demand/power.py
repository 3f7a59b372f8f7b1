"""What loads draw at times of their load shapes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from amm_opt.arrays import FloatArray
from amm_opt.errors import counted
from amm_opt.importers.opendss.circuit import Elements
from amm_opt.importers.opendss.commands.clock import FOLLOWS, SNAP
from amm_opt.importers.opendss.elements.loads import FIXED_KVAR, Load, kvar_of
from amm_opt.importers.opendss.plants.shapes import LoadShape
from amm_opt.importers.opendss.settings import SOLVE, Settings


def drawn(x: Load, shape: LoadShape | None, ends_s: FloatArray) -> tuple[FloatArray, FloatArray, str]:
    """kW and kvar of a load at the ends of intervals, and its shape's name; none where the shape is in kW."""
    if shape is None or not len(shape.values):
        ones = np.ones(len(ends_s))
        return x.kw * x.scale * ones, x.kvar * x.kvar_scale * ones, "constant"
    p = shape.at(ends_s)
    q = p if shape.reactive is None else shape.at(ends_s, shape.reactive)
    kvar = x.kvar * (np.ones(len(ends_s)) if x.model in FIXED_KVAR else x.scale * q)
    if not shape.actual:
        return x.kw * x.scale * p, kvar, shape.element.name if x.kw * x.scale else "constant"
    if x.model not in FIXED_KVAR:
        kvar = q if shape.reactive is not None else p * (kvar_of(1.0, x.pf) if x.pf_given else 0.0)
    return p, kvar, ""


def take_hour(elements: Elements, settings: Settings) -> Iterator[str]:
    """Take all loads at the chosen hour of their load shapes; problems are said.

    The report says what the file's own solve takes.
    """
    clock = elements.options.clock
    asked = settings.hour
    if asked == SOLVE and clock.mode not in FOLLOWS:
        yield f"hour={SOLVE!r}: mode={clock.mode} of the file is not followed; give an hour, or none"
        return
    own = clock.ends if clock.solved is None else clock.solved
    hour = own if asked is None or isinstance(asked, str) else float(asked)
    if (asked is None and not clock.timed) or (asked == SOLVE and clock.mode == SNAP):
        return
    stated = sum((x.power for x in elements.loads), 0j)
    taken = {}
    for x in elements.loads:
        shape = elements.shape_of(x)
        if shape is not None and len(shape.values):
            kw, kvar, _ = drawn(x, shape, np.array([hour * 3600.0]))
            taken[id(x)] = complex(kw[0], kvar[0])
    there = sum((taken.get(id(x), x.power) for x in elements.loads), 0j)
    said = f"{counted(len(taken), 'load')} on shapes ({', else '.join(elements.followed)})"
    figures = (
        f"{there.real:.4g} kW and {there.imag:.4g} kvar of all loads, {stated.real:.4g} and {stated.imag:.4g} stated"
    )
    if asked is None:
        elements.assumed.append(
            f"the file solves mode={clock.mode}, last at hour {own:g}: {said}; {figures}. The customers have what is"
            f" stated, the case follows the shapes; hour={SOLVE!r} takes customers as in that solve, hour=12 at noon"
        )
        return
    elements.assumed.append(f"customers are those of hour {hour:g}: {said}; {figures}")
    for x in elements.loads:
        x.taken = taken.get(id(x))
