"""Batteries of participants: what they hold and how fast."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from amm_opt.arrays import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Batteries:
    """The participants that have a battery; (B,) each.

    Attributes:
        participant: numbers of the participants.
        size_kwh, power_kw: what it can hold, and its largest power in either direction.
        efficiency: share that is left after charging, and again after discharging.
        initial_kwh: content before the first interval of a run.
    """

    participant: IntArray
    size_kwh: FloatArray
    power_kw: FloatArray
    efficiency: FloatArray
    initial_kwh: FloatArray

    @classmethod
    def of(cls, participants: pd.DataFrame) -> Batteries:
        """From a case's table of participants."""
        at = np.flatnonzero(participants["battery_kwh"].to_numpy(float) > 0)
        size, power, efficiency, initial = (
            participants[f"battery_{name}"].to_numpy(float)[at] for name in ("kwh", "kw", "efficiency", "initial")
        )
        return cls(at, size, power, efficiency, initial * size)

    def __len__(self) -> int:
        return len(self.participant)
