"""WireData, CNData and TSData: conductors by themselves."""

from __future__ import annotations

from dataclasses import dataclass, field

from amm_opt.importers.opendss.dialect.text import number
from amm_opt.importers.opendss.elements.component import Component, UnsupportedError
from amm_opt.importers.opendss.lines.cables import Sheath, concentric, tape
from amm_opt.importers.opendss.lines.units import METRES, unit

ROUND = 0.7788
"""Geometric mean radius of a round conductor, of its radius."""
AC_OVER_DC = 1.02
"""What OpenDSS takes where only one of the resistances is given."""
_UNITS = {"runits": "ohm", "gmrunits": "gmr", "radunits": "radius"}
_SCALED = {
    **dict.fromkeys(("rdc", "rac", "rstrand"), "ohm"),
    **dict.fromkeys(("gmrac", "gmrstrand"), "gmr"),
    **dict.fromkeys(("radius", "capradius", "diam", "diastrand", "inslayer", "diains", "diacable"), "radius"),
    **dict.fromkeys(("diashield", "tapelayer"), "radius"),
}
_PLAIN = {"normamps", "k", "epsr", "tapelap"}


@dataclass(frozen=True)
class Wire:
    """A conductor in ohm per m, m and A; ``sheath`` is what a cable has around it."""

    name: str
    kind: str
    rac: float
    rdc: float
    gmr: float
    cap_radius: float
    amps: float | None
    sheath: Sheath | None


@dataclass
class WireData(Component):
    """A conductor's data as given; without units, resistances are per m and sizes in m."""

    given: dict[str, float] = field(default_factory=dict)
    units: dict[str, str | None] = field(default_factory=dict)

    def set(self, name: str, value: str) -> bool:
        """Take a property; whether it was read."""
        if name in _UNITS:
            self.units[_UNITS[name]] = unit(value)
        elif name in _SCALED or name in _PLAIN:
            self.given[name] = number(value)
            if name in ("rac", "rdc"):  # what is given first sets the other one, and later values of it do not
                other, factor = ("rdc", 1.0 / AC_OVER_DC) if name == "rac" else ("rac", AC_OVER_DC)
                self.given.setdefault(other, self.given[name] * factor)
            if name == "diam":
                self.given["radius"] = self.given["diam"] / 2
        else:
            return False
        return True

    def alike(self, other: Component) -> None:
        """All that the other one has, and nothing of what was given before."""
        if isinstance(other, WireData):
            self.given, self.units = dict(other.given), dict(other.units)

    def _value(self, name: str, default: float | None = None) -> float:
        """A property in ohm per m or m.

        Raises:
            UnsupportedError: where it is missing or not positive.
        """
        if name not in self.given:
            if default is None:
                raise UnsupportedError(f"{self.element}: {name} is missing")
            return default
        if not self.given[name] > 0:
            raise UnsupportedError(f"{self.element}: {name} = {self.given[name]:g} must be positive")
        named = self.units.get(_SCALED.get(name, ""))
        metres = METRES[named] if named else 1.0
        value = self.given[name]
        return value if name in _PLAIN else value / metres if _SCALED[name] == "ohm" else value * metres

    def wire(self) -> Wire:
        """What it is now.

        Raises:
            UnsupportedError: with what is missing.
        """
        if not {"rac", "rdc"} & set(self.given):
            raise UnsupportedError(f"{self.element}: rac is missing")
        if not {"radius", "gmrac"} & set(self.given):
            raise UnsupportedError(f"{self.element}: gmrac or radius is missing")
        rac = self._value("rac", AC_OVER_DC * self._value("rdc", 1.0))
        radius = self._value("radius", self._value("gmrac", 1.0) / ROUND)
        amps = self.given.get("normamps", 0.0)
        return Wire(
            self.element.name,
            self.element.kind,
            rac,
            self._value("rdc", rac / AC_OVER_DC),
            self._value("gmrac", ROUND * radius),
            self._value("capradius", radius),
            amps if amps > 0 else None,
            self._sheath(),
        )

    def _sheath(self) -> Sheath | None:
        if self.element.kind == "wiredata":
            return None
        outer = self._value("diains") / 2
        insulation = (outer - self._value("inslayer"), outer)
        if not insulation[0] > 0:
            raise UnsupportedError(f"{self.element}: inslayer is as large as half of diains")
        if self.element.kind == "tsdata":
            r, gmr, radius = tape(self._value("diashield"), self._value("tapelayer"), self._value("tapelap", 20.0))
            return Sheath(r, gmr, radius, 0, insulation, self._value("epsr", 2.3))
        strands, thick = round(self._value("k", 2.0)), self._value("diastrand")
        r, gmr, radius = concentric(
            strands,
            thick,
            self._value("gmrstrand", ROUND * thick / 2),
            self._value("rstrand"),
            self._value("diacable"),
        )
        return Sheath(r, gmr, radius, strands, insulation, self._value("epsr", 2.3))
