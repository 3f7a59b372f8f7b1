"""Dimming as in section 14a of the German energy act: controllable devices are dimmed, but never below a minimum.

Network operators may dim controllable consumption where the network is short, down to (BNetzA BK6-22-300, annex 1)

    P_min = 4.2                                                  one device
    P_min = 4.2 + (n - 1) s(n) 4.2                               n devices behind an energy manager
    P_min = 0.4 max(P_hp, P_ac) + (n - 1) s(n) 4.2               with a heat pump or air conditioner above 11 kW,

kW, n counting all devices and s(n) the factor of simultaneity in ``SIMULTANEITY``.

As a mechanism: limit by limit from the leaves to the root (``formulations/parts/by_limit.py``), everyone behind a
limit that binds is dimmed to min(r_i, P_min), whether less would do or not; everyone else is served. Exports have no
minimum and are cut by one fraction, where a limit still binds. Where the minima themselves break a limit they are cut
back where they load it, and the interval is marked. As a promise under any other mechanism: ``Floored``.

Our reading: all customers have the same number of devices; power is that of import on top of inflexible load, and own
generation does not add to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from amm_opt.arrays import FloatArray, IntArray
from amm_opt.cases import Requests
from amm_opt.errors import InputError
from amm_opt.grid import Grid
from amm_opt.market import NoState
from amm_opt.tolerances import ROUNDING
from formulations.parts.by_limit import ByLimit, Rule, by_one_fraction
from formulations.practice.promise import Promise

SIMULTANEITY = {2: 0.8, 3: 0.75, 4: 0.7, 5: 0.65, 6: 0.6, 7: 0.55, 8: 0.5}
"""By the number of devices; 0.45 from nine on."""
MANY = 0.45
LARGE_KW, LARGE_SHARE = 11.0, 0.4
"""A heat pump or air conditioner above this counts with this share of its power."""


@dataclass(frozen=True)
class Dimming14a(ByLimit[NoState], Promise):
    """Everyone behind a limit that binds is dimmed to the minimum of section 14a.

    Args:
        devices: n, how many controllable devices each customer has; 1 is one that is steered alone.
        heat_pump_kw, air_conditioner_kw: their power, where they are among them; 0: there is none.
        device_kw: the minimum of one device.
    """

    name: ClassVar[str] = "dimming_14a"

    devices: int = 1
    heat_pump_kw: float = 0.0
    air_conditioner_kw: float = 0.0
    device_kw: float = 4.2

    def __post_init__(self) -> None:
        powers = ("heat_pump_kw", "air_conditioner_kw", "device_kw")
        problems = [f"{k} = {getattr(self, k)} must not be negative" for k in powers if getattr(self, k) < 0]
        problems += [f"devices = {self.devices} must be at least 1"] if self.devices < 1 else []
        if problems:
            raise InputError(problems, subject=self.name)

    @property
    def minimum_kw(self) -> float:
        """P_min."""
        others = self.devices - 1
        largest = max(self.heat_pump_kw, self.air_conditioner_kw)
        first = LARGE_SHARE * largest if largest > LARGE_KW else self.device_kw
        return first + others * SIMULTANEITY.get(self.devices, MANY) * self.device_kw

    def promised_kw(self, requests: Requests) -> FloatArray:
        """(2, ...) the minimum or the request; nothing of exports."""
        least = np.minimum(requests.import_request_kw, self.minimum_kw)
        return np.stack([least, np.zeros_like(least)])

    def rule(self, grid: Grid, state: NoState, requests: Requests) -> Rule:
        n, least = grid.n, self.minimum_kw

        def dimmed(who: IntArray, power_kw: FloatArray, use: FloatArray, excess: float) -> FloatArray:
            left = np.where(who < n, np.minimum(power_kw, least), power_kw)
            excess -= float(use @ (power_kw - left))
            exports = who >= n
            if excess > ROUNDING and exports.any():
                left[exports] = by_one_fraction(who[exports], power_kw[exports], use[exports], excess)
            return left

        return dimmed
