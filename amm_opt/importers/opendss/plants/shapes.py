"""LoadShape, TShape and XYCurve: values over time, and one number by another."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from amm_opt.arrays import FloatArray
from amm_opt.errors import counted
from amm_opt.importers.opendss.dialect.text import is_yes, number, whole
from amm_opt.importers.opendss.elements.component import Component, UnsupportedError
from amm_opt.importers.opendss.plants.values import array_or_file, binary, table

DEFAULT = (
    *(0.677, 0.6256, 0.6087, 0.5833, 0.58028, 0.6025, 0.657, 0.7477, 0.832, 0.88, 0.94, 0.989),
    *(0.985, 0.98, 0.9898, 0.999, 1.0, 0.958, 0.936, 0.913, 0.876, 0.876, 0.828, 0.756),
)
"""The load shape ``default`` that every circuit has, by the hour."""
_SECONDS = {"interval": 3600.0, "minterval": 60.0, "sinterval": 1.0}
SAME = 1e-6
DIGITS = 9


def _empty() -> FloatArray:
    return np.zeros(0)


@dataclass
class Shape(Component):
    """Values by time: the k-th is that of the k-th step, or at the k-th hour; after the last comes the first again.

    Attributes:
        folder: where the files of the present statement are looked for.
        step_s: length of a step; where hours are given 0, and after ``finish`` the shortest time between two.
    """

    kept: ClassVar[tuple[str, ...]] = ("folder",)
    folder: Path = Path()
    points: int = 0
    step_s: float = 3600.0
    values: FloatArray = field(default_factory=_empty)
    hours: FloatArray | None = None
    own: str = "temp"

    def set(self, name: str, value: str) -> bool:
        """Take a property; whether it was read."""
        if name == "npts":
            self.points = whole(value)
        elif name in _SECONDS:
            self.step_s = number(value) * _SECONDS[name]
        elif name == "hour":
            self.hours = self._sized(*array_or_file(value, self.folder))
        elif name == self.own:
            self.values = self._sized(*array_or_file(value, self.folder))
        elif name == "csvfile":
            self._rows(np.array(table(value, self.folder)))
        elif name in ("sngfile", "dblfile"):
            flat = binary(value, name, self.folder)
            self._rows(flat.reshape(-1, 1 if self.step_s else 2))
        else:
            return False
        return True

    def _sized(self, values: FloatArray, of_file: bool) -> FloatArray:
        """As many values as were said before; a file may be shorter, a list is then followed by zeros."""
        if self.points < 1:
            raise UnsupportedError("npts must be given before the values")
        self.points = min(self.points, len(values)) if of_file else self.points
        return np.append(values, np.zeros(max(self.points - len(values), 0)))[: self.points]

    def _rows(self, rows: FloatArray) -> None:
        """Rows of a value, or of hour and value where there is no interval."""
        wanted = 1 if self.step_s else 2
        if rows.ndim != 2 or rows.shape[1] < wanted:
            raise UnsupportedError(f"the file needs {wanted} columns in every row")
        self.values = self._sized(rows[:, wanted - 1], True)
        if not self.step_s:
            self.hours = rows[: self.points, 0]

    def finish(self) -> None:
        """Hours that are no multiples of the shortest step are refused."""
        if self.step_s < 0 or (not self.step_s and self.hours is None):
            raise UnsupportedError("interval must be positive, or hour be given")
        if not len(self.values):
            raise UnsupportedError("it has no values")
        if self.step_s:
            return
        hours = self.hours if self.hours is not None else _empty()
        steps = np.diff(hours, prepend=0.0 if len(hours) and hours[0] > 0 else np.nan)
        steps = steps[np.isfinite(steps)]
        step = float(steps.min()) if len(steps) else 0.0
        times = hours / step if step > 0 else hours
        if not step > 0 or len(hours) != len(self.values) or np.abs(times - times.round()).max() > SAME * times.max():
            raise UnsupportedError("its hours must increase by multiples of the shortest step")
        self.step_s = 3600.0 * step
        if hours[0] > 0:
            self.remarks.append(
                f"{self.element}: its hours begin at {hours[0]:g}: as in OpenDSS it rises from 0 before, and is 0 at"
                f" every full turn after the first (hour {2 * hours[-1]:g}, {3 * hours[-1]:g}, ...)"
            )

    @property
    def length_s(self) -> float:
        """Until it begins again."""
        return self.step_s * len(self.values) if self.hours is None else 3600.0 * float(self.hours[-1])

    def at(self, ends_s: FloatArray, values: FloatArray | None = None) -> FloatArray:
        """Values at the ends of intervals, as OpenDSS takes them there: the nearest one, or a line between two hours.

        Args:
            values: others than its own, at the same steps.
        """
        given = self.values if values is None else values
        turns = np.round(ends_s / self.length_s, DIGITS)
        if self.hours is None:
            at = np.round(np.round(ends_s / self.step_s, DIGITS)).astype(np.intp)
            return np.asarray(given[(at - 1) % len(given)])
        later = [0.0] if self.hours[0] > 0 else []
        hour = np.where(turns > 1.0, turns - np.trunc(turns), turns) * self.hours[-1]
        return np.asarray(np.interp(hour, [*later, *self.hours], [*later, *given]))


@dataclass
class LoadShape(Shape):
    """Multipliers of active power and, where they have their own, of reactive power; or kW and kvar themselves."""

    own: str = "mult"
    reactive: FloatArray | None = None
    actual: bool = False
    base: tuple[float, float] = (0.0, 0.0)

    def set(self, name: str, value: str) -> bool:
        """Take a property; whether it was read."""
        if name == "qmult":
            self.reactive = self._sized(*array_or_file(value, self.folder))
        elif name == "pqcsvfile":
            rows = np.array(table(value, self.folder))
            if rows.ndim != 2 or rows.shape[1] < 2 or not self.step_s:
                raise UnsupportedError("pqcsvfile needs two columns and an interval")
            self.values = self._sized(rows[:, 0], True)
            self.reactive = self._sized(rows[:, 1], True)
        elif name == "useactual":
            self.actual = is_yes(value)
        elif name in ("pbase", "qbase"):
            self.base = (number(value), self.base[1]) if name == "pbase" else (self.base[0], number(value))
        elif name == "action":
            self._act(value)
        elif name == "interpolation":
            if value.lower()[:1] == "e":
                raise UnsupportedError("interpolation=edge is not supported")
        else:
            return super().set("mult" if name == "pmult" else name, value)
        return True

    def _act(self, what: str) -> None:
        """``normalize``: the largest value becomes 1, or the base does."""
        if what.lower()[:1] == "n":
            self.values = _normalised(self.values, self.base[0])
            if self.reactive is not None:
                self.reactive = _normalised(self.reactive, self.base[1])
            self.actual = False

    @property
    def highest(self) -> tuple[float, float]:
        """Largest active power, and the reactive power then: none where it has none of its own."""
        at = int(np.argmax(self.values))
        return float(self.values[at]), 0.0 if self.reactive is None else float(self.reactive[at])

    def finish(self) -> None:
        """Check what the script leaves."""
        if not self.step_s and self.reactive is not None:
            raise UnsupportedError("qmult at given hours is not supported; give an interval")
        if self.reactive is not None and len(self.reactive) != len(self.values):
            raise UnsupportedError(f"{counted(len(self.reactive), 'value')} of qmult beside {len(self.values)} of mult")
        super().finish()


def _normalised(values: FloatArray, base: float) -> FloatArray:
    largest = base or (float(np.abs(values).max()) if len(values) else 0.0)
    return values / largest if largest else values


@dataclass
class Curve(Component):
    """y by x, in straight lines, which go on beyond both ends."""

    kept: ClassVar[tuple[str, ...]] = ("folder",)
    folder: Path = Path()
    points: int = 0
    x: FloatArray = field(default_factory=_empty)
    y: FloatArray = field(default_factory=_empty)

    def set(self, name: str, value: str) -> bool:
        """Take a property; whether it was read."""
        if name == "npts":
            self.points = whole(value)
        elif name in ("xarray", "yarray"):
            setattr(self, name[0], array_or_file(value, self.folder)[0][: self.points])
        elif name in ("points", "csvfile"):
            pairs = array_or_file(value, self.folder)[0] if name == "points" else np.array(table(value, self.folder))
            if pairs.size % 2:
                raise UnsupportedError(f"{name} needs pairs of x and y")
            self.x, self.y = pairs.reshape(-1, 2)[: self.points].T
        elif name in ("sngfile", "dblfile", "xshift", "yshift", "xscale", "yscale"):
            raise UnsupportedError(f"{name} is not supported")
        else:
            return False
        return True

    def finish(self) -> None:
        """Check what the script leaves."""
        if len(self.x) != len(self.y) or len(self.x) < 2 or not (np.diff(self.x) > 0).all():
            raise UnsupportedError("npts, then at least two points with increasing x, are needed")

    def __call__(self, at: FloatArray) -> FloatArray:
        """Values at some x."""
        i = np.clip(np.searchsorted(self.x, at) - 1, 0, len(self.x) - 2)
        slope = (self.y[i + 1] - self.y[i]) / (self.x[i + 1] - self.x[i])
        return np.asarray(self.y[i] + slope * (at - self.x[i]))
