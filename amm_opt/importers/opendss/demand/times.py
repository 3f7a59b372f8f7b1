"""One time axis for all load shapes, and the profiles on it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from amm_opt.arrays import FloatArray
from amm_opt.importers.opendss.plants.shapes import DIGITS, SAME, Shape
from amm_opt.io.columns import unique_names

START = "2030-01-01"
SNAPSHOT_S = 1800.0
"""Length of an interval where nothing changes with time."""


class Axis:
    """Intervals of the shortest step, as many as the longest shape has; shorter shapes begin again, as in OpenDSS.

    Attributes:
        step_s, count, ends_s: of the intervals.
        problems: shapes whose step is no multiple of the shortest.
    """

    def __init__(self, shapes: Iterable[Shape]) -> None:
        own = list({id(x): x for x in shapes}.values())
        self.step_s = min((x.step_s for x in own), default=SNAPSHOT_S)
        longest = max((x.length_s for x in own), default=2 * SNAPSHOT_S)
        self.count = max(round(longest / self.step_s), 2)
        self.ends_s: FloatArray = np.asarray(self.step_s * np.arange(1, self.count + 1))
        first = next((x for x in own if x.step_s == self.step_s), None)
        self.problems = [
            f"{x.element}: its step of {x.step_s / 60:g} minutes is no multiple of the {self.step_s / 60:g} minutes of"
            f" {first.element.name!r}"
            for x in own
            if first is not None and abs(x.step_s / self.step_s - round(x.step_s / self.step_s)) > SAME
        ]
        if first is not None and abs(self.step_s - round(self.step_s)) > SAME:
            self.problems.append(f"{first.element}: its step of {self.step_s:g} seconds is no whole number of seconds")
        self._columns: dict[str, FloatArray] = {}
        self._known: dict[bytes, str] = {}

    def column(self, name: str, values: FloatArray) -> str:
        """Name of the profile with these values; equal ones share one."""
        key = np.round(values, DIGITS).tobytes()
        if key not in self._known:
            (self._known[key],) = unique_names([name], {*self._columns, "time"})
            self._columns[self._known[key]] = values
        return self._known[key]

    def profiles(self) -> pd.DataFrame:
        """Table of the profiles."""
        times = pd.date_range(START, periods=self.count, freq=pd.Timedelta(seconds=round(self.step_s)))
        return pd.DataFrame({"time": times, **self._columns})
