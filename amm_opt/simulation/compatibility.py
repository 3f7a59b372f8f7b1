"""What cannot be combined in a run: one table, and the reason of every row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from amm_opt.arrays import DIRECTIONS
from amm_opt.cases.tiers import split
from amm_opt.errors import Problems, counted
from amm_opt.grid import Grid
from amm_opt.market import Mechanism
from amm_opt.market.storage import STORE
from amm_opt.network import LinDistFlow
from amm_opt.program import HorizonProgram
from amm_opt.simulation.loop.matching import AnyProgram, matches
from amm_opt.simulation.loop.planning import Windows


@dataclass(frozen=True, eq=False)
class Asked:
    """What a run is asked for, as far as it makes sense by itself; None is what does not.

    Attributes:
        secure: whether allocations are to keep the limits of AC; ``all_wires`` whether those of an OpenDSS file.
        programs, windows: of the mechanism on the grid.
    """

    forecast: bool
    measured: bool
    defer: bool
    two: bool
    secure: bool
    all_wires: bool
    mechanism: Mechanism[Any] | None = None
    grid: Grid | None = None
    programs: Mapping[str, AnyProgram] | None = None
    windows: Windows | None = None

    @property
    def matches(self) -> bool:
        """Whether the mechanism clears anything."""
        return self.mechanism is not None and self.programs is not None and matches(self.mechanism, self.programs)

    @property
    def ahead(self) -> bool:
        """Whether the mechanism plans windows."""
        return any(isinstance(p, HorizonProgram) for p in (self.programs or {}).values())

    @property
    def stores(self) -> set[str]:
        """Names of the stores that its windows have."""
        return {name for p in (self.programs or {}).values() if isinstance(p, HorizonProgram) for name in p.stores}

    @property
    def splits(self) -> bool:
        """Whether something is to be matched in two tiers."""
        return self.two and self.matches


@dataclass(frozen=True)
class Conflict:
    """Two things that exclude each other.

    Attributes:
        between: their names, as in the documentation.
        reason: the sentence that refuses them; empty where both are not there together. It may raise an InputError of
            several sentences instead.
    """

    between: tuple[str, str]
    reason: Callable[[Asked], str]


def _of(asked: Asked, applies: bool, sentence: str) -> str:
    """A sentence about the mechanism, where it applies."""
    return f"{asked.mechanism}: {sentence}" if applies else ""


def _unsplittable(reason: Callable[[Asked], str]) -> Callable[[Asked], str]:
    """A reason why a mechanism cannot be matched in two tiers, as a sentence."""

    def sentence(asked: Asked) -> str:
        why = reason(asked) if asked.splits else ""
        return f"{asked.mechanism} cannot be matched in two tiers: {why}" if why else ""

    return sentence


def _count(asked: Asked) -> str:
    count = len(asked.programs or {})
    return f"it has {count or 'no'} programs, not one" if count != 1 and not asked.ahead else ""


def _reads(asked: Asked) -> str:
    if asked.ahead or len(asked.programs or {}) != 1:
        return ""
    (program,) = (asked.programs or {}).values()
    given = [*program.values, *program.duals]
    fits = set(given) == set(DIRECTIONS)
    return "" if fits else f"it reads {', '.join(given)} from its program, not import and export"


def _state(asked: Asked) -> str:
    assert asked.mechanism is not None
    assert asked.grid is not None
    n = asked.grid.n
    for name, array in asked.mechanism.initial_state(asked.grid.case).arrays().items():
        if array.ndim and array.shape[-1] != n:
            return f"{name} of its state has shape {array.shape}, not (..., {counted(n, 'participant')})"
    return ""


def _split(asked: Asked) -> str:
    if asked.splits and asked.grid is not None:
        split(asked.grid.case)
    return ""


def _model(asked: Asked) -> str:
    if not asked.splits or asked.grid is None or type(asked.grid.network) is LinDistFlow:
        return ""
    return f"two tiers need the network model lindistflow, not {asked.grid.network.name}"


def _conic(asked: Asked) -> str:
    if not asked.ahead or asked.grid is None or not asked.grid.conic:
        return ""
    model = asked.grid.network.name
    return f"{asked.mechanism}: programs over a horizon need a linear network model, and {model} is conic"


def _boxes(asked: Asked) -> str:
    if not asked.secure or asked.grid is None or not asked.grid.boxes:
        return ""
    model = asked.grid.network.name
    return f"on the network model {model} every allocation keeps the limits of AC already: leave ac='secure' out"


def _undeclared(asked: Asked) -> str:
    length = asked.windows.length if asked.windows is not None else 1
    missing = length > 1 and asked.programs is not None and not asked.ahead
    return _of(asked, missing, f"horizon = {length} needs a HorizonProgram, which it does not declare")


def _fits(asked: Asked) -> str:
    if asked.grid is not None and not asked.grid.conic:
        asked.grid.shift  # noqa: B018 - it says what does not fit
    return ""


CONFLICTS = (
    Conflict(
        ("defer", "forecast"),
        lambda asked: (
            "energy that can wait needs everything to be known beforehand: give no forecast"
            if asked.defer and asked.forecast
            else ""
        ),
    ),
    Conflict(
        ("forecast", "batteries"),
        lambda asked: _of(
            asked, asked.forecast and STORE in asked.stores, "batteries are scheduled on perfect forecasts only"
        ),
    ),
    Conflict(
        ("measurement", "forecast"),
        lambda asked: (
            "a measurement says what is planned on, and so does a forecast: give one of them"
            if asked.measured and asked.forecast
            else ""
        ),
    ),
    Conflict(
        ("measurement", "defer"),
        lambda asked: (
            "energy that can wait depends on what was served before, which a measurement does not tell: give no defer"
            if asked.measured and asked.defer
            else ""
        ),
    ),
    Conflict(
        ("measurement", "batteries"),
        lambda asked: _of(
            asked, asked.measured and STORE in asked.stores, "batteries are scheduled on true readings only"
        ),
    ),
    Conflict(
        ("measurement", "all wires"),
        lambda asked: (
            "all wires of an OpenDSS file are the true ones, and a measurement may believe in others: give one of them"
            if asked.measured and asked.all_wires
            else ""
        ),
    ),
    Conflict(
        ("secure", "batteries"),
        lambda asked: _of(
            asked,
            asked.secure and bool(asked.stores),
            "AC-secure allocations are for mechanisms without stores: cutting a plan back would change what is stored",
        ),
    ),
    Conflict(("two tiers", "horizon"), _unsplittable(lambda a: "its program is one over a horizon" if a.ahead else "")),
    Conflict(("two tiers", "several programs"), _unsplittable(_count)),
    Conflict(("two tiers", "further values"), _unsplittable(_reads)),
    Conflict(("two tiers", "states of another shape"), _unsplittable(_state)),
    Conflict(("two tiers", "network models but lindistflow"), _model),
    Conflict(("two tiers", "cases that cannot be split"), _split),
    Conflict(
        ("margin", "conic network models"),
        lambda asked: (
            f"a margin shifts linear limits, and the network model {asked.grid.network.name!r} has none"
            if asked.grid is not None and asked.grid.margin is not None and asked.grid.conic
            else ""
        ),
    ),
    Conflict(
        ("margin", "two tiers"),
        lambda asked: (
            "a margin is of the limits of the whole network: give one tier"
            if asked.two and asked.grid is not None and asked.grid.margin is not None
            else ""
        ),
    ),
    Conflict(("margin", "cases that it does not fit"), _fits),
    Conflict(("horizon", "conic network models"), _conic),
    Conflict(("secure", "models of boxes"), _boxes),
    Conflict(("horizon", "programs of one interval"), _undeclared),
)
"""All that is refused, whatever a user combines."""


def conflicts(asked: Asked) -> Problems:
    """The reasons why a run cannot be."""
    said = Problems()
    for row in CONFLICTS:
        said.say(said.of(partial(row.reason, asked)) or "")
    return said
