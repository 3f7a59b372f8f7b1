"""What participants ask for, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from amm_opt.arrays import BoolArray, FloatArray
from amm_opt.cases.profiles import requested


@dataclass(frozen=True, eq=False)
class Requests:
    """What T consecutive intervals ask for; each array is (T, n participants), or (n,) for one interval, in kW.

    Attributes:
        inflexible_kw: inflexible net load d (negative where must-run generation exceeds load).
        import_request_kw: flexible import request r >= 0; one of at most ``REQUEST_TOLERANCE_KW`` is made 0.
        export_request_kw: generation available to export g >= 0, likewise.
        start: number of the first interval within the case.
        dt_h: length of an interval in hours.
        usage: every limited network quantity with inflexible load alone and with every request served, (T, m) each,
            where somebody has worked it out already (see ``Grid.usage``).
        hosted: (T,) whether a sweep has proved that the network hosts every request; None where nobody looked.
    """

    inflexible_kw: FloatArray
    import_request_kw: FloatArray
    export_request_kw: FloatArray
    start: int
    dt_h: float
    times: pd.DatetimeIndex
    usage: tuple[FloatArray, FloatArray] | None = None
    hosted: BoolArray | None = None

    def __post_init__(self) -> None:
        for name in ("import_request_kw", "export_request_kw"):
            power = np.asarray(getattr(self, name))
            counts = requested(power)
            if np.any(~counts & (power > 0)):
                object.__setattr__(self, name, np.where(counts, power, 0.0))
                object.__setattr__(self, "usage", None)

    @property
    def n_steps(self) -> int:
        """Number of intervals T."""
        return len(self.times)

    @property
    def scarce(self) -> BoolArray:
        """(T,) where nobody has proved that every request is hosted."""
        return np.ones(self.n_steps, dtype=bool) if self.hosted is None else ~self.hosted

    def request_kw(self, direction: str) -> FloatArray:
        """Requests in ``"import"`` or ``"export"`` direction."""
        return self.import_request_kw if direction == "import" else self.export_request_kw

    def select(self, which: Any) -> Requests:
        """The intervals that a slice or a mask selects; ``start`` is that of the first."""
        usage = None if self.usage is None else (self.usage[0][which], self.usage[1][which])
        hosted = None if self.hosted is None else self.hosted[which]
        first = self.start + int(np.arange(self.n_steps)[which][:1].sum())
        arrays = (self.inflexible_kw[which], self.import_request_kw[which], self.export_request_kw[which])
        return Requests(*arrays, first, self.dt_h, self.times[which], usage, hosted)

    def interval(self, k: int) -> Requests:
        """Interval k of this window alone, with arrays of shape (n,)."""
        arrays = (self.inflexible_kw[k], self.import_request_kw[k], self.export_request_kw[k])
        usage = None if self.usage is None else (self.usage[0][k], self.usage[1][k])
        return Requests(*arrays, self.start + k, self.dt_h, self.times[k : k + 1], usage)
