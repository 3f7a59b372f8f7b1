"""LineSpacing and LineGeometry: where the conductors of a line are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from amm_opt.arrays import ComplexArray, FloatArray
from amm_opt.errors import counted
from amm_opt.importers.opendss.dialect.text import is_yes, number, numbers, whole
from amm_opt.importers.opendss.elements.component import Component, UnsupportedError
from amm_opt.importers.opendss.lines.cables import Sheath, cable_capacitance, cable_impedance
from amm_opt.importers.opendss.lines.carson import Earth, capacitance, series_impedance
from amm_opt.importers.opendss.lines.conductors import reduced_neutral
from amm_opt.importers.opendss.lines.units import METRES, unit
from amm_opt.importers.opendss.lines.wires import Wire, WireData

MAX_CONDUCTORS = 20
_ONE_WIRE = ("wire", "cncable", "tscable")


@dataclass(frozen=True)
class Laid:
    """Conductors in place, phases first; places are (x, height) in m, below ground negative.

    Attributes:
        phases: how many of them are phases, or stay after reduction.
        reduce: whether the others, which are grounded, are taken out.
    """

    wires: tuple[Wire, ...]
    places: tuple[tuple[float, float], ...]
    phases: int
    reduce: bool

    @property
    def n(self) -> int:
        """Conductors that are left."""
        return self.phases if self.reduce else len(self.wires)

    @property
    def sheaths(self) -> list[Sheath]:
        """Of the phases, where these are cables."""
        return [w.sheath for w in self.wires[: self.phases] if w.sheath]

    def impedance(self, earth: Earth) -> ComplexArray:
        """(n, n) ohm per m."""
        if self.sheaths:
            z = cable_impedance(self.wires, self.sheaths, self.places, earth)
        else:
            z = series_impedance(self.wires, self.places, earth)
        kept = list(range(self.n))
        return reduced_neutral(z, kept, list(range(self.n, len(self.wires))), "kron")

    def capacitance(self) -> FloatArray:
        """(n, n) F per m."""
        own = self.sheaths
        c = cable_capacitance(len(self.wires), own) if own else capacitance(self.wires, self.places)
        return c[: self.n, : self.n]


def laid(wires: Sequence[Wire | None], places: Sequence[tuple[float, float]], phases: int, reduce: bool) -> Laid:
    """Conductors in place.

    Raises:
        UnsupportedError: where one is missing, two are in one place, or phases are of different kinds.
    """
    known = [w for w in wires if w is not None]
    if len(known) < len(wires) or len(places) != len(wires):
        raise UnsupportedError(
            f"{counted(len(known), 'wire')} and {counted(len(places), 'place')} for {counted(len(wires), 'conductor')}"
        )
    if not 1 <= phases <= len(wires):
        raise UnsupportedError(f"{counted(phases, 'phase')} of {counted(len(wires), 'conductor')}")
    if len(set(places)) < len(places):
        raise UnsupportedError("two conductors are in one place")
    cables = known[0].sheath is not None
    if any((w.kind != known[0].kind) for w in known[:phases]):
        raise UnsupportedError("phases are of different kinds of conductors")
    if cables and any(w.sheath for w in known[phases:]):
        raise UnsupportedError("cables as neutral conductors; OpenDSS counts no neutral or shield of theirs")
    if not cables and any(height <= 0 for _, height in places):
        raise UnsupportedError("wires below ground, or without a height")
    return Laid(tuple(known), tuple(places), phases, reduce)


@dataclass
class LineSpacing(Component):
    """Positions only; in feet where no unit is given."""

    n: int = 3
    phases: int = 3
    x: list[float] = field(default_factory=list)
    h: list[float] = field(default_factory=list)
    units: str | None = "ft"

    def set(self, name: str, value: str) -> bool:
        """Take a property; whether it was read."""
        if name == "nconds":
            self.n = _conductors(value)
        elif name == "nphases":
            self.phases = whole(value)
        elif name in ("x", "h"):
            setattr(self, name, numbers(value))
        elif name == "units":
            self.units = unit(value)
        else:
            return False
        return True

    def places(self) -> list[tuple[float, float]]:
        """Of all conductors, in m.

        Raises:
            UnsupportedError: where their number is not right.
        """
        if len(self.x) != self.n or len(self.h) != self.n:
            raise UnsupportedError(f"{self.element}: {len(self.x)} x and {len(self.h)} h for nconds = {self.n}")
        metres = METRES[self.units] if self.units else 1.0
        return [(x * metres, h * metres) for x, h in zip(self.x, self.h, strict=True)]


@dataclass
class _Conductor:
    wire: Wire | None = None
    x: float = 0.0
    h: float = 0.0
    units: str | None = None


@dataclass
class LineGeometry(Component):
    """Conductors one by one, or a spacing with a list of them; wires count as they are when they are named."""

    n: int = 3
    phases: int = 3
    reduce: bool = False
    amps: float | None = None
    active: int = 0
    last_units: str | None = "ft"
    conductors: list[_Conductor] = field(default_factory=lambda: [_Conductor() for _ in range(3)])
    spacing: LineSpacing | None = None
    rho: float | None = None
    copied: str = ""

    def alike(self, other: Component) -> None:
        """Another geometry, whose reduction must stay."""
        self.copied = other.element.name
        if isinstance(other, LineGeometry) and self.reduce != other.reduce:
            raise UnsupportedError(f"reduce and like={self.copied}: OpenDSS mixes both; give all of it")

    def set(self, name: str, value: str) -> bool:
        """Take a property; whether it was read."""
        if name == "nconds":
            self.n = _conductors(value)
            self.conductors = [_Conductor() for _ in range(self.n)]
            self.active = 0
        elif name == "nphases":
            self.phases = whole(value)
        elif name == "cond":
            self.active = whole(value) - 1
            if not 0 <= self.active < self.n:
                raise UnsupportedError(f"cond = {value} of nconds = {self.n}")
        elif name in ("x", "h"):
            setattr(self._active(), name, number(value))
        elif name == "units":
            self.last_units = self.conductors[self.active].units = unit(value) or "m"
        elif name == "reduce":
            if self.copied and is_yes(value) != self.reduce:
                raise UnsupportedError(f"like={self.copied}, then reduce={value}: OpenDSS mixes both; give all of it")
            self.reduce = is_yes(value)
        elif name == "normamps":
            self.amps = number(value)
        else:
            return False
        return True

    def refer(self, name: str, found: Sequence[Component]) -> None:
        """Take wires, or a spacing."""
        if name == "spacing":
            (self.spacing,) = (x for x in found if isinstance(x, LineSpacing))
            self.spacing.places()
            for conductor, x, h in zip(self.conductors, self.spacing.x, self.spacing.h, strict=False):
                conductor.x, conductor.h, conductor.units = x, h, self.spacing.units or "m"
            return
        wires = [x.wire() for x in found if isinstance(x, WireData)]
        if name in _ONE_WIRE:
            self._active().wire = wires[0]
        elif len(wires) != self.n:
            raise UnsupportedError(f"{len(wires)} {name} for nconds = {self.n}")
        else:
            for conductor, wire in zip(self.conductors, wires, strict=True):
                conductor.wire = wire

    def _active(self) -> _Conductor:
        conductor = self.conductors[self.active]
        conductor.units = conductor.units or self.last_units
        return conductor

    def laid(self) -> Laid:
        """Its conductors in place.

        Raises:
            UnsupportedError: where they are not complete.
        """
        scales = [METRES[c.units or "ft"] for c in self.conductors]
        places = [(c.x * m, c.h * m) for c, m in zip(self.conductors, scales, strict=True)]
        try:
            return laid([c.wire for c in self.conductors], places, self.phases, self.reduce and self.phases < self.n)
        except UnsupportedError as error:
            raise UnsupportedError(f"{self.element}: {error}") from None

    @property
    def rated_amps(self) -> float | None:
        """Its own ampacity, or that of its first conductor."""
        first = self.conductors[0].wire
        return self.amps if self.amps is not None else first.amps if first else None


def _conductors(value: str) -> int:
    n = whole(value)
    if not 1 <= n <= MAX_CONDUCTORS:
        raise UnsupportedError(f"nconds = {n} must be between 1 and {MAX_CONDUCTORS}")
    return n
