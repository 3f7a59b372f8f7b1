"""PVSystem, Generator and Storage: what they can give or hold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from amm_opt.arrays import FloatArray
from amm_opt.importers.opendss.dialect.text import is_yes, number, whole
from amm_opt.importers.opendss.elements.component import Component, Terminal, UnsupportedError, bus_and_nodes
from amm_opt.importers.opendss.elements.loads import kvar_of
from amm_opt.importers.opendss.plants.shapes import Curve, LoadShape, Shape

SHAPES = ("yearly", "daily", "duty")
PANEL_C = 25.0


@dataclass
class Plant(Terminal):
    """What feeds in at a bus, from phases to neutral or between them.

    Attributes:
        shapes: names of its load shapes by what they are for; its temperatures are ``tyearly`` and ``tdaily``.
        followed: which of them counts, the first that it has.
        scale: of ``set genmult``.
    """

    pf: float = 1.0
    kvar: float = 0.0
    shapes: dict[str, str] = field(default_factory=dict)
    followed: Sequence[str] = ("yearly", "daily")
    scale: float = 1.0

    def set(self, name: str, value: str) -> bool:
        """Take a property; whether it was read."""
        if name in ("bus1", "conn"):
            setattr(self, name, value)
        elif name == "phases":
            self.phases = whole(value)
        elif name == "kv":
            self.kv = number(value)
        elif name.removeprefix("t") in SHAPES:
            self.shapes[name] = value.lower()
            self._found(f"{'tshape' if name[0] == 't' else 'loadshape'}.{value}")
        else:
            return False
        return True

    def _found(self, full: str) -> Component:
        assert self.find is not None
        return self.find(full)

    def _followed(self, prefix: str = "") -> tuple[str, str]:
        name = next((self.shapes[prefix + n] for n in self.followed if prefix + n in self.shapes), "")
        return ("tshape" if prefix else "loadshape"), name

    @property
    def follows(self) -> list[tuple[str, str]]:
        """Class and name of the shapes and curves that its output follows."""
        return [key for key in (self._followed(), self._followed("t")) if key[1]]

    def shape(self, prefix: str = "") -> Shape | None:
        """The shape that it follows."""
        kind, name = self._followed(prefix)
        found = self._found(f"{kind}.{name}") if name else None
        return found if isinstance(found, Shape) else None

    def _factor(self, pf: float) -> None:
        if not 0 < abs(pf) <= 1:
            raise UnsupportedError(f"pf = {pf:g} must be within 0..1 (or -1..0) and not 0")
        self.pf = pf

    def finish(self) -> None:
        """Bus and nodes."""
        self.bus, self.nodes = bus_and_nodes(self.bus1, self.phases, wye=not self.delta or self.phases == 1)
        if not self.bus:
            raise UnsupportedError("bus1 must be given")
        if not self.kv > 0:
            raise UnsupportedError(f"kv = {self.kv:g} must be positive")


@dataclass
class Generator(Plant):
    """A generator of constant power and power factor; it holds no voltage."""

    kw: float = 1000.0
    kvar: float = 60.0
    pf: float = 0.88
    model: str = "1"
    status: str = "variable"

    def set(self, name: str, value: str) -> bool:
        """Take a property; of kvar and pf the later counts."""
        if name in ("model", "status"):
            setattr(self, name, value.lower())
        elif name == "kw":
            self.kw = number(value)
            self.kvar = kvar_of(self.kw, self.pf)
        elif name == "pf":
            self._factor(number(value))
            self.kvar = kvar_of(self.kw, self.pf)
        elif name == "kvar":
            self.kvar = number(value)
            if self.kw:
                self.pf = self.kw / math.hypot(self.kw, self.kvar) * (-1.0 if self.kvar < 0 else 1.0)
        elif not super().set(name, value):
            return False
        elif name in SHAPES:
            shape = self._found(f"loadshape.{value}")
            if isinstance(shape, LoadShape) and shape.actual:
                self.kw, self.kvar = shape.highest
        return True

    def finish(self) -> None:
        """Check what the script leaves."""
        super().finish()
        if self.kw < 0:
            raise UnsupportedError(f"kw = {self.kw:g}: a generator that draws power is not supported; it is a load")

    def output(self, shape: FloatArray | None, actual: bool) -> FloatArray:
        """kW by step."""
        if shape is None or self.status[:1] == "f":
            return np.array([self.kw * (1.0 if self.status[:1] == "f" else self.scale)])
        return shape if actual else self.kw * self.scale * shape


@dataclass
class PVSystem(Plant):
    """Panels behind an inverter."""

    kept: ClassVar[tuple[str, ...]] = (*Plant.kept, "limit_percent", "watts_first", "factor_first")
    pmpp: float = 500.0
    kva: float = 500.0
    irradiance: float = 1.0
    temperature: float = PANEL_C
    limit_percent: float = 100.0
    cut_in: float = 20.0
    cut_out: float = 20.0
    constant_kvar: bool = False
    watts_first: bool = False
    factor_first: bool = False
    curves: dict[str, str] = field(default_factory=dict)

    def set(self, name: str, value: str) -> bool:
        """Take a property; of kvar and pf the later counts."""
        numbers = {"%pmpp": "limit_percent", "%cutin": "cut_in", "%cutout": "cut_out"}
        if name in ("pmpp", "kva", "irradiance", "temperature", *numbers):
            setattr(self, numbers.get(name, name), number(value))
        elif name in ("effcurve", "p-tcurve"):
            self.curves[name] = value
            self._found(f"xycurve.{value}")
        elif name == "pf":
            self._factor(number(value))
            self.constant_kvar = False
        elif name == "kvar":
            self.kvar, self.constant_kvar = number(value), True
        elif name in ("wattpriority", "pfpriority"):
            setattr(self, {"wattpriority": "watts_first", "pfpriority": "factor_first"}[name], is_yes(value))
        else:
            return super().set(name, value)
        return True

    @property
    def follows(self) -> list[tuple[str, str]]:
        """Class and name of the shapes and curves that its output follows."""
        return [*super().follows, *(("xycurve", name.lower()) for name in self.curves.values())]

    def finish(self) -> None:
        """Check what the script leaves."""
        super().finish()
        if not (self.pmpp >= 0 and self.kva > 0):
            raise UnsupportedError(f"pmpp = {self.pmpp:g} must not be negative, kva = {self.kva:g} must be positive")
        shape = self.shape()
        if isinstance(shape, LoadShape) and shape.actual:
            raise UnsupportedError(f"loadshape {shape.element.name!r} with useactual=yes as irradiance")

    def output(self, sun: FloatArray | None, temperature: FloatArray | None) -> FloatArray:
        """kW by step: panels at their temperature, the inverter's efficiency, and what it can carry.

        Below ``%cutout`` of its kVA, and until ``%cutin`` is reached again, the inverter is off. Reactive power that is
        asked for comes first where both are too much, unless ``wattpriority`` or ``pfpriority`` says otherwise.
        """
        dc = self.pmpp * self.irradiance * (np.ones(1) if sun is None else sun)
        celsius = np.full(1, self.temperature) if temperature is None else temperature
        dc = dc * self._curve("p-tcurve", celsius)
        ac = dc * self._curve("effcurve", np.abs(dc) / self.kva)
        ac = np.minimum(np.where(self._running(dc), ac, 0.0), self.limit_percent / 100.0 * self.pmpp)
        kvar = np.full_like(ac, self.kvar) if self.constant_kvar else ac * kvar_of(1.0, self.pf)
        over = np.hypot(ac, kvar) > self.kva
        if self.watts_first:
            most = np.full_like(ac, self.kva)
        elif self.factor_first and not self.constant_kvar:
            most = np.full_like(ac, self.kva * abs(self.pf))
        else:
            most = np.sqrt(np.maximum(self.kva**2 - kvar**2, 0.0))
        return np.asarray(np.maximum(np.where(over, np.minimum(ac, most), ac), 0.0))

    def _curve(self, name: str, at: FloatArray) -> FloatArray:
        if not self.curves.get(name):
            return np.ones(1)
        curve = self._found(f"xycurve.{self.curves[name]}")
        assert isinstance(curve, Curve)
        return curve(at)

    def _running(self, dc: FloatArray) -> np.ndarray:
        on, running = True, np.zeros(len(dc), dtype=bool)
        for k, power in enumerate(np.abs(dc)):
            on = power >= (self.cut_out if on else self.cut_in) * self.kva / 100.0
            running[k] = on
        return running


@dataclass
class Storage(Plant):
    """A battery; how it stands idle or follows a shape in OpenDSS does not count, as mechanisms schedule it."""

    kw: float = 25.0
    kwh: float = 50.0
    stored: float | None = None
    stored_percent: float = 100.0
    reserve: float = 20.0
    charge: float = 90.0
    discharge: float = 90.0

    def set(self, name: str, value: str) -> bool:
        """Take a property; whether it was read."""
        names = {"kwrated": "kw", "kwhrated": "kwh", "kwhstored": "stored", "%stored": "stored_percent"}
        names |= {"%reserve": "reserve", "%effcharge": "charge", "%effdischarge": "discharge"}
        if name not in names:
            return super().set(name, value)
        setattr(self, names[name], number(value))
        if name == "%stored":
            self.stored = None
        return True

    def finish(self) -> None:
        """Check what the script leaves."""
        super().finish()
        for what, value in (("kwrated", self.kw), ("kwhrated", self.kwh)):
            if not value > 0:
                raise UnsupportedError(f"{what} = {value:g} must be positive")
        if not (0 <= self.reserve < 100 and 0.1 <= self.charge <= 100 and 0.1 <= self.discharge <= 100):
            raise UnsupportedError(
                "%reserve must be at least 0 and below 100, %effcharge and %effdischarge within 0.1 to 100"
            )

    @property
    def usable_kwh(self) -> float:
        """What is above the reserve."""
        return self.kwh * (1.0 - self.reserve / 100.0)

    @property
    def initial(self) -> float:
        """Share of the usable energy that it holds at first."""
        held = self.kwh * self.stored_percent / 100.0 if self.stored is None else self.stored
        return float(np.clip((held - self.kwh * self.reserve / 100.0) / self.usable_kwh, 0.0, 1.0))

    @property
    def efficiency(self) -> float:
        """Of one way, the same for both: their product is that of the file."""
        return math.sqrt(self.charge * self.discharge) / 100.0
