"""Lines: what their properties mean, in the order in which they are given."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from amm_opt.arrays import ComplexArray, FloatArray
from amm_opt.importers.opendss.dialect.text import is_yes, number, whole
from amm_opt.importers.opendss.elements.component import PHASE_NAMES, Component, UnsupportedError, bus_and_nodes
from amm_opt.importers.opendss.lines.carson import MODELS, Earth
from amm_opt.importers.opendss.lines.conductors import MATRICES, SEQUENCE, SUSCEPTANCE, Conductors, LineCode
from amm_opt.importers.opendss.lines.geometry import Laid, LineGeometry, LineSpacing, laid
from amm_opt.importers.opendss.lines.units import METRES, ratio, unit
from amm_opt.importers.opendss.lines.wires import Wire, WireData

RHO = 100.0
"""Resistivity of the ground, in ohm m, unless a line says so."""
SWITCH_LENGTH = 0.001
"""Of a line that ``switch`` makes a switch."""
SAME_FACTOR = 1e-9
"""Factors on an impedance that are this close are one."""
_SWITCH = {"r1": 1.0, "x1": 1.0, "r0": 1.0, "x0": 1.0, "c1": 1.1e-9, "c0": 1.0e-9}


@dataclass
class Line(Conductors):
    """A line; after ``finish``, ``z_ohm`` and ``c_nf`` cover all conductors, neutrals too.

    Attributes:
        legs: conductors that share the current of a phase.
        lost: why what ``like`` copied is not what the other line has; empty where it is.
    """

    ends: dict[str, str] = field(default_factory=lambda: {"bus1": "", "bus2": ""})
    length: float = 1.0
    factor: float = 1.0
    code: str = ""
    code_units: str | None = None
    phases: int | None = None
    switch: bool = False
    switching: bool = False
    from_code: bool = False
    buses: tuple[str, str] = ("", "")
    nodes: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
    z_ohm: ComplexArray = field(default_factory=lambda: np.zeros((0, 0), dtype=complex))
    c_nf: FloatArray = field(default_factory=lambda: np.zeros((0, 0)))
    metres: float = math.nan
    geometry: LineGeometry | None = None
    spacing: LineSpacing | None = None
    strung: list[Wire] = field(default_factory=list)
    earth: str = "deri"
    rho: float | None = None
    legs: int = 1
    lost: str = ""

    @property
    def ohm_per_km(self) -> float:
        """Resistance of a conductor by itself, without what all have in common; NaN without units or length."""
        r, n = self.z_ohm.real, len(self.z_ohm)
        mutual = (r.sum() - np.trace(r)) / (n * (n - 1)) if n > 1 else 0.0
        return float((np.trace(r) / n - mutual) / (self.metres / 1000.0)) if self.metres > 0 else math.nan

    def set(self, name: str, value: str) -> bool:
        """Take a property; whether it was read."""
        if name in self.ends:
            self.ends[name] = value
        elif name == "phases":
            self._phases(whole(value))
        elif name == "length":
            self.length = number(value)
        elif name == "units":
            self._units(unit(value))
        elif name == "switch":
            self.switch = self.switching = is_yes(value)
            if self.switch and self._in_space:
                raise UnsupportedError("switch beside geometry or spacing; give one kind")
            if self.switch:
                self.sequence.update(_SWITCH)
                self.z = self.c = None
                self.stated, self.inherited = set(_SWITCH), set()
                self.length = SWITCH_LENGTH
                self._own()
        elif name == "earthmodel":
            self.earth = earth_model(value)
        elif name == "rho":
            self.rho = number(value)
            if not self.rho > 0:
                raise UnsupportedError(f"rho = {self.rho:g} must be positive")
        elif name in ("normamps", "basefreq"):
            return self.shared(name, value)
        elif self._in_space and name in (*SEQUENCE, *MATRICES, *SUSCEPTANCE):
            raise UnsupportedError(f"{name} beside geometry or spacing; give one kind")
        elif self.shared(name, value):
            if name in SEQUENCE or name in MATRICES or name in SUSCEPTANCE:
                self._own()
            if name in SEQUENCE and not self.from_code:
                self.lost = ""
        else:
            return False
        return True

    def alike(self, other: Component) -> None:
        """As in OpenDSS, impedance and length are copied as numbers, without their units.

        Sequence values of its own count only once one of them is given anew: until then the copy has the default
        impedance, which is (almost) none of a switch.
        """
        own = self.z is None and not self.from_code
        if own or abs(self.factor - 1.0) > SAME_FACTOR:
            what = "where the conductors are" if self._in_space else "the impedance per unit of length"
            self.lost = (
                f"like={other.element.name}: OpenDSS does not copy {what} as it is in {other.element.name!r}; give"
                " a linecode, length and units"
            )
        self._own()

    def _phases(self, n: int) -> None:
        if self.z is not None and n != self.n:
            raise UnsupportedError(f"phases = {n}, but its linecode {self.code!r} has {self.n} conductors")
        self.phases = n
        if n != self.n:
            self.resize(n)

    def _units(self, new: str | None) -> None:
        """A change of units keeps the impedance per metre; what the line says itself begins without units."""
        if self.from_code:
            self.factor = ratio(self.code_units, new)
        else:
            self.factor *= ratio(self.units, new)
        self.units = new

    def _own(self) -> None:
        """Impedances of its own are per unit of its own length, whatever the units."""
        self.factor, self.units, self.from_code = 1.0, None, False

    @property
    def _in_space(self) -> bool:
        """Whether its impedance follows from where its conductors are."""
        return self.geometry is not None or self.spacing is not None

    def refer(self, name: str, found: Sequence[Component]) -> None:
        """Take a line code as it is now, a geometry, a spacing or the conductors of one."""
        first, self.lost = found[0] if found else None, ""
        if isinstance(first, LineCode):
            self.geometry = self.spacing = None
            self._take(first.element.name, first)
        elif isinstance(first, LineGeometry | LineSpacing):
            units = self.units
            self._own()
            self.units, self.z, self.c = units, None, None
            self.stated, self.inherited, self.code, self.strung = set(), {name}, first.element.name, []
            self.geometry = first if isinstance(first, LineGeometry) else None
            self.spacing = first if isinstance(first, LineSpacing) else None
            if self.geometry is not None:
                self.amps = self.geometry.rated_amps
        elif self.spacing is None:
            raise UnsupportedError(f"{name} stands before spacing")
        else:
            wires = [x.wire() for x in found if isinstance(x, WireData)]
            if len(self.strung) + len(wires) > self.spacing.n:
                self.strung = []
            self.strung += wires
            self.amps = self.strung[0].amps if self.strung else None

    def _laid(self) -> Laid | None:
        """Its conductors in place, where it has a geometry or a spacing."""
        if self.geometry is not None:
            return self.geometry.laid()
        if self.spacing is None:
            return None
        return laid(self.strung, self.spacing.places(), self.spacing.phases, self.spacing.phases < self.spacing.n)

    def _take(self, name: str, code: LineCode) -> None:
        """Everything of a line code as it is now."""
        if self.phases is not None and self.phases != code.n:
            raise UnsupportedError(f"phases = {self.phases}, but its linecode {name!r} has {code.n} conductors")
        if code.z is not None and self.switching and self.stated == set(_SWITCH):
            # In the statement that makes it a switch, OpenDSS takes the code's matrices for nothing.
            self.n, self.code, self.amps, self.frequency = code.n, name, code.amps, code.frequency
            return
        if code.z is not None and self.stated & set(SEQUENCE):
            raise UnsupportedError(f"linecode {name!r} has matrices and follows {', '.join(sorted(self.stated))}")
        self.n, self.stated, self.inherited = code.n, set(), code.stated | code.inherited
        if code.z is None:
            self.sequence = dict(code.sequence)
            self.z = self.c = None
        else:
            self.z, self.c = code.z.copy(), code.capacitance()
        self.amps, self.frequency = code.amps, code.frequency
        self.code, self.code_units, self.from_code = name, code.units, True
        self.factor = ratio(code.units, self.units)

    def end_of_statement(self) -> None:
        """What follows is another statement."""
        self.switching = False

    def finish(self) -> None:
        """Ends, impedance and capacitance of the whole length."""
        if not (self.ends["bus1"] and self.ends["bus2"]):
            raise UnsupportedError("bus1 and bus2 must be given")
        if not self.length > 0:
            raise UnsupportedError(f"length = {self.length:g} must be positive")
        if self.lost and not (self.switch and self.length <= SWITCH_LENGTH):
            raise UnsupportedError(self.lost)
        self.complete()
        in_place = self._laid()
        if in_place is not None:
            if self.phases not in (None, in_place.n):
                raise UnsupportedError(f"phases = {self.phases}, but {self.code!r} has {in_place.n} conductors")
            self.n = in_place.n
        (first, nodes1), (second, nodes2) = (bus_and_nodes(self.ends[k], self.n) for k in ("bus1", "bus2"))
        self.buses, self.nodes = (first, second), (nodes1, nodes2)
        if self.from_code and bool(self.code_units) != bool(self.units) and not self.switch:
            self.remarks.append(
                f"{self.element}: {'no units' if not self.units else 'units but a linecode without'}; its length is"
                f" taken in the units of linecode {self.code!r}, as OpenDSS does"
            )
        self.z_ohm = self.impedance() * (self.length * self.factor)
        self.c_nf = self.capacitance() * (self.length * self.factor) * self._default_capacitance()
        known = self.units or (self.code_units if self.from_code else None)
        if in_place is not None:
            known = self.units or "m"
            metres, earth = self.length * METRES[known], Earth(self.earth, self.base_frequency, self._resistivity())
            self.z_ohm = in_place.impedance(earth) * metres
            self.c_nf = in_place.capacitance() * (metres * 1e9)
        self.metres = self.length * METRES[known] if known else math.nan

    def _resistivity(self) -> float:
        """That of the ground; in OpenDSS what one line says stays with its geometry for those that follow."""
        rho = self.rho or RHO
        if self.geometry is not None:
            if self.geometry.rho not in (None, rho):
                raise UnsupportedError(f"rho = {rho:g}, but {self.geometry.rho:g} for another line of {self.code!r}")
            self.geometry.rho = rho
        return rho

    def _default_capacitance(self) -> float:
        """Where a line gives sequence values without capacitance, OpenDSS takes its own to be per 1000 ft."""
        own = self.z is None and bool(self.stated & {"r1", "x1", "r0", "x0"})
        stated = self.stated & {"c1", "c0"} and not self.switch
        return METRES[self.units] / METRES["kft"] if own and not stated and self.units else 1.0


def earth_model(value: str) -> str:
    """One of the earth models, which may be abbreviated.

    Raises:
        UnsupportedError: where it is none.
    """
    found = next((m for m in MODELS if value and m.startswith(value.lower())), None)
    if found is None:
        raise UnsupportedError(f"earthmodel = {value!r}; valid choices: {', '.join(MODELS)}")
    return found


def split_conductors(nodes: Iterable[int]) -> tuple[list[int], list[int]]:
    """Positions of phase conductors (nodes 1 to 3) and of neutrals (ground, or nodes from 4)."""
    listed = list(nodes)
    return [i for i, n in enumerate(listed) if n in PHASE_NAMES], [
        i for i, n in enumerate(listed) if n not in PHASE_NAMES
    ]


def charging_kva(c_nf: FloatArray, phases: list[int], nodes: list[int], vn_kv: float, frequency: float) -> ComplexArray:
    """What a line's capacitance draws from each phase at nominal, balanced voltages, kW - j kvar that it feeds in.

    Conductor i draws -j w sum C_ik V_i V_k*, and other phases stand at 120 degrees: each mutual term counts by -1/2 in
    kvar, and moves active power between phases, which is zero in all, and for each where they are alike. Neutrals are
    at no voltage.

    Args:
        c_nf: (n, n) capacitance of the whole line in nF, of phases and neutrals.
        phases: positions of its phases.
        nodes: of these, 1 to 3.
        vn_kv: line-to-line voltage.
    """
    star = np.exp(-2j * math.pi / 3 * np.asarray(nodes))
    c = c_nf[np.ix_(phases, phases)]
    volt_amperes = -2j * math.pi * frequency * 1e-9 * star * (c @ np.conj(star)) * (vn_kv * 1000.0) ** 2 / 3.0
    return np.asarray(volt_amperes / 1000.0)
