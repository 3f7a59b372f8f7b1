"""What participants ask for, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from amm_opt.arrays import SIGN, FloatArray
from amm_opt.cases.profiles import Profiles, requested
from amm_opt.cases.scenario import Scenario


@dataclass(frozen=True, eq=False)
class Requests:
    """What T consecutive intervals ask for; each array is (T, n participants), or (n,) for one interval, kW or kvar.

    Attributes:
        inflexible_kw: inflexible net load d (negative where must-run generation exceeds load).
        import_request_kw: flexible import request r >= 0; one of at most ``REQUEST_TOLERANCE_KW`` is made 0.
        export_request_kw: generation available to export g >= 0, likewise.
        start: number of the first interval within the case.
        dt_h: length of an interval in hours.
        inflexible_kvar: reactive power drawn beside what goes with active power, by its series and the constant part;
            None where a case has no series of it, so that only the constant part is drawn.
    """

    inflexible_kw: FloatArray
    import_request_kw: FloatArray
    export_request_kw: FloatArray
    start: int
    dt_h: float
    times: pd.DatetimeIndex
    inflexible_kvar: FloatArray | None = None

    def __post_init__(self) -> None:
        for name in ("import_request_kw", "export_request_kw"):
            power = np.asarray(getattr(self, name))
            counts = requested(power)
            if np.any(~counts & (power > 0)):
                object.__setattr__(self, name, np.where(counts, power, 0.0))

    @property
    def n_steps(self) -> int:
        """Number of intervals T."""
        return len(self.times)

    def request_kw(self, direction: str) -> FloatArray:
        """Requests in ``"import"`` or ``"export"`` direction."""
        return self.import_request_kw if direction == "import" else self.export_request_kw

    def at_connection_kw(self, direction: str) -> FloatArray:
        """Net power of a direction at the connection where everything that is requested in it is served."""
        return self.request_kw(direction) + SIGN[direction] * self.inflexible_kw

    @property
    def both_kw(self) -> FloatArray:
        """(2, ...) requests: import, then export."""
        both = np.concatenate([self.import_request_kw, self.export_request_kw])
        return both.reshape(2, *self.import_request_kw.shape)

    def select(self, which: Any) -> Requests:
        """The intervals that a slice or a mask selects; ``start`` is that of the first."""
        first = self.start + int(np.arange(self.n_steps)[which][:1].sum())
        return self._of(which, first, self.times[which])

    def interval(self, k: int) -> Requests:
        """Interval k alone, with arrays of shape (n,)."""
        return self._of(k, self.start + k, self.times[k : k + 1])

    def _of(self, which: Any, start: int, times: pd.DatetimeIndex) -> Requests:
        arrays = (self.inflexible_kw[which], self.import_request_kw[which], self.export_request_kw[which])
        kvar = None if self.inflexible_kvar is None else self.inflexible_kvar[which]
        return Requests(*arrays, start, self.dt_h, times, kvar)


def asked_for(profiles: Profiles, scenario: Scenario, start: int, stop: int, constant_kvar: FloatArray) -> Requests:
    """What participants ask for in intervals ``start`` to ``stop - 1``, whatever their connections are.

    Args:
        constant_kvar: (n,) reactive power that they draw at all times; series of it come on top, scaled as load is.
    """
    n = len(constant_kvar)
    load, imports, exports = profiles.block(start, stop, n)
    scaled = load * scenario.load_scale, imports * scenario.import_scale, exports * scenario.export_scale
    kvar = constant_kvar + scenario.load_scale * profiles.kvar(start, stop, n) if profiles.has_kvar else None
    return Requests(*scaled, start, profiles.dt_h, profiles.times[start:stop], kvar)
