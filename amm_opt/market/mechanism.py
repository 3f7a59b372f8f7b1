"""The mechanism contract: a mechanism declares, the toolkit does the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Generic, TypeVar, cast

import numpy as np

from amm_opt.arrays import DIRECTIONS, BoolArray, FloatArray
from amm_opt.cases import Case, Requests
from amm_opt.errors import InputError
from amm_opt.fields import Checked
from amm_opt.grid import Grid
from amm_opt.market.payments import AS_TRADED, Payments
from amm_opt.market.scarcity import Scarcity
from amm_opt.market.state import State
from amm_opt.program import HorizonProgram, Program, Solution

StateT = TypeVar("StateT", bound=State)
Values = dict[str, FloatArray | float]
Solve = Callable[..., Solution]
"""``solve(values)`` or, where a mechanism has several programs, ``solve(values, program_name)``; programs over a
horizon may be solved for some of its intervals: ``solve(values, program_name, requests.select(...))``."""
Programs = Program | HorizonProgram | Mapping[str, Program] | Mapping[str, HorizonProgram] | None


@dataclass(frozen=True, eq=False)
class Allocation:
    """Who is served what, (n,) or (T, n) each: powers in kW, prices in currency per kWh (None: no price).

    ``battery_kw`` is the power at the terminals of each participant's battery, positive where it discharges; None
    where batteries are idle.
    """

    import_kw: FloatArray
    export_kw: FloatArray
    import_price: FloatArray | None = None
    export_price: FloatArray | None = None
    battery_kw: FloatArray | None = None

    @property
    def both_kw(self) -> FloatArray:
        """(2, ...) served import, then accepted export."""
        return np.concatenate([self.import_kw, self.export_kw]).reshape(2, *self.import_kw.shape)

    @property
    def drawn_kw(self) -> FloatArray:
        """Served import and what charges batteries."""
        return self.import_kw if self.battery_kw is None else self.import_kw + np.maximum(-self.battery_kw, 0.0)

    @property
    def injected_kw(self) -> FloatArray:
        """Accepted export and what batteries discharge."""
        return self.export_kw if self.battery_kw is None else self.export_kw + np.maximum(self.battery_kw, 0.0)

    def select(self, which: Any) -> Allocation:
        """The intervals that an index, slice or mask selects from (T, n) arrays."""
        rest = [None if p is None else p[which] for p in (self.import_price, self.export_price, self.battery_kw)]
        return Allocation(self.import_kw[which], self.export_kw[which], *rest)

    @classmethod
    def stacked(cls, intervals: Sequence[Allocation]) -> Allocation:
        """(T, n) arrays from single intervals; prices that some lack (a failed solve) are NaN there."""

        def some(name: str, missing: float) -> FloatArray | None:
            given = [getattr(a, name) for a in intervals]
            if all(g is None for g in given):
                return None
            nothing = np.full(intervals[0].import_kw.shape, missing)
            return np.stack([nothing if g is None else g for g in given])

        powers = [np.stack([getattr(a, name) for a in intervals]) for name in ("import_kw", "export_kw")]
        prices = [some(name, np.nan) for name in ("import_price", "export_price")]
        return cls(powers[0], powers[1], prices[0], prices[1], some("battery_kw", 0.0))

    @classmethod
    def joined(cls, blocks: Sequence[Allocation]) -> Allocation:
        """(T, n) arrays one after the other; either all have prices, or battery powers, or none."""

        def whole(name: str) -> Any:
            parts = [getattr(b, name) for b in blocks]
            return None if parts[0] is None else np.concatenate(parts)

        return cls(*(whole(f.name) for f in fields(cls)))


@dataclass(frozen=True, eq=False)
class NoState(State):
    """The state of a mechanism that remembers nothing."""


class Mechanism(Checked, Generic[StateT]):
    """Base class of every mechanism; only :meth:`program` must be written.

    Subclasses are frozen dataclasses: their fields are the parameters that a user may set, from Python or on the
    command line (``amm:alpha=2,rho=0``). Values that do not fit a field's annotation (``float``, ``int``, ``bool``,
    ``str``, a class, ``Literal`` or a union of these) are refused with an ``InputError`` before ``__post_init__``.

    Attributes:
        name: registry name.
        enforces_limits: whether its allocations claim to keep every limit of the network, and are audited for it.
        feasible_at_limits_only: whether what is feasible is everybody at its limit, from which it need not follow that
            smaller use is: on phases use of one relieves another (B. Liu and J. H. Braslavsky, "Robust dynamic
            operating envelopes for DER integration in unbalanced distribution networks", IEEE Trans. Power Systems
            39(2), 2024), and import and export of different power factors leave reactive power behind. What then
            breaks a limit is cut back where it loads it (``amm_opt.market.cut``) and marked; of other mechanisms
            it is refused.
        draws_lots: whether participants that are alike may be served differently, by a seeded draw.
        full_service_optimal: whether serving every request is the outcome wherever that is feasible; the driver then
            proves it by a sweep and skips the solve.
    """

    name: ClassVar[str] = ""
    enforces_limits: ClassVar[bool] = True
    feasible_at_limits_only: ClassVar[bool] = False
    full_service_optimal: ClassVar[bool] = False
    draws_lots: ClassVar[bool] = False

    @property
    def promise(self) -> str:
        """Where its allocations keep limits, in words."""
        return "with everyone at the limit" if self.feasible_at_limits_only else "at the requested point"

    @property
    def horizon(self) -> int | str:
        """Intervals that are looked at together: a number, a length of time such as ``1D``, or ``all`` of the run."""
        return 1

    @property
    def commit(self) -> int | str:
        """Intervals of a horizon that are carried out before the next one is looked at; by default all of them."""
        return self.horizon

    @property
    def throughput_bound(self) -> bool:
        """Whether its total service is the largest feasible in every interval; comparisons measure others by it."""
        return False

    def initial_state(self, case: Case) -> StateT:
        """The state before the first interval; by default there is none."""
        return cast(StateT, NoState())

    def program(self, grid: Grid) -> Programs:
        """The program, declared once with cvxpy Parameters (DPP); several by name; or None if none is needed.

        A mechanism with a ``HorizonProgram`` gets windows of (H, n) arrays, others one interval at a time.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define program(grid)")

    def parameters(self, grid: Grid, state: StateT, requests: Requests) -> Values:
        """Numbers for the mechanism's own parameters in this interval, by parameter name."""
        return {}

    def clear(self, grid: Grid, solve: Solve, state: StateT, requests: Requests) -> Solution | Mapping[str, Solution]:
        """Solve one interval; mechanisms of several stages override this and call ``solve`` as often as they need."""
        return solve(self.parameters(grid, state, requests))

    def full_service(self, grid: Grid, requests: Requests) -> Allocation:
        """The allocation where nothing has to be solved: every request is served, by default without prices.

        ``requests`` is one interval, or a window of a mechanism that looks ahead.
        """
        return Allocation(requests.import_request_kw, requests.export_request_kw)

    def served_in_full(self, grid: Grid, requests: Requests) -> BoolArray:
        """(T,) intervals of a block of which sweeps prove that every request is served; these are not cleared.

        By default those in which it is feasible, where ``full_service_optimal``. What clearing them would give must be
        the same to the bit.
        """
        return np.asarray(self.full_service_optimal & ~grid.scarce(requests))

    def settle(self, grid: Grid, solution: Any, requests: Requests) -> Allocation:
        """The allocation that follows from what :meth:`clear` returned.

        By default the program's values named ``import`` and ``export``.
        """
        if not isinstance(solution, Solution):
            raise InputError(f"{self}: a mechanism with several programs must define settle")
        for name in DIRECTIONS:
            if name not in solution.values:
                given = ", ".join(solution.values) or "none"
                raise InputError(f"{self}: the program has no value named {name!r} (it has {given}); define settle")
        return Allocation(solution["import"], solution["export"])

    def room(self, solution: Any) -> Mapping[str, FloatArray]:
        """By direction, (n,) flexible power up to limits of net power that :meth:`clear` returned, in kW.

        Such a limit does not depend on what its participant asks for. By default there is none: empty.
        """
        return {}

    def carry_out(self, grid: Grid, plan: Allocation, requests: Requests) -> Allocation:
        """What happens in an interval that was planned on a forecast; ``requests`` is what it really asks for.

        By default a plan is a cap: everyone gets the smaller of plan and request. Where limits are enforced and
        that is not feasible, it is cut back afterwards.
        """
        served = np.minimum(plan.import_kw, requests.import_request_kw)
        accepted = np.minimum(plan.export_kw, requests.export_request_kw)
        return Allocation(served, accepted, plan.import_price, plan.export_price)

    def scarcity(self, grid: Grid, requests: Requests) -> Scarcity | None:
        """The deficits that the prices of an interval follow from, and the limit behind each.

        None, the default, where prices come from something else.
        """
        return None

    def without_memory(self) -> Mechanism[Any] | None:
        """The same mechanism with nothing remembered, by which comparisons measure what its memory is worth.

        None, the default, where no state weighs in its decisions.
        """
        return None

    def posted(self, state: StateT, allocation: Allocation) -> Allocation:
        """An interval's allocation with the prices that are posted, which may follow from those before.

        Args:
            state: before the interval.
        """
        return allocation

    @property
    def price_bounds(self) -> tuple[tuple[float, float], tuple[float, float]] | None:
        """Lowest and highest price of import, and of export, in currency per kWh; None where nothing bounds them."""
        return None

    @property
    def payments(self) -> Payments:
        """How batteries and reserve are paid; by default charging is import, and nothing is paid for reserve."""
        return AS_TRADED

    def advance(self, state: StateT, allocation: Allocation, requests: Requests) -> StateT:
        """The state after the interval; pure, never in place."""
        return state

    def __str__(self) -> str:
        """The spec that makes this mechanism: its name and the parameters that differ from their defaults."""
        name = self.name or type(self).__name__
        given: Any = self
        own = fields(given) if hasattr(type(self), "__dataclass_fields__") else ()
        values = {f.name: getattr(self, f.name) for f in own if getattr(self, f.name) != f.default}
        changed = [f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}".replace(",", "+") for k, v in values.items()]
        return f"{name}:{','.join(changed)}" if changed else name
