"""The mechanism contract: a mechanism declares, the toolkit does the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Generic, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from amm_opt.cases import Case, Window
from amm_opt.errors import InputError
from amm_opt.market.state import State
from amm_opt.solve.program import Program, Solution, Step

FloatArray = NDArray[np.float64]
StateT = TypeVar("StateT", bound=State)
Values = dict[str, FloatArray | float]
Solve = Callable[..., Solution]
"""``solve(values)`` or, where a mechanism has several programs, ``solve(values, program_name)``."""


@dataclass(frozen=True, eq=False)
class Allocation:
    """Who is served what, (n,) or (T, n) each: powers in kW, prices in currency per kWh (None: no price)."""

    import_kw: FloatArray
    export_kw: FloatArray
    import_price: FloatArray | None = None
    export_price: FloatArray | None = None


@dataclass(frozen=True, eq=False)
class NoState(State):
    """The state of a mechanism that remembers nothing."""


class Mechanism(Generic[StateT]):
    """Base class of every mechanism; only :meth:`program` must be written.

    Subclasses are frozen dataclasses: their fields are the parameters that a user may set, from Python or on the
    command line (``amm:kappa=2,rho=0``).

    Attributes:
        name: registry name.
        horizon: intervals per program.
        enforces_limits: whether its allocations claim to be hosted by the network, and are audited for it.
        hosted_at_limits_only: whether what is hosted is everybody at its limit, and smaller use follows from that.
            On phases it need not: use on one phase relieves another (B. Liu and J. H. Braslavsky, "Robust dynamic
            operating envelopes for DER integration in unbalanced distribution networks", IEEE Trans. Power Systems
            39(2), 2024). What then breaks a limit is counted as a violation instead of being refused.
        full_service_optimal: whether serving every request is the outcome wherever the network hosts it; the driver
            then proves that by a sweep and skips the solve.
    """

    name: ClassVar[str] = ""
    horizon: int = 1
    enforces_limits: ClassVar[bool] = True
    hosted_at_limits_only: ClassVar[bool] = False
    full_service_optimal: ClassVar[bool] = False

    def initial_state(self, case: Case) -> StateT:
        """The state before the first interval; by default there is none."""
        return cast(StateT, NoState())

    def program(self, step: Step) -> Program | Mapping[str, Program] | None:
        """The program, declared once with cvxpy Parameters (DPP); several by name; or None if none is needed."""
        raise NotImplementedError(f"{type(self).__name__} does not define program(step)")

    def parameters(self, step: Step, state: StateT, window: Window) -> Values:
        """Numbers for the mechanism's own parameters in this interval, by parameter name."""
        return {}

    def clear(self, step: Step, solve: Solve, state: StateT, window: Window) -> Solution | Mapping[str, Solution]:
        """Solve one interval; mechanisms of several stages override this and call ``solve`` as often as they need."""
        return solve(self.parameters(step, state, window))

    def settle(self, step: Step, solution: Solution | Mapping[str, Solution] | None, window: Window) -> Allocation:
        """The allocation; ``solution`` is None where nothing had to be solved, which means full service.

        By default the program's values named ``import`` and ``export``.
        """
        if solution is None:
            return Allocation(window.import_request_kw, window.export_request_kw)
        if not isinstance(solution, Solution):
            raise InputError(f"{self}: a mechanism with several programs must define settle")
        for name in ("import", "export"):
            if name not in solution.values:
                given = ", ".join(solution.values) or "none"
                raise InputError(f"{self}: the program has no value named {name!r} (it has {given}); define settle")
        return Allocation(solution["import"], solution["export"])

    def advance(self, state: StateT, allocation: Allocation, window: Window) -> StateT:
        """The state after the interval; pure, never in place."""
        return state

    def __str__(self) -> str:
        """The spec that makes this mechanism: its name and the parameters that differ from their defaults."""
        name = self.name or type(self).__name__
        given: Any = self
        own = fields(given) if hasattr(type(self), "__dataclass_fields__") else ()
        values = {f.name: getattr(self, f.name) for f in own if getattr(self, f.name) != f.default}
        changed = [f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in values.items()]
        return f"{name}:{','.join(changed)}" if changed else name
